using Dromaius.Core.Time;
using Dromaius.Devices.Timers;

namespace Dromaius.Devices.Tests;

public class HpetTests
{
    private readonly ManualClock _clock = new();
    private readonly Hpet _hpet;

    public HpetTests() => _hpet = new Hpet(_clock, 0xFF0104);

    private ulong Read(int register) => _hpet.Registers.Read!((ulong)register, 8);

    private void Write(int register, ulong value) => _hpet.Registers.Write!((ulong)register, 8, value);

    [Fact]
    public void CapabilitiesAndCounter()
    {
        Assert.Equal(0x00989680_8086A201UL, Read(0));
        Assert.Equal(0UL, Read(0xF0));
        _clock.Advance(1000);
        Assert.Equal(0UL, Read(0xF0));
        Write(0x10, 1);
        _clock.Advance(1000);
        Assert.Equal(100UL, Read(0xF0));
        Write(0x10, 0);
        _clock.Advance(1000);
        Assert.Equal(100UL, Read(0xF0));
        Write(0xF0, 0x1_0000_0000);
        Write(0x10, 1);
        Assert.Equal(1u, _hpet.Registers.In32(0xF4));
    }

    [Fact]
    public void OneShotEdge()
    {
        var edges = 0;
        _hpet.Irqs[2].Connect(level => edges += level ? 1 : 0);
        Write(0x10, 1);
        Write(0x100, 2 << 9 | 4);
        Write(0x108, 1000);
        _clock.Advance(9_999);
        Assert.Equal(0, edges);
        _clock.Advance(1);
        Assert.Equal(1, edges);
        _clock.Advance(1_000_000_000);
        Assert.Equal(1, edges);
        // A comparator that was missed by a little matches at once.
        Write(0x108, Read(0xF0) - 5);
        _clock.Advance(1);
        Assert.Equal(2, edges);
    }

    [Fact]
    public void PeriodicLevel()
    {
        Write(0x10, 1);
        Write(0x120, 16 << 9 | 0x4E);
        Write(0x128, 100_000);
        Write(0x128, 100_000);
        for (var i = 0; i < 5; i++)
        {
            _clock.Advance(1_000_000);
            Assert.True(_hpet.Irqs[16].Level);
            Assert.Equal(2UL, Read(0x20));
            Write(0x20, 2);
            Assert.False(_hpet.Irqs[16].Level);
        }

        _clock.Advance(999_990);
        Assert.Equal(0UL, Read(0x20));
    }

    [Fact]
    public void LegacyReplacementTakesTheLines()
    {
        _hpet.SetIrq(0, true);
        Assert.True(_hpet.TimerIrq.Level);
        var legacy = false;
        _hpet.LegacyReplacementChanged = on => legacy = on;
        Write(0x10, 3);
        Assert.True(legacy);
        Assert.False(_hpet.TimerIrq.Level);
        var edges = 0;
        _hpet.TimerIrq.Connect(level => edges += level ? 1 : 0);
        Write(0x100, 0x16C); // 32 bits, periodic, VAL_SET
        _hpet.Registers.Out32(0x108, 100_000);
        _hpet.Registers.Out32(0x108, 100_000);
        _clock.Advance(10_000_000);
        Assert.Equal(10, edges);
        Write(0x10, 1);
        Assert.False(legacy);
        Assert.True(_hpet.TimerIrq.Level);
    }
}
