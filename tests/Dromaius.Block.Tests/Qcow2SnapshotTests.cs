using Dromaius.Block.Graph;
using Dromaius.Block.Qcow2;

namespace Dromaius.Block.Tests;

/// <summary>Snapshots of an image that several threads write to, each its own stripes: what each wrote last is there.</summary>
public sealed class Qcow2SnapshotTests : IDisposable
{
    private const int Block = 4096, Threads = 4, Length = 64 << 20;

    private readonly ImageFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Theory]
    [InlineData("", 40, 1, false)]
    [InlineData("", 40, 2, true)]
    [InlineData("cluster_size=4k", 5, 3, true)]
    [InlineData("extended_l2=on,cluster_size=32k", 7, 4, false)]
    [InlineData("lazy_refcounts=on", 9, 5, true)]
    public void SnapshotsWhileOthersWriteLoseNothing(string options, int stripe, int seed, bool direct)
    {
        var path = _folder["w.qcow2"];
        ImageFormats.Find("qcow2")!.Create(new CreateRequest(path, Length, BlockOptions.Parse(options), OpenFlags.Tool));
        var node = (Qcow2Node)ImageOpener.Open(path, OpenFlags.Tool with { Direct = direct });
        node.AllowsDiscard = true;
        node.File!.AllowsDiscard = true;
        var shadow = new byte[Length];
        var stop = false;
        var failures = new List<string>();
        var workers = new Thread[Threads];
        for (var t = 0; t < Threads; t++)
        {
            var (first, random) = (t, new Random((seed * 100) + t));
            workers[t] = new Thread(() =>
            {
                while (!Volatile.Read(ref stop))
                {
                    var stripes = Length / (stripe * Block) / Threads;
                    var offset = ((random.Next(stripes) * Threads) + first) * stripe * Block;
                    var from = random.Next(stripe);
                    var count = 1 + random.Next(stripe - from);
                    if (Step(node, shadow, offset + (from * Block), count * Block, random) is { } failure)
                    {
                        lock (failures)
                            failures.Add(failure);
                        return;
                    }
                }
            });
            workers[t].Start();
        }

        for (var n = 0; n < 25; n++)
        {
            Thread.Sleep(20);
            _ = node.CreateSnapshot($"s{n}", DateTimeOffset.UtcNow);
            if (n % 3 == 2)
                node.DeleteSnapshot(node.Snapshots[0]);
        }

        Volatile.Write(ref stop, true);
        foreach (var worker in workers)
            worker.Join();
        Assert.Empty(failures);
        Compare(node, shadow);
        node.Release();
        node = (Qcow2Node)ImageOpener.Open(path, OpenFlags.Tool);
        Compare(node, shadow);
        node.Release();
        if (QemuTools.Available)
            QemuTools.Check(path);
    }

    private static string? Step(BlockNode node, byte[] shadow, int offset, int length, Random random)
    {
        var mine = shadow.AsSpan(offset, length);
        switch (random.Next(10))
        {
            case < 3:
                random.NextBytes(mine);
                node.Write(offset, mine);
                break;
            case < 6:
                random.NextBytes(mine);
                var pieces = new List<Memory<byte>>();
                for (var at = 0; at < length; at += Block)
                    pieces.Add(shadow.AsMemory(offset + at, Block));
                if (!node.TryWrite(offset, pieces, length))
                    node.Write(offset, mine);
                break;
            case 6:
                mine.Clear();
                node.WriteZeroes(offset, length, random.Next(2) == 0);
                break;
            case 7:
                node.Discard(offset, length);
                // Whole clusters read as zeroes or as before.
                node.Read(offset, mine);
                break;
            case 8:
                node.Flush();
                break;
            default:
                var back = new byte[length];
                node.Read(offset, back);
                if (!mine.SequenceEqual(back))
                    return $"differs at {offset + mine.CommonPrefixLength(back):#x}";
                break;
        }

        return null;
    }

    private static void Compare(BlockNode node, byte[] shadow)
    {
        var all = new byte[Length];
        node.Read(0, all);
        var at = all.AsSpan().CommonPrefixLength(shadow);
        Assert.True(at == Length, $"differs at {at:#x}: {(at < Length ? all[at] : 0)} for {(at < Length ? shadow[at] : 0)}");
    }
}
