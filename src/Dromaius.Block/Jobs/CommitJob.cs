using Dromaius.Block.Graph;

namespace Dromaius.Block.Jobs;

/// <summary><c>block-commit</c> of images below the active one.</summary>
internal sealed class CommitJob : BlockJob
{
    private const int Piece = 512 << 10;
    private readonly BlockNode _active, _overlay, _top, _base;
    private readonly string? _backingFile;

    /// <param name="graph">The graph.</param>
    /// <param name="id">Of the job.</param>
    /// <param name="active">The image that the drive uses.</param>
    /// <param name="overlay">The image whose backing image is the top.</param>
    /// <param name="top">What is copied.</param>
    /// <param name="below">Where to.</param>
    /// <param name="backingFile">What the overlay names as its backing file afterwards; null for the base's file.</param>
    public CommitJob(BlockGraph graph, string id, BlockNode active, BlockNode overlay, BlockNode top, BlockNode below, string? backingFile)
        : base(graph, id, "commit")
    {
        (_active, _overlay, _top, _base, _backingFile) = (active, overlay, top, below, backingFile);
        Total = top.Length;
        _ = active.Retain();
    }

    protected override void Work()
    {
        _base.Reopen(false);
        if (_base.Length < _top.Length)
            _base.Resize(_top.Length);
        var buffer = new byte[Piece];
        for (var at = 0L; at < _top.Length;)
        {
            Checkpoint(0);
            var status = ChainStatus.Get(_top, _base, at, _top.Length - at);
            var n = status.Length;
            if (status.IsAllocated)
            {
                n = Math.Min(n, Piece);
                Try((ref bool isRead) => Mirroring.Copy(_top, _base, at, (int)n, buffer, status.IsZero, ref isRead));
            }

            at += n;
            Done = at;
            Checkpoint(status.IsAllocated ? n : 0);
        }

        _base.Flush();
    }

    protected override void Succeed()
    {
        var change = _overlay as IBackingChange ?? throw new BlockException(BlockError.NotSupported, "The image cannot change its backing file");
        var old = _overlay.Backing!;
        var wasReadOnly = _overlay.IsReadOnly;
        if (wasReadOnly)
            _overlay.Reopen(false);
        change.ChangeBackingFile(_backingFile ?? _base.FileName, Chain.SkipFilters(_base).Driver);
        if (wasReadOnly)
            _overlay.Reopen(true);
        _ = _base.Retain();
        if (_overlay is Qcow2.Qcow2Node image)
            image.ReplaceBacking(_base);
        else
            change.SetBacking(_base);
        _base.Reopen(true);
        old.Release();
        _active.Release();
        Graph.Forget();
    }

    protected override void Abandon()
    {
        if (!_base.IsReadOnly)
            _base.Reopen(true);
        _active.Release();
    }
}

/// <summary>Copying of pieces.</summary>
internal static class Mirroring
{
    public static void Copy(BlockNode from, BlockNode to, long at, int length, byte[] buffer, bool isZero)
    {
        var isRead = true;
        Copy(from, to, at, length, buffer, isZero, ref isRead);
    }

    /// <summary>The same, telling which of the two it is at.</summary>
    public static void Copy(BlockNode from, BlockNode to, long at, int length, byte[] buffer, bool isZero, ref bool isRead)
    {
        isRead = !isZero;
        if (isZero)
        {
            to.WriteZeroes(at, length, true);
            return;
        }

        var part = buffer.AsSpan(0, length);
        from.Read(at, part);
        isRead = false;
        to.WriteOrZero(at, part, mayUnmap: true);
    }
}
