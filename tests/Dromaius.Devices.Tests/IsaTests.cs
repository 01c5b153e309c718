using Dromaius.Core.Memory;
using Dromaius.Devices.Isa;
using Dromaius.Devices.Parallel;
using Dromaius.Devices.Pci;

namespace Dromaius.Devices.Tests;

public class IsaTests
{
    private static AddressSpace Memory(out RamBlock ram)
    {
        ram = new RamBlock("ram", 1 << 20);
        var root = MemoryRegion.Container("system", 0);
        root.Add(0, MemoryRegion.RamRegion("ram", ram));
        return new AddressSpace("memory", root, new Lock());
    }

    [Fact]
    public void DmaMovesBytesToTerminalCount()
    {
        var dma = new I8237(Memory(out var ram));
        dma.BytePorts.Out(12, 0);
        dma.BytePorts.Out(4, 0x00);
        dma.BytePorts.Out(4, 0x10);
        dma.BytePorts.Out(5, 0x03);
        dma.BytePorts.Out(5, 0x00);
        dma.PagePorts.Out(1, 0x02); // channel 2
        dma.BytePorts.Out(11, 0x46);
        Assert.False(dma.IsReady(2));
        dma.BytePorts.Out(10, 2);
        Assert.Equal(2, dma.Write(2, [1, 2], out var terminal));
        Assert.False(terminal);
        Assert.Equal(2, dma.Write(2, [3, 4, 5, 6], out terminal));
        Assert.True(terminal);
        Assert.Equal([1, 2, 3, 4, 0], ram.Span(0x21000, 5).ToArray());
        Assert.Equal(4, dma.BytePorts.In(8) & 0x0F);
        Assert.False(dma.IsReady(2));
        ram.Dispose();
    }

    [Fact]
    public void DmaWordsAndAutoInitialisation()
    {
        var dma = new I8237(Memory(out var ram));
        dma.WordPorts.Out(24, 0);
        dma.WordPorts.Out(4, 0x00);
        dma.WordPorts.Out(4, 0x08);
        dma.WordPorts.Out(6, 1);
        dma.WordPorts.Out(6, 0);
        dma.PagePorts.Out(11, 0x05);
        dma.WordPorts.Out(22, 0x59);
        dma.WordPorts.Out(20, 1);
        ram.Span(0x41000, 4).Fill(0xAB);
        Span<byte> to = stackalloc byte[8];
        Assert.Equal(4, dma.Read(5, to, out var terminal));
        Assert.True(terminal);
        Assert.Equal(0xAB, to[3]);
        Assert.Equal(4, dma.Read(5, to, out _));
        Assert.Equal(0, dma.Read(9, to, out _));
        ram.Dispose();
    }

    [Fact]
    public void DmaMemoryToMemory()
    {
        var dma = new I8237(Memory(out var ram));
        ram.Span(0x1000, 4).Fill(0x77);
        foreach (var (register, value) in ((int, int)[])[(12, 0), (0, 0), (0, 0x10), (2, 0), (2, 0x20), (3, 3), (3, 0),
            (11, 0x88), (11, 0x85), (8, 1), (9, 4)])
            dma.BytePorts.Out(register, value);
        Assert.Equal([0x77, 0x77, 0x77, 0x77, 0], ram.Span(0x2000, 5).ToArray());
        ram.Dispose();
    }

    [Fact]
    public void ResetPorts()
    {
        var resets = new List<bool>();
        var control = new ResetControl { ResetRequested = resets.Add };
        control.Port.Out(0, 0);
        control.Port.Out(0, 4);
        control.Port.Out(0, 2);
        control.Port.Out(0, 6);
        Assert.Equal([false, true], resets);
        var fast = 0;
        var port = new Port92 { ResetRequested = () => fast++ };
        port.Port.Out(0, 2);
        Assert.True(port.A20.Level);
        port.Port.Out(0, 3);
        port.Port.Out(0, 3);
        Assert.Equal(1, fast);
        Assert.Equal(3, port.Port.In(0));
        port.Reset();
        Assert.Equal(0, port.Port.In(0));
    }

    [Fact]
    public void ResetPortInsideTheConfigurationAddress()
    {
        var machineLock = new Lock();
        var root = MemoryRegion.Container("io", 0x10000);
        var io = new AddressSpace("io", root, machineLock);
        var resets = new List<bool>();
        var pci = new PciConfigMechanism(new PciBus("pci.0", MemoryRegion.Container("pci", 0), root, Memory(out var ram)))
        {
            ResetControl = new ResetControl { ResetRequested = resets.Add },
        };
        root.Add(0xCF8, pci.AddressRegion);
        io.Store(0xCF8, 4, 0x80000E04);
        Assert.Equal(0x80000E04u, io.LoadU32(0xCF8));
        Assert.Empty(resets);
        io.Store(0xCF9, 1, 6);
        Assert.Equal([true], resets);
        Assert.Equal(2u, io.Load(0xCF9, 1));
        Assert.Equal(0x80000E04u, io.LoadU32(0xCF8));
        ram.Dispose();
    }

    [Fact]
    public void DebugPorts()
    {
        var chars = new FakeChar();
        var console = new DebugConsole(chars);
        Assert.Equal(0xE9, console.Port.In(0));
        console.Port.Out(0, 'x');
        Assert.Equal("x"u8.ToArray(), chars.Written);
        var status = -1;
        var exit = new DebugExit(s => status = s);
        exit.Ports.Out32(0, 0x10);
        Assert.Equal(0x21, status);
    }

    [Fact]
    public void PcTestDevice()
    {
        var dev = new PcTestDev();
        dev.StorePorts.Out32(0, 0x11223344);
        Assert.Equal(0x44, dev.StorePorts.In(0));
        Assert.Equal(0x1122u, dev.StorePorts.In32(2) & 0xFFFF);
        dev.Memory.Write!(0xFFF, 2, 0x88AA);
        Assert.Equal(0xAA, dev.Memory.In(0xFFF));
        Assert.Equal(0x88, dev.Memory.In(0x1000));
        dev.IrqPorts.Out(14, 1);
        Assert.True(dev.Irqs[14].Level);
        dev.IrqPorts.Out(14, 0);
        Assert.False(dev.Irqs[14].Level);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void PciTestDeviceCounts(bool memory)
    {
        var dev = new PciTestDev();
        var bar = memory ? dev.MemoryBar : dev.IoBar;
        var tests = 0;
        while (true)
        {
            bar.Out(0, tests);
            var width = bar.In(1);
            if (width == 0)
                break;
            Assert.Equal(0u, bar.In32(12));
            Assert.Equal(memory ? (byte)'m' : (byte)'p', bar.In(16));
            for (var i = 0; i < 16; i++)
                bar.Out((int)bar.In32(4), (int)bar.In32(8));
            Assert.Equal(16u, bar.In32(12));
            tests++;
        }

        Assert.Equal(3, tests);
    }

    [Fact]
    public void ParallelPrintsAtTheStrobe()
    {
        var chars = new FakeChar();
        var port = new ParallelPort(chars);
        port.Ports.Out(0, 'p');
        port.Ports.Out(2, 0x0C);
        port.Ports.Out(2, 0x0D);
        port.Ports.Out(2, 0x0C);
        Assert.Equal("p"u8.ToArray(), chars.Written);
        Assert.Equal(0xDF, port.Ports.In(1));
        Assert.Equal(0xCC, port.Ports.In(2));
    }
}
