using Dromaius.Block.Graph;

namespace Dromaius.Block.Jobs;

/// <summary>How much of a disk a job copies.</summary>
public enum SyncMode
{
    Full,

    /// <summary>Only what the top image holds.</summary>
    Top,

    /// <summary>Only what changes from now on.</summary>
    None,

    /// <summary>Only what a dirty bitmap names.</summary>
    Bitmap,
}

/// <summary>In what pieces a mirror copies.</summary>
/// <param name="Granularity">Bytes that are copied anew after any of them was written; 0 for the usual.</param>
/// <param name="Buffer">Bytes that are copied at once at most; 0 for the usual.</param>
public readonly record struct MirrorUnit(long Granularity, long Buffer)
{
    public void Check()
    {
        if (Granularity != 0 && Granularity is < 512 or > 64 << 20)
            throw new BlockException(BlockError.Invalid, "Parameter 'granularity' expects a value in range [512B, 64MB]");
        if ((Granularity & (Granularity - 1)) != 0)
            throw new BlockException(BlockError.Invalid, "Parameter 'granularity' expects a power of 2");
        if (Buffer < 0)
            throw new BlockException(BlockError.Invalid, "Parameter 'buf-size' expects a non-negative value");
    }
}

/// <summary>What a mirror's target, opened without a backing file, has behind it when it takes the disk's place.</summary>
public enum MirrorBacking
{
    /// <summary>What it has now.</summary>
    Leave,

    /// <summary>What the disk had that was not copied.</summary>
    OfSource,

    /// <summary>The file that the target names, opened only then.</summary>
    OfTarget,
}

/// <summary>What becomes of a backup's bitmap when the backup is over.</summary>
public enum BitmapMode
{
    /// <summary>It names what was written since the backup began, unless the backup failed.</summary>
    OnSuccess,

    /// <summary>It stays as it is.</summary>
    Never,

    /// <summary>It names what was not copied, whatever happened.</summary>
    Always,
}

/// <summary>What a backup copies.</summary>
/// <param name="Sync">How much.</param>
/// <param name="Bitmap">Says what, or is told what was copied; null for none.</param>
/// <param name="BitmapMode">What becomes of the bitmap.</param>
public readonly record struct BackupScope(SyncMode Sync, DirtyBitmap? Bitmap = null, BitmapMode BitmapMode = BitmapMode.OnSuccess);

/// <summary>The jobs of a machine, and how they are begun. Used under the machine lock.</summary>
public sealed class JobList(BlockGraph graph)
{
    private readonly Dictionary<string, BlockJob> _jobs = new(StringComparer.Ordinal);

    public IReadOnlyCollection<BlockJob> All => _jobs.Values;

    /// <summary>A job was begun; events can be attached to it.</summary>
    public event Action<BlockJob>? Started;

    public BlockJob Find(string id) =>
        _jobs.GetValueOrDefault(id) ?? throw new BlockException(BlockError.NoEntry, $"Block job '{id}' not found");

    public BlockJob? TryFind(string id) => _jobs.GetValueOrDefault(id);

    /// <summary>Copies the backing chain above a base into the top image, and drops it from the chain.</summary>
    /// <param name="id">Of the job; null for the device's.</param>
    /// <param name="device">The drive or node to copy into.</param>
    /// <param name="below">The layer that stays behind it; null for none.</param>
    /// <param name="bottom">Instead: the lowest layer to copy.</param>
    /// <param name="backingFile">What the image names as its backing file then.</param>
    /// <param name="settings">Speed and the like.</param>
    public BlockJob Stream(string? id, string device, LayerName? below, LayerName? bottom = null, string? backingFile = null, JobSettings? settings = null)
    {
        settings = Checked(settings);
        var top = Chain.SkipJobs(graph.RequireImage(device));
        var end = below is { } name ? Chain.FindBelow(top, name)
            ?? throw new BlockException(BlockError.NoEntry, name.IsNode ? $"Node '{name.Name}' is not a backing image of '{device}'" : MissingLayer(name)) : null;
        if (bottom is { } lowest)
        {
            var last = Chain.From(top).FirstOrDefault(n => n.NodeName == lowest.Name)
                ?? throw new BlockException(BlockError.NoEntry, $"Node '{lowest.Name}' is not in a chain starting from '{device}'");
            if (Chain.IsFilter(last))
                throw new BlockException(BlockError.Invalid, $"Node '{lowest.Name}' is a filter, use a non-filter node as 'bottom'");
            end = Chain.Below(last);
        }

        var nodes = Chain.From(top).TakeWhile(n => n != end).ToList();
        RequireIdle(nodes);
        if (end == null && backingFile != null)
            throw new BlockException(BlockError.Invalid, "backing file specified, but streaming the entire chain");
        if (Chain.SkipFilters(top) is not Qcow2.Qcow2Node image)
            throw new BlockException(BlockError.NotSupported, $"Streaming into format '{top.Driver}' is not supported");
        return Begin(new StreamJob(graph, Name(id, device), image, end, backingFile) { Device = device, Settings = settings }, nodes);
    }

    /// <summary>Copies images of a chain down into a base.</summary>
    /// <param name="id">Of the job; null for the device's.</param>
    /// <param name="device">The drive.</param>
    /// <param name="topName">File or node to begin at; null for the active image, which makes the base active in the end.</param>
    /// <param name="baseName">File or node to copy into; null for the lowest.</param>
    /// <param name="backingFile">What the image above the top names as its backing file then.</param>
    /// <param name="settings">Speed and the like.</param>
    public BlockJob Commit(string? id, string device, LayerName? topName, LayerName? baseName, string? backingFile = null, JobSettings? settings = null)
    {
        settings = Checked(settings);
        return BeginOn(device, backend =>
        {
            var active = backend.Node!;
            RequireIdle([active]);
            var top = topName is not { } upper ? active : Chain.Find(active, upper) ?? throw new BlockException(BlockError.NoEntry,
                upper.IsNode ? $"'{upper.Name}' is not in this backing file chain" : $"Top image file {upper.Name} not found");
            var target = baseName is not { } lower ? Chain.From(top).Last() : (lower.IsNode ? Chain.Find(top, lower) : Chain.FindBelow(top, lower))
                ?? throw new BlockException(BlockError.NoEntry, lower.IsNode ? $"'{lower.Name}' is not in this backing file chain" : MissingLayer(lower));
            var nodes = Chain.From(top).TakeWhile(n => n != target).Append(target).ToList();
            RequireIdle(nodes);
            if (target == top)
                throw new BlockException(BlockError.Invalid, "cannot commit an image into itself");
            if (Chain.SkipFilters(top) != Chain.SkipFilters(active))
            {
                var overlay = Chain.From(active).First(n => n.Backing != null && !Chain.IsFilter(n) && Chain.SkipFilters(n.Backing) == Chain.SkipFilters(top));
                RequireIdle([overlay]);
                return (new CommitJob(graph, Name(id, device), active, overlay, top, target, backingFile) { Device = device, Settings = settings },
                    [active, .. nodes]);
            }

            if (backingFile != null)
                throw new BlockException(BlockError.Invalid, "'backing-file' specified, but 'top' is the active layer");
            return (new MirrorJob(graph, Name(id, device), "commit", backend, target, SyncMode.Full, target)
            {
                Device = device, Settings = settings with { OnTargetError = settings.OnError },
            }, nodes);
        });
    }

    /// <summary>Keeps a copy in step until it is completed, when it takes the place of the disk.</summary>
    public BlockJob Mirror(string? id, string device, BlockNode target, SyncMode sync, JobSettings? settings = null, MirrorBacking backing = MirrorBacking.Leave,
        MirrorUnit unit = default)
    {
        settings = Checked(settings);
        unit.Check();
        return BeginOn(device, backend =>
        {
            RequireIdle([backend.Node!, target]);
            return (new MirrorJob(graph, Name(id, device), "mirror", backend, target, sync, null, unit) { Device = device, Settings = settings, Backing = backing },
                [backend.Node!, target]);
        });
    }

    /// <summary>Copies the disk as it is now, whatever the guest writes meanwhile.</summary>
    public BlockJob Backup(string? id, string device, BlockNode target, BackupScope scope, bool compress = false, JobSettings? settings = null)
    {
        settings = Checked(settings);
        return BeginOn(device, backend =>
        {
            RequireIdle([backend.Node!, target]);
            if (target.Length != backend.Node!.Length)
                throw new BlockException(BlockError.Invalid, "Source and target image have different sizes");
            return (new BackupJob(graph, Name(id, device), backend, target, scope, compress) { Device = device, Settings = settings }, [backend.Node, target]);
        });
    }

    /// <summary>Makes an image (<c>blockdev-create</c>); stays in the list until it is dismissed.</summary>
    public BlockJob Create(string id, BlockOptions options) =>
        Begin(new CreateJob(graph, Name(id, id), options) { Settings = new JobSettings { AutoDismiss = false } }, []);

    /// <summary>Takes a job that is over out of the list.</summary>
    public void Dismiss(string id)
    {
        var job = Find(id);
        if (job.Status != JobStatus.Concluded)
            throw job.Refuse("dismiss");
        _ = _jobs.Remove(id);
        job.Dismissed();
    }

    internal void Ended(BlockJob job)
    {
        job.Nodes.Clear();
        job.Over?.Invoke();
        if (job.Settings.AutoDismiss && _jobs.Remove(job.Id))
            job.Dismissed();
    }

    /// <summary>The jobs that have to do with a node.</summary>
    internal List<BlockJob> WorkingOn(BlockNode node) => [.. _jobs.Values.Where(j => j.Nodes.Contains(Chain.SkipJobs(node)))];

    private static JobSettings Checked(JobSettings? settings)
    {
        settings ??= new JobSettings();
        BlockJob.CheckSpeed(settings.Speed);
        return settings;
    }

    private static string MissingLayer(LayerName name) => $"Can't find '{name.Name}' in the backing chain";

    /// <summary>
    /// Begins a job on a drive that no other job has put its filter on, or on a node, with a backend made for it: one that cannot
    /// begin must not keep the node in use.
    /// </summary>
    private BlockJob BeginOn(string device, Func<BlockBackend, (BlockJob Job, IEnumerable<BlockNode> Nodes)> make)
    {
        var backend = graph.BackendForJob(device);
        try
        {
            if (backend.Node is JobFilterNode filter)
            {
                RequireIdle([filter.Inner]);
                throw new BlockException(BlockError.Busy, $"Node '{device}' is busy: block device is in use by block job");
            }

            var (job, nodes) = make(backend);
            job.Own = backend.IsOfJob ? backend : null;
            return Begin(job, nodes);
        }
        catch when (backend.IsOfJob)
        {
            backend.Dispose();
            throw;
        }
    }

    private BlockJob Begin(BlockJob job, IEnumerable<BlockNode> nodes)
    {
        job.Nodes.UnionWith(nodes.Select(Chain.SkipJobs));
        _jobs.Add(job.Id, job);
        Started?.Invoke(job);
        job.Start();
        return job;
    }

    /// <summary>Throws when a job works on one of these nodes.</summary>
    public void RequireIdle(IEnumerable<BlockNode> nodes)
    {
        foreach (var node in nodes.Select(Chain.SkipJobs))
        {
            if (_jobs.Values.FirstOrDefault(j => j.Nodes.Contains(node)) is not { } job)
                continue;
            var drive = graph.AllBackends.FirstOrDefault(b => b.Name.Length > 0 && b.Node is { } root && Chain.SkipJobs(root) == node);
            throw new BlockException(BlockError.Busy, $"Node '{drive?.Name ?? node.NodeName}' is busy: block device is in use by block job: {job.Type}");
        }
    }

    /// <summary>The name of a new job; taken names are refused before the job touches the graph.</summary>
    private string Name(string? id, string device)
    {
        // A drive lends its job its name, a node does not.
        id ??= graph.FindBackend(device) != null ? device
            : graph.FindNode(device) is { } node ? graph.Backends.Values.FirstOrDefault(b => b.Node is { } root && Chain.SkipJobs(root) == Chain.SkipJobs(node))?.Id : null;
        if (id == null || !BlockGraph.IsWellFormed(id))
            throw new BlockException(BlockError.Invalid, $"Invalid job ID '{id}'");
        return _jobs.ContainsKey(id) ? throw new BlockException(BlockError.Busy, $"Job ID '{id}' already in use") : id;
    }
}
