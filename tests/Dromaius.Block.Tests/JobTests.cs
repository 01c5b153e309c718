using Dromaius.Block.Graph;
using Dromaius.Block.Jobs;
using Dromaius.Core.Time;

namespace Dromaius.Block.Tests;

/// <summary>Jobs run beside a guest that goes on writing; what it wrote is there afterwards.</summary>
public sealed class JobTests : IDisposable
{
    private const int Length = 16 << 20;
    private readonly ImageFolder _folder = new();
    private readonly EventLoop _loop = new(new Lock());
    private readonly Thread _thread;
    private readonly BlockGraph _graph;
    private readonly byte[] _shadow = new byte[Length];
    private readonly Random _random = new(77);

    public JobTests()
    {
        _graph = new BlockGraph(_loop);
        _thread = new Thread(_loop.Run) { IsBackground = true };
        _thread.Start();
    }

    public void Dispose()
    {
        OnLoop(() =>
        {
            _graph.Dispose();
            return 0;
        });
        _loop.Stop();
        _thread.Join();
        _folder.Dispose();
    }

    [Fact]
    public void StreamTakesEverythingUp()
    {
        var backend = MakeChain();
        var job = OnLoop(() => _graph.Jobs.Stream(null, "d0", null));
        Guest(backend, 200);
        WaitFor(() => job.Status is JobStatus.Null);
        Assert.Null(job.Error);
        Assert.Null(backend.Node!.Backing);
        Check(backend);
    }

    [Fact]
    public void NodesWithoutADriveAreCopiedAndStreamed()
    {
        _ = MakeChain();
        OnLoop(() =>
        {
            _graph.RemoveBackend("d0");
            return 0;
        });
        var source = AddNode("top.qcow2", "n");
        var length = source.Length;
        ImageFormats.Find("raw")!.Create(new CreateRequest(_folder["copy.raw"], length, new BlockOptions(), OpenFlags.Tool));
        var target = AddNode("copy.raw", "t");
        var copy = OnLoop(() => _graph.Jobs.Mirror("copy", "n", target.Retain(), SyncMode.Full));
        WaitFor(() => copy.IsReady);
        OnLoop(() =>
        {
            copy.Complete();
            return 0;
        });
        WaitFor(() => copy.Status is JobStatus.Null);
        Assert.Null(copy.Error);
        var stream = OnLoop(() => _graph.Jobs.Stream("s", "n", null));
        WaitFor(() => stream.Status is JobStatus.Null);
        Assert.Null(stream.Error);
        Assert.Null(source.Backing);
        var (there, here) = (new byte[length], new byte[length]);
        source.Read(0, there);
        target.Read(0, here);
        Assert.True(there.AsSpan().SequenceEqual(here));
        // The jobs gave up what they held.
        OnLoop(() =>
        {
            _graph.DeleteNode("n");
            _graph.DeleteNode("t");
            return 0;
        });
    }

    [Fact]
    public void JobsThatCannotBeginHoldNothing()
    {
        _ = MakeChain();
        OnLoop(() =>
        {
            _graph.RemoveBackend("d0");
            return 0;
        });
        _ = AddNode("top.qcow2", "n");
        ImageFormats.Find("raw")!.Create(new CreateRequest(_folder["small.raw"], 65536, new BlockOptions(), OpenFlags.Tool));
        var small = AddNode("small.raw", "s");
        OnLoop(() =>
        {
            Assert.Throws<BlockException>(() => _graph.Jobs.Backup("b", "n", small, new BackupScope(SyncMode.Full)));
            Assert.Throws<BlockException>(() => _graph.Jobs.Commit("c", "n", null, "no such image"));
            _graph.DeleteNode("n");
            return 0;
        });
    }

    private BlockNode AddNode(string file, string name)
    {
        var options = BlockOptions.Parse($"driver={Path.GetExtension(file)[1..]},node-name={name},file.driver=file,file.filename={_folder[file]}");
        return OnLoop(() => _graph.AddNode(options));
    }

    [Fact]
    public void StreamStopsAtABase()
    {
        var backend = MakeChain();
        var job = OnLoop(() => _graph.Jobs.Stream("j", "d0", _folder["base.qcow2"]));
        Guest(backend, 100);
        WaitFor(() => job.Status is JobStatus.Null);
        Assert.Equal(_folder["base.qcow2"], backend.Node!.Backing!.FileName);
        Check(backend);
    }

    /// <summary>Zeroes that hide what is in the base must go up, and take no room there; what the top image has of a cluster stays.</summary>
    [Theory]
    [InlineData("")]
    [InlineData("extended_l2=on,")]
    [InlineData("compat=0.10,")]
    public void StreamedZeroesTakeNoRoom(string options)
    {
        const int cluster = 65536;
        Make("base.qcow2", null);
        Write("base.qcow2", n => n.Write(0, Filled(Length, 1)));
        Make("middle.qcow2", "base.qcow2");
        Write("middle.qcow2", static n =>
        {
            n.WriteZeroes(0, Length / 2, false);
            n.Write(8 * cluster, Filled(cluster, 2));
        });
        Make("top.qcow2", "middle.qcow2", options);
        Write("top.qcow2", static n => n.Write(4096, Filled(4096, 3)));
        var backend = OnLoop(() => _graph.AddBackend("d0", _graph.Open(_folder["top.qcow2"], new BlockOptions(), OpenFlags.Tool with { ShareWrite = false })));
        var job = OnLoop(() => _graph.Jobs.Stream("j", "d0", _folder["base.qcow2"]));
        WaitFor(() => job.Status is JobStatus.Null);
        Assert.Null(job.Error);
        Filled(Length, 1).CopyTo(_shadow, 0);
        _shadow.AsSpan(0, Length / 2).Clear();
        _shadow.AsSpan(8 * cluster, cluster).Fill(2);
        _shadow.AsSpan(4096, 4096).Fill(3);
        Check(backend);
        if (!options.StartsWith("compat", StringComparison.Ordinal))
            Assert.True(backend.Node!.AllocatedSize < 1 << 20, $"{backend.Node.AllocatedSize}");

        void Write(string name, Action<BlockNode> change)
        {
            using var node = ImageOpener.Open(_folder[name], OpenFlags.Tool);
            change(node);
        }

        static byte[] Filled(int length, byte value)
        {
            var bytes = new byte[length];
            bytes.AsSpan().Fill(value);
            return bytes;
        }
    }

    [Fact]
    public void CommitOfAMiddleImageShortensTheChain()
    {
        var backend = MakeChain();
        var job = OnLoop(() => _graph.Jobs.Commit(null, "d0", _folder["middle.qcow2"], null));
        Guest(backend, 100);
        WaitFor(() => job.Status is JobStatus.Null);
        Assert.Null(job.Error);
        Assert.Equal(_folder["base.qcow2"], backend.Node!.Backing!.FileName);
        Check(backend);
    }

    [Fact]
    public void CommitOfTheActiveImageGoesOnInTheBase()
    {
        var backend = MakeChain();
        var job = OnLoop(() => _graph.Jobs.Commit(null, "d0", null, null));
        Guest(backend, 100);
        WaitFor(() => job.IsReady);
        Guest(backend, 100);
        OnLoop(() =>
        {
            job.Complete();
            return 0;
        });
        WaitFor(() => job.Status is JobStatus.Null);
        Assert.Null(job.Error);
        Assert.Equal(_folder["base.qcow2"], backend.Node!.FileName);
        Check(backend);
        Guest(backend, 20);
        Check(backend);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void MirrorFollowsTheGuest(bool complete)
    {
        var backend = MakeChain();
        Make("mirror.qcow2", null);
        var target = ImageOpener.Open(_folder["mirror.qcow2"], OpenFlags.Tool);
        var job = OnLoop(() => _graph.Jobs.Mirror("m", "d0", target, SyncMode.Full));
        Guest(backend, 200);
        WaitFor(() => job.IsReady);
        Guest(backend, 100);
        OnLoop(() =>
        {
            if (complete)
                job.Complete();
            else
                job.Cancel();
            return 0;
        });
        WaitFor(() => job.Status is JobStatus.Null);
        Assert.Null(job.Error);
        Assert.Equal(_folder[complete ? "mirror.qcow2" : "top.qcow2"], backend.Node!.FileName);
        Check(backend);
    }

    [Theory]
    [InlineData(SyncMode.Top, MirrorBacking.OfSource)]
    [InlineData(SyncMode.None, MirrorBacking.OfSource)]
    [InlineData(SyncMode.Top, MirrorBacking.OfTarget)]
    public void MirrorOfAPartHasTheRestBehindIt(SyncMode sync, MirrorBacking backing)
    {
        var backend = MakeChain();
        Make("mirror.qcow2", backing == MirrorBacking.OfTarget ? "middle.qcow2" : null);
        var target = ImageOpener.Open(_folder["mirror.qcow2"], OpenFlags.Tool with { NoBacking = true });
        Guest(backend, 50);
        var job = OnLoop(() => _graph.Jobs.Mirror("m", "d0", target, sync, backing: backing));
        WaitFor(() => job.IsReady);
        Guest(backend, 50);
        OnLoop(() =>
        {
            job.Complete();
            return 0;
        });
        WaitFor(() => job.Status is JobStatus.Null);
        Assert.Null(job.Error);
        Assert.True(job.Done == job.Total && job.Done < Length * 2L, $"{job.Done} of {job.Total}");
        Assert.Equal(_folder["mirror.qcow2"], backend.Node!.FileName);
        Check(backend);
        Guest(backend, 20);
        Check(backend);
    }

    [Fact]
    public void BackupKeepsTheMomentItWasBegun()
    {
        var backend = MakeChain();
        Make("backup.qcow2", null);
        var target = ImageOpener.Open(_folder["backup.qcow2"], OpenFlags.Tool);
        var moment = _shadow.ToArray();
        var job = OnLoop(() => _graph.Jobs.Backup("b", "d0", target, new BackupScope(SyncMode.Full), settings: new JobSettings { Speed = 40 << 20 }));
        Guest(backend, 300);
        WaitFor(() => job.Status is JobStatus.Null);
        Assert.Null(job.Error);
        Check(backend);
        using var copy = ImageOpener.Open(_folder["backup.qcow2"], OpenFlags.Tool with { ReadOnly = true });
        Compare(copy, moment);
    }

    [Fact]
    public void ADriveWithACopyJobTakesNoOther()
    {
        var backend = MakeChain();
        Make("backup.qcow2", null);
        Make("other.qcow2", null);
        var target = ImageOpener.Open(_folder["backup.qcow2"], OpenFlags.Tool);
        using var other = ImageOpener.Open(_folder["other.qcow2"], OpenFlags.Tool);
        var moment = _shadow.ToArray();
        var job = OnLoop(() => _graph.Jobs.Backup("b", "d0", target, new BackupScope(SyncMode.Full), settings: new JobSettings { Speed = 40 << 20 }));
        OnLoop(() =>
        {
            Assert.Throws<BlockException>(() => _graph.Jobs.Backup("b", "d0", other, new BackupScope(SyncMode.Full)));
            Assert.Throws<BlockException>(() => _graph.Jobs.Mirror("m", "d0", other, SyncMode.Full));
            return 0;
        });
        Guest(backend, 100);
        WaitFor(() => job.Status is JobStatus.Null);
        Check(backend);
        using var copy = ImageOpener.Open(_folder["backup.qcow2"], OpenFlags.Tool with { ReadOnly = true });
        Compare(copy, moment);
    }

    [Fact]
    public void PausedAndCancelledJobsLeaveTheDiskAlone()
    {
        var backend = MakeChain();
        var job = OnLoop(() => _graph.Jobs.Stream("s", "d0", null, settings: new JobSettings { Speed = 1 << 20 }));
        job.Pause();
        WaitFor(() => job.Status == JobStatus.Paused);
        var done = job.Done;
        Guest(backend, 50);
        Assert.Equal(done, job.Done);
        job.Resume();
        job.Cancel();
        WaitFor(() => job.Status is JobStatus.Null);
        Assert.True(job.WasCancelled);
        Check(backend);
    }

    [Fact]
    public void ASnapshotGoesOnInANewImage()
    {
        var backend = MakeChain();
        var before = _shadow.ToArray();
        _ = OnLoop(() => _graph.TakeSnapshot("d0", _folder["snap.qcow2"], "qcow2", "overlay", create: true));
        Guest(backend, 100);
        Check(backend);
        Assert.Equal("overlay", backend.Node!.NodeName);
        Compare(backend.Node!.Backing!, before);
        Assert.True(backend.Node!.Backing!.IsReadOnly);
    }

    private BlockBackend MakeChain()
    {
        Make("base.qcow2", null);
        Fill("base.qcow2", 0);
        Make("middle.qcow2", "base.qcow2");
        Fill("middle.qcow2", 1);
        Make("top.qcow2", "middle.qcow2");
        return OnLoop(() => _graph.AddBackend("d0", _graph.Open(_folder["top.qcow2"], new BlockOptions(), OpenFlags.Tool with { ShareWrite = false })));
    }

    private void Make(string name, string? backing, string more = "")
    {
        var options = backing == null ? new BlockOptions() : BlockOptions.Parse($"{more}backing_file={backing},backing_fmt=qcow2");
        ImageFormats.Find("qcow2")!.Create(new CreateRequest(_folder[name], Length, options, OpenFlags.Tool));
    }

    private void Fill(string name, int seed)
    {
        using var node = ImageOpener.Open(_folder[name], OpenFlags.Tool);
        var random = new Random(seed);
        for (var i = 0; i < 60; i++)
        {
            var at = random.Next(Length - 100_000);
            var n = random.Next(1, 100_000);
            random.NextBytes(_shadow.AsSpan(at, n));
            node.Write(at, _shadow.AsSpan(at, n));
        }
    }

    /// <summary>The guest writes and reads, a few transfers at once.</summary>
    private void Guest(BlockBackend backend, int count)
    {
        for (var i = 0; i < count; i++)
        {
            var at = _random.Next(Length - 20_000);
            var n = _random.Next(1, 20_000);
            _random.NextBytes(_shadow.AsSpan(at, n));
            using var done = new ManualResetEventSlim();
            var request = new BlockRequest
            {
                Operation = BlockOperation.Write,
                Offset = at,
                Length = n,
                Segments = [_shadow.AsMemory(at, n)],
                Completed = _ => done.Set(),
            };
            _loop.Post(() => backend.Submit(request));
            Assert.True(done.Wait(TimeSpan.FromSeconds(60)));
            Assert.Equal(BlockError.None, request.Error);
        }
    }

    private void Check(BlockBackend backend)
    {
        WaitFor(() => backend.InFlight == 0);
        Compare(backend.Node!, _shadow);
    }

    private static void Compare(BlockNode node, byte[] shadow)
    {
        var all = new byte[shadow.Length];
        node.Read(0, all);
        var at = all.AsSpan().CommonPrefixLength(shadow);
        Assert.True(at == shadow.Length, $"differs at {at:#x}");
    }

    private static void WaitFor(Func<bool> condition) => Assert.True(SpinWait.SpinUntil(condition, TimeSpan.FromSeconds(60)));

    private T OnLoop<T>(Func<T> action)
    {
        using var done = new ManualResetEventSlim();
        T result = default!;
        Exception? failure = null;
        _loop.Post(() =>
        {
            try
            {
                result = action();
            }
            catch (Exception e)
            {
                failure = e;
            }

            done.Set();
        });
        Assert.True(done.Wait(TimeSpan.FromSeconds(60)));
        Assert.Null(failure);
        return result;
    }
}
