using Dromaius.Block.Jobs;
using Dromaius.Block.Qcow2;
using Dromaius.Core.Time;

namespace Dromaius.Block.Graph;

/// <summary>
/// All nodes by name and all backends by id of one machine. Used under the machine lock; the work on images that it starts is done
/// on I/O threads or before the machine runs.
/// </summary>
public sealed class BlockGraph : IDisposable
{
    private readonly Dictionary<string, BlockNode> _nodes = new(StringComparer.Ordinal);
    private readonly Dictionary<string, BlockBackend> _backends = new(StringComparer.Ordinal);
    private readonly HashSet<string> _userNodes = new(StringComparer.Ordinal);
    private readonly List<BlockBackend> _unnamed = [];
    private readonly Dictionary<string, ThrottleGroup> _throttles = new(StringComparer.Ordinal);
    private readonly EventLoop _loop;
    private Action<BlockBackend, BlockOperation, BlockError, ErrorPolicy>? _failed;
    private HostClock? _clock;
    private int _autoName = 100;

    public BlockGraph(EventLoop loop)
    {
        _loop = loop;
        Jobs = new JobList(this);
        Exports = new Nbd.BlockExports(this);
    }

    public EventLoop Loop => _loop;
    public JobList Jobs { get; }
    public Nbd.BlockExports Exports { get; }

    /// <summary>A transfer of some backend failed. Somebody who listens lets the machine go on after it was stopped.</summary>
    public event Action<BlockBackend, BlockOperation, BlockError, ErrorPolicy> TransferFailed
    {
        add
        {
            _failed += value;
            foreach (var backend in AllBackends)
                backend.Failed += value;
        }
        remove
        {
            _failed -= value;
            foreach (var backend in AllBackends)
                backend.Failed -= value;
        }
    }

    /// <summary>Limits the transfers of a backend, alone or with others of a group; without limits it is free again.</summary>
    public void SetThrottle(BlockBackend backend, ThrottleConfig config, string? group)
    {
        config.Check();
        if (!config.IsActive)
        {
            backend.Throttle = null;
            return;
        }

        group ??= backend.Throttle?.Name ?? backend.Id;
        if (!_throttles.TryGetValue(group, out var throttle))
            _throttles[group] = throttle = new ThrottleGroup(group, _clock ??= new HostClock(_loop));
        throttle.Config = config;
        backend.Throttle = throttle;
        // The others of the group wait by the old limits.
        foreach (var other in AllBackends.ToList())
        {
            if (other != backend && other.Throttle == throttle)
                other.Throttle = throttle;
        }
    }

    public ThrottleGroup? FindThrottle(string name) => _throttles.GetValueOrDefault(name);

    /// <summary>Makes a group of limits that drives and filters can name, or gives it other limits.</summary>
    public void SetThrottleGroup(string name, ThrottleConfig config)
    {
        config.Check();
        if (!_throttles.TryGetValue(name, out var throttle))
            _throttles[name] = throttle = new ThrottleGroup(name, _clock ??= new HostClock(_loop));
        throttle.Config = config;
        foreach (var backend in AllBackends.ToList())
        {
            if (backend.Throttle == throttle)
                backend.Throttle = throttle;
        }
    }

    /// <summary>Takes a group away that nobody uses.</summary>
    public void RemoveThrottleGroup(string name)
    {
        if (_throttles.TryGetValue(name, out var throttle)
            && (AllBackends.Any(b => b.Throttle == throttle) || _nodes.Values.Any(n => n is Filters.ThrottleNode t && t.Group == throttle)))
            throw new BlockException(BlockError.Busy, $"object '{name}' is in use, can not be deleted");
        _ = _throttles.Remove(name);
    }

    /// <summary>Every node that is open, by name.</summary>
    public IReadOnlyDictionary<string, BlockNode> Nodes => _nodes;

    public IReadOnlyDictionary<string, BlockBackend> Backends => _backends;

    public BlockNode? FindNode(string name) =>
        _nodes.GetValueOrDefault(name) ?? (_backends.TryGetValue(name, out var backend) ? backend.Node : null);

    /// <summary>The image that a node's or drive's name means, whatever job stands above it.</summary>
    public BlockNode? FindImage(string name)
    {
        var node = FindNode(name);
        while (node is JobFilterNode filter)
            node = filter.Inner;
        return node;
    }

    public BlockBackend? FindBackend(string id) => _backends.GetValueOrDefault(id);

    /// <summary>
    /// The backend that a device's <c>drive=</c> names: one of <c>-drive</c> by id, or a new one without an id on a node of
    /// <c>-blockdev</c>. Null when there is neither.
    /// </summary>
    public BlockBackend? Attach(string name)
    {
        if (_backends.TryGetValue(name, out var backend))
            return backend;
        if (!_nodes.TryGetValue(name, out var node))
            return null;
        return Unnamed(new BlockBackend(name, _loop, node.Retain()) { Name = "" });
    }

    /// <summary>A drive without a medium that a device brings along.</summary>
    public BlockBackend AttachEmpty(string name) => Unnamed(new BlockBackend(name, _loop) { Name = "" });

    private BlockBackend Unnamed(BlockBackend backend)
    {
        backend.Failed += _failed;
        _unnamed.Add(backend);
        return backend;
    }

    /// <summary>Takes back what <see cref="Attach"/> made of a node, for a device that came to nothing.</summary>
    public void Detach(string name)
    {
        if (_unnamed.Find(b => b.Id == name) is { } backend)
            Release(backend);
    }

    /// <summary>Every backend, those without an id of their own as well.</summary>
    public IEnumerable<BlockBackend> AllBackends => _backends.Values.Concat(_unnamed);

    /// <summary>The backend with an id, or the one whose image has a name; it must have a medium.</summary>
    public BlockBackend RequireBackend(string name)
    {
        var backend = _backends.GetValueOrDefault(name) ?? AllBackends.FirstOrDefault(b => b.Node?.NodeName == name || b.DeviceName == name || b.Id == name)
            ?? throw new BlockException(BlockError.NoEntry, $"Cannot find device='{name}' nor node-name='{name}'");
        return backend.Node == null ? throw new BlockException(BlockError.NoMedium, $"Device '{name}' has no medium") : backend;
    }

    /// <summary>
    /// The backend on which a job works: that of <see cref="RequireBackend"/>, or one for the job alone on a node that no device has; the
    /// job gives that up when it ends.
    /// </summary>
    internal BlockBackend BackendForJob(string name) =>
        _nodes.TryGetValue(name, out var node) && AllBackends.All(b => b.Node != node && b.Id != name)
            ? new BlockBackend(name, _loop, node.Retain()) { Name = "", IsOfJob = true }
            : RequireBackend(name);

    /// <summary>The image of a drive or of a node's name; it must be there.</summary>
    public BlockNode RequireImage(string name) =>
        _nodes.GetValueOrDefault(name) ?? RequireBackend(name).Node!;

    /// <summary>
    /// <c>blockdev-snapshot-sync</c>: the drive goes on in a new image above the present one, which becomes read-only.
    /// </summary>
    /// <param name="device">The drive.</param>
    /// <param name="fileName">The new image.</param>
    /// <param name="format">Its format.</param>
    /// <param name="nodeName">Its node's name, or null.</param>
    /// <param name="create">Make it; false to use one that is there.</param>
    public BlockNode TakeSnapshot(string device, string fileName, string format, string? nodeName, bool create)
    {
        var backend = RequireBackend(device);
        var below = backend.Node!;
        if (below is JobFilterNode)
            throw new BlockException(BlockError.Busy, $"Node '{below.NodeName}' is busy: block device is in use by block job");
        var flags = new OpenFlags { Discard = below.AllowsDiscard, Graph = this, ShareWrite = true, NoBacking = true };
        if (create)
        {
            var options = new BlockOptions();
            options.Set("size", below.Length.ToString(System.Globalization.CultureInfo.InvariantCulture));
            options.Set("backing_file", below.FileName);
            options.Set("backing_fmt", below.Driver);
            _ = ImageCreator.Create(fileName, format, options, OpenFlags.Tool, checkBacking: false);
            ImageCreator.Write(fileName, format, options, OpenFlags.Tool);
        }

        var open = new BlockOptions();
        open.Set("driver", format);
        if (nodeName != null)
            open.Set("node-name", nodeName);
        var overlay = ImageOpener.Open(fileName, open, flags);
        InstallSnapshot(backend, overlay);
        return overlay;
    }

    /// <summary><c>blockdev-snapshot</c>: the same with a node that is open already, without a backing image.</summary>
    public void InstallSnapshot(BlockBackend backend, BlockNode overlay)
    {
        var below = backend.Node!;
        backend.Drain();
        try
        {
            if (!below.IsReadOnly)
                below.Flush();
            (ImageFormats.Find(overlay.Driver) ?? throw new BlockException(BlockError.NotSupported, "The overlay is not an image")).SetBacking(overlay, below);
        }
        catch (BlockException)
        {
            overlay.Release();
            throw;
        }

        backend.ReplaceNode(overlay);
        RelaxPermissions();
        try
        {
            below.Reopen(true);
        }
        catch (BlockException e) when (e.Error == BlockError.NotSupported)
        {
            // Nobody writes to it any more all the same.
        }
    }

    /// <summary><c>block_resize</c></summary>
    public void Resize(string device, long length)
    {
        var backend = RequireBackend(device);
        if (length < 0)
            throw new BlockException(BlockError.Invalid, "Parameter 'size' expects a >0 size");
        Jobs.RequireIdle([backend.Node!]);
        backend.Drain();
        backend.Node!.Resize((length + 511) & ~511L);
        backend.NotifyResized();
    }

    /// <summary>Makes a backend with an id; the node, if any, becomes its own.</summary>
    public BlockBackend AddBackend(string id, BlockNode? node)
    {
        RequireFree(id);
        var backend = new BlockBackend(id, _loop, node);
        backend.Failed += _failed;
        _backends.Add(id, backend);
        return backend;
    }

    /// <summary>Throws when a drive or a node has this name.</summary>
    public void RequireFree(string id)
    {
        if (_backends.ContainsKey(id))
            throw new BlockException(BlockError.Invalid, $"Duplicate ID '{id}' for drive");
        if (_nodes.ContainsKey(id))
            throw new BlockException(BlockError.Invalid, $"Device name '{id}' conflicts with an existing node name");
    }

    public void RemoveBackend(string id)
    {
        if (_backends.Remove(id, out var backend))
            backend.Dispose();
        Forget();
    }

    /// <summary>Closes a backend whose device is gone, with an id of its own or without.</summary>
    public void Release(BlockBackend backend)
    {
        if (_backends.GetValueOrDefault(backend.Id) == backend)
            _ = _backends.Remove(backend.Id);
        _ = _unnamed.Remove(backend);
        if (backend.Node is not { } node || Jobs.WorkingOn(node) is not { Count: > 0 } jobs)
        {
            backend.Dispose();
            Forget();
            return;
        }

        // A drive goes with its device, and its jobs with it; a node stays, and its jobs go on. Either way they need the backend.
        var left = jobs.Count;
        foreach (var job in jobs)
        {
            job.Over += () =>
            {
                if (--left > 0)
                    return;
                backend.Dispose();
                Forget();
            };
            if (backend.Name.Length > 0)
                job.GiveUp();
        }
    }

    /// <summary><c>-blockdev</c> and <c>blockdev-add</c>.</summary>
    public BlockNode AddNode(BlockOptions options, OpenFlags? flags = null)
    {
        if (!options.Has("node-name"))
            throw new BlockException(BlockError.Invalid, "'node-name' must be specified for the root node");
        if (!options.Has("driver"))
            throw new BlockException(BlockError.Invalid, "Parameter 'driver' is missing");
        var driver = options.Take("driver")!;
        if (ImageFormats.Find(driver) == null && !ImageOpener.Protocols.Contains(driver))
        {
            throw new BlockException(BlockError.Invalid, $"Parameter 'driver' does not accept value '{driver}'"
                + Core.Errors.NearestNames.Hint(driver, ImageFormats.All.Select(static f => f.Name).Concat(ImageOpener.Protocols)));
        }

        var needed = ImageFormats.Find(driver) != null ? "file" : driver is "file" or "host_device" or "host_cdrom" ? "filename" : null;
        if (needed != null && !options.Has(needed) && !options.HasBelow(needed))
            throw new BlockException(BlockError.Invalid, $"Parameter '{needed}' is missing");
        var node = Checked(ImageOpener.Open(null, options, (flags ?? new OpenFlags()) with { Graph = this, ShareWrite = true, IsTyped = true }));
        _ = _userNodes.Add(node.NodeName!);
        return node;
    }

    /// <summary><c>blockdev-reopen</c></summary>
    public void Reopen(BlockOptions options)
    {
        NodeReopener.Reopen(this, options);
        ApplyPermissions();
    }

    /// <summary><c>blockdev-del</c>.</summary>
    public void DeleteNode(string name)
    {
        if (!_nodes.TryGetValue(name, out var node))
            throw new BlockException(BlockError.NoEntry, $"Failed to find node with node-name='{name}'");
        if (!_userNodes.Contains(name))
            throw new BlockException(BlockError.Invalid, $"Node {name} is not owned by the monitor");
        if (_nodes.Values.FirstOrDefault(n => n.Backing == node && !n.IsDisposed && n is not JobFilterNode) is { } overlay)
            throw new BlockException(BlockError.Busy, $"Node '{name}' is busy: node is used as backing hd of '{overlay.NodeName}'");
        if (Jobs.All.FirstOrDefault(j => j.Device == name) is { } job)
            throw new BlockException(BlockError.Busy, $"Node '{name}' is busy: block device is in use by block job: {job.Type}");
        if (IsUsed(node))
            throw new BlockException(BlockError.Busy, $"Node {name} is in use");
        _ = _userNodes.Remove(name);
        node.Release();
        Forget();
    }

    /// <summary>Opens the medium of a drive.</summary>
    public BlockNode Open(string fileName, BlockOptions options, OpenFlags flags) =>
        Checked(ImageOpener.Open(fileName, options, flags with { Graph = this, ShareWrite = true }));

    /// <summary>Sets the locks of all files to what they are used for; throws when users mind each other, and changes nothing then.</summary>
    public void ApplyPermissions()
    {
        List<BlockNode> nodes;
        lock (_nodes)
            nodes = [.. _nodes.Values];
        GraphPermissions.Apply(AllBackends, Exports.All, nodes);
    }

    /// <summary>Gives back locks that nobody needs any more.</summary>
    private void RelaxPermissions()
    {
        try
        {
            ApplyPermissions();
        }
        catch (BlockException)
        {
            // Somebody else took the file meanwhile: what is held stays.
        }
    }

    /// <summary>A node that was just opened, if nobody minds.</summary>
    private BlockNode Checked(BlockNode node)
    {
        // A file whose format was guessed may have been opened twice.
        ForgetClosed();
        try
        {
            ApplyPermissions();
            return node;
        }
        catch (BlockException)
        {
            node.Release();
            Forget();
            throw;
        }
    }

    /// <summary>Puts a medium into a drive; the backend owns it then.</summary>
    public void Insert(BlockBackend backend, BlockNode node, bool readOnly)
    {
        backend.SetMedium(node, readOnly);
        try
        {
            ApplyPermissions();
        }
        catch (BlockException)
        {
            backend.SetMedium(null);
            Forget();
            throw;
        }
    }

    /// <summary>Opens the backing file that an image names, if it was opened without.</summary>
    public void OpenBacking(BlockNode node) => ImageOpener.OpenBacking(node, new OpenFlags { Graph = this, ShareWrite = true });

    /// <summary>Puts a temporary image above a node, so that nothing is written to it (<c>snapshot=on</c>).</summary>
    public BlockNode AddTemporaryOverlay(BlockNode node)
    {
        var overlay = TemporaryOverlay.Create(node);
        Register(overlay);
        return overlay;
    }

    /// <summary>Gives a node its place; a name of our own if the user gave none.</summary>
    internal void Register(BlockNode node)
    {
        lock (_nodes)
        {
            if (node.NodeName is { } name)
            {
                if (_nodes.TryGetValue(name, out var other))
                {
                    if (other == node)
                        return;
                    if (!other.IsDisposed)
                        throw new BlockException(BlockError.Invalid, "Duplicate nodes with node-name='" + name + "'");
                }

                if (_backends.ContainsKey(name))
                    throw new BlockException(BlockError.Invalid, $"node-name={name} is conflicting with a device id");
                if (name.Length > 31)
                    throw new BlockException(BlockError.Invalid, "Node name too long");
                if (!IsWellFormed(name))
                    throw new BlockException(BlockError.Invalid, "Invalid node-name: '" + name + "'");
                _nodes[name] = node;
                return;
            }

            string made;
            do
                made = $"#block{_autoName++}";
            while (_nodes.ContainsKey(made));
            node.NodeName = made;
            _nodes[made] = node;
        }
    }

    /// <summary>Drops nodes that are closed.</summary>
    public void Forget()
    {
        ForgetClosed();
        RelaxPermissions();
    }

    private void ForgetClosed()
    {
        lock (_nodes)
        {
            foreach (var (name, node) in _nodes)
            {
                if (node.IsDisposed)
                    _ = _nodes.Remove(name);
            }
        }
    }

    /// <summary>Waits for everything under way and writes out what is cached.</summary>
    public void FlushAll()
    {
        foreach (var backend in AllBackends)
        {
            backend.Drain();
            if (backend.Node is { IsReadOnly: false } node)
                node.Flush();
        }
    }

    public void Dispose()
    {
        // Nobody waits for limits any more.
        foreach (var throttle in _throttles.Values)
            throttle.Config = new ThrottleConfig();
        foreach (var job in Jobs.All.ToList())
            job.Stop();
        Exports.Dispose();
        foreach (var backend in AllBackends)
            backend.Dispose();
        _unnamed.Clear();
        _backends.Clear();
        foreach (var name in _userNodes)
        {
            if (_nodes.TryGetValue(name, out var node))
                node.Release();
        }

        _userNodes.Clear();
        _nodes.Clear();
    }

    internal static bool IsWellFormed(string name) =>
        name.Length > 0 && char.IsAsciiLetter(name[0]) && name.AsSpan().IndexOfAnyExcept(NameCharacters) < 0;

    private static readonly System.Buffers.SearchValues<char> NameCharacters =
        System.Buffers.SearchValues.Create("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._");

    /// <summary>A drive or an export reads the node, or something above it, and would see its contents change.</summary>
    public bool IsRead(BlockNode node)
    {
        return AllBackends.Select(static b => b.Node).Concat(Exports.All.Select(static e => e.Export.Node)).Any(Reaches);

        // A filter has its image's backing image too: that way would be gone twice at each of them.
        bool Reaches(BlockNode? from) =>
            from != null && (from == node || Reaches(Chain.Below(from)) || (!Chain.IsFilter(from) && Reaches(from.File)));
    }

    /// <summary>Does something now, or when the changes that are being made together have all been made.</summary>
    public void WhenChanged(Action action)
    {
        if (_later is { } later)
            later.Add(action);
        else
            action();
    }

    /// <summary>Makes several changes together.</summary>
    public void Together(Action changes)
    {
        _later = [];
        try
        {
            changes();
            _later.ForEach(static a => a());
        }
        finally
        {
            _later = null;
        }
    }

    private List<Action>? _later;

    private static bool IsUsed(BlockNode node) => node.References > 1;
}

/// <summary>The image of <c>snapshot=on</c>: qcow2 in a file without a name.</summary>
internal static class TemporaryOverlay
{
    public static BlockNode Create(BlockNode below)
    {
        var folder = Environment.GetEnvironmentVariable("TMPDIR") ?? "/var/tmp";
        var path = Path.Combine(folder, "vl." + Path.GetRandomFileName()[..8]);
        BlockNode file;
        try
        {
            file = Raw.NewFile.Create(path);
        }
        catch (BlockException e)
        {
            throw new BlockException(e.Error, $"Could not get temporary filename: {e.Message}", e);
        }

        try
        {
            // Nobody else needs its name, and it is gone when we are.
            File.Delete(path);
            Qcow2Format.Format(file, new Qcow2Header { Size = (below.Length + 511) & ~511L });
            var overlay = new Qcow2Node(file, new Qcow2Options { Discard = true });
            overlay.SetBacking(below);
            return overlay;
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }
}
