namespace Dromaius.Core.Errors;

/// <summary>The <c>-d</c> log: what to log, and where it goes. One per process, as the option is.</summary>
[Flags]
public enum LogItems
{
    None = 0,
    InAsm = 1,
    Op = 2,
    OpOpt = 4,
    OutAsm = 8,
    Int = 0x10,
    Exec = 0x20,
    Cpu = 0x40,
    GuestErrors = 0x80,
    Unimplemented = 0x100,
    CpuReset = 0x200,
    Mmu = 0x400,
}

/// <summary>Writes log lines to standard error or the <c>-D</c> file. Check <see cref="Has"/> before formatting.</summary>
public static class GuestLog
{
    private static readonly Lock Gate = new();
    private static TextWriter s_out = Console.Error;

    public static LogItems Items { get; set; }

    public static bool Has(LogItems item) => (Items & item) != 0;

    public static void SetOutput(TextWriter writer) => s_out = writer;

    public static void Write(string line)
    {
        lock (Gate)
        {
            s_out.WriteLine(line);
            s_out.Flush();
        }
    }

    /// <summary>A line about something the guest did wrong (<c>-d guest_errors</c>).</summary>
    public static void GuestError(string device, string message)
    {
        if (Has(LogItems.GuestErrors))
            Write($"{device}: {message}");
    }

    /// <summary>A line about something a device does not do (<c>-d unimp</c>).</summary>
    public static void Unimplemented(string device, string message)
    {
        if (Has(LogItems.Unimplemented))
            Write($"{device}: not implemented: {message}");
    }
}
