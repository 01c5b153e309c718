namespace Dromaius.Control;

/// <summary>How far the last core file of a guest is.</summary>
public sealed class DumpProgress
{
    private long _completed;

    /// <summary><c>none</c>, <c>active</c>, <c>completed</c> or <c>failed</c>.</summary>
    public string Status { get; private set; } = "none";
    public long Total { get; private set; }

    public long Completed
    {
        get => Volatile.Read(ref _completed);
        set => Volatile.Write(ref _completed, value);
    }

    public void Begin(long total) => (Status, Total, Completed) = ("active", total, 0);

    public void End(bool success) => Status = success ? "completed" : "failed";
}
