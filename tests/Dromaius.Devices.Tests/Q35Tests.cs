using Dromaius.Core.Interrupts;
using Dromaius.Core.Memory;
using Dromaius.Core.Time;
using Dromaius.Devices.Firmware;
using Dromaius.Devices.Pci;
using Dromaius.Devices.Storage.Ata;

namespace Dromaius.Devices.Tests;

/// <summary>The chips of the Q35 board, bridges and ports, through configuration space and without a guest.</summary>
public sealed class Q35Tests : IDisposable
{
    private const uint Ecam = 0xB000_0000;
    private const ulong RamSize = 64 << 20;

    private readonly RamBlock _ram = new("ram", RamSize);
    private readonly ManualClock _clock = new();
    private readonly AddressSpace _memory, _smm, _io;
    private readonly PciBus _bus;
    private readonly Q35Mch _host;
    private readonly Ich9Lpc _lpc;
    private readonly AcpiPm _acpi;
    private readonly TcoTimer _tco;
    private readonly IrqLine[] _gsi = [.. Enumerable.Range(0, 24).Select(static _ => new IrqLine())];
    private readonly List<PciFunction> _ejected = [];

    public Q35Tests()
    {
        var machineLock = new Lock();
        var system = MemoryRegion.Container("system", 0);
        var smm = MemoryRegion.Container("smm", 0);
        var ioRoot = MemoryRegion.Container("io", 0x10000);
        var pci = MemoryRegion.Container("pci", 0);
        var ram = MemoryRegion.RamRegion("ram", _ram);
        system.Add(0, ram);
        system.Add(0, pci, -1);
        pci.Add(0xA0000, MemoryRegion.Device("vga", 0x20000, static (_, _) => 0x66, static (_, _, _) => { }));
        system.Add(0xA0000, MemoryRegion.Alias("vga-window", pci, 0xA0000, 0x20000), 1);
        smm.Add(0, MemoryRegion.Alias("smm-system", system, 0, 0));
        _memory = new AddressSpace("memory", system, machineLock);
        _smm = new AddressSpace("smm", smm, machineLock);
        _io = new AddressSpace("io", ioRoot, machineLock);
        _bus = new PciBus("pcie.0", pci, ioRoot, _memory) { IsExpress = true };
        var config = new PciConfigMechanism(_bus);
        ioRoot.Add(0xCF8, config.AddressRegion);
        ioRoot.Add(0xCFC, config.DataRegion);
        _host = new Q35Mch(_bus, system, smm, ram, pci, RamSize);
        _bus.Plug(_host, 0);
        _acpi = new AcpiPm(_clock, 16) { AcpiEnable = 2, AcpiDisable = 3 };
        _tco = new TcoTimer(_clock);
        _lpc = new Ich9Lpc(_bus, _gsi, new Ich9Pm(_acpi, _tco, n => _gsi[n]), ioRoot, system);
        _bus.Plug(_lpc, 0xF8);
        _host.Reset();
        _lpc.Reset();
        Write(0, 0, 0x60, Ecam | 1);
    }

    public void Dispose() => _ram.Dispose();

    [Fact]
    public void ConfigurationIsInMemory()
    {
        Assert.Equal(0x29C0_8086u, _memory.LoadU32(Ecam));
        Assert.Equal(0x2918_8086u, _memory.LoadU32(Ecam + 0xF8000));
        Assert.Equal(uint.MaxValue, _memory.LoadU32(Ecam + 0x8000));
        // A conventional function ends at 256 bytes.
        Assert.Equal(uint.MaxValue, _memory.LoadU32(Ecam + 0xF8100));
        Write(0, 0, 0x60, 0xC000_0001);
        Assert.Equal(uint.MaxValue, _memory.LoadU32(Ecam));
        Assert.Equal(0x29C0_8086u, _memory.LoadU32(0xC000_0000));
        // 64 MiB: buses 0 to 63.
        Write(0, 0, 0x60, 0xC000_0005);
        Assert.Equal((0xC000_0000UL, 64UL << 20), _host.ConfigWindow);
        Write(0, 0, 0x60, 0);
        Assert.Null(_host.ConfigWindow);
    }

    [Fact]
    public void TsegIsForSystemManagementOnly()
    {
        const ulong Inside = RamSize - 0x1000;
        _memory.Store(Inside, 4, 0x1234);
        Write(0, 0, 0x9C, 0x0001_0A00, 4); // SMRAM enabled, TSEG of 1 MiB
        Assert.Equal(0x0Au, Read(0, 0, 0x9C) >> 8 & 0xFF);
        Assert.Equal(uint.MaxValue, _memory.LoadU32(Inside));
        Assert.Equal(0x1234u, _smm.LoadU32(Inside));
        Assert.NotEqual(uint.MaxValue, _memory.LoadU32(RamSize - (2 << 20)));
        // Locked, it stays until a reset.
        Write(0, 0, 0x9C, 0x0001_1A00, 4);
        Write(0, 0, 0x9C, 0, 4);
        Assert.Equal(uint.MaxValue, _memory.LoadU32(Inside));
        _host.Reset();
        Assert.Equal(0x1234u, _memory.LoadU32(Inside));
    }

    [Fact]
    public void SmramLiesBehindTheVgaWindow()
    {
        _ram.Span(0xA0000, 1)[0] = 0x42;
        Assert.Equal(0x66UL, _memory.Load(0xA0000, 1));
        Write(0, 0, 0x9C, 0x0038_4A00, 4);
        Assert.Equal(0x42UL, _memory.Load(0xA0000, 1));
        Write(0, 0, 0x9C, 0x0038_0A00, 4);
        Assert.Equal(0x66UL, _memory.Load(0xA0000, 1));
        Assert.Equal(0x42UL, _smm.Load(0xA0000, 1));
    }

    [Fact]
    public void PirqsReachBothControllers()
    {
        var device = new PinFunction();
        _bus.Plug(device, 0xFA);
        device.Raise(true);
        Assert.True(_gsi[16].Level);
        Assert.False(_gsi[10].Level);
        Write(0, 0xF8, 0x60, 10, 1);
        Assert.True(_gsi[10].Level);
        // Pin A of device 31 to PIRQ D through the route register.
        Write(0, 0xF8, 0xF0, 0xFED1_C001);
        _memory.Store(0xFED1_F140, 2, 0x3213);
        Assert.False(_gsi[16].Level || _gsi[10].Level);
        Assert.True(_gsi[19].Level);
        device.Raise(false);
        Assert.DoesNotContain(_gsi, static line => line.Level);
    }

    [Fact]
    public void PowerManagementFollowsItsBase()
    {
        Write(0, 0xF8, 0x40, 0x601);
        Assert.Equal(0xFFFFUL, _io.Load(0x604, 2));
        Write(0, 0xF8, 0x44, 0x80, 1);
        Assert.Equal(0UL, _io.Load(0x604, 2));
        _io.Store(0x628, 1, 2);
        _io.Store(0x604, 2, 1);
        _acpi.RaiseGpe(1);
        Assert.True(_gsi[9].Level);
        Assert.Equal(2UL, _io.Load(0x620, 1));
        _io.Store(0x620, 1, 2);
        Assert.False(_gsi[9].Level);
        // SMI enable: locked once, the global bit stays.
        _io.Store(0x630, 4, 0x21);
        Assert.True(_acpi.ApmSmiEnabled);
        Write(0, 0xF8, 0xA0, 0x10, 1);
        _io.Store(0x630, 4, 0);
        Assert.Equal(1UL, _io.Load(0x630, 4));
    }

    [Fact]
    public void WatchdogBitesTheSecondTime()
    {
        var resets = 0;
        _tco.ResetRequested = () => resets++;
        Write(0, 0xF8, 0x40, 0x601);
        Write(0, 0xF8, 0x44, 0x80, 1);
        _io.Store(0x672, 2, 5);
        _io.Store(0x660, 2, 1);
        _clock.Advance(3_000_000_000 + 1);
        Assert.Equal(8UL, _io.Load(0x664, 2));
        Assert.Equal(0, resets);
        _clock.Advance(3_000_000_000 + 1);
        Assert.Equal(1, resets);
    }

    [Fact]
    public void BridgesOpenWindowsAndPassPins()
    {
        var port = Port(0x20);
        var device = new PciTestDevice();
        port.Secondary.Plug(device, 0);
        Assert.Equal(uint.MaxValue, _memory.LoadU32(Ecam + (1 << 20)));
        Write(0, 0x20, 0x18, 0x0001_0100);
        Assert.Equal(0x0005_1B36u, _memory.LoadU32(Ecam + (1 << 20)));
        Assert.Equal(0x0005_1B36u, Read(1, 0, 0));
        Write(1, 0, 0x10, 0xFE00_0000);
        Write(1, 0, 4, 3, 2);
        Assert.Equal(uint.MaxValue, _memory.LoadU32(0xFE00_0000));
        Write(0, 0x20, 0x20, 0xFE00_FE00);
        Write(0, 0x20, 4, 7, 2);
        Assert.Equal(0UL, _memory.Load(0xFE00_0001, 1));
        Assert.Equal((0xFE00_0000UL, 0xFE0F_FFFFUL), port.MemoryRange);
        // Slot 1 pin A behind slot 4 is slot 4's pin B: PIRQ F.
        var pin = new PinFunction();
        port.Secondary.Plug(pin, 8);
        pin.Raise(true);
        Assert.True(_gsi[21].Level);
        port.Secondary.Unplug(pin);
        Assert.False(_gsi[21].Level);
        Write(0, 0x20, 0x20, 0x0000_FFF0);
        Assert.Equal(uint.MaxValue, _memory.LoadU32(0xFE00_0000));
    }

    [Fact]
    public void PortsTellOfDevicesThatComeAndGo()
    {
        var port = Port(0x20);
        port.Reset();
        var slot = port.Express!.At + 0x18;
        Assert.Equal(0u, Read(0, 0x20, slot) >> 16 & 0x49);
        var device = new PciTestDevice();
        port.Secondary.Plug(device, 0);
        port.NotePlugged();
        Assert.Equal(0x49u, Read(0, 0x20, slot) >> 16 & 0x49);
        Write(0, 0x20, slot + 2, 9, 2);
        // Powered on, asked to go, powered off.
        Write(0, 0x20, slot, 0x1C0, 2);
        Assert.True(port.TryRequestUnplug(out _));
        Assert.Equal(0x41u, Read(0, 0x20, slot) >> 16 & 0x41);
        Write(0, 0x20, slot, 0x2C0, 2);
        Assert.False(port.TryRequestUnplug(out _));
        Assert.Empty(_ejected);
        Write(0, 0x20, slot, 0x7C0, 2);
        Assert.Equal([device], _ejected);
        Assert.Equal(0u, Read(0, 0x20, slot) >> 16 & 0x40);
    }

    [Fact]
    public void SlotsAreEjectedThroughPorts()
    {
        var hotplug = new AcpiPciHotplug();
        var events = 0;
        hotplug.EventRaised = () => events++;
        hotplug.Ejected = f => _bus.Unplug(f);
        hotplug.AddBus(_bus);
        var device = new PciTestDevice();
        _bus.Plug(device, 0x18);
        hotplug.NotePlugged(device);
        Assert.Equal(1, events);
        Assert.Equal(8u, hotplug.Ports.In32(0));
        Assert.Equal(0u, hotplug.Ports.In32(0));
        hotplug.RequestUnplug(device);
        Assert.Equal(8u, hotplug.Ports.In32(4));
        hotplug.Ports.Out32(8, 1);
        Assert.Equal(_bus, device.Bus);
        hotplug.Ports.Out32(8, 8);
        Assert.Null(device.Bus);
        Assert.Equal(0u, hotplug.Ports.In32(4));
        Assert.Equal(0u, hotplug.Ports.In32(0xC) & 1);
        // A bus that is not there has no slots.
        hotplug.Ports.Out32(0x10, 7);
        Assert.Equal(0u, hotplug.Ports.In32(0xC));
    }

    [Fact]
    public void EepromsAnswerOnTheBus()
    {
        var bus = new SmBus();
        bus.Add(0x50, new SmBusEeprom());
        bus.Registers.Out(4, 0xA0);
        bus.Registers.Out(3, 7);
        bus.Registers.Out(5, 0x5A);
        bus.Registers.Out(2, 0x48);
        Assert.Equal(2, bus.Registers.In(0));
        bus.Registers.Out(0, 0xFF);
        bus.Registers.Out(4, 0xA1);
        bus.Registers.Out(2, 0x49);
        Assert.Equal(0x5A, bus.Registers.In(5));
        Assert.True(bus.Irq.Level);
        bus.Registers.Out(0, 0xFF);
        Assert.False(bus.Irq.Level);
        bus.Registers.Out(4, 0xB1);
        bus.Registers.Out(2, 0x48);
        Assert.Equal(4, bus.Registers.In(0));
    }

    [Fact]
    public void AhciRegistersAnswerThroughPorts()
    {
        var device = new Ahci();
        _bus.Plug(device, 0xFA);
        Write(0, 0xFA, 0x20, 0xC000);
        Write(0, 0xFA, 4, 1, 2);
        _io.Store(0xC010, 4, 0x10);
        Assert.Equal(0x0001_0000u, _io.LoadU32(0xC014));
    }

    /// <summary>One message without mask bits, and all six ports of the port control register can be enabled.</summary>
    [Fact]
    public void AhciConfigurationIsThatOfTheIch9()
    {
        var device = new Ahci();
        device.WriteConfig(0x82, 2, 0xFFFF);
        Assert.Equal(0x0081_A805u, device.ReadConfig(0x80, 4));
        device.WriteConfig(0x92, 1, 0xFF);
        Assert.Equal(0x3Fu, device.ReadConfig(0x92, 1));
    }

    /// <summary>Random configuration cycles, bus numbers and windows included: nothing throws, and nothing grows.</summary>
    [Fact]
    public void ConfigurationSpaceWithstandsAnything()
    {
        var seed = Environment.TickCount;
        var random = new Random(seed);
        try
        {
            var port = Port(0x20);
            var other = new PciExpressPort(PciExpressPortModel.Ioh3420, "rp2", 2, 0, 2) { Ejected = _ejected.Add };
            _bus.Plug(other, 0x28);
            var bridge = new ConventionalBridge("b", 0, true);
            port.Secondary.Plug(bridge, 0);
            var inner = new ConventionalBridge("c", 1, false);
            bridge.Secondary.Plug(inner, 0x18);
            inner.Secondary.Plug(new PciTestDevice(1 << 20), 0x10);
            other.Secondary.Plug(new Ahci(), 0);
            _bus.Plug(new Ich9SmBus(new SmBus()), 0xFB);
            for (var i = 0; i < 50_000; i++)
            {
                var bus = random.Next(8) == 0 ? random.Next(256) : random.Next(5);
                int[] places = [0, 0x10, 0x18, 0x20, 0x28, 0xF8, 0xFA, 0xFB, random.Next(256)];
                var at = (ulong)(bus << 20 | places[random.Next(places.Length)] << 12 | random.Next(random.Next(4) == 0 ? 4096 : 256));
                var size = 1 << random.Next(3);
                var value = random.Next(3) == 0 ? uint.MaxValue : (uint)random.NextInt64() & (random.Next(2) == 0 ? 0x0F0F_0303u : uint.MaxValue);
                if (random.Next(2) == 0)
                    _ = _memory.Load(Ecam + at, size);
                else
                    _memory.Store(Ecam + at, size, value);
                if (random.Next(64) == 0)
                    Write(0, 0, 0x60, Ecam | 1);
                if (random.Next(5000) == 0)
                    _bus.Reset();
            }
        }
        catch (Exception e)
        {
            throw new InvalidOperationException($"seed {seed}", e);
        }
    }

    private sealed class PinFunction : PciFunction
    {
        public PinFunction()
            : base(0x1234, 0x5678, 0xFF, 0) => UseInterruptPin(1);

        public override string TypeName => "pin";

        public void Raise(bool level) => SetIntx(level);
    }

    private PciExpressPort Port(int devfn)
    {
        var port = new PciExpressPort(PciExpressPortModel.Generic, "rp", 1, 0, 1)
        {
            Ejected = f =>
            {
                _ejected.Add(f);
                f.Bus!.Unplug(f);
            },
        };
        _bus.Plug(port, devfn);
        return port;
    }

    private uint Read(int bus, int devfn, int offset)
    {
        _io.Store(0xCF8, 4, 0x8000_0000 | (uint)(bus << 16 | devfn << 8 | (offset & 0xFC)));
        return _io.LoadU32(0xCFC);
    }

    private void Write(int bus, int devfn, int offset, uint value, int size = 4)
    {
        _io.Store(0xCF8, 4, 0x8000_0000 | (uint)(bus << 16 | devfn << 8 | (offset & 0xFC)));
        _io.Store(0xCFC + (ulong)(offset & 3), size, value);
    }
}
