using Dromaius.Core.Chardev;
using Dromaius.Core.Time;
using Dromaius.Devices.Serial;

namespace Dromaius.Devices.Tests;

public class SerialTests
{
    private readonly ManualClock _clock = new();
    private readonly FakeChar _char = new();
    private readonly Ns16550 _uart;

    public SerialTests() => _uart = new Ns16550(_char, _clock);

    [Fact]
    public void TransmitsEverything()
    {
        for (var i = 0; i < 1000; i++)
        {
            Assert.Equal(0x60, _uart.Ports.In(5) & 0x60);
            _uart.Ports.Out(0, i);
        }

        Assert.Equal(1000, _char.Written.Count);
    }

    [Fact]
    public void TransmitterInterruptEndsByReadingCause()
    {
        _uart.Ports.Out(1, 2);
        Assert.True(_uart.Irq.Level);
        Assert.Equal(2, _uart.Ports.In(2));
        Assert.False(_uart.Irq.Level);
        Assert.Equal(1, _uart.Ports.In(2));
        _uart.Ports.Out(0, 'x');
        Assert.True(_uart.Irq.Level);
        _uart.Ports.Out(1, 0);
        Assert.False(_uart.Irq.Level);
        _uart.Ports.Out(1, 2);
        Assert.Equal(2, _uart.Ports.In(2));
    }

    [Fact]
    public void FifoTriggersAndTimesOut()
    {
        _uart.Ports.Out(2, 0x81);
        _uart.Ports.Out(1, 1);
        Assert.Equal(0xC1, _uart.Ports.In(2));
        Assert.Equal(16, _uart.CanReceive);
        _uart.Receive("1234567"u8);
        Assert.False(_uart.Irq.Level);
        _clock.Advance(20_000_000);
        Assert.Equal(0xCC, _uart.Ports.In(2));
        _uart.Receive("8"u8);
        Assert.Equal(0xC4, _uart.Ports.In(2));
        for (var i = 0; i < 8; i++)
            Assert.Equal('1' + i, _uart.Ports.In(0));
        Assert.False(_uart.Irq.Level);
        Assert.Equal(0x60, _uart.Ports.In(5));
        Assert.True(_char.Accepts > 0);
    }

    [Fact]
    public void LoopbackJoinsDataAndModemLines()
    {
        _uart.Ports.Out(4, 0x1A);
        Assert.Equal(0x90, _uart.Ports.In(6) & 0xF0);
        _uart.Ports.Out(0, 'z');
        Assert.Equal((byte)'z', _uart.Ports.In(0));
        Assert.Empty(_char.Written);
        Assert.Equal(0, _uart.CanReceive);
        _uart.Ports.Out(4, 0);
        Assert.Equal(0xB0, _uart.Ports.In(6) & 0xF0);
    }

    [Fact]
    public void OverrunAndBreakAreLineErrors()
    {
        _uart.Ports.Out(1, 4);
        _uart.Ports.Out(4, 0x10);
        _uart.Ports.Out(0, 'a');
        _uart.Ports.Out(0, 'b');
        Assert.Equal(6, _uart.Ports.In(2));
        Assert.Equal(0x63, _uart.Ports.In(5));
        Assert.Equal(0x61, _uart.Ports.In(5));
        Assert.Equal((byte)'b', _uart.Ports.In(0));
        _uart.Ports.Out(4, 0);
        _uart.OnEvent(CharEvent.Break);
        Assert.Equal(0x71, _uart.Ports.In(5));
        Assert.Equal(0, _uart.Ports.In(0));
    }

    [Fact]
    public void DivisorLatchHidesData()
    {
        _uart.Ports.Out(3, 0x83);
        _uart.Ports.Out(0, 1);
        _uart.Ports.Out(1, 2);
        Assert.Equal(1, _uart.Ports.In(0));
        Assert.Equal(2, _uart.Ports.In(1));
        _uart.Ports.Out(3, 3);
        Assert.Equal(0, _uart.Ports.In(1));
        Assert.Empty(_char.Written);
        _uart.Ports.Out(7, 0x5A);
        Assert.Equal(0x5A, _uart.Ports.In(7));
    }

    [Fact]
    public void ModemStatusInterrupt()
    {
        _uart.Ports.Out(1, 8);
        _uart.OnEvent(CharEvent.Closed);
        Assert.True(_uart.Irq.Level);
        Assert.Equal(0, _uart.Ports.In(2));
        Assert.Equal(0x0B, _uart.Ports.In(6));
        Assert.False(_uart.Irq.Level);
    }
}
