using System.Text.Json.Nodes;
using Dromaius.Core.Devices;
using Dromaius.Core.Time;

namespace Dromaius.Control.Qmp;

/// <summary>Tells clients that the guest set its clock: the last of what it did within a second. Used under the machine lock.</summary>
public sealed class ClockEvents
{
    private readonly IMachineControl _machine;
    private readonly Clock _clock;
    private readonly Core.Time.Timer _timer;
    private JsonObject? _waiting;

    /// <param name="machine">Where clients listen.</param>
    /// <param name="clock">Keeps events apart.</param>
    public ClockEvents(IMachineControl machine, Clock clock)
    {
        _machine = machine;
        _clock = clock;
        _timer = clock.CreateTimer(Send);
    }

    public void Report(Device rtc, long offset)
    {
        _waiting = new JsonObject { ["offset"] = offset, ["qom-path"] = ObjectTree.PathOf(_machine, rtc) ?? "/machine/unattached" };
        if (!_timer.IsArmed)
            Send();
    }

    private void Send()
    {
        if (_waiting is not { } data)
            return;
        _waiting = null;
        _machine.RaiseEvent("RTC_CHANGE", data);
        _timer.Arm(_clock.Now + Clock.NanosecondsPerSecond);
    }
}
