using Dromaius.Core.Time;
using Dromaius.Devices.Timers;

namespace Dromaius.Devices.Tests;

public class TimerTests
{
    private readonly ManualClock _clock = new();

    private static long Ns(long ticks) => I8254.ToNanoseconds(ticks);

    private static int Count(I8254 pit, int channel)
    {
        pit.Ports.Out(3, channel << 6);
        var low = pit.Ports.In(channel);
        return low | pit.Ports.In(channel) << 8;
    }

    [Fact]
    public void RateGeneratorInterruptsEveryPeriod()
    {
        var pit = new I8254(_clock);
        var edges = 0;
        pit.Irq.Connect(level => edges += level ? 1 : 0);
        pit.Ports.Out(3, 0x34);
        pit.Ports.Out(0, 0x9C);
        pit.Ports.Out(0, 0x2E); // 11932: 100 Hz
        edges = 0;
        _clock.Advance(1_000_000_000);
        Assert.InRange(edges, 99, 100);
        Assert.InRange(Count(pit, 0), 1, 11932);
    }

    [Fact]
    public void SquareWaveInterruptsAndHasHalfDutyCycle()
    {
        var pit = new I8254(_clock);
        var edges = 0;
        pit.Ports.Out(3, 0x36);
        pit.Ports.Out(0, 0);
        pit.Ports.Out(0, 0);
        pit.Irq.Connect(level => edges += level ? 1 : 0);
        edges = 0;
        _clock.Advance(1_000_000_000);
        Assert.Equal(18, edges);
        pit.Ports.Out(3, 0xB6);
        pit.Ports.Out(2, 100);
        pit.Ports.Out(2, 0);
        pit.SetGate(2, true);
        Assert.True(pit.GetOutput(2));
        _clock.Advance(Ns(60));
        Assert.False(pit.GetOutput(2));
        Assert.InRange(Count(pit, 2), 60, 90);
    }

    [Fact]
    public void TerminalCountGoesHighOnceAndStopsWithTheGate()
    {
        var pit = new I8254(_clock);
        pit.SetGate(2, true);
        pit.Ports.Out(3, 0xB0);
        pit.Ports.Out(2, 0xE8);
        pit.Ports.Out(2, 0x03);
        Assert.False(pit.GetOutput(2));
        _clock.Advance(Ns(500));
        pit.SetGate(2, false);
        _clock.Advance(Ns(5000));
        Assert.InRange(Count(pit, 2), 499, 501);
        Assert.False(pit.GetOutput(2));
        pit.SetGate(2, true);
        _clock.Advance(Ns(502));
        Assert.True(pit.GetOutput(2));
        // It counts on through zero.
        Assert.InRange(Count(pit, 2), 0xFFF0, 0xFFFF);
    }

    [Fact]
    public void OneShotStartsAtTheGate()
    {
        var pit = new I8254(_clock);
        pit.Ports.Out(3, 0xB2);
        pit.Ports.Out(2, 100);
        pit.Ports.Out(2, 0);
        Assert.True(pit.GetOutput(2));
        pit.SetGate(2, true);
        Assert.False(pit.GetOutput(2));
        _clock.Advance(Ns(101));
        Assert.True(pit.GetOutput(2));
        pit.SetGate(2, false);
        pit.SetGate(2, true);
        Assert.False(pit.GetOutput(2));
    }

    [Fact]
    public void SoftwareStrobeInterruptsOnce()
    {
        var pit = new I8254(_clock);
        pit.Ports.Out(3, 0x38);
        var edges = 0;
        pit.Irq.Connect(level => edges += level ? 1 : 0);
        edges = 0;
        for (var i = 1; i < 4; i++)
        {
            pit.Ports.Out(0, 0x10);
            pit.Ports.Out(0, 0x27);
            _clock.Advance(Ns(30000));
            Assert.Equal(i, edges);
        }
    }

    [Fact]
    public void ReadBackLatchesStatusThenCount()
    {
        var pit = new I8254(_clock);
        pit.SetGate(2, true);
        pit.Ports.Out(3, 0xB5); // mode 2, BCD
        pit.Ports.Out(2, 0x00);
        pit.Ports.Out(2, 0x10); // 1000
        _clock.Advance(Ns(1));
        pit.Ports.Out(3, 0xC8);
        Assert.Equal(0xB5, pit.Ports.In(2)); // OUT high, both bytes, mode 2, BCD
        var count = pit.Ports.In(2) | pit.Ports.In(2) << 8;
        Assert.InRange(count, 0x997, 0x1000);
        Assert.DoesNotContain(count.ToString("x"), c => c > '9');
    }

    [Fact]
    public void PortBTogglesAndShowsTimer2()
    {
        var pit = new I8254(_clock);
        var speaker = new PcSpeaker(pit, _clock);
        pit.Ports.Out(3, 0xB6);
        pit.Ports.Out(2, 0xA9);
        pit.Ports.Out(2, 0x04);
        speaker.Port.Out(0, 3);
        Assert.InRange(speaker.Tone, 995, 1005);
        var first = speaker.Port.In(0) & 0x10;
        _clock.Advance(15_100);
        Assert.NotEqual(first, speaker.Port.In(0) & 0x10);
        Assert.Equal(3, speaker.Port.In(0) & 0x0F);
    }

    // ---- Real-time clock ----

    private static byte Rtc(Mc146818 rtc, int index)
    {
        rtc.Ports.Out(0, index);
        return rtc.Ports.In(1);
    }

    private static void Rtc(Mc146818 rtc, int index, int value)
    {
        rtc.Ports.Out(0, index);
        rtc.Ports.Out(1, value);
    }

    [Fact]
    public void CalendarRunsAcrossNewYear()
    {
        var rtc = new Mc146818(_clock, new DateTime(1999, 12, 31, 23, 59, 58, DateTimeKind.Utc));
        Assert.Equal(0x58, Rtc(rtc, 0));
        Assert.Equal(0x23, Rtc(rtc, 4));
        Assert.Equal(6, Rtc(rtc, 6)); // Friday
        _clock.Advance(2_000_000_000);
        Assert.Equal(0, Rtc(rtc, 0));
        Assert.Equal(0, Rtc(rtc, 4));
        Assert.Equal(1, Rtc(rtc, 7));
        Assert.Equal(1, Rtc(rtc, 8));
        Assert.Equal(0, Rtc(rtc, 9));
        Assert.Equal(0x20, Rtc(rtc, 0x32));
        Assert.Equal(new DateTime(2000, 1, 1), rtc.Now);
    }

    [Fact]
    public void SetHoldsTheCalendarAndFormatsAreHonoured()
    {
        var rtc = new Mc146818(_clock, new DateTime(2026, 2, 28, 13, 0, 0));
        var offsets = new List<long>();
        rtc.TimeSet = offsets.Add;
        Rtc(rtc, 11, 0x82);
        Rtc(rtc, 0, 0x30);
        _clock.Advance(5_000_000_000);
        Assert.Equal(0x30, Rtc(rtc, 0));
        Assert.Empty(offsets);
        Rtc(rtc, 11, 0x02);
        Assert.Equal([25], offsets);
        Rtc(rtc, 4, 0x14);
        Assert.Equal(3625, offsets[^1]);
        Rtc(rtc, 4, 0x13);
        _clock.Advance(1_000_000_000);
        Assert.Equal(0x31, Rtc(rtc, 0));
        Rtc(rtc, 11, 0x04); // binary, 12 hours
        Assert.Equal(31, Rtc(rtc, 0));
        Assert.Equal(0x81, Rtc(rtc, 4));
        _clock.Advance(Clock.NanosecondsPerSecond * 3600 * 11);
        Assert.Equal(12, Rtc(rtc, 4)); // midnight
        Assert.Equal(3, Rtc(rtc, 8));
    }

    [Fact]
    public void PeriodicUpdateAndAlarmInterrupts()
    {
        var rtc = new Mc146818(_clock, new DateTime(2026, 1, 1, 10, 0, 0));
        var edges = 0;
        rtc.Irq.Connect(level =>
        {
            if (level)
                edges++;
        });
        Rtc(rtc, 11, 0x42);
        for (var i = 0; i < 1024; i++)
        {
            _clock.Advance(976_563);
            if (rtc.Irq.Level)
                Assert.Equal(0xC0, Rtc(rtc, 12) & 0xC0);
        }

        Assert.InRange(edges, 1023, 1025);
        Rtc(rtc, 11, 0x12);
        Rtc(rtc, 12);
        edges = 0;
        _clock.Advance(3_000_000_000);
        Assert.Equal(1, edges); // until register C is read
        Assert.Equal(0x90, Rtc(rtc, 12) & 0x90);
        Assert.False(rtc.Irq.Level);

        Rtc(rtc, 1, 0x30);
        Rtc(rtc, 3, 0xC0);
        Rtc(rtc, 5, 0xFF);
        Rtc(rtc, 11, 0x22);
        Rtc(rtc, 12);
        edges = 0;
        _clock.Advance(60_000_000_000);
        Assert.Equal(1, edges);
        Assert.Equal(0xA0, Rtc(rtc, 12) & 0xA0);
    }

    /// <summary>A period that ends while register C is read is an edge of its own: the interrupt controller would miss it otherwise.</summary>
    [Fact]
    public void ReadingTheFlagsEndsTheInterrupt()
    {
        var rtc = new Mc146818(_clock, new DateTime(2026, 1, 1, 10, 0, 0));
        Rtc(rtc, 11, 0x42);
        var wasLow = false;
        rtc.Irq.Connect(level => wasLow |= !level);
        _clock.PerLook = 250_000;
        for (var i = 0; i < 1000; i++)
        {
            _clock.Advance(1_000_000);
            var wasHigh = rtc.Irq.Level;
            wasLow = false;
            Rtc(rtc, 12);
            Assert.Equal(wasHigh, wasLow);
        }
    }

    [Fact]
    public void UpdateInProgressIsSeenBeforeTheSecond()
    {
        var rtc = new Mc146818(_clock, new DateTime(2026, 1, 1));
        Assert.Equal(0x26, Rtc(rtc, 10));
        _clock.Advance(999_900_000);
        Assert.Equal(0xA6, Rtc(rtc, 10));
        _clock.Advance(100_000);
        Assert.Equal(0x26, Rtc(rtc, 10));
    }
}
