using Dromaius.Block.Graph;
using Dromaius.Block.Qcow2;

namespace Dromaius.Block.Jobs;

/// <summary><c>block-stream</c></summary>
internal sealed class StreamJob : BlockJob
{
    private const long Piece = 512 << 10;
    private readonly Qcow2Node _top;
    private readonly BlockNode? _base;
    private readonly string? _backingFile;
    private readonly bool _wasReadOnly;

    public StreamJob(BlockGraph graph, string id, Qcow2Node top, BlockNode? below, string? backingFile)
        : base(graph, id, "stream")
    {
        _top = top;
        _base = below;
        _backingFile = backingFile;
        Total = top.Length;
        _ = top.Retain();
        _wasReadOnly = top.IsReadOnly;
        if (_wasReadOnly)
            top.Reopen(false);
    }

    protected override void Work()
    {
        BlockException? ignored = null;
        for (var at = 0L; at < _top.Length;)
        {
            Checkpoint(0);
            var status = _top.Status(at, _top.Length - at);
            var n = status.Length;
            var copied = 0L;
            if (!status.IsAllocated && _top.Backing is { } below)
            {
                var deeper = ChainStatus.Get(below, _base, at, n);
                n = deeper.Length;
                if (deeper.IsAllocated)
                {
                    copied = n = Math.Min(n, Piece);
                    if (TryOnce((ref bool _) => _top.CopyUp(at, n), out var failure) == JobErrorPolicy.Stop)
                        continue;
                    ignored ??= failure;
                }
            }

            at += n;
            Done = at;
            Checkpoint(copied);
        }

        // The image lacks something: it still needs what is below.
        if (ignored != null)
            throw new BlockException(ignored.Error, ignored.Message, ignored);
    }

    protected override void Succeed()
    {
        var old = _top.Backing;
        var name = _base == null ? null : _backingFile ?? _base.FileName;
        _top.ChangeBackingFile(name, _base == null ? null : Chain.SkipFilters(_base).Driver);
        _top.ReplaceBacking(_base?.Retain());
        old?.Release();
        GiveUpTop();
    }

    protected override void Abandon() => GiveUpTop();

    private void GiveUpTop()
    {
        if (_wasReadOnly && !_top.IsReadOnly)
            _top.Reopen(true);
        _top.Release();
        Graph.Forget();
    }
}
