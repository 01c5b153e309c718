namespace Dromaius.Block.Filters;

/// <summary>The <c>throttle</c> driver: transfers wait until the limits of a group allow them.</summary>
public sealed class ThrottleNode(BlockNode inner, ThrottleGroup group) : FilterNode("throttle", inner)
{
    private const int LongestSleep = 100;

    public ThrottleGroup Group => group;

    public override void Read(long offset, Span<byte> into)
    {
        Wait(false, into.Length);
        base.Read(offset, into);
    }

    protected override void WriteCore(long offset, ReadOnlySpan<byte> from)
    {
        Wait(true, from.Length);
        base.WriteCore(offset, from);
    }

    protected override void WriteZeroesCore(long offset, long length, bool mayUnmap)
    {
        Wait(true, length);
        base.WriteZeroesCore(offset, length, mayUnmap);
    }

    protected override void DiscardCore(long offset, long length)
    {
        Wait(true, length);
        base.DiscardCore(offset, length);
    }

    /// <summary>Waits on the I/O thread, in short sleeps: the limits may be lifted meanwhile.</summary>
    private void Wait(bool isWrite, long bytes)
    {
        while (group.TryBegin(isWrite, bytes) is var nanoseconds and > 0)
            Thread.Sleep((int)Math.Clamp(nanoseconds / 1_000_000, 1, LongestSleep));
    }
}
