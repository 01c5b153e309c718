namespace Dromaius.Block.Filters;

/// <summary>The <c>copy-on-read</c> driver: what is read from a backing image is stored in the top one.</summary>
public sealed class CopyOnReadNode(BlockNode inner) : FilterNode("copy-on-read", inner)
{
    private readonly object _copying = new();

    public override void Read(long offset, Span<byte> into)
    {
        // A write in between would be overwritten with what was there before.
        lock (_copying)
        {
            base.Read(offset, into);
            if (Inner.Backing == null || IsReadOnly)
                return;
            for (var at = 0; at < into.Length;)
            {
                var status = Inner.Status(offset + at, into.Length - at);
                var n = (int)Math.Min(status.Length, into.Length - at);
                if (!status.IsAllocated)
                {
                    // Guest memory may change meanwhile: what is stored comes from the image.
                    var copy = new byte[n];
                    Inner.Read(offset + at, copy);
                    Inner.Write(offset + at, copy);
                }

                at += n;
            }
        }
    }

    protected override void WriteCore(long offset, ReadOnlySpan<byte> from)
    {
        lock (_copying)
            base.WriteCore(offset, from);
    }

    protected override void WriteZeroesCore(long offset, long length, bool mayUnmap)
    {
        lock (_copying)
            base.WriteZeroesCore(offset, length, mayUnmap);
    }
}
