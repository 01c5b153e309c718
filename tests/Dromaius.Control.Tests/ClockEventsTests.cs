using Dromaius.Control.Qmp;
using Dromaius.Core.Devices;
using Dromaius.Core.Time;

namespace Dromaius.Control.Tests;

public sealed class ClockEventsTests : IDisposable
{
    private sealed class Rtc : Device
    {
        public override string TypeName => "mc146818rtc";
    }

    private readonly FakeMachine _machine = new();

    public void Dispose() => _machine.Dispose();

    [Fact]
    public void TellsTheFirstAtOnceAndThenTheLastOfEachSecond()
    {
        var clock = new ManualClock();
        var events = new ClockEvents(_machine, clock);
        var rtc = new Rtc();
        events.Report(rtc, 5);
        events.Report(rtc, 6);
        events.Report(rtc, 7);
        Assert.Equal([5], Offsets());
        clock.Advance(Clock.NanosecondsPerSecond);
        Assert.Equal([5, 7], Offsets());
        clock.Advance(5 * Clock.NanosecondsPerSecond);
        Assert.Equal([5, 7], Offsets());
        events.Report(rtc, 8);
        Assert.Equal([5, 7, 8], Offsets());
    }

    private List<int> Offsets() => [.. _machine.Events.Where(static e => e.Name == "RTC_CHANGE").Select(static e => (int)(long)e.Data!["offset"]!)];
}
