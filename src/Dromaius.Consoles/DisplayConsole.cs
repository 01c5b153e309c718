namespace Dromaius.Consoles;

/// <summary>A part of a screen, in pixels.</summary>
public readonly record struct ScreenArea(int X, int Y, int Width, int Height);

/// <summary>What draws a screen: a graphics adapter.</summary>
public interface IDisplaySource
{
    /// <summary>
    /// Draws what changed since the last call. Called under the machine lock, and only while somebody looks, so that a screen
    /// nobody sees costs nothing.
    /// </summary>
    /// <param name="console">Where to draw.</param>
    /// <param name="everything">The surface holds nothing of use: draw all of it.</param>
    void Draw(DisplayConsole console, bool everything);
}

/// <summary>One screen of the machine: the surface it is drawn on and those who watch it. Used under the machine lock.</summary>
public sealed class DisplayConsole
{
    /// <summary>Screens larger than this a side are cut: a guest's register must not exhaust the host.</summary>
    public const int LargestSide = 8192;

    private readonly IDisplaySource _source;
    private bool _stale = true;

    /// <param name="source">Draws it.</param>
    /// <param name="deviceType">The adapter's type name.</param>
    /// <param name="deviceId">The adapter's id; null for one without.</param>
    public DisplayConsole(IDisplaySource source, string deviceType, string? deviceId)
    {
        _source = source;
        DeviceType = deviceType;
        DeviceId = deviceId;
    }

    public string DeviceType { get; }
    public string? DeviceId { get; }

    /// <summary>What the screen showed when it was last refreshed.</summary>
    public PixelSurface Surface { get; private set; } = new(640, 480);

    /// <summary>A part of the surface changed.</summary>
    public event Action<ScreenArea>? Updated;

    /// <summary>There is a new surface, of another size.</summary>
    public event Action? Resized;

    /// <summary>A viewer wishes for another resolution; the adapter may tell its guest.</summary>
    public Action<int, int>? ResizeRequested { get; set; }

    /// <summary>Brings the surface up to date.</summary>
    public void Refresh()
    {
        var everything = _stale;
        _stale = false;
        _source.Draw(this, everything);
    }

    /// <summary>The next refresh draws all.</summary>
    public void Invalidate() => _stale = true;

    /// <summary>For the source: the surface has this size from now on.</summary>
    /// <returns>True if it is a new one, with nothing drawn yet.</returns>
    public bool SetSize(int width, int height)
    {
        width = Math.Clamp(width, 1, LargestSide);
        height = Math.Clamp(height, 1, LargestSide);
        if (Surface.Width == width && Surface.Height == height)
            return false;
        Surface = new PixelSurface(width, height);
        Resized?.Invoke();
        return true;
    }

    /// <summary>For the source: this part was drawn.</summary>
    public void Update(int x, int y, int width, int height)
    {
        if (width > 0 && height > 0)
            Updated?.Invoke(new ScreenArea(x, y, width, height));
    }

    /// <summary>For the source: all was drawn.</summary>
    public void UpdateAll() => Update(0, 0, Surface.Width, Surface.Height);
}

/// <summary>The screens of a machine; the first is the one that is shown when none is named.</summary>
public sealed class DisplayList
{
    private readonly List<DisplayConsole> _consoles = [];

    public IReadOnlyList<DisplayConsole> Consoles => _consoles;

    public DisplayConsole Add(IDisplaySource source, string deviceType, string? deviceId)
    {
        var console = new DisplayConsole(source, deviceType, deviceId);
        _consoles.Add(console);
        return console;
    }

    public void Remove(DisplayConsole console) => _consoles.Remove(console);
}
