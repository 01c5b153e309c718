namespace Dromaius.Block.Jobs;

/// <summary>Stands above a node while a job works on it, and tells the job about the guest's writes.</summary>
internal sealed class JobFilterNode : BlockNode
{
    private readonly BlockNode _inner;

    public JobFilterNode(BlockNode inner)
    {
        _inner = inner;
        NodeName = inner.NodeName;
        AllowsDiscard = inner.AllowsDiscard;
        DetectZeroes = inner.DetectZeroes;
    }

    /// <summary>Called before a range changes.</summary>
    public Action<long, long>? BeforeWrite { get; init; }

    /// <summary>Called after a range changed.</summary>
    public Action<long, long>? AfterWrite { get; init; }

    public BlockNode Inner => _inner;
    public override string Driver => _inner.Driver;
    public override long Length => _inner.Length;
    public override bool IsReadOnly => _inner.IsReadOnly;
    public override BlockNode? File => _inner.File;
    public override BlockNode? Backing => _inner.Backing;
    public override string FileName => _inner.FileName;
    public override int ClusterSize => _inner.ClusterSize;
    public override bool ZeroesFast => _inner.ZeroesFast;
    public override long AllocatedSize => _inner.AllocatedSize;
    public override Graph.InfoTree? FormatInfo => _inner.FormatInfo;

    public override IReadOnlyList<DirtyBitmap> DirtyBitmaps => _inner.DirtyBitmaps;

    public override void Read(long offset, Span<byte> into) => _inner.Read(offset, into);

    protected override void WriteCore(long offset, ReadOnlySpan<byte> from)
    {
        BeforeWrite?.Invoke(offset, from.Length);
        _inner.Write(offset, from);
        AfterWrite?.Invoke(offset, from.Length);
    }

    protected override void WriteZeroesCore(long offset, long length, bool mayUnmap)
    {
        BeforeWrite?.Invoke(offset, length);
        _inner.WriteZeroes(offset, length, mayUnmap);
        AfterWrite?.Invoke(offset, length);
    }

    protected override void DiscardCore(long offset, long length)
    {
        BeforeWrite?.Invoke(offset, length);
        _inner.Discard(offset, length);
        AfterWrite?.Invoke(offset, length);
    }

    public override void Flush() => _inner.Flush();

    public override void Reopen(bool readOnly) => _inner.Reopen(readOnly);

    public override BlockStatus Status(long offset, long length) => _inner.Status(offset, length);

    protected override void Dispose(bool disposing) => _inner.Release();
}
