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
    public BlockJob Stream(string? id, string device, string? baseName, string? backingFile = null, long speed = 0, JobErrorPolicy onError = 0,
        bool autoFinalize = true, bool autoDismiss = true)
    {
        var top = graph.RequireImage(device);
        if (top is not Qcow2.Qcow2Node image)
            throw new BlockException(BlockError.NotSupported, $"Streaming into format '{top.Driver}' is not supported");
        var below = baseName == null ? null : FindBelow(top, baseName);
        return Begin(new StreamJob(graph, Name(id, device), image, below, backingFile)
        {
            Device = device, Speed = speed, OnError = onError, AutoFinalize = autoFinalize, AutoDismiss = autoDismiss,
        });
    }

    /// <summary>Copies images of a chain down into a base.</summary>
    /// <param name="id">Of the job; null for the device's.</param>
    /// <param name="device">The drive.</param>
    /// <param name="topName">File or node to begin at; null for the active image, which makes the base active in the end.</param>
    /// <param name="baseName">File or node to copy into; null for the lowest.</param>
    /// <param name="backingFile">What the image above the top names as its backing file then.</param>
    /// <param name="speed">Bytes a second.</param>
    /// <param name="onError">What to do about failures.</param>
    /// <param name="autoFinalize">Goes on to change the graph by itself.</param>
    /// <param name="autoDismiss">Goes out of the list by itself.</param>
    public BlockJob Commit(string? id, string device, string? topName, string? baseName, string? backingFile = null, long speed = 0,
        JobErrorPolicy onError = 0, bool autoFinalize = true, bool autoDismiss = true)
    {
        return BeginOn(device, backend =>
        {
            var active = backend.Node!;
            var top = topName == null ? active : Matches(active, topName) ? active : FindBelow(active, topName);
            var target = baseName == null ? Lowest(top) : FindBelow(top, baseName);
            if (target == top)
                throw new BlockException(BlockError.Invalid, "Need a backing file to commit into");
            if (top == active)
            {
                return new MirrorJob(graph, Name(id, device), "commit", backend, target, SyncMode.Full, target)
                {
                    Device = device, Speed = speed, OnError = onError, AutoFinalize = autoFinalize, AutoDismiss = autoDismiss,
                };
            }

            return new CommitJob(graph, Name(id, device), active, top, target, backingFile)
            {
                Device = device, Speed = speed, OnError = onError, AutoFinalize = autoFinalize, AutoDismiss = autoDismiss,
            };
        });
    }

    /// <summary>Keeps a copy in step until it is completed, when it takes the place of the disk.</summary>
    public BlockJob Mirror(string? id, string device, BlockNode target, SyncMode sync, long speed = 0, JobErrorPolicy onError = 0,
        bool autoFinalize = true, bool autoDismiss = true, MirrorBacking backing = MirrorBacking.Leave)
    {
        return BeginOn(device, backend =>
        {
            if (target.Length < backend.Node!.Length)
                target.Resize(backend.Node.Length);
            return new MirrorJob(graph, Name(id, device), "mirror", backend, target, sync, null)
            {
                Device = device, Speed = speed, OnError = onError, AutoFinalize = autoFinalize, AutoDismiss = autoDismiss, Backing = backing,
            };
        });
    }

    /// <summary>Copies the disk as it is now, whatever the guest writes meanwhile.</summary>
    public BlockJob Backup(string? id, string device, BlockNode target, BackupScope scope, long speed = 0, JobErrorPolicy onError = 0,
        bool compress = false, bool autoFinalize = true, bool autoDismiss = true)
    {
        return BeginOn(device, backend =>
        {
            if (target.Length < backend.Node!.Length)
                throw new BlockException(BlockError.Invalid, "Source and target image have different sizes");
            return new BackupJob(graph, Name(id, device), backend, target, scope, compress)
            {
                Device = device, Speed = speed, OnError = onError, AutoFinalize = autoFinalize, AutoDismiss = autoDismiss,
            };
        });
    }

    /// <summary>Makes an image (<c>blockdev-create</c>); stays in the list until it is dismissed.</summary>
    public BlockJob Create(string id, BlockOptions options) => Begin(new CreateJob(graph, Name(id, id), options) { AutoDismiss = false });

    /// <summary>Takes a job that is over out of the list.</summary>
    public void Dismiss(string id)
    {
        var job = Find(id);
        if (job.Status != JobStatus.Concluded)
            throw new BlockException(BlockError.Invalid, $"Job '{id}' in state '{job.Status.ToString().ToLowerInvariant()}' cannot accept command verb 'dismiss'");
        _ = _jobs.Remove(id);
        job.Dismissed();
    }

    internal void Ended(BlockJob job)
    {
        if (job.AutoDismiss && _jobs.Remove(job.Id))
            job.Dismissed();
    }

    /// <summary>
    /// Begins a job on a drive that no other job has put its filter on, or on a node, with a backend made for it: one that cannot
    /// begin must not keep the node in use.
    /// </summary>
    private BlockJob BeginOn(string device, Func<BlockBackend, BlockJob> make)
    {
        var backend = graph.BackendForJob(device);
        try
        {
            if (backend.Node is JobFilterNode)
                throw new BlockException(BlockError.Busy, $"Node '{device}' is busy: block device is in use by block job");
            var job = make(backend);
            job.Own = backend.IsOfJob ? backend : null;
            return Begin(job);
        }
        catch when (backend.IsOfJob)
        {
            backend.Dispose();
            throw;
        }
    }

    private BlockJob Begin(BlockJob job)
    {
        _jobs.Add(job.Id, job);
        Started?.Invoke(job);
        job.Start();
        return job;
    }

    /// <summary>The name of a new job; taken names are refused before the job touches the graph.</summary>
    private string Name(string? id, string device) => _jobs.ContainsKey(id ?? device)
        ? throw new BlockException(BlockError.Busy, $"Job ID '{id ?? device}' already in use") : id ?? device;

    private static bool Matches(BlockNode node, string name) => node.NodeName == name || node.FileName == name;

    private static BlockNode FindBelow(BlockNode top, string name)
    {
        for (var node = top.Backing; node != null; node = node.Backing)
        {
            if (Matches(node, name))
                return node;
        }

        throw new BlockException(BlockError.NoEntry, $"Can't find '{name}' in the backing chain");
    }

    private static BlockNode Lowest(BlockNode node)
    {
        while (node.Backing is { } next)
            node = next;
        return node;
    }
}
