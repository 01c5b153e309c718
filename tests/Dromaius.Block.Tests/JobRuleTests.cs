using Dromaius.Block.Graph;
using Dromaius.Block.Jobs;
using Dromaius.Core.Time;

namespace Dromaius.Block.Tests;

/// <summary>What jobs do about failures, and what they forbid each other.</summary>
public sealed class JobRuleTests : IDisposable
{
    private const int Length = 4 << 20, Piece = 512 << 10;
    private readonly ImageFolder _folder = new();
    private readonly EventLoop _loop = new(new Lock());
    private readonly Thread _thread;
    private readonly BlockGraph _graph;
    private readonly List<string> _failures = [];

    public JobRuleTests()
    {
        _graph = new BlockGraph(_loop);
        _thread = new Thread(_loop.Run) { IsBackground = true };
        _thread.Start();
        OnLoop(() => _graph.Jobs.Started += job => job.TransferFailed += (_, isRead, action) => _failures.Add($"{(isRead ? "read" : "write")} {action}"));
    }

    public void Dispose()
    {
        OnLoop(_graph.Dispose);
        _loop.Stop();
        _thread.Join();
        _folder.Dispose();
    }

    [Fact]
    public void AFailureThatIsReportedEndsTheJobAtItsPlace()
    {
        AddFailingChain(errno: 5);
        var job = Begin(() => _graph.Jobs.Stream("j", "top", null));
        WaitFor(() => job.Status == JobStatus.Null);
        Assert.Equal("Input/output error", job.Error);
        Assert.Equal(Piece, job.Done);
        Assert.Equal(["read Report"], _failures);
        Assert.NotNull(_graph.FindNode("top")!.Backing);
    }

    [Fact]
    public void AFailureThatIsIgnoredIsToldInTheEnd()
    {
        AddFailingChain(errno: 5);
        var job = Begin(() => _graph.Jobs.Stream("j", "top", null, settings: new JobSettings { OnError = JobErrorPolicy.Ignore }));
        WaitFor(() => job.Status == JobStatus.Null);
        Assert.Equal("Input/output error", job.Error);
        Assert.Equal(Length, job.Done);
        // Something was not copied: the backing image is still needed.
        Assert.NotNull(_graph.FindNode("top")!.Backing);
    }

    [Theory]
    [InlineData(JobErrorPolicy.Stop, 5)]
    [InlineData(JobErrorPolicy.StopWhenFull, 28)]
    public void AJobThatStoppedGoesOnWhenItIsTold(JobErrorPolicy policy, int errno)
    {
        AddFailingChain(errno);
        var job = Begin(() => _graph.Jobs.Stream("j", "top", null, settings: new JobSettings { OnError = policy }));
        WaitFor(() => job.Status == JobStatus.Paused);
        Assert.Equal(Piece, job.Done);
        Assert.Equal((BlockError)errno, job.StoppedBy);
        WaitFor(() => _failures.Count > 0);
        Assert.Equal(["read Stop"], _failures);
        OnLoop(job.Resume);
        Assert.NotEqual(JobStatus.Paused, job.Status);
        WaitFor(() => job.Status == JobStatus.Null);
        Assert.Null(job.Error);
        Assert.Null(_graph.FindNode("top")!.Backing);
    }

    [Fact]
    public void OnlyAFullDiskStopsAJobThatStopsWhenFull()
    {
        AddFailingChain(errno: 5);
        var job = Begin(() => _graph.Jobs.Stream("j", "top", null, settings: new JobSettings { OnError = JobErrorPolicy.StopWhenFull }));
        WaitFor(() => job.Status == JobStatus.Null);
        Assert.Equal("Input/output error", job.Error);
    }

    [Fact]
    public void WhatTheTargetRefusesFollowsItsOwnPolicy()
    {
        Add("driver=qcow2,node-name=source,file.driver=file,file.filename=" + Make("source.qcow2", null, data: true));
        Add("driver=qcow2,node-name=target,file.driver=blkdebug,file.image.driver=file,file.image.filename=" + Make("target.qcow2", null, data: false)
            + ",file.inject-error.0.event=write_aio,file.inject-error.0.once=on");
        var job = Begin(() => _graph.Jobs.Mirror("j", "source", _graph.FindNode("target")!.Retain(), SyncMode.Full,
            new JobSettings { OnError = JobErrorPolicy.Report, OnTargetError = JobErrorPolicy.Ignore }));
        // What was ignored is tried again.
        WaitFor(() => job.IsReady);
        Assert.Equal(["write Ignore"], _failures);
    }

    [Fact]
    public void WhoHearsOfTheEndFindsTheJobGone()
    {
        Add("driver=qcow2,node-name=top,file.driver=file,file.filename=" + Make("alone.qcow2", null, data: true));
        int? left = null;
        var job = Begin(() => _graph.Jobs.Stream("j", "top", null), watch: (j, status) =>
        {
            // The next command of a client is run behind what happens now.
            if (status == JobStatus.Concluded)
                _loop.Post(() => left = _graph.Jobs.All.Count);
        });
        WaitFor(() => left != null);
        Assert.Equal(0, left);
        Assert.Equal(JobStatus.Null, job.Status);
    }

    [Fact]
    public void AnotherSpeedHoldsAtOnce()
    {
        AddChain(4);
        var job = Begin(() => _graph.Jobs.Stream("j", "n3", null, settings: new JobSettings { Speed = 1024 }));
        WaitFor(() => job.Done > 0);
        OnLoop(() => job.SetSpeed(0));
        WaitFor(() => job.Status == JobStatus.Null);
        Assert.Null(job.Error);
        Refuses("Parameter 'speed' expects a non-negative value", () => _graph.Jobs.Stream("j", "n3", null, settings: new JobSettings { Speed = -1 }));
    }

    [Fact]
    public void ImagesInTheMiddleAreStreamedInto()
    {
        AddChain(4);
        Assert.True(_graph.FindNode("n2")!.IsReadOnly);
        var job = Begin(() => _graph.Jobs.Stream("j", "n2", null, bottom: new LayerName("n1", IsNode: true)));
        WaitFor(() => job.Status == JobStatus.Null);
        Assert.Null(job.Error);
        Assert.Equal("n0", _graph.FindNode("n2")!.Backing!.NodeName);
        Assert.True(_graph.FindNode("n2")!.IsReadOnly);
    }

    [Fact]
    public void NodesOfOneJobAreNotForAnother()
    {
        AddChain(7);
        var slow = new JobSettings { Speed = 1024 };
        var job = Begin(() => _graph.Jobs.Stream("j", "n4", "n1", settings: slow));
        Refuses("Node 'n4' is busy: block device is in use by block job: stream", () => _graph.Jobs.Stream("k", "n4", null));
        Refuses("Node 'n3' is busy: block device is in use by block job: stream", () => _graph.Jobs.Stream("k", "n3", "n2"));
        Refuses("Node 'n3' is busy: block device is in use by block job: stream", () => _graph.Jobs.Commit("k", "n6", "n3", "n1"));
        // The image above would have to name another backing file.
        Refuses("Node 'n2' is busy: block device is in use by block job: stream", () => _graph.Jobs.Commit("k", "n6", "n1", "n0"));
        Refuses("Node 'n4' is busy: block device is in use by block job: stream", () => _graph.Jobs.RequireIdle([_graph.FindNode("n4")!]));
        var other = Begin(() => _graph.Jobs.Stream("k", "n6", "n4"));
        WaitFor(() => other.Status == JobStatus.Null);
        Assert.Null(other.Error);
        OnLoop(() => job.Cancel());
        WaitFor(() => job.Status == JobStatus.Null);
    }

    [Fact]
    public void LayersThatAreNotThereAreNamed()
    {
        AddChain(3);
        Refuses("Node 'n2' is not a backing image of 'n2'", () => _graph.Jobs.Stream("j", "n2", new LayerName("n2", true)));
        Refuses("Can't find 'x' in the backing chain", () => _graph.Jobs.Stream("j", "n2", "x"));
        Refuses("'n2' is not in this backing file chain", () => _graph.Jobs.Commit("j", "n2", new LayerName("n1", true), new LayerName("n2", true)));
        Refuses("Top image file x not found", () => _graph.Jobs.Commit("j", "n2", "x", null));
        Refuses("cannot commit an image into itself", () => _graph.Jobs.Commit("j", "n2", "n0", null));
        Refuses("Invalid job ID ''", () => _graph.Jobs.Stream(null, "n2", null));
        Refuses("Invalid job ID '1x'", () => _graph.Jobs.Stream("1x", "n2", null));
    }

    [Fact]
    public void JobsOfAGroupSucceedTogetherOrNotAtAll()
    {
        AddChain(2);
        AddFailingChain(errno: 5);
        var group = new JobGroup();
        var settings = new JobSettings { AutoDismiss = false };
        var good = Begin(() => _graph.Jobs.Stream("good", "n1", null, settings: settings), group);
        var bad = Begin(() => _graph.Jobs.Stream("bad", "top", null, settings: settings), group);
        group.Close();
        WaitFor(() => good.Status == JobStatus.Concluded && bad.Status == JobStatus.Concluded);
        Assert.True(good.WasCancelled);
        Assert.Equal("Input/output error", bad.Error);
        Assert.NotNull(_graph.FindNode("n1")!.Backing);
        // What failed once only succeeds now.
        OnLoop(() => _graph.Jobs.Dismiss("good"));
        OnLoop(() => _graph.Jobs.Dismiss("bad"));
        group = new JobGroup();
        good = Begin(() => _graph.Jobs.Stream("good", "n1", null), group);
        bad = Begin(() => _graph.Jobs.Stream("bad", "top", null), group);
        group.Close();
        WaitFor(() => good.Status == JobStatus.Null && bad.Status == JobStatus.Null);
        Assert.Null(bad.Error);
        Assert.Null(_graph.FindNode("n1")!.Backing);
    }

    [Fact]
    public void ADriveThatGoesTakesItsJobsAlong()
    {
        _ = Make("base.qcow2", null, data: true);
        _ = Make("middle.qcow2", "base.qcow2", data: true);
        var top = Make("top.qcow2", "middle.qcow2", data: false);
        var backend = OnLoop(() => _graph.AddBackend("d", _graph.Open(top, new BlockOptions(), new OpenFlags())));
        var job = Begin(() => _graph.Jobs.Commit(null, "d", _folder["middle.qcow2"], null, settings: new JobSettings { Speed = 1024 }));
        OnLoop(() => _graph.Release(backend));
        WaitFor(() => job.Status == JobStatus.Null);
        Assert.True(job.WasCancelled);
        Assert.Null(backend.Node);
    }

    [Fact]
    public void AMirrorOfAnotherSizeFails()
    {
        AddChain(1);
        Add($"driver=null-co,node-name=big,size={Length * 2}");
        var job = Begin(() => _graph.Jobs.Mirror("j", "n0", _graph.FindNode("big")!.Retain(), SyncMode.Full));
        WaitFor(() => job.Status == JobStatus.Null);
        Assert.Equal("Source and target image have different sizes", job.Error);
    }

    [Fact]
    public void ABackupByBitmapCountsWhatItCopies()
    {
        Add("driver=qcow2,node-name=source,file.driver=file,file.filename=" + Make("source.qcow2", null, data: true));
        Add("driver=qcow2,node-name=target,file.driver=file,file.filename=" + Make("target.qcow2", null, data: false));
        var source = _graph.FindNode("source")!;
        var bitmap = source.AddDirtyBitmap("b");
        source.Write(1 << 20, new byte[100]);
        var job = Begin(() => _graph.Jobs.Backup("j", "source", _graph.FindNode("target")!.Retain(), new BackupScope(SyncMode.Bitmap, bitmap),
            settings: new JobSettings { AutoFinalize = false }));
        WaitFor(() => job.Status == JobStatus.Pending);
        Assert.Equal((65536, 65536), (job.Done, job.Total));
        // Until the end the bits may still be put back.
        Assert.Equal((0, 65536), (bitmap.DirtyBytes, bitmap.TakenBytes));
        OnLoop(job.FinalizeJob);
        WaitFor(() => job.Status == JobStatus.Null);
        Assert.Null(bitmap.TakenBytes);
    }

    [Fact]
    public void AReadyCommitThatIsCancelledKeepsWhatItCopied()
    {
        AddChain(2);
        BlockJob? ended = null;
        var job = Begin(() => _graph.Jobs.Commit("j", "n1", null, null), watch: (j, status) => ended = status == JobStatus.Concluded ? j : ended);
        WaitFor(() => job.IsReady);
        OnLoop(() => job.Cancel());
        WaitFor(() => ended != null);
        Assert.False(job.WasCancelled);
        Assert.NotNull(_graph.FindNode("n1")!.Backing);
    }

    [Fact]
    public void AMirrorCopiesInThePiecesItIsGiven()
    {
        Add("driver=qcow2,node-name=source,file.driver=file,file.filename=" + Make("source.qcow2", null, data: true));
        Add($"driver=null-co,node-name=target,size={Length}");
        var job = Begin(() => _graph.Jobs.Mirror("j", "source", _graph.FindNode("target")!.Retain(), SyncMode.Full,
            new JobSettings { Speed = 65536 }, unit: new MirrorUnit(65536, 65536)));
        WaitFor(() => job.Done > 0);
        Assert.Equal(65536, job.Done);
        OnLoop(() => job.Cancel(force: true));
        WaitFor(() => job.Status == JobStatus.Null);
        Refuses("Parameter 'granularity' expects a power of 2",
            () => _graph.Jobs.Mirror("j", "source", _graph.FindNode("target")!, SyncMode.Full, unit: new MirrorUnit(3000, 0)));
    }

    /// <summary>A node <c>top</c> above an image of which one read fails, behind the first half MiB.</summary>
    private void AddFailingChain(int errno)
    {
        var below = Make("below.raw", null, data: true);
        _ = Make("top.qcow2", "below.raw", data: false);
        Add($"driver=qcow2,node-name=top,file.driver=file,file.filename={_folder["top.qcow2"]},backing.driver=raw,backing.file.driver=blkdebug,"
            + $"backing.file.image.driver=file,backing.file.image.filename={below},backing.file.inject-error.0.event=none,"
            + $"backing.file.inject-error.0.errno={errno},backing.file.inject-error.0.sector=1024,backing.file.inject-error.0.once=on");
    }

    /// <summary>Nodes <c>n0</c>, <c>n1</c>..., each above the one before and with something of its own.</summary>
    private void AddChain(int count)
    {
        for (var i = 0; i < count; i++)
            _ = Make($"n{i}.qcow2", i == 0 ? null : $"n{i - 1}.qcow2", data: true, i);
        var (options, key) = ("", "");
        for (var i = count - 1; i >= 0; i--, key += "backing.")
            options += $",{key}driver=qcow2,{key}node-name=n{i},{key}file.driver=file,{key}file.filename={_folder[$"n{i}.qcow2"]}";
        Add(options[1..]);
    }

    /// <param name="name">Of the file.</param>
    /// <param name="backing">Of the image behind it.</param>
    /// <param name="data">Something is in it.</param>
    /// <param name="part">Only in this piece of half a MiB.</param>
    private string Make(string name, string? backing, bool data, int? part = null)
    {
        var format = Path.GetExtension(name)[1..];
        var options = backing == null ? new BlockOptions() : BlockOptions.Parse($"backing_file={backing},backing_fmt={Path.GetExtension(backing)[1..]}");
        ImageFormats.Find(format)!.Create(new CreateRequest(_folder[name], Length, options, OpenFlags.Tool));
        if (data)
        {
            using var node = ImageOpener.Open(_folder[name], OpenFlags.Tool, format);
            var bytes = new byte[part == null ? Length : Piece];
            bytes.AsSpan().Fill(0x5A);
            node.Write((part ?? 0) * Piece, bytes);
        }

        return _folder[name];
    }

    private void Add(string options) => OnLoop(() => { _ = _graph.AddNode(BlockOptions.Parse(options)); });

    private BlockJob Begin(Func<BlockJob> begin, JobGroup? group = null, Action<BlockJob, JobStatus>? watch = null) => OnLoop(() =>
    {
        void Watch(BlockJob job)
        {
            group?.Add(job);
            job.StatusChanged += watch;
        }

        _graph.Jobs.Started += Watch;
        try
        {
            return begin();
        }
        finally
        {
            _graph.Jobs.Started -= Watch;
        }
    });

    private void Refuses(string message, Action action) => Assert.Equal(message, OnLoop(() => Assert.Throws<BlockException>(action).Message));

    private void Refuses(string message, Func<BlockJob> begin) => Refuses(message, () => { _ = begin(); });

    private void OnLoop(Action action) => OnLoop(() =>
    {
        action();
        return 0;
    });

    private T OnLoop<T>(Func<T> function)
    {
        var done = new TaskCompletionSource<T>(TaskCreationOptions.RunContinuationsAsynchronously);
        _loop.Post(() =>
        {
            try
            {
                done.SetResult(function());
            }
            catch (Exception e)
            {
                done.SetException(e);
            }
        });
        return done.Task.WaitAsync(TimeSpan.FromSeconds(60)).GetAwaiter().GetResult();
    }

    private static void WaitFor(Func<bool> condition) => Assert.True(SpinWait.SpinUntil(condition, TimeSpan.FromSeconds(60)));
}
