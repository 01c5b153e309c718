using Dromaius.Block.Graph;
using Dromaius.Block.Qcow2;

namespace Dromaius.Block.Jobs;

/// <summary><c>block-stream</c></summary>
internal sealed class StreamJob : BlockJob
{
    private const long Piece = 1 << 20;
    private readonly Qcow2Node _top;
    private readonly BlockNode? _base;
    private readonly string? _backingFile;

    public StreamJob(BlockGraph graph, string id, Qcow2Node top, BlockNode? below, string? backingFile)
        : base(graph, id, "stream")
    {
        _top = top;
        _base = below;
        _backingFile = backingFile;
        Total = top.Length;
        _ = top.Retain();
    }

    protected override void Work()
    {
        for (var at = 0L; at < _top.Length;)
        {
            Checkpoint(0);
            var status = _top.Status(at, _top.Length - at);
            var n = status.Length;
            if (!status.IsAllocated && _top.Backing is { } below)
            {
                var deeper = ChainStatus.Get(below, _base, at, n);
                n = deeper.Length;
                if (deeper.IsAllocated)
                {
                    n = Math.Min(n, Piece);
                    Try(true, () => _top.CopyUp(at, n));
                    Checkpoint(n);
                }
            }

            at += n;
            Done = at;
        }
    }

    protected override void Succeed()
    {
        var old = _top.Backing;
        var name = _base == null ? null : _backingFile ?? _base.FileName;
        _top.ChangeBackingFile(name, _base?.Driver);
        _top.ReplaceBacking(_base?.Retain());
        old?.Release();
        _top.Release();
        Graph.Forget();
    }

    protected override void Abandon() => _top.Release();
}
