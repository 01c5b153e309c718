using Dromaius.Block.Graph;
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
    public void StatisticsTellHowLongTransfersTook()
    {
        var backend = new BlockBackend("d0", _loop, new MemoryNode(4096));
        var s = backend.Statistics;
        Assert.Null(s.IdleTime);
        Assert.Equal(BlockError.None, Run(backend, BlockOperation.Write, 0, new byte[512]));
        Assert.Equal(BlockError.Invalid, Run(backend, BlockOperation.Read, 4096, new byte[512]));
        Assert.Equal((1, 0, 1), (s.WriteOperations, s.ReadOperations, s.FailedReads));
        Assert.True(s is { WriteTime: > 0, ReadTime: > 0, FlushTime: 0, UnmapTime: 0, IdleTime: > 0 });
    }

    /// <summary>More pieces than one call to the host takes, of any length, up to the image's end and beyond it.</summary>
    [Theory]
    [InlineData("raw")]
    [InlineData("qcow2")]
    public void FilesTakeScatteredSegments(string format)
    {
        var path = Path.GetTempFileName();
        try
        {
            var random = new Random(3);
            var expected = new byte[1_000_448];
            ImageFormats.Find(format)!.Create(new CreateRequest(path, expected.Length, BlockOptions.Parse(""), OpenFlags.Tool));
            if (format == "raw")
            {
                // The last sector counts whole.
                using var file = new FileStream(path, FileMode.Open);
                file.SetLength(expected.Length - 348);
            }

            using var node = ImageOpener.Open(path, OpenFlags.Tool);
            var backend = new BlockBackend("d0", _loop, node);
            for (var n = 0; n < 60; n++)
            {
                var pieces = Enumerable.Range(0, random.Next(2, 600)).Select(_ => new byte[random.Next(0, 1500)]).ToArray();
                var length = pieces.Sum(static p => p.Length);
                var offset = n % 5 == 0 ? expected.Length - length : random.Next(0, expected.Length - length);
                if (random.Next(2) == 0)
                {
                    foreach (var piece in pieces)
                        random.NextBytes(piece);
                    Assert.Equal(BlockError.None, Run(backend, BlockOperation.Write, offset, pieces));
                    pieces.SelectMany(static p => p).ToArray().CopyTo(expected, offset);
                }
                else
                {
                    Assert.Equal(BlockError.None, Run(backend, BlockOperation.Read, offset, pieces));
                    Assert.Equal(expected[offset..(offset + length)], pieces.SelectMany(static p => p));
                }
            }

            Assert.Equal(BlockError.Invalid, Run(backend, BlockOperation.Read, expected.Length - 600, new byte[300], new byte[301]));
            Assert.Equal((0, 0), node is Qcow2.Qcow2Node image && image.Check(Qcow2.Qcow2Repair.None) is var check ? (check.Corruptions, check.Leaks) : (0, 0));
        }
        finally
        {
            File.Delete(path);
        }
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
