using Dromaius.Block.Qcow2;
using Dromaius.Core.Time;

namespace Dromaius.Block.Graph;

/// <summary>
/// All nodes by name and all backends by id of one machine. Used under the machine lock; the work on images that it starts is done
/// on I/O threads or before the machine runs.
/// </summary>
public sealed class BlockGraph(EventLoop loop) : IDisposable
{
    private readonly Dictionary<string, BlockNode> _nodes = new(StringComparer.Ordinal);
    private readonly Dictionary<string, BlockBackend> _backends = new(StringComparer.Ordinal);
    private readonly HashSet<string> _userNodes = new(StringComparer.Ordinal);
    private int _autoName = 100;

    public EventLoop Loop => loop;

    /// <summary>Every node that is open, by name.</summary>
    public IReadOnlyDictionary<string, BlockNode> Nodes => _nodes;

    public IReadOnlyDictionary<string, BlockBackend> Backends => _backends;

    public BlockNode? FindNode(string name) =>
        _nodes.GetValueOrDefault(name) ?? (_backends.TryGetValue(name, out var backend) ? backend.Node : null);

    public BlockBackend? FindBackend(string id) => _backends.GetValueOrDefault(id);

    /// <summary>
    /// The backend that a device's <c>drive=</c> names: one of <c>-drive</c> by id, or a new one without an id on a node of
    /// <c>-blockdev</c>. Null when there is neither.
    /// </summary>
    public BlockBackend? Attach(string name)
    {
        if (_backends.TryGetValue(name, out var backend))
            return backend;
        return _nodes.TryGetValue(name, out var node) ? new BlockBackend(name, loop, node.Retain()) : null;
    }

    /// <summary>Makes a backend with an id; the node, if any, becomes its own.</summary>
    public BlockBackend AddBackend(string id, BlockNode? node)
    {
        if (_backends.ContainsKey(id) || _nodes.ContainsKey(id))
            throw new BlockException(BlockError.Invalid, $"Device with id '{id}' already exists");
        var backend = new BlockBackend(id, loop, node);
        _backends.Add(id, backend);
        return backend;
    }

    public void RemoveBackend(string id)
    {
        if (_backends.Remove(id, out var backend))
            backend.Dispose();
    }

    /// <summary><c>-blockdev</c> and <c>blockdev-add</c>.</summary>
    public BlockNode AddNode(BlockOptions options, OpenFlags? flags = null)
    {
        if (!options.Has("node-name"))
            throw new BlockException(BlockError.Invalid, "'node-name' must be specified for the root node");
        if (!options.Has("driver"))
            throw new BlockException(BlockError.Invalid, "Parameter 'driver' is missing");
        var node = ImageOpener.Open(null, options, (flags ?? new OpenFlags()) with { Graph = this });
        _ = _userNodes.Add(node.NodeName!);
        return node;
    }

    /// <summary><c>blockdev-del</c>.</summary>
    public void DeleteNode(string name)
    {
        if (!_nodes.TryGetValue(name, out var node))
            throw new BlockException(BlockError.NoEntry, $"Failed to find node with node-name='{name}'");
        if (!_userNodes.Contains(name))
            throw new BlockException(BlockError.Invalid, $"Node {name} is not owned by the monitor");
        if (IsUsed(node))
            throw new BlockException(BlockError.Busy, $"Node {name} is in use");
        _ = _userNodes.Remove(name);
        node.Release();
        Forget();
    }

    /// <summary>Opens the medium of a drive.</summary>
    public BlockNode Open(string fileName, BlockOptions options, OpenFlags flags) =>
        ImageOpener.Open(fileName, options, flags with { Graph = this });

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
        foreach (var backend in _backends.Values)
        {
            backend.Drain();
            if (backend.Node is { IsReadOnly: false } node)
                node.Flush();
        }
    }

    public void Dispose()
    {
        foreach (var backend in _backends.Values)
            backend.Dispose();
        _backends.Clear();
        foreach (var name in _userNodes)
        {
            if (_nodes.TryGetValue(name, out var node))
                node.Release();
        }

        _userNodes.Clear();
        _nodes.Clear();
    }

    private static bool IsWellFormed(string name) =>
        name.Length > 0 && char.IsAsciiLetter(name[0]) && name.AsSpan().IndexOfAnyExcept(NameCharacters) < 0;

    private static readonly System.Buffers.SearchValues<char> NameCharacters =
        System.Buffers.SearchValues.Create("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._");

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
