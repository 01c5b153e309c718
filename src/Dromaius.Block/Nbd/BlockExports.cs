using Dromaius.Block.Graph;

namespace Dromaius.Block.Nbd;

/// <summary>An image of the machine that others may use.</summary>
/// <param name="Id">What clients of the monitor call it.</param>
/// <param name="Export">What clients of the server get.</param>
public sealed record BlockExport(string Id, NbdExport Export)
{
    /// <summary>Waits for the last client to go.</summary>
    public bool IsShuttingDown { get; internal set; }

    /// <summary>The drive whose medium it is; null for one that stays whatever becomes of a drive.</summary>
    public BlockBackend? Drive { get; init; }
}

/// <summary>Images of a running machine served by the network block device protocol. Used under the machine lock.</summary>
public sealed class BlockExports(BlockGraph graph) : IDisposable
{
    private readonly Dictionary<string, BlockExport> _exports = new(StringComparer.Ordinal);
    private NbdServer? _server;

    public IReadOnlyCollection<BlockExport> All => _exports.Values;
    public bool IsRunning => _server != null;

    /// <summary>An export is gone. Raised under the machine lock.</summary>
    public event Action<string>? Deleted;

    public void Start(NbdAddress address, int maxConnections)
    {
        if (_server != null)
            throw new BlockException(BlockError.Busy, "NBD server already running");
        _server = new NbdServer(address, maxConnections);
        _server.Start();
    }

    public void Stop()
    {
        if (_server == null)
            throw new BlockException(BlockError.Invalid, "NBD server not running");
        foreach (var export in _exports.Values.ToList())
            End(export);
        _server.Dispose();
        _server = null;
    }

    /// <summary>Offers a node.</summary>
    /// <param name="id">Of the export.</param>
    /// <param name="node">The node.</param>
    /// <param name="name">What clients ask for; null for the node's name.</param>
    /// <param name="writable">Clients may write.</param>
    /// <param name="description">For people.</param>
    /// <param name="bitmaps">Offered along with it.</param>
    /// <param name="drive">With whose medium it goes; null for none.</param>
    public void Add(string id, BlockNode node, string? name, bool writable, string? description, IReadOnlyList<DirtyBitmap> bitmaps, BlockBackend? drive = null)
    {
        if (!BlockGraph.IsWellFormed(id))
            throw new BlockException(BlockError.Invalid, "Invalid block export id");
        if (_exports.ContainsKey(id))
            throw new BlockException(BlockError.Exists, $"Block export id '{id}' is already in use");
        if (_server == null)
            throw new BlockException(BlockError.Invalid, "NBD server not running");
        if (writable && node.IsReadOnly)
            throw new BlockException(BlockError.ReadOnly, "Cannot export read-only node as writable");
        if (name is { Length: > NbdProtocol.MaxName })
            throw new BlockException(BlockError.Invalid, $"export name '{name}' too long");
        var export = new BlockExport(id, new NbdExport(name ?? node.NodeName ?? "", node, writable, description) { Bitmaps = bitmaps }) { Drive = drive };
        _server.Add(export.Export);
        _ = node.Retain();
        foreach (var bitmap in bitmaps)
            bitmap.IsBusy = true;
        _exports.Add(id, export);
        try
        {
            graph.ApplyPermissions();
        }
        catch (BlockException)
        {
            // Somebody else uses the node in a way that forbids this.
            Withdraw(export);
            throw;
        }
    }

    /// <summary>The medium that was exported by its drive's name is taken out.</summary>
    public void MediumGone(BlockBackend backend)
    {
        foreach (var export in _exports.Values.Where(e => e.Drive == backend).ToList())
            End(export);
    }

    /// <summary>Withdraws an export.</summary>
    /// <param name="id">Of the export.</param>
    /// <param name="hard">Clients that use it are disconnected; otherwise it fails while there are any.</param>
    public void Remove(string id, bool hard)
    {
        if (!_exports.TryGetValue(id, out var export))
            throw new BlockException(BlockError.NoEntry, $"Export '{id}' is not found");
        if (!hard && _server!.IsInUse(export.Export))
            throw new BlockException(BlockError.Busy, $"export '{id}' still in use") { Hint = "Use mode='hard' to force client disconnect" };
        End(export);
    }

    public void Dispose()
    {
        if (_server != null)
            Stop();
    }

    private void End(BlockExport export)
    {
        Withdraw(export);
        Deleted?.Invoke(export.Id);
    }

    private void Withdraw(BlockExport export)
    {
        _ = _exports.Remove(export.Id);
        _ = _server!.Remove(export.Export.Name);
        _server.Disconnect(export.Export);
        foreach (var bitmap in export.Export.Bitmaps)
            bitmap.IsBusy = false;
        export.Export.Node.Release();
        graph.Forget();
    }
}
