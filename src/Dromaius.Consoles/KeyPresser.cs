using Dromaius.Core.Time;

namespace Dromaius.Consoles;

/// <summary>Presses keys together, one after the other, and releases them in the reverse order; between any two events is the hold time.</summary>
public sealed class KeyPresser
{
    private const long Millisecond = 1_000_000;

    /// <summary>Events that wait; a client that sends more loses the newest presses.</summary>
    private const int MostWaiting = 1024;

    private readonly InputRouter _router;
    private readonly Clock _clock;
    private readonly Core.Time.Timer _timer;
    private readonly Queue<(int Code, bool Down, int Hold)> _waiting = new();

    /// <param name="router">Where the keys go.</param>
    /// <param name="clock">Times the events.</param>
    public KeyPresser(InputRouter router, Clock clock)
    {
        _router = router;
        _clock = clock;
        _timer = clock.CreateTimer(Next);
    }

    public void Press(int[] codes, int holdMilliseconds)
    {
        // All of a press or nothing: no key may stay down.
        if (_waiting.Count + (2 * codes.Length) > MostWaiting)
            return;
        var hold = Math.Clamp(holdMilliseconds, 0, 60_000);
        foreach (var code in codes)
            _waiting.Enqueue((code, true, hold));
        for (var i = codes.Length - 1; i >= 0; i--)
            _waiting.Enqueue((codes[i], false, hold));
        if (!_timer.IsArmed)
            Next();
    }

    private void Next()
    {
        if (!_waiting.TryDequeue(out var e))
            return;
        _router.Key(e.Code, e.Down);
        // After the last event too, so that the next press keeps its distance.
        _timer.Arm(_clock.Now + (e.Hold * Millisecond));
    }
}
