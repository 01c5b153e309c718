using System.Net;
using System.Net.Sockets;

namespace Dromaius.Block.Nbd;

/// <summary>An image that a server offers.</summary>
/// <param name="Name">What clients ask for.</param>
/// <param name="Node">The image.</param>
/// <param name="IsWritable">Clients may write.</param>
/// <param name="Description">For people, or null.</param>
public sealed record NbdExport(string Name, BlockNode Node, bool IsWritable, string? Description = null)
{
    /// <summary>Offered as contexts of block status.</summary>
    public IReadOnlyList<DirtyBitmap> Bitmaps { get; init; } = [];
}

/// <summary>Serves images on a socket by the network block device protocol, fixed newstyle, with structured replies.</summary>
public sealed class NbdServer : IDisposable
{
    /// <summary>How long closing waits for transfers of clients.</summary>
    private const int LeaveMilliseconds = 5000;

    private readonly Socket _listener;
    private readonly string? _socketPath;
    private readonly Lock _lock = new();
    private readonly List<NbdServerConnection> _connections = [];
    private readonly Dictionary<string, NbdExport> _exports = new(StringComparer.Ordinal);
    private readonly int _maxConnections;
    private volatile bool _closed;

    /// <param name="address">Where to listen.</param>
    /// <param name="maxConnections">Clients at once; 0 for any number.</param>
    public NbdServer(NbdAddress address, int maxConnections)
    {
        _maxConnections = maxConnections;
        _socketPath = address.SocketPath;
        try
        {
            if (_socketPath != null)
            {
                // What a server that is gone left behind would be in the way.
                if (File.Exists(_socketPath))
                    File.Delete(_socketPath);
                _listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
                _listener.Bind(new UnixDomainSocketEndPoint(_socketPath));
            }
            else
            {
                var ip = address.Host is null or "" or "0.0.0.0" or "*" ? IPAddress.Any
                    : IPAddress.TryParse(address.Host, out var parsed) ? parsed : Dns.GetHostAddresses(address.Host)[0];
                _listener = new Socket(ip.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
                _listener.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.ReuseAddress, true);
                _listener.Bind(new IPEndPoint(ip, address.Port));
            }

            _listener.Listen(128);
        }
        catch (Exception e) when (e is SocketException or IOException or ArgumentException)
        {
            _listener?.Dispose();
            var reason = e is SocketException { SocketErrorCode: SocketError.AddressAlreadyInUse } ? "Address already in use" : e.Message;
            throw new BlockException(BlockError.Io, _socketPath != null
                ? $"Failed to bind socket to {_socketPath}: {reason}"
                : $"Failed to find an available port: {reason}", e);
        }
    }

    /// <summary>The port, when listening on TCP.</summary>
    public int Port => (_listener.LocalEndPoint as IPEndPoint)?.Port ?? 0;

    /// <summary>A client went, and this many are left. Raised on its thread.</summary>
    public event Action<int>? ClientGone;

    public void Add(NbdExport export)
    {
        lock (_lock)
        {
            if (!_exports.TryAdd(export.Name, export))
                throw new BlockException(BlockError.Exists, $"NBD server already has export named '{export.Name}'");
        }
    }

    public bool Remove(string name)
    {
        lock (_lock)
            return _exports.Remove(name);
    }

    public IReadOnlyList<NbdExport> Exports
    {
        get
        {
            lock (_lock)
                return [.. _exports.Values];
        }
    }

    public NbdExport? Find(string name)
    {
        lock (_lock)
            return _exports.GetValueOrDefault(name);
    }

    /// <summary>A client uses it.</summary>
    public bool IsInUse(NbdExport export)
    {
        lock (_lock)
            return _connections.Exists(c => c.Export == export);
    }

    /// <summary>Closes the connections of an export and waits for their transfers.</summary>
    public void Disconnect(NbdExport export)
    {
        NbdServerConnection[] connections;
        lock (_lock)
            connections = [.. _connections.Where(c => c.Export == export)];
        foreach (var connection in connections)
            connection.Close();
        _ = SpinWait.SpinUntil(() => !IsInUse(export), LeaveMilliseconds);
    }

    /// <summary>Accepts clients on a thread of its own.</summary>
    public void Start() => new Thread(Accept, 256 << 10) { IsBackground = true, Name = "nbd server" }.Start();

    public void Dispose()
    {
        _closed = true;
        _listener.Dispose();
        NbdServerConnection[] connections;
        lock (_lock)
            connections = [.. _connections];
        foreach (var connection in connections)
            connection.Close();
        // They may still flush the image, which the caller closes next.
        _ = SpinWait.SpinUntil(() => Count == 0, LeaveMilliseconds);
        if (_socketPath != null)
        {
            try
            {
                File.Delete(_socketPath);
            }
            catch (IOException)
            {
                // Somebody else took it away.
            }
        }
    }

    private int Count
    {
        get
        {
            lock (_lock)
                return _connections.Count;
        }
    }

    private void Accept()
    {
        while (!_closed)
        {
            Socket client;
            try
            {
                // Those above the limit wait until somebody goes.
                lock (_lock)
                {
                    if (_maxConnections > 0 && _connections.Count >= _maxConnections)
                        goto wait;
                }

                client = _listener.Accept();
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException)
            {
                return;
            }

            if (client.ProtocolType == ProtocolType.Tcp)
                client.NoDelay = true;
            var connection = new NbdServerConnection(this, client);
            lock (_lock)
                _connections.Add(connection);
            new Thread(() => Serve(connection), 512 << 10) { IsBackground = true, Name = "nbd connection" }.Start();
            continue;
        wait:
            Thread.Sleep(20);
        }
    }

    private void Serve(NbdServerConnection connection)
    {
        connection.Run();
        int left;
        lock (_lock)
        {
            _ = _connections.Remove(connection);
            left = _connections.Count;
        }

        ClientGone?.Invoke(left);
    }
}
