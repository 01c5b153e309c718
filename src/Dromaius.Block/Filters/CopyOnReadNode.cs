namespace Dromaius.Block.Filters;

/// <summary>The <c>copy-on-read</c> driver: what is read from a backing image is stored in the top one.</summary>
/// <param name="inner">The image; owned.</param>
/// <param name="bottom">The lowest image whose contents are copied; null for the whole chain.</param>
public sealed class CopyOnReadNode(BlockNode inner, BlockNode? bottom = null) : FilterNode("copy-on-read", inner)
{
    private readonly object _copying = new();

    public override void Read(long offset, Span<byte> into)
    {
        // A write in between would be overwritten with what was there before.
        lock (_copying)
        {
            base.Read(offset, into);
            var image = Inner;
            while (image is { Backing: null, File: { } below } and (FilterNode or Raw.RawNode))
                image = below;
            if (IsReadOnly)
                return;
            for (var at = 0; at < into.Length;)
            {
                var status = Inner.Status(offset + at, into.Length - at);
                var n = (int)Math.Min(status.Length, into.Length - at);
                if (!status.IsAllocated && bottom != null)
                {
                    var above = Graph.ChainStatus.Get(image, bottom.Backing, offset + at, n);
                    (n, status) = ((int)above.Length, status with { IsAllocated = !above.IsAllocated });
                }

                if (!status.IsAllocated)
                {
                    // Guest memory may change meanwhile: what is stored comes from the image.
                    var copy = new byte[n];
                    Inner.Read(offset + at, copy);
                    Inner.OnStep("cor_write");
                    Inner.WriteOrZero(offset + at, copy, mayUnmap: false);
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
