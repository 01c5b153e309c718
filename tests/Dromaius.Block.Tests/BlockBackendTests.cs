using Dromaius.Core.Time;

namespace Dromaius.Block.Tests;

/// <summary>Requests complete on the event loop, whatever their outcome.</summary>
public sealed class BlockBackendTests
{
    private readonly EventLoop _loop = new(new Lock());

    [Fact]
    public void WritesThenReadsScatteredSegments()
    {
        var backend = new BlockBackend("d0", _loop, new MemoryNode(4096));
        byte[] a = [1, 2, 3], b = [4, 5];
        Assert.Equal(BlockError.None, Run(backend, BlockOperation.Write, 510, a, b));
        var back = new byte[5];
        Assert.Equal(BlockError.None, Run(backend, BlockOperation.Read, 510, back));
        Assert.Equal(new byte[] { 1, 2, 3, 4, 5 }, back);
    }

    [Fact]
    public void FailuresAreReported()
    {
        var backend = new BlockBackend("d0", _loop, new MemoryNode(new byte[512], readOnly: true));
        Assert.Equal(BlockError.ReadOnly, Run(backend, BlockOperation.Write, 0, new byte[512]));
        Assert.Equal(BlockError.Invalid, Run(backend, BlockOperation.Read, 512, new byte[1]));
        backend.SetMedium(null);
        Assert.Equal(BlockError.NoMedium, Run(backend, BlockOperation.Read, 0, new byte[512]));
    }

    private BlockError Run(BlockBackend backend, BlockOperation operation, long offset, params byte[][] segments)
    {
        BlockError? error = null;
        backend.Submit(new BlockRequest
        {
            Operation = operation,
            Offset = offset,
            Length = segments.Sum(static s => s.Length),
            Segments = [.. segments.Select(static s => s.AsMemory())],
            Completed = r => error = r.Error,
        });
        Assert.True(SpinWait.SpinUntil(() =>
        {
            _loop.RunDue();
            return error != null;
        }, TimeSpan.FromSeconds(20)));
        return error!.Value;
    }
}
