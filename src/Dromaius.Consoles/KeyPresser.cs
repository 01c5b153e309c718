using Dromaius.Core.Time;

namespace Dromaius.Consoles;

/// <summary>Presses keys together for a time. A second press waits until the first is over.</summary>
public sealed class KeyPresser
{
    private const long Millisecond = 1_000_000;

    /// <summary>Presses that wait; a client that sends more loses the newest.</summary>
    private const int MostWaiting = 1024;

    private readonly InputRouter _router;
    private readonly Clock _clock;
    private readonly Core.Time.Timer _timer;
    private readonly Queue<(int[] Codes, int Hold)> _waiting = new();
    private int[]? _down;

    /// <param name="router">Where the keys go.</param>
    /// <param name="clock">Times the release.</param>
    public KeyPresser(InputRouter router, Clock clock)
    {
        _router = router;
        _clock = clock;
        _timer = clock.CreateTimer(OnTimer);
    }

    public void Press(int[] codes, int holdMilliseconds)
    {
        if (_waiting.Count >= MostWaiting)
            return;
        _waiting.Enqueue((codes, Math.Clamp(holdMilliseconds, 0, 60_000)));
        if (!_timer.IsArmed && _down == null)
            Next();
    }

    private void OnTimer()
    {
        if (_down is not { } down)
        {
            Next();
            return;
        }

        _down = null;
        for (var i = down.Length - 1; i >= 0; i--)
            _router.Key(down[i], false);
        // A little pause, so that the guest sees the keys one after the other.
        if (_waiting.Count > 0)
            _timer.Arm(_clock.Now + (10 * Millisecond));
    }

    private void Next()
    {
        if (!_waiting.TryDequeue(out var press))
            return;
        foreach (var code in press.Codes)
            _router.Key(code, true);
        _down = press.Codes;
        _timer.Arm(_clock.Now + (press.Hold * Millisecond));
    }
}
