namespace Dromaius.Block.Filters;

/// <summary>A node that hands everything on to the one below; what stands on it does something by the way.</summary>
/// <param name="driver">The driver's name.</param>
/// <param name="inner">The node below; owned.</param>
public abstract class FilterNode(string driver, BlockNode inner) : BlockNode
{
    protected BlockNode Inner => inner;
    public override string Driver => driver;
    public override long Length => inner.Length;
    public override bool IsReadOnly => OpenedReadOnly || inner.IsReadOnly;
    public override BlockNode File => inner;
    public override BlockNode? Backing => inner.Backing;
    public override string FileName => inner.FileName;
    public override int ClusterSize => inner.ClusterSize;
    public override bool ZeroesFast => inner.ZeroesFast;
    public override long AllocatedSize => inner.AllocatedSize;

    public override void Read(long offset, Span<byte> into) => inner.Read(offset, into);

    public override void OnStep(string name) => inner.OnStep(name);

    public override void Flush() => inner.Flush();

    protected override void ResizeCore(long length) => inner.Resize(length);

    public override void Reopen(bool readOnly)
    {
        inner.Reopen(readOnly);
        OpenedReadOnly = readOnly;
    }

    public override BlockStatus Status(long offset, long length) => inner.Status(offset, length);

    protected override void WriteCore(long offset, ReadOnlySpan<byte> from) => inner.Write(offset, from);

    protected override void WriteZeroesCore(long offset, long length, bool mayUnmap) => inner.WriteZeroes(offset, length, mayUnmap);

    protected override void DiscardCore(long offset, long length) => inner.Discard(offset, length);

    protected override void Dispose(bool disposing) => inner.Release();
}
