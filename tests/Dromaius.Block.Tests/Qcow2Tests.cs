using Dromaius.Block.Graph;
using Dromaius.Block.Qcow2;

namespace Dromaius.Block.Tests;

/// <summary>Random operations on qcow2 images, compared with the same on an array and with what qemu-img says about the file.</summary>
public sealed class Qcow2Tests : IDisposable
{
    private readonly ImageFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    public static TheoryData<string, int> Layouts() => new()
    {
        { "", 1 },
        { "cluster_size=512", 2 },
        { "cluster_size=4096,refcount_bits=1", 3 },
        { "compat=0.10", 4 },
        { "lazy_refcounts=on", 5 },
        { "extended_l2=on,cluster_size=16k", 6 },
        { "cluster_size=2M", 7 },
        { "compression_type=zstd", 8 },
        { "refcount_bits=64,cluster_size=1k", 9 },
        { "extended_l2=on", 10 },
    };

    [Theory]
    [MemberData(nameof(Layouts))]
    public void RandomOperationsMatchAnArray(string options, int seed)
    {
        const int length = 24 << 20;
        var random = new Random(seed);
        var path = _folder["a.qcow2"];
        Create(path, length, options);
        var shadow = new byte[length];
        var node = Open(path);
        try
        {
            for (var i = 0; i < 300; i++)
            {
                Step(node, shadow, random, i);
                if (i % 60 == 59)
                {
                    node.Release();
                    CheckBoth(path);
                    node = Open(path);
                    Compare(node, shadow);
                }
            }

            Compare(node, shadow);
        }
        finally
        {
            node.Release();
        }

        CheckBoth(path);
        if (QemuTools.Available)
        {
            File.WriteAllBytes(_folder["shadow"], shadow);
            var (status, output) = QemuTools.Run("qemu-img", "compare", "-f", "raw", "-F", "qcow2", _folder["shadow"], path);
            Assert.True(status == 0, output);
        }
    }

    [Theory]
    [InlineData("", 21)]
    [InlineData("extended_l2=on", 22)]
    [InlineData("compat=0.10", 23)]
    public void WritesOverABackingFileKeepWhatIsAround(string options, int seed)
    {
        const int length = 8 << 20;
        var random = new Random(seed);
        var shadow = new byte[length];
        random.NextBytes(shadow.AsSpan(0, length / 2));
        File.WriteAllBytes(_folder["base.raw"], shadow[..(length / 2 + 512)]);
        Create(_folder["top.qcow2"], length, (options + ",backing_file=base.raw,backing_fmt=raw").TrimStart(','));
        var node = Open(_folder["top.qcow2"]);
        for (var i = 0; i < 120; i++)
            Step(node, shadow, random, i);
        Compare(node, shadow);
        node.Release();
        CheckBoth(_folder["top.qcow2"]);
    }

    [Fact]
    public void SnapshotsKeepTheirState()
    {
        const int length = 16 << 20;
        var random = new Random(31);
        var path = _folder["s.qcow2"];
        Create(path, length, "");
        var shadow = new byte[length];
        var node = (Qcow2Node)Open(path);
        var states = new Dictionary<string, byte[]>();
        for (var round = 0; round < 8; round++)
        {
            for (var i = 0; i < 30; i++)
                Step(node, shadow, random, i);
            if (random.Next(4) > 0)
            {
                _ = node.CreateSnapshot($"s{round}", DateTimeOffset.UtcNow);
                states[$"s{round}"] = [.. shadow];
            }

            if (states.Count > 0 && random.Next(2) == 0)
            {
                var name = states.Keys.ElementAt(random.Next(states.Count));
                node.ApplySnapshot(node.FindSnapshot(name)!);
                states[name].CopyTo(shadow, 0);
                Compare(node, shadow);
            }

            if (states.Count > 2)
            {
                var name = states.Keys.First();
                node.DeleteSnapshot(node.FindSnapshot(name)!);
                _ = states.Remove(name);
            }

            node.Release();
            CheckBoth(path);
            node = (Qcow2Node)Open(path);
            Compare(node, shadow);
        }

        foreach (var (name, state) in states)
        {
            node.ApplySnapshot(node.FindSnapshot(name)!);
            Compare(node, state);
        }

        node.Release();
        CheckBoth(path);
    }

    [Fact]
    public void ParallelWritersDoNotDisturbEachOther()
    {
        const int length = 32 << 20;
        var path = _folder["p.qcow2"];
        Create(path, length, "");
        var shadow = new byte[length];
        var node = Open(path);
        Parallel.For(0, 8, new ParallelOptions { MaxDegreeOfParallelism = 8 }, worker =>
        {
            var random = new Random(worker);
            for (var i = 0; i < 400; i++)
            {
                // Every worker has its own 4 KiB blocks, mixed with those of the others in each cluster.
                var block = (random.Next(length / 32768) * 8 + worker) * 4096;
                random.NextBytes(shadow.AsSpan(block, 4096));
                node.Write(block, shadow.AsSpan(block, 4096));
                if (i % 50 == 0)
                    node.Flush();
            }
        });
        Compare(node, shadow);
        node.Release();
        CheckBoth(path);
    }

    [Fact]
    public void ResizingKeepsTheRest()
    {
        var path = _folder["r.qcow2"];
        Create(path, 1 << 20, "cluster_size=512");
        var node = Open(path);
        var data = new byte[1 << 20];
        new Random(5).NextBytes(data);
        node.Write(0, data);
        node.Resize(64 << 20);
        node.Write(40 << 20, data);
        var back = new byte[data.Length];
        node.Read(0, back);
        Assert.Equal(data, back);
        node.Resize(512 << 10);
        node.Release();
        CheckBoth(path);
        node = Open(path);
        Assert.Equal(512 << 10, node.Length);
        node.Read(0, back.AsSpan(0, 512 << 10));
        Assert.True(back.AsSpan(0, 512 << 10).SequenceEqual(data.AsSpan(0, 512 << 10)));
        node.Release();
    }

    [Theory]
    [InlineData(3, "active L1 table")]
    [InlineData(1, "refcount table")]
    [InlineData(2, "refcount block")]
    public void NothingIsWrittenOverTablesThatCountAsFree(int cluster, string what)
    {
        var path = _folder["o.qcow2"];
        Create(path, 1 << 20, "");
        var bytes = File.ReadAllBytes(path);
        // The counts of an empty image: header, table, block, L1 table.
        bytes[2 * 65536 + cluster * 2 + 1] = 0;
        File.WriteAllBytes(path, bytes);
        var node = (Qcow2Node)Open(path);
        Assert.Equal(BlockError.Io, Assert.Throws<BlockException>(() => node.Write(0, new byte[512])).Error);
        Assert.True(node.IsCorrupt && node.IsReadOnly, what);
        node.Release();
        var after = File.ReadAllBytes(path);
        Assert.Equal(2, after[79]);
        after[79] = 0;
        Assert.Equal(bytes, after[..bytes.Length]);
        Assert.Contains("corrupt", Assert.Throws<BlockException>(() => Open(path)).Message);
    }

    [Fact]
    public void LostCountsAreMadeAnew()
    {
        var path = _folder["c.qcow2"];
        Create(path, 1 << 20, "");
        var node = Open(path);
        node.Write(65536, [1, 2, 3]);
        node.Release();
        var bytes = File.ReadAllBytes(path);
        bytes.AsSpan(48, 12).Clear();
        File.WriteAllBytes(path, bytes);
        Assert.Contains("reference count table", Assert.Throws<BlockException>(() => Open(path)).Message);
        using (var damaged = (Qcow2Node)ImageOpener.Open(path, OpenFlags.Tool with { ForCheck = true }, "qcow2"))
            Assert.Equal(0, damaged.Check(Qcow2Repair.All).Corruptions);
        CheckBoth(path);
        node = Open(path);
        var back = new byte[3];
        node.Read(65536, back);
        Assert.Equal([1, 2, 3], back);
        node.Release();
    }

    [Fact]
    public void PartsOfClustersThatReadAsZeroesBecomeZeroClusters()
    {
        var (below, above) = (_folder["below.qcow2"], _folder["above.qcow2"]);
        Create(below, 1 << 20, "cluster_size=4096");
        var node = Open(below);
        node.Write(65536 + 4096, [7]);
        node.Release();
        Create(above, 1 << 20, $"backing_file={below},backing_fmt=qcow2");
        node = Open(above);
        node.WriteZeroes(1000, 3000, false);
        Assert.True(node.Status(0, 65536) is { IsAllocated: true, IsZero: true, Length: 65536 });
        // Something of the cluster is not zero: what is asked for is stored.
        node.WriteZeroes(65536, 4096, true);
        Assert.True(node.Status(65536, 65536) is { IsAllocated: true, IsZero: false, Length: 65536 });
        var data = new byte[131072];
        node.Read(0, data);
        Assert.Equal(65536 + 4096, data.AsSpan().IndexOfAnyExcept((byte)0));
        // An aligned range without anything stored is marked, whether or not storage may be given back.
        node.WriteZeroes(131072, 65536, true);
        Assert.True(node.Status(131072, 65536).IsAllocated);
        node.Release();
        CheckBoth(above);
    }

    [Fact]
    public void LeaksAndErrorsAreRepaired()
    {
        var path = _folder["d.qcow2"];
        Create(path, 4 << 20, "");
        var node = Open(path);
        node.Write(0, new byte[1 << 20]);
        node.Release();
        using (var file = File.OpenWrite(path))
        {
            // A leaked cluster, and one that is in use but not counted.
            file.SetLength(61 << 16);
            file.Position = 0x20000 + 2 * 60;
            file.Write([0, 1]);
            file.Position = 0x20000 + 2 * 6;
            file.Write([0, 0]);
        }

        using (var check = (Qcow2Node)ImageOpener.Open(path, OpenFlags.Tool with { ForCheck = true }))
        {
            var found = new Qcow2Checker(check).Run(Qcow2Repair.None);
            Assert.Equal((1, 1), (found.Leaks, found.Corruptions > 0 ? 1 : 0));
            var repaired = new Qcow2Checker(check).Run(Qcow2Repair.All);
            Assert.Equal(1, repaired.LeaksFixed);
            Assert.True(repaired.CorruptionsFixed > 0);
        }

        CheckBoth(path);
    }

    private static void Create(string path, long length, string options)
    {
        ImageFormats.Find("qcow2")!.Create(new CreateRequest(path, length, BlockOptions.Parse(options), OpenFlags.Tool));
        if (QemuTools.Available)
            QemuTools.Check(path);
    }

    private static BlockNode Open(string path) => ImageOpener.Open(path, OpenFlags.Tool);

    private static void Step(BlockNode node, byte[] shadow, Random random, int step)
    {
        var length = shadow.Length;
        var offset = random.Next(length);
        var n = Math.Min(length - offset, random.Next(4) switch { 0 => 512, 1 => random.Next(1, 9000), 2 => 65536 * random.Next(1, 8), _ => random.Next(1, 1 << 20) });
        switch (random.Next(10))
        {
            case < 5:
                random.NextBytes(shadow.AsSpan(offset, n));
                node.Write(offset, shadow.AsSpan(offset, n));
                break;
            case 5:
                shadow.AsSpan(offset, n).Clear();
                node.WriteZeroes(offset, n, random.Next(2) == 0);
                break;
            case 6:
                node.Discard(offset, n);
                // Whole clusters read as zeroes or as before; take what the image says.
                node.Read(0, shadow);
                break;
            case 7:
                offset &= -node.ClusterSize;
                n = Math.Min(node.ClusterSize, length - offset);
                shadow.AsSpan(offset, n).Fill((byte)step);
                random.NextBytes(shadow.AsSpan(offset, n / 4));
                node.WriteCompressed(offset, shadow.AsSpan(offset, n));
                break;
            case 8:
                node.Flush();
                break;
            default:
                var back = new byte[n];
                node.Read(offset, back);
                Assert.True(back.AsSpan().SequenceEqual(shadow.AsSpan(offset, n)), $"differs at step {step}");
                break;
        }
    }

    private static void Compare(BlockNode node, byte[] shadow)
    {
        var all = new byte[shadow.Length];
        node.Read(0, all);
        var at = all.AsSpan().CommonPrefixLength(shadow);
        Assert.True(at == shadow.Length, $"differs at {at:#x}");
    }

    private static void CheckBoth(string path)
    {
        using (var node = (Qcow2Node)ImageOpener.Open(path, OpenFlags.Tool with { ForCheck = true, ReadOnly = true }))
        {
            var result = new Qcow2Checker(node).Run(Qcow2Repair.None);
            Assert.True(result.Corruptions + result.Leaks + result.CheckErrors == 0, string.Join('\n', result.Lines.Take(5)));
        }

        if (QemuTools.Available)
            QemuTools.Check(path);
    }
}
