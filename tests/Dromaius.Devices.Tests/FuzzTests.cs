using Dromaius.Core.Cpus;
using Dromaius.Core.Memory;
using Dromaius.Core.Time;
using Dromaius.Devices.Display;
using Dromaius.Devices.Firmware;
using Dromaius.Devices.Input;
using Dromaius.Devices.Interrupts;
using Dromaius.Devices.Isa;
using Dromaius.Devices.Parallel;
using Dromaius.Devices.Pci;
using Dromaius.Devices.Serial;
using Dromaius.Devices.Timers;

namespace Dromaius.Devices.Tests;

/// <summary>Random accesses to every device, wired up as on a PC: nothing may throw.</summary>
public sealed class FuzzTests : IDisposable
{
    private const int Operations = 300_000;

    private readonly ManualClock _clock = new();
    private readonly RamBlock _ram = new("ram", 1 << 20);
    private readonly List<MemoryRegion> _regions = [];
    private readonly List<Action<Random>> _events = [];
    private readonly List<Core.Devices.Device> _devices = [];

    public void Dispose()
    {
        CurrentVcpu.Index = -1;
        _ram.Dispose();
    }

    private T Add<T>(T device, params MemoryRegion[] regions)
        where T : Core.Devices.Device
    {
        _devices.Add(device);
        _regions.AddRange(regions);
        return device;
    }

    private void Build()
    {
        var machineLock = new Lock();
        var root = MemoryRegion.Container("system", 0);
        root.Add(0, MemoryRegion.RamRegion("ram", _ram));
        var memory = new AddressSpace("memory", root, machineLock);

        var bus = new ApicBus(machineLock);
        bus.MapInto(root);
        _regions.Add(bus.Window);
        for (var i = 0; i < 2; i++)
        {
            var apic = Add(new LocalApic(bus, new FakeVcpu(i), (uint)i, i == 0, _clock, () => (ulong)_clock.Now,
                t => (long)(t & long.MaxValue)));
            _events.Add(r => apic.Acknowledge());
            _events.Add(r => apic.TrySetBaseMsr(0xFEE00000UL | (ulong)r.Next(16) << 8 | (r.Next(64) == 0 ? 0x1000UL : 0)));
            _events.Add(r => apic.TryWriteMsr(0x800 + (uint)r.Next(0x100), Value(r)));
            _events.Add(r => apic.TryReadMsr(0x800 + (uint)r.Next(0x100), out _));
            _events.Add(r => apic.TscDeadline = Value(r));
            _events.Add(r => apic.Cr8 = (byte)r.Next(256));
            _events.Add(r => apic.SetLint(r.Next(2), r.Next(2) == 0));
        }

        var io = new IoApic(bus);
        Add(io, io.Registers);
        var pic = new I8259();
        Add(pic, pic.MasterPorts, pic.SlavePorts, pic.EdgeLevelPorts);
        bus.AcknowledgePic = pic.Acknowledge;
        pic.Intr.Connect(bus.SetLint0);
        void Irq(int n, bool level)
        {
            io.SetIrq(n == 0 ? 2 : n, level);
            pic.SetIrq(n, level);
        }

        var pit = new I8254(_clock);
        Add(pit, pit.Ports);
        var speaker = new PcSpeaker(pit, _clock);
        Add(speaker, speaker.Port);
        var rtc = new Mc146818(_clock, new DateTime(2026, 1, 1));
        Add(rtc, rtc.Ports);
        _events.Add(r => _ = rtc.Now);
        var hpet = new Hpet(_clock, 0xFF0104) { Message = bus.DeliverMsi };
        Add(hpet, hpet.Registers);
        pit.Irq.Connect(l => hpet.SetIrq(0, l));
        rtc.Irq.Connect(l => hpet.SetIrq(1, l));
        hpet.TimerIrq.Connect(l => Irq(0, l));
        hpet.RtcIrq.Connect(l => Irq(8, l));
        hpet.LegacyReplacementChanged = on => pit.IrqDisabled = on;
        for (var i = 0; i < 24; i++)
        {
            var n = i;
            hpet.Irqs[i].Connect(l => Irq(n, l));
        }

        var chars = new FakeChar();
        var uart = new Ns16550(chars, _clock);
        Add(uart, uart.Ports);
        uart.Irq.Connect(l => Irq(4, l));
        _events.Add(r => uart.Receive(new byte[Math.Min(r.Next(20), uart.CanReceive)]));
        _events.Add(r => uart.OnEvent((Core.Chardev.CharEvent)r.Next(3)));
        _events.Add(_ => chars.Written.Clear());
        var parallel = new ParallelPort(chars);
        Add(parallel, parallel.Ports);

        var keyboard = Add(new Ps2Keyboard(_clock));
        var mouse = Add(new Ps2Mouse());
        var i8042 = new I8042(keyboard, mouse);
        Add(i8042, i8042.DataPort, i8042.CommandPort);
        i8042.KeyboardIrq.Connect(l => Irq(1, l));
        i8042.AuxIrq.Connect(l => Irq(12, l));
        _events.Add(r => keyboard.Key(r.Next(4) == 0 ? r.Next() : r.Next(128) | (r.Next(2) * 0xE000), r.Next(2) == 0));
        _events.Add(r => mouse.Move(r.Next(), -r.Next(), r.Next(-20, 20)));
        _events.Add(r => mouse.SetButtons(r.Next()));

        var pm = new AcpiPm(_clock);
        Add(pm, pm.PmRegisters, pm.GpeRegisters, pm.ApmPorts);
        pm.Sci.Connect(l => Irq(9, l));
        var smbus = new SmBus();
        Add(smbus, smbus.Registers);
        var dma = new I8237(memory);
        Add(dma, dma.BytePorts, dma.WordPorts, dma.PagePorts, dma.HighPagePorts);
        _events.Add(r => dma.Read(r.Next(-1, 9), new byte[r.Next(64)], out _));
        _events.Add(r => dma.Write(r.Next(-1, 9), new byte[r.Next(64)], out _));
        var port92 = new Port92();
        Add(port92, port92.Port);
        var control = new ResetControl();
        Add(control, control.Port);
        var console = new DebugConsole(chars);
        Add(console, console.Port);
        var exit = new DebugExit(static _ => { }, 4);
        Add(exit, exit.Ports);
        var test = new PcTestDev();
        Add(test, test.StorePorts, test.BytePorts, test.FlushPorts, test.IrqPorts, test.Memory);
        for (var i = 0; i < 24; i++)
        {
            var n = i;
            test.Irqs[i].Connect(l => Irq(n, l));
        }

        var vga = new Vga(_clock, 1 << 20);
        Add(vga, vga.LegacyWindow, vga.Ports, vga.VbePorts, vga.Mmio);
        _events.Add(r =>
        {
            if (r.Next(100) == 0)
                _ = r.Next(2) == 0 ? Picture.Of(vga).Pixels.Length : vga.GetText().Length;
        });
        var pci = new PciTestDev();
        Add(pci, pci.MemoryBar, pci.IoBar);
    }

    private static ulong Value(Random random) => random.Next(4) switch
    {
        0 => (ulong)random.Next(256),
        1 => (ulong)random.NextInt64(),
        2 => 1UL << random.Next(64),
        _ => ulong.MaxValue >> random.Next(64),
    };

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void NothingThrows(int seed)
    {
        Build();
        var random = new Random(seed);
        for (var i = 0; i < Operations; i++)
        {
            CurrentVcpu.Index = random.Next(-1, 3);
            switch (random.Next(16))
            {
                case 0:
                    _events[random.Next(_events.Count)](random);
                    break;
                case 1:
                    _clock.Advance(random.Next(random.Next(4) == 0 ? 10_000_000 : 10_000));
                    break;
                case 2 when random.Next(1000) == 0:
                    foreach (var device in _devices)
                        device.Reset();
                    break;
                default:
                    Access(random);
                    break;
            }
        }
    }

    private void Access(Random random)
    {
        var region = _regions[random.Next(_regions.Count)];
        var size = 1 << random.Next(4);
        size = Math.Clamp(size, region.MinAccess, region.MaxAccess);
        var limit = region.Size;
        if (limit > 0x1000 && random.Next(8) != 0)
            limit = 0x1000;
        if ((ulong)size > region.Size)
            size = 1;
        var offset = (ulong)random.NextInt64((long)limit);
        if (random.Next(8) != 0)
            offset &= ~((ulong)size - 1);
        if (offset + (ulong)size > region.Size)
            offset = region.Size - (ulong)size;
        if (random.Next(2) == 0)
            _ = region.Read!(offset, size);
        else
            region.Write!(offset, size, Value(random) & (size == 8 ? ulong.MaxValue : (1UL << (8 * size)) - 1));
    }
}
