using Dromaius.Block.Graph;

namespace Dromaius.Block.Jobs;

/// <summary><c>block-commit</c> of images below the active one.</summary>
internal sealed class CommitJob : BlockJob
{
    private const int Piece = 1 << 20;
    private readonly BlockNode _active, _top, _base;
    private readonly string? _backingFile;

    public CommitJob(BlockGraph graph, string id, BlockNode active, BlockNode top, BlockNode below, string? backingFile)
        : base(graph, id, "commit")
    {
        (_active, _top, _base, _backingFile) = (active, top, below, backingFile);
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
                Try(false, () => Mirroring.Copy(_top, _base, at, (int)n, buffer, status.IsZero));
                Checkpoint(n);
            }

            at += n;
            Done = at;
        }

        _base.Flush();
    }

    protected override void Succeed()
    {
        var above = _active;
        while (above.Backing != _top)
            above = above.Backing ?? throw new BlockException(BlockError.Io, "The backing chain changed");
        var change = above as IBackingChange ?? throw new BlockException(BlockError.NotSupported, "The image cannot change its backing file");
        var wasReadOnly = above.IsReadOnly;
        if (wasReadOnly)
            above.Reopen(false);
        change.ChangeBackingFile(_backingFile ?? _base.FileName, _base.Driver);
        if (wasReadOnly)
            above.Reopen(true);
        _ = _base.Retain();
        if (above is Qcow2.Qcow2Node image)
            image.ReplaceBacking(_base);
        else
            change.SetBacking(_base);
        _base.Reopen(true);
        _top.Release();
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
        if (isZero)
        {
            to.WriteZeroes(at, length, true);
            return;
        }

        var part = buffer.AsSpan(0, length);
        from.Read(at, part);
        if (part.ContainsAnyExcept((byte)0))
            to.Write(at, part);
        else
            to.WriteZeroes(at, length, true);
    }
}
