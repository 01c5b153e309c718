namespace Dromaius.Core.Interrupts;

/// <summary>
/// A wire. Its owner sets <see cref="Level"/>; whoever is at the other end is told of changes. Used under the machine lock.
/// </summary>
public sealed class IrqLine
{
    private Action<bool>? _sink;
    private bool _level;

    public IrqLine(Action<bool>? sink = null) => _sink = sink;

    public bool Level
    {
        get => _level;
        set
        {
            if (_level == value)
                return;
            _level = value;
            _sink?.Invoke(value);
        }
    }

    public void Raise() => Level = true;

    public void Lower() => Level = false;

    /// <summary>A rising and a falling edge.</summary>
    public void Pulse()
    {
        Level = true;
        Level = false;
    }

    /// <summary>Connects the far end; a line has one. An already raised line is reported at once.</summary>
    public void Connect(Action<bool> sink)
    {
        _sink = sink;
        if (_level)
            sink(true);
    }
}
