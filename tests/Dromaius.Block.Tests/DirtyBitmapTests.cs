using Dromaius.Block.Graph;
using Dromaius.Block.Jobs;
using Dromaius.Block.Nbd;
using Dromaius.Core.Time;

namespace Dromaius.Block.Tests;

/// <summary>Dirty bitmaps: recording, keeping, incremental backups, exports.</summary>
public sealed class DirtyBitmapTests : IDisposable
{
    private const int Size = 8 << 20;
    private readonly string _folder = Directory.CreateTempSubdirectory("bitmaps").FullName;
    private readonly EventLoop _loop = new(new Lock());

    public void Dispose()
    {
        Directory.Delete(_folder, true);
    }

    [Theory]
    [InlineData(4096)]
    [InlineData(65536)]
    public void RecordsWhatIsWritten(int granularity)
    {
        using var node = new MemoryNode(new byte[Size]);
        var bitmap = node.AddDirtyBitmap("b", granularity);
        var disabled = node.AddDirtyBitmap("off", granularity, recording: false);
        var random = new Random(7);
        var expected = new HashSet<long>();
        for (var i = 0; i < 200; i++)
        {
            var offset = random.Next(Size - 70000);
            var length = random.Next(1, 70000);
            node.Write(offset, new byte[length]);
            for (var bit = offset / granularity; bit <= (offset + length - 1) / granularity; bit++)
                expected.Add(bit);
        }

        for (var bit = 0L; bit < bitmap.BitCount; bit++)
            Assert.Equal(expected.Contains(bit), bitmap.IsDirty(bit * granularity));
        Assert.Equal(expected.Count * (long)granularity, bitmap.DirtyBytes);
        Assert.Equal(0, disabled.DirtyBytes);
        disabled.Merge(bitmap);
        Assert.Equal(bitmap.DirtyBytes, disabled.DirtyBytes);
        var runs = 0L;
        for (var at = 0L; at < Size;)
        {
            var n = bitmap.RunLength(at, Size - at, out var dirty);
            runs += dirty ? n : 0;
            at += n;
        }

        Assert.Equal(bitmap.DirtyBytes, runs);
        bitmap.Clear();
        Assert.Equal(0, bitmap.DirtyBytes);
    }

    [Fact]
    public void BitmapsOfDifferentGranularityMerge()
    {
        using var node = new MemoryNode(new byte[Size]);
        var (fine, coarse) = (node.AddDirtyBitmap("fine", 4096), node.AddDirtyBitmap("coarse", 65536, recording: false));
        node.Write(65536 * 3 + 5000, new byte[10]);
        coarse.Merge(fine);
        Assert.Equal(65536, coarse.DirtyBytes);
        fine.Clear();
        fine.Merge(coarse);
        Assert.Equal(65536, fine.DirtyBytes);
    }

    [Fact]
    public void PersistentBitmapsComeBack()
    {
        var path = Make("a.qcow2");
        using (var node = Open(path))
        {
            var kept = node.AddDirtyBitmap("kept", persistent: true);
            _ = node.AddDirtyBitmap("stopped", persistent: true, recording: false);
            _ = node.AddDirtyBitmap("passing");
            node.Write(65536, new byte[100]);
            Assert.Equal(65536, kept.DirtyBytes);
        }

        using (var node = Open(path))
        {
            Assert.Equal(["kept", "stopped"], node.DirtyBitmaps.Select(static b => b.Name).Order());
            Assert.True(node.FindDirtyBitmap("kept").IsRecording);
            Assert.False(node.FindDirtyBitmap("stopped").IsRecording);
            Assert.Equal(65536, node.FindDirtyBitmap("kept").DirtyBytes);
            node.Write(1 << 20, new byte[1]);
            node.RemoveDirtyBitmap(node.FindDirtyBitmap("stopped"));
        }

        using var again = ImageOpener.Open(path, OpenFlags.Tool with { ReadOnly = true }, "qcow2");
        Assert.Equal(2 * 65536, Assert.Single(again.DirtyBitmaps).DirtyBytes);
    }

    [Theory]
    [InlineData(Size * 40, 9, true)]
    [InlineData(1 << 20, 9, false)]
    [InlineData(Size + 512, 16, true)]
    public void BitmapsFollowTheSizeOfTheImage(long length, int granularityBits, bool stays)
    {
        var path = Path.Combine(_folder, "grown.qcow2");
        ImageFormats.Find("qcow2")!.Create(new CreateRequest(path, Size, BlockOptions.Parse("cluster_size=4096"), OpenFlags.Tool));
        using (var node = ImageOpener.Open(path, OpenFlags.Tool))
        {
            var stored = node.AddDirtyBitmap("stored", 1 << granularityBits, persistent: true);
            var other = node.AddDirtyBitmap("other", 1 << granularityBits);
            node.Write(Size - 5000, new byte[5000]);
            node.Resize(length);
            node.Write(length - 100, new byte[100]);
            Assert.Equal(length, stored.Length);
            Assert.Equal(stays, length > Size && stored.IsDirty(Size - 5000));
            Assert.True(stored.IsDirty(length - 1));
            Assert.Equal(stored.Snapshot(), other.Snapshot());
            Assert.Throws<BlockException>(() => node.Resize(length + 1));
        }

        using (var node = ImageOpener.Open(path, OpenFlags.Tool))
        {
            var stored = node.FindDirtyBitmap("stored");
            Assert.True(stored.IsDirty(length - 1));
            Assert.Equal(stays, length > Size && stored.IsDirty(Size - 5000));
            Assert.False(stored.IsDirty(0));
        }

        using var image = ImageOpener.Open(path, OpenFlags.Tool with { ReadOnly = true });
        var check = ((ICheckable)image).Check(Qcow2.Qcow2Repair.None);
        Assert.Equal((0, 0), (check.Corruptions, check.Leaks));
    }

    [Fact]
    public void ASizeThatABitmapCannotFollowIsRefused()
    {
        var path = Path.Combine(_folder, "large.raw");
        ImageFormats.Find("raw")!.Create(new CreateRequest(path, Size, new BlockOptions(), OpenFlags.Tool));
        using var node = ImageOpener.Open(path, OpenFlags.Tool, "raw");
        var bitmap = node.AddDirtyBitmap("b", 512);
        Assert.Equal(BlockError.TooBig, Assert.Throws<BlockException>(() => node.Resize(4L << 40)).Error);
        Assert.Equal((Size, Size), (node.Length, bitmap.Length));
    }

    [Fact]
    public void AnImageThatWasNotClosedHasInconsistentBitmaps()
    {
        var path = Make("c.qcow2");
        var copy = Path.Combine(_folder, "copy.qcow2");
        using (var node = Open(path))
        {
            _ = node.AddDirtyBitmap("b", persistent: true);
            node.Flush();
            File.Copy(path, copy);
        }

        using var torn = Open(copy);
        Assert.Throws<BlockException>(() => torn.FindDirtyBitmap("b"));
        torn.RemoveDirtyBitmap(torn.FindDirtyBitmap("b", usable: false));
        Assert.Empty(torn.DirtyBitmaps);
    }

    [Fact]
    public void WrongNamesAndSizesAreRefused()
    {
        using var node = new MemoryNode(new byte[Size]);
        _ = node.AddDirtyBitmap("b");
        Assert.Throws<BlockException>(() => node.AddDirtyBitmap("b"));
        Assert.Throws<BlockException>(() => node.AddDirtyBitmap(""));
        Assert.Throws<BlockException>(() => node.AddDirtyBitmap("c", 1000));
        Assert.Throws<BlockException>(() => node.AddDirtyBitmap("c", 256));
        Assert.Throws<BlockException>(() => node.AddDirtyBitmap("c", persistent: true));
        node.FindDirtyBitmap("b").IsBusy = true;
        Assert.Throws<BlockException>(() => node.FindDirtyBitmap("b"));
    }

    [Fact]
    public void AWriteBehindTheThresholdIsToldOnce()
    {
        using var node = new MemoryNode(new byte[Size]);
        var told = new List<(long, long)>();
        node.ThresholdPassed += (_, threshold, exceeded) => told.Add((threshold, exceeded));
        node.WriteThreshold = 8192;
        node.Write(0, new byte[8192]);
        Assert.Empty(told);
        node.Write(4096, new byte[8192]);
        node.Write(65536, new byte[1]);
        Assert.Equal([(8192L, 4096L)], told);
        Assert.Equal(65537, node.WriteHighest);
    }

    [Fact]
    public void AnIncrementalBackupCopiesWhatChanged()
    {
        var runner = new Thread(_loop.Run) { IsBackground = true };
        runner.Start();
        using var graph = new BlockGraph(_loop);
        var source = new MemoryNode(new byte[Size]);
        var backend = graph.AddBackend("d0", source);
        source.Write(0, Filled(1, Size));
        var bitmap = source.AddDirtyBitmap("b");
        source.Write(3 * 65536, Filled(2, 65536));
        source.Write(100 * 65536, Filled(3, 10));
        var target = new MemoryNode(new byte[Size]);
        _ = target.Retain();
        lock (_loop.MachineLock)
            _ = graph.Jobs.Backup("b", "d0", target, new BackupScope(SyncMode.Bitmap, bitmap));
        Assert.True(SpinWait.SpinUntil(() =>
        {
            lock (_loop.MachineLock)
                return graph.Jobs.All.Count == 0;
        }, 30000));
        var bytes = new byte[Size];
        target.Read(0, bytes);
        Assert.Equal(2, bytes[3 * 65536]);
        Assert.Equal(3, bytes[100 * 65536]);
        Assert.Equal(1, bytes[100 * 65536 + 10]);
        Assert.Equal(2 * 65536, bytes.Count(static b => b != 0));
        Assert.Equal(0, bitmap.DirtyBytes);
        Assert.False(bitmap.IsBusy);
        Assert.Same(source, backend.Node);
        _loop.Stop();
        runner.Join();
    }

    [Fact]
    public void ExportsComeAndGo()
    {
        using var graph = new BlockGraph(_loop);
        var node = new MemoryNode(new byte[Size]) { NodeName = "n" };
        node.Write(65536, Filled(5, 65536));
        var bitmap = node.AddDirtyBitmap("b");
        node.Write(65536, new byte[1]);
        var exports = graph.Exports;
        Assert.Throws<BlockException>(() => exports.Add("e", node, null, false, null, []));
        var path = Path.Combine(_folder, "nbd");
        exports.Start(new NbdAddress { SocketPath = path }, 0);
        Assert.Throws<BlockException>(() => exports.Start(new NbdAddress { SocketPath = path }, 0));
        exports.Add("e", node, "disk", false, null, [bitmap]);
        Assert.True(bitmap.IsBusy);
        using (var client = new NbdNode(new NbdAddress { SocketPath = path, Export = "disk" }, true, false))
        {
            var bytes = new byte[4];
            client.Read(65540, bytes);
            Assert.All(bytes, static b => Assert.Equal(5, b));
            Assert.Throws<BlockException>(() => exports.Remove("e", hard: false));
        }

        exports.Remove("e", hard: true);
        Assert.False(bitmap.IsBusy);
        Assert.Empty(exports.All);
        exports.Stop();
    }

    private static byte[] Filled(byte value, int length)
    {
        var bytes = new byte[length];
        Array.Fill(bytes, value);
        return bytes;
    }

    private string Make(string name)
    {
        var path = Path.Combine(_folder, name);
        var options = new BlockOptions();
        options.Set("size", "8M");
        _ = ImageCreator.Create(path, "qcow2", options, OpenFlags.Tool);
        ImageCreator.Write(path, "qcow2", options, OpenFlags.Tool);
        return path;
    }

    private static BlockNode Open(string path) => ImageOpener.Open(path, OpenFlags.Tool, "qcow2");
}
