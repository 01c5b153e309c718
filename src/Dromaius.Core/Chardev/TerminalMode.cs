namespace Dromaius.Core.Chardev;

/// <summary>
/// The controlling terminal's mode while standard input is a character backend. There is one terminal a process, hence static;
/// whoever ends the process calls <see cref="Restore"/>.
/// </summary>
public static class TerminalMode
{
    private static readonly Lock Gate = new();
    private static Termios s_saved;
    private static bool s_changed;
    private static bool s_keepSignals;

    /// <summary>Puts the terminal on standard input, if it is one, into character mode.</summary>
    /// <param name="keepSignals">Ctrl-C and its kin signal this process instead of reaching the guest.</param>
    public static void Enter(bool keepSignals)
    {
        lock (Gate)
        {
            if (!s_changed && !Termios.TryGet(0, ref s_saved))
                return;
            s_keepSignals = keepSignals;
            s_changed = true;
            Apply();
        }
    }

    /// <summary>Sets the mode again after the shell may have changed it (continued after a stop).</summary>
    public static void Reenter()
    {
        lock (Gate)
        {
            if (s_changed)
                Apply();
        }
    }

    /// <summary>Gives the terminal back as it was found. Does nothing the second time.</summary>
    public static void Restore()
    {
        lock (Gate)
        {
            if (s_changed)
                Termios.Set(0, in s_saved);
            s_changed = false;
        }
    }

    private static void Apply()
    {
        var settings = s_saved;
        settings.MakeCharacterwise(s_keepSignals);
        Termios.Set(0, in settings);
    }
}
