using System.Text.Json.Nodes;
using Dromaius.Block;
using Dromaius.Block.Graph;
using Dromaius.Block.Jobs;

namespace Dromaius.Control.Qmp;

/// <summary>Jobs on images: beginning, steering and watching them.</summary>
internal sealed class JobCommands
{
    public const string Schema = """
        enum JobType = commit stream mirror backup create amend snapshot-load snapshot-save snapshot-delete
        enum JobStatus = undefined created running paused ready standby waiting pending aborting concluded null
        enum MirrorSyncMode = top full none incremental bitmap
        enum BitmapSyncMode = on-success never always
        enum BlockdevOnError = report ignore enospc stop auto
        struct BackupPerf = use-copy-range?: bool, max-workers?: int, max-chunk?: int
        struct JobInfo = id: str, type: JobType, status: JobStatus, current-progress: int, total-progress: int, error?: str
        struct BlockJobInfo = type: JobType, device: str, len: int, offset: int, busy: bool, paused: bool, speed: int, io-status: BlockDeviceIoStatus, ready: bool, status: JobStatus, auto-finalize: bool, auto-dismiss: bool, error?: str
        command query-jobs -> [JobInfo]
        command query-block-jobs -> [BlockJobInfo]
        command block-stream(job-id?: str, device: str, base?: str, base-node?: str, backing-file?: str, bottom?: str, speed?: int, on-error?: BlockdevOnError, filter-node-name?: str, auto-finalize?: bool, auto-dismiss?: bool)
        command block-commit(job-id?: str, device: str, base-node?: str, base?: str, top-node?: str, top?: str, backing-file?: str, speed?: int, on-error?: BlockdevOnError, filter-node-name?: str, auto-finalize?: bool, auto-dismiss?: bool)
        command drive-mirror(job-id?: str, device: str, target: str, format?: str, node-name?: str, replaces?: str, sync: MirrorSyncMode, mode?: NewImageMode, speed?: int, granularity?: uint32, buf-size?: int, on-source-error?: BlockdevOnError, on-target-error?: BlockdevOnError, unmap?: bool, copy-mode?: str, auto-finalize?: bool, auto-dismiss?: bool)
        command drive-backup(job-id?: str, device: str, target: str, format?: str, sync: MirrorSyncMode, mode?: NewImageMode, speed?: int, bitmap?: str, bitmap-mode?: BitmapSyncMode, compress?: bool, x-perf?: BackupPerf, filter-node-name?: str, on-source-error?: BlockdevOnError, on-target-error?: BlockdevOnError, auto-finalize?: bool, auto-dismiss?: bool)
        command blockdev-mirror(job-id?: str, device: str, target: str, replaces?: str, sync: MirrorSyncMode, speed?: int, granularity?: uint32, buf-size?: int, on-source-error?: BlockdevOnError, on-target-error?: BlockdevOnError, filter-node-name?: str, copy-mode?: str, auto-finalize?: bool, auto-dismiss?: bool)
        command blockdev-backup(job-id?: str, device: str, target: str, sync: MirrorSyncMode, speed?: int, bitmap?: str, bitmap-mode?: BitmapSyncMode, compress?: bool, x-perf?: BackupPerf, on-source-error?: BlockdevOnError, on-target-error?: BlockdevOnError, filter-node-name?: str, auto-finalize?: bool, auto-dismiss?: bool)
        open command blockdev-create(job-id: str, options: any)
        command block-job-set-speed(device: str, speed: int)
        command block-job-cancel(device: str, force?: bool)
        command block-job-pause(device: str)
        command block-job-resume(device: str)
        command block-job-complete(device: str)
        command block-job-finalize(id: str)
        command block-job-dismiss(id: str)
        command job-pause(id: str)
        command job-resume(id: str)
        command job-cancel(id: str)
        command job-complete(id: str)
        command job-finalize(id: str)
        command job-dismiss(id: str)
        event JOB_STATUS_CHANGE(id: str, status: JobStatus)
        event BLOCK_JOB_COMPLETED(type: JobType, device: str, len: int, offset: int, speed: int, error?: str)
        event BLOCK_JOB_CANCELLED(type: JobType, device: str, len: int, offset: int, speed: int)
        event BLOCK_JOB_READY(type: JobType, device: str, len: int, offset: int, speed: int)
        event BLOCK_JOB_ERROR(device: str, operation: IoOperationType, action: BlockErrorAction)
        event BLOCK_JOB_PENDING(type: JobType, id: str)
        """;

    private readonly IMachineControl _machine;

    public JobCommands(IMachineControl machine)
    {
        _machine = machine;
        Table = new()
        {
            ["query-jobs"] = _ => new JsonArray([.. All.Select(Describe)]),
            ["query-block-jobs"] = _ => new JsonArray([.. All.Select(DescribeBlock)]),
            ["block-stream"] = a => Begin(() => Stream(a)),
            ["block-commit"] = a => Begin(() => Commit(a)),
            ["drive-mirror"] = a => Begin(() => Copy(a, bitmaps: false, (target, sync) => Mirror(a, target, sync,
                a.OptionalText("mode") == "existing" ? MirrorBacking.OfTarget : MirrorBacking.OfSource))),
            ["drive-backup"] = a => Begin(() => Copy(a, bitmaps: true, (target, sync) => Backup(a, target, sync))),
            ["blockdev-mirror"] = a => Begin(() => CopyToNode(a, bitmaps: false, (target, sync) => Mirror(a, target, sync, MirrorBacking.Leave))),
            ["blockdev-backup"] = a => Begin(() => CopyToNode(a, bitmaps: true, (target, sync) => Backup(a, target, sync))),
            ["blockdev-create"] = Create,
        };
        Steer("pause", static job => job.Pause());
        Steer("resume", static job => job.Resume());
        Steer("complete", static job => job.Complete());
        Steer("finalize", static job => job.FinalizeJob());
        Steer("dismiss", job => Jobs.Dismiss(job.Id));
        Table["job-cancel"] = a => Guard(() => Find(a.Text("id"), false).Cancel(force: true));
        Table["block-job-cancel"] = a => Guard(() => Find(a.Text("device"), true).Cancel(a.Flag("force")));
        Table["block-job-set-speed"] = a => Guard(() => Find(a.Text("device"), true).SetSpeed(a.Integer("speed")));
    }

    public Dictionary<string, Func<QmpArguments, JsonNode?>> Table { get; }

    private JobList Jobs => (_machine.Blocks ?? throw QmpErrorException.Generic("the machine has no drives")).Jobs;

    private IEnumerable<BlockJob> All => _machine.Blocks?.Jobs.All ?? [];

    private static string NameOf(JobStatus status) => status.ToString().ToLowerInvariant();

    private static JobErrorPolicy Policy(string? name) => name switch
    {
        "ignore" => JobErrorPolicy.Ignore,
        "stop" => JobErrorPolicy.Stop,
        "enospc" or "auto" => JobErrorPolicy.StopWhenFull,
        _ => JobErrorPolicy.Report,
    };

    /// <param name="a">The arguments.</param>
    /// <param name="source">Which of them says what to do about failures, of the source where the target has a policy of its own.</param>
    private static JobSettings Settings(QmpArguments a, string source = "on-source-error") => new()
    {
        Speed = a.Integer("speed"), OnError = Policy(a.OptionalText(source)),
        OnTargetError = Policy(a.OptionalText(source == "on-error" ? source : "on-target-error")),
        AutoFinalize = a.Flag("auto-finalize", true), AutoDismiss = a.Flag("auto-dismiss", true),
    };

    /// <summary>A verb under both of its names; the older one calls the job a device.</summary>
    private void Steer(string verb, Action<BlockJob> act)
    {
        Table["job-" + verb] = a => Guard(() => act(Find(a.Text("id"), false)));
        var key = verb is "finalize" or "dismiss" ? "id" : "device";
        Table["block-job-" + verb] = a => Guard(() => act(Find(a.Text(key), true)));
    }

    private BlockJob Find(string id, bool asDevice) => _machine.Blocks?.Jobs.TryFind(id)
        ?? throw (asDevice ? QmpErrorException.NotActive($"Block job '{id}' not found") : QmpErrorException.Generic("Job not found"));

    private static JsonNode? Guard(Action action)
    {
        try
        {
            action();
            return null;
        }
        catch (BlockException e)
        {
            throw QmpErrorException.Generic(e.Message);
        }
    }

    private JsonNode? Begin(Func<BlockJob> begin) => Guard(() =>
    {
        void OnStarted(BlockJob job)
        {
            Tell(job, job.Status);
            job.StatusChanged += Tell;
            job.TransferFailed += TellFailure;
        }

        Jobs.Started += OnStarted;
        try
        {
            _ = begin();
        }
        finally
        {
            Jobs.Started -= OnStarted;
        }
    });

    private JsonNode? Create(QmpArguments a)
    {
        var id = a.OptionalText("job-id") ?? throw QmpErrorException.Generic("Parameter 'job-id' is missing");
        if (a.Values["options"] is not JsonObject options)
            throw QmpErrorException.Generic("Parameter 'options' is missing");
        return Begin(() => Jobs.Create(id, BlockOptions.Parse(options.ToJsonString())));
    }

    private BlockJob Stream(QmpArguments a)
    {
        foreach (var (one, other) in (ReadOnlySpan<(string, string)>)[("base", "base-node"), ("base", "bottom"), ("bottom", "base-node")])
        {
            if (a.Has(one) && a.Has(other))
                throw QmpErrorException.Generic($"'{one}' and '{other}' cannot be specified at the same time");
        }

        _ = Jobs;
        _ = _machine.Blocks!.RequireImage(a.Text("device"));
        return Jobs.Stream(a.OptionalText("job-id"), a.Text("device"), Layer(a, "base"), Node(a, "bottom"), a.OptionalText("backing-file"), Settings(a, "on-error"));
    }

    private BlockJob Commit(QmpArguments a)
    {
        var device = a.Text("device");
        // libvirt asks for a drive that is not there to learn whether there is such a command.
        if (_machine.Blocks?.FindNode(device) == null)
            throw QmpErrorException.DeviceNotFound(device);
        foreach (var which in (ReadOnlySpan<string>)["top", "base"])
        {
            if (a.Has(which) && a.Has(which + "-node"))
                throw QmpErrorException.Generic($"'{which}-node' and '{which}' are mutually exclusive");
        }

        return Jobs.Commit(a.OptionalText("job-id"), device, Layer(a, "top"), Layer(a, "base"), a.OptionalText("backing-file"), Settings(a, "on-error"));
    }

    /// <summary>An image of the chain: a node by its name, or a file as the image above it calls it.</summary>
    private LayerName? Layer(QmpArguments a, string which) =>
        Node(a, which + "-node") ?? (a.OptionalText(which) is { } file ? new LayerName(file) : (LayerName?)null);

    private LayerName? Node(QmpArguments a, string which)
    {
        if (a.OptionalText(which) is not { } node)
            return null;
        return _machine.Blocks!.Nodes.ContainsKey(node) ? new LayerName(node, IsNode: true) : throw QmpErrorException.Generic($"Cannot find device='' nor node-name='{node}'");
    }

    private BlockJob Mirror(QmpArguments a, BlockNode target, SyncMode sync, MirrorBacking backing) =>
        Jobs.Mirror(a.OptionalText("job-id"), a.Text("device"), target, sync, Settings(a), backing, new MirrorUnit(a.Integer("granularity"), a.Integer("buf-size")));

    private BlockJob Backup(QmpArguments a, BlockNode target, SyncMode sync) =>
        Jobs.Backup(a.OptionalText("job-id"), a.Text("device"), target, Scope(a, sync), a.Flag("compress"), Settings(a));

    private static SyncMode Sync(QmpArguments a, bool bitmaps) => a.Text("sync") switch
    {
        "full" => SyncMode.Full,
        "top" => SyncMode.Top,
        "none" => SyncMode.None,
        "bitmap" or "incremental" when bitmaps => SyncMode.Bitmap,
        var other => throw QmpErrorException.Generic($"Sync mode '{other}' not supported"),
    };

    /// <summary>Which part of the disk a backup takes, with the bitmap that says so.</summary>
    private BackupScope Scope(QmpArguments a, SyncMode sync)
    {
        var (name, word, mode) = (a.OptionalText("bitmap"), a.Text("sync"), a.OptionalText("bitmap-mode"));
        if (name == null)
        {
            if (sync == SyncMode.Bitmap)
                throw QmpErrorException.Generic($"must provide a valid bitmap name for '{word}' sync mode");
            return mode == null ? new BackupScope(sync) : throw QmpErrorException.Generic("Cannot specify bitmap sync mode without a bitmap");
        }

        if (word == "incremental")
        {
            if (mode is not (null or "on-success"))
                throw QmpErrorException.Generic("Bitmap sync mode must be 'on-success' when using sync mode 'incremental'");
            mode = "on-success";
        }

        var bitmap = _machine.Blocks!.RequireImage(a.Text("device")).DirtyBitmaps.FirstOrDefault(b => b.Name == name)
            ?? throw QmpErrorException.Generic($"Bitmap '{name}' could not be found");
        if (mode == null)
            throw QmpErrorException.Generic("Bitmap sync mode must be given when providing a bitmap");
        bitmap.CheckUsable();
        if (sync == SyncMode.None)
            throw QmpErrorException.Generic($"sync mode '{word}' does not produce meaningful bitmap outputs");
        if (mode == "never" && sync != SyncMode.Bitmap)
            throw QmpErrorException.Generic($"Bitmap sync mode '{mode}' has no meaningful effect when combined with sync mode '{word}'");
        return new BackupScope(sync, bitmap, mode switch
        {
            "never" => BitmapMode.Never,
            "always" => BitmapMode.Always,
            _ => BitmapMode.OnSuccess,
        });
    }

    /// <summary>Copies to a node that is open already.</summary>
    private BlockJob CopyToNode(QmpArguments a, bool bitmaps, Func<BlockNode, SyncMode, BlockJob> begin)
    {
        var graph = _machine.Blocks!;
        var source = graph.RequireImage(a.Text("device"));
        var name = a.Text("target");
        var target = graph.FindNode(name) ?? throw QmpErrorException.Generic($"Cannot find device='{name}' nor node-name='{name}'");
        if (target == source)
            throw QmpErrorException.Generic("Source and target cannot be the same");
        if (target.IsReadOnly)
            throw QmpErrorException.Generic($"Block node is read-only");
        var sync = Sync(a, bitmaps);
        _ = target.Retain();
        try
        {
            return begin(target, sync);
        }
        catch
        {
            target.Release();
            throw;
        }
    }

    /// <summary>Makes or opens the target of a copy.</summary>
    private BlockJob Copy(QmpArguments a, bool bitmaps, Func<BlockNode, SyncMode, BlockJob> begin)
    {
        var graph = _machine.Blocks!;
        var source = graph.RequireImage(a.Text("device"));
        var sync = Sync(a, bitmaps);
        var (file, format) = (a.Text("target"), a.OptionalText("format"));
        if (a.OptionalText("mode") != "existing")
        {
            format ??= source.Driver;
            var create = new BlockOptions();
            create.Set("size", source.Length.ToString(System.Globalization.CultureInfo.InvariantCulture));
            if (sync != SyncMode.Full && (sync == SyncMode.None ? source : source.Backing) is { } backing)
            {
                create.Set("backing_file", backing.FileName);
                create.Set("backing_fmt", backing.Driver);
            }

            Console.Out.WriteLine(ImageCreator.Create(file, format, create, OpenFlags.Tool, checkBacking: false).Description);
            ImageCreator.Write(file, format, create, OpenFlags.Tool);
        }

        var options = new BlockOptions();
        if (format != null)
            options.Set("driver", format);
        if (a.OptionalText("node-name") is { } name)
            options.Set("node-name", name);
        var target = graph.Open(file, options, new OpenFlags { NoBacking = true });
        try
        {
            // Who reads the copy sees what has not changed since through it.
            if (bitmaps && sync == SyncMode.None && target is IBackingChange { } overlay)
                overlay.SetBacking(graph.FindImage(a.Text("device"))!.Retain());
            return begin(target, sync);
        }
        catch
        {
            target.Release();
            throw;
        }
    }

    private void TellFailure(BlockJob job, bool isRead, JobErrorPolicy action) => _machine.RaiseEvent("BLOCK_JOB_ERROR", new JsonObject
    {
        ["device"] = job.Id, ["operation"] = isRead ? "read" : "write", ["action"] = action.ToString().ToLowerInvariant(),
    });

    private void Tell(BlockJob job, JobStatus status)
    {
        var data = new JsonObject
        {
            ["device"] = job.Id, ["len"] = job.Total, ["offset"] = job.Done, ["speed"] = job.Speed, ["type"] = job.Type,
        };
        if (status == JobStatus.Concluded && job.Type != "create")
        {
            if (job.Error != null)
                data["error"] = job.Error;
            _machine.RaiseEvent(job.WasCancelled ? "BLOCK_JOB_CANCELLED" : "BLOCK_JOB_COMPLETED", data);
        }

        _machine.RaiseEvent("JOB_STATUS_CHANGE", new JsonObject { ["status"] = NameOf(status), ["id"] = job.Id });
        if (status == JobStatus.Ready)
            _machine.RaiseEvent("BLOCK_JOB_READY", data);
        else if (status == JobStatus.Pending && !job.Settings.AutoFinalize)
            _machine.RaiseEvent("BLOCK_JOB_PENDING", new JsonObject { ["type"] = job.Type, ["id"] = job.Id });
    }

    private static JsonNode Describe(BlockJob job)
    {
        var item = new JsonObject
        {
            ["current-progress"] = job.Done, ["status"] = NameOf(job.Status), ["total-progress"] = job.Total, ["type"] = job.Type, ["id"] = job.Id,
        };
        if (job.Error != null)
            item["error"] = job.Error;
        return item;
    }

    private static JsonNode DescribeBlock(BlockJob job)
    {
        var item = new JsonObject
        {
            ["auto-finalize"] = job.Settings.AutoFinalize, ["io-status"] = BlockCommands.IoStatus(job.StoppedBy), ["device"] = job.Id, ["auto-dismiss"] = job.Settings.AutoDismiss,
            ["busy"] = job.Status == JobStatus.Running, ["len"] = job.Total, ["offset"] = job.Done, ["status"] = NameOf(job.Status), ["paused"] = job.IsPaused,
            ["speed"] = job.Speed, ["ready"] = job.IsReady, ["type"] = job.Type,
        };
        if (job.Error != null)
            item["error"] = job.Error;
        return item;
    }
}
