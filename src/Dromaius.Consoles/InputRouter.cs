namespace Dromaius.Consoles;

[Flags]
public enum InputKinds
{
    None = 0,
    Key = 1,
    Button = 2,
    Relative = 4,
    Absolute = 8,
}

/// <summary>Pointer buttons; wheel turns are presses of buttons too.</summary>
public enum PointerButton
{
    Left, Middle, Right, WheelUp, WheelDown, Side, Extra, WheelLeft, WheelRight,
}

public enum PointerAxis
{
    X, Y,
}

/// <summary>A guest device that takes input. Called under the machine lock.</summary>
public interface IInputHandler
{
    /// <summary>As <c>info mice</c> shows it.</summary>
    string Name { get; }

    /// <summary>What it takes.</summary>
    InputKinds Kinds { get; }

    /// <summary>A key by its code (see <see cref="KeyNames"/>).</summary>
    void Key(int code, bool down)
    {
    }

    void Button(PointerButton button, bool down)
    {
    }

    void Move(PointerAxis axis, int delta)
    {
    }

    /// <summary>A position from 0 to <see cref="InputRouter.AbsoluteMax"/>.</summary>
    void MoveTo(PointerAxis axis, int position)
    {
    }

    /// <summary>The events since the last call belong together.</summary>
    void Sync()
    {
    }
}

/// <summary>
/// Takes input events from monitors and viewers to the guest's devices: for each kind, to the device that was activated last.
/// Used under the machine lock.
/// </summary>
public sealed class InputRouter
{
    public const int AbsoluteMax = 0x7FFF;

    private readonly List<Entry> _handlers = [];
    private int _nextIndex = 1;

    private sealed record Entry(IInputHandler Handler, int Index);

    /// <summary>A pointing device, as <c>info mice</c> lists it.</summary>
    public readonly record struct Pointer(int Index, string Name, bool IsAbsolute, bool IsCurrent);

    /// <summary>The pointing devices, the current one first.</summary>
    public IEnumerable<Pointer> Pointers
    {
        get
        {
            var first = true;
            foreach (var entry in _handlers)
            {
                if ((entry.Handler.Kinds & (InputKinds.Relative | InputKinds.Absolute)) == 0)
                    continue;
                yield return new Pointer(entry.Index, entry.Handler.Name, (entry.Handler.Kinds & InputKinds.Absolute) != 0, first);
                first = false;
            }
        }
    }

    /// <summary>The pointer's position is absolute: viewers show the guest's cursor where the user's is.</summary>
    public bool IsAbsolute => Pointers.FirstOrDefault().IsAbsolute;

    /// <summary>The current pointer changed.</summary>
    public event Action? PointerChanged;

    /// <summary>A new device; it comes after those there are.</summary>
    public void Register(IInputHandler handler)
    {
        if (!_handlers.Exists(e => e.Handler == handler))
            _handlers.Add(new Entry(handler, _nextIndex++));
    }

    public void Unregister(IInputHandler handler)
    {
        if (_handlers.RemoveAll(e => e.Handler == handler) > 0)
            PointerChanged?.Invoke();
    }

    /// <summary>Events of its kinds go to this device from now on.</summary>
    public void Activate(IInputHandler handler)
    {
        var at = _handlers.FindIndex(e => e.Handler == handler);
        if (at < 0)
            return;
        var entry = _handlers[at];
        _handlers.RemoveAt(at);
        _handlers.Insert(0, entry);
        PointerChanged?.Invoke();
    }

    /// <summary>Chooses a pointing device by its number; false if there is none of it.</summary>
    public bool Activate(int index)
    {
        var entry = _handlers.Find(e => e.Index == index);
        if (entry == null || (entry.Handler.Kinds & (InputKinds.Relative | InputKinds.Absolute)) == 0)
            return false;
        Activate(entry.Handler);
        return true;
    }

    /// <summary>Some device takes events of this kind.</summary>
    public bool Takes(InputKinds kind) => Find(kind) != null;

    public void Key(int code, bool down)
    {
        if (code != 0)
            Find(InputKinds.Key)?.Key(code, down);
    }

    public void Button(PointerButton button, bool down) => Find(InputKinds.Button)?.Button(button, down);

    public void Move(PointerAxis axis, int delta) => Find(InputKinds.Relative)?.Move(axis, delta);

    public void MoveTo(PointerAxis axis, int position) =>
        Find(InputKinds.Absolute)?.MoveTo(axis, Math.Clamp(position, 0, AbsoluteMax));

    /// <summary>Ends a group of events.</summary>
    public void Sync()
    {
        foreach (var entry in _handlers.ToArray())
            entry.Handler.Sync();
    }

    private IInputHandler? Find(InputKinds kind)
    {
        foreach (var entry in _handlers)
        {
            if ((entry.Handler.Kinds & kind) != 0)
                return entry.Handler;
        }

        return null;
    }
}
