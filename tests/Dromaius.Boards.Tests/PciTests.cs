using Dromaius.Core.Errors;
using Dromaius.Core.Interrupts;
using Dromaius.Core.Memory;
using Dromaius.Devices.Pci;

namespace Dromaius.Boards.Tests;

public class PciTests
{
    private readonly MemoryRegion _system = MemoryRegion.Container("system", 0);
    private readonly MemoryRegion _ioRoot = MemoryRegion.Container("io", 0x10000);
    private readonly MemoryRegion _pci = MemoryRegion.Container("pci", 0);
    private readonly AddressSpace _memory;
    private readonly AddressSpace _io;
    private readonly PciBus _bus;
    private readonly IrqLine[] _isa = [.. Enumerable.Range(0, 16).Select(static _ => new IrqLine())];
    private readonly I440Fx _host;
    private readonly Piix3 _bridge;

    public PciTests()
    {
        var machineLock = new Lock();
        _memory = new AddressSpace("memory", _system, machineLock);
        _io = new AddressSpace("io", _ioRoot, machineLock);
        var ram = MemoryRegion.RamRegion("ram", new RamBlock("ram", 4 << 20));
        _system.Add(0, ram);
        _system.Add(0, _pci, -1);
        _pci.Add(0xC0000, MemoryRegion.Device("low", 0x40000, static (_, _) => 0x77, static (_, _, _) => { }));
        _bus = new PciBus("pci.0", _pci, _ioRoot, _memory);
        var config = new PciConfigMechanism(_bus);
        _ioRoot.Add(0xCF8, config.AddressRegion);
        _ioRoot.Add(0xCFC, config.DataRegion);
        _host = new I440Fx(_system, ram, _pci);
        _bus.Plug(_host, 0);
        _bridge = new Piix3(_bus, _isa);
        _bus.Plug(_bridge, 8);
        _host.Reset();
        _bridge.Reset();
    }

    [Fact]
    public void MechanismOneFindsFunctions()
    {
        Assert.Equal(0x12378086u, Config(0, 0));
        Assert.Equal(0x70008086u, Config(8, 0));
        Assert.Equal(uint.MaxValue, Config(16, 0));
        Assert.Equal(0x80UL, Config(8, 0xE, 1));
        // Programs that leave a byte's number in the address register mean that byte.
        _io.Store(0xCF8, 4, 0x8000_0002);
        Assert.Equal(0x1237UL, _io.Load(0xCFC, 2));
        Assert.Equal(0x8000_0002u, _io.LoadU32(0xCF8));
        _io.Store(0xCF8, 4, 0);
        Assert.Equal(uint.MaxValue, _io.LoadU32(0xCFC));
        // Byte accesses do not reach the address register.
        _io.Store(0xCF8, 4, 0x8000_0000);
        _io.Store(0xCF8, 1, 0x12);
        Assert.Equal(0x8000_0000u, _io.LoadU32(0xCF8));
    }

    [Fact]
    public void BarsAreSizedAndMapped()
    {
        var device = new PciTestDevice(1 << 20);
        _bus.Plug(device, 0x20);
        Write(0x20, 0x10, 0xFFFF_FFFF);
        Assert.Equal(0xFFFF_F000u, Config(0x20, 0x10));
        Write(0x20, 0x14, 0xFFFF_FFFF);
        Assert.Equal(0xFFFF_FF01u, Config(0x20, 0x14));
        Write(0x20, 0x18, 0xFFFF_FFFF);
        Assert.Equal(0xFFF0_000Cu, Config(0x20, 0x18));
        Write(0x20, 0x10, 0xFE00_0000);
        Write(0x20, 0x14, 0xC000);
        Assert.Null(device.BarAddress(0));
        Write(0x20, 4, 3);
        Assert.Equal(0xFE00_0000UL, device.BarAddress(0));
        Assert.Equal(0xC000UL, device.BarAddress(1));
        _memory.Store(0xFE00_0000, 1, 0);
        Assert.Equal(1UL, _memory.Load(0xFE00_0001, 1));
        Write(0x20, 4, 0);
        Assert.Equal(0xFFUL, _memory.Load(0xFE00_0001, 1));
        Assert.Equal(0xFFUL, _io.Load(0xC001, 1));
    }

    [Fact]
    public void PamRoutesSegments()
    {
        _memory.Store(0x8000, 1, 0);
        Assert.Equal(0x77UL, _memory.Load(0xF0000, 1));
        Write(0, 0x58, 0x3000);                     // PAM0: F0000 read and write
        _memory.Store(0xF0000, 1, 0x42);
        Assert.Equal(0x42UL, _memory.Load(0xF0000, 1));
        Write(0, 0x58, 0x1000);                     // read only
        _memory.Store(0xF0000, 1, 0x43);
        Assert.Equal(0x42UL, _memory.Load(0xF0000, 1));
        Assert.Equal(0x77UL, _memory.Load(0xEC000, 1));
        Write(0, 0x5C, 0x3300_0000);                // PAM6: E8000 and EC000
        Assert.Equal(0UL, _memory.Load(0xEC000, 1));
        _host.Reset();
        Assert.Equal(0x77UL, _memory.Load(0xF0000, 1));
    }

    [Fact]
    public void SmramLocks()
    {
        _pci.Add(0xA0000, MemoryRegion.Device("vga", 0x20000, static (_, _) => 0x66, static (_, _, _) => { }));
        _system.Add(0xA0000, MemoryRegion.Alias("vga-window", _pci, 0xA0000, 0x20000), 1);
        Assert.Equal(0x66UL, _memory.Load(0xA0000, 1));
        Write(0, 0x72, 0x4A, 1);
        _memory.Store(0xA0000, 1, 5);
        Assert.Equal(5UL, _memory.Load(0xA0000, 1));
        Write(0, 0x72, 0x1A, 1);
        Assert.Equal(0x66UL, _memory.Load(0xA0000, 1));
        Write(0, 0x72, 0x4A, 1);
        Assert.Equal(0x66UL, _memory.Load(0xA0000, 1));
        Assert.True(_host.IsSmramEnabled);
    }

    [Fact]
    public void InterruptsAreRouted()
    {
        var device = new Interrupter();
        _bus.Plug(device, 0x18);                    // slot 3 pin A: line 2
        device.Raise(true);
        Assert.DoesNotContain(_isa, static l => l.Level);
        Write(8, 0x60, 0x0B0A_0B0A);
        Assert.True(_isa[10].Level);
        Assert.False(_isa[11].Level);
        Write(8, 0x62, 0x0B, 1);
        Assert.False(_isa[10].Level);
        Assert.True(_isa[11].Level);
        Write(0x18, 4, 0x400);                      // interrupt disable
        Assert.False(_isa[11].Level);
        Write(0x18, 4, 0);
        Assert.True(_isa[11].Level);
        device.Reset();
        Assert.False(_isa[11].Level);
    }

    [Fact]
    public void MessagesGoToMemory()
    {
        var device = new Interrupter();
        _bus.Plug(device, 0x18);
        Write(0x18, 4, PciConfig.CommandMaster);
        var at = (int)Config(0x18, 0x34, 1);
        Assert.Equal(5u, Config(0x18, at, 1));
        Write(0x18, at + 4, 0x1000);
        Write(0x18, at + 12, 0x4321);
        device.Messages.Notify(0);
        Assert.Equal(0UL, _memory.Load(0x1000, 4));
        Write(0x18, at + 2, 1, 2);
        device.Messages.Notify(1);
        Assert.Equal(0x4321UL & ~0UL, _memory.Load(0x1000, 4) | 1);
        Write(0x18, at + 16, 1);
        _memory.Store(0x1000, 4, 0);
        device.Messages.Notify(0);
        Assert.Equal(0UL, _memory.Load(0x1000, 4));
        Write(0x18, at + 16, 0);
        Assert.NotEqual(0UL, _memory.Load(0x1000, 4));
    }

    [Fact]
    public void TakenSlotsAreRefused()
    {
        var e = Assert.Throws<UserErrorException>(() => _bus.Plug(new PciTestDevice(), 8));
        Assert.Equal("PCI: slot 1 function 0 not available for pci-testdev, in use by PIIX3,id=(null)", e.Message);
        for (var i = 0; i < 30; i++)
            _bus.Plug(new PciTestDevice());
        Assert.Throws<UserErrorException>(() => _bus.Plug(new PciTestDevice()));
    }

    [Fact]
    public void RandomAccessesDoNoHarm()
    {
        _bus.Plug(new PciTestDevice(4096), 0x20);
        _bus.Plug(new Interrupter(), 0x28);
        var random = new Random(17);
        for (var i = 0; i < 10_000; i++)
        {
            _io.Store(0xCF8, 4, 0x8000_0000 | (uint)(random.Next(0x30) << 8) | (uint)random.Next(256));
            var size = 1 << random.Next(3);
            var port = (ulong)(0xCFC + random.Next(4));
            if (random.Next(3) == 0)
                _ = _io.Load(port, size);
            else
                _io.Store(port, size, (ulong)random.NextInt64());
            if (random.Next(500) == 0)
                foreach (var f in _bus.Functions)
                    f.Reset();
        }
    }

    private uint Config(int devfn, int register, int size = 4)
    {
        _io.Store(0xCF8, 4, 0x8000_0000 | (uint)(devfn << 8) | (uint)(register & 0xFC));
        return (uint)_io.Load(0xCFC + (ulong)(register & 3), size);
    }

    private void Write(int devfn, int register, uint value, int size = 4)
    {
        _io.Store(0xCF8, 4, 0x8000_0000 | (uint)(devfn << 8) | (uint)(register & 0xFC));
        _io.Store(0xCFC + (ulong)(register & 3), size, value);
    }

    private sealed class Interrupter : PciFunction
    {
        public Interrupter()
            : base(0x1234, 0x5678, 0xFF, 0)
        {
            UseInterruptPin(1);
            Messages = new Msi(this, 2);
        }

        public Msi Messages { get; }

        public override string TypeName => "interrupter";

        public void Raise(bool level) => SetIntx(level);
    }
}
