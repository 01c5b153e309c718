using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using Dromaius.Core.Errors;
using Dromaius.Core.Sockets;
using Dromaius.Core.Storage;
using Dromaius.Core.Time;

namespace Dromaius.Core.Chardev;

/// <summary>Where a stream socket is and how it behaves (<c>-chardev socket</c>).</summary>
public sealed record SocketSettings
{
    /// <summary>A descriptor that the starting process handed over: a listening socket for a server, else a connected one.</summary>
    public int? Descriptor { get; init; }

    /// <summary>Path of a Unix socket; null for TCP.</summary>
    public string? Path { get; init; }
    public string Host { get; init; } = "";
    public int Port { get; init; }

    /// <summary>Last port to try when listening.</summary>
    public int LastPort { get; init; }
    public bool Server { get; init; }

    /// <summary>A server waits for its first client before the machine starts.</summary>
    public bool Wait { get; init; }
    public bool NoDelay { get; init; }
    public bool Telnet { get; init; }

    /// <summary>Seconds until a client tries again; 0 never.</summary>
    public int Reconnect { get; init; }

    public override string ToString()
    {
        var kind = Descriptor != null ? $"fd:{Descriptor}" : Path != null ? $"unix:{Path}" : $"{(Telnet ? "telnet" : "tcp")}:{(Host.Length == 0 ? "0.0.0.0" : Host)}:{Port}";
        return Server ? kind + ",server=on" : kind;
    }
}

/// <summary>A TCP or Unix stream socket, client or server for one client at a time, with Telnet framing if asked.</summary>
public sealed class SocketBackend : CharBackend
{
    private const int MostDescriptors = 16;
    private readonly SocketSettings _settings;
    private readonly Socket? _listener;
    private readonly OutputQueue _queue;
    private readonly TelnetFilter? _telnet;
    private readonly ConcurrentQueue<int> _descriptors = new();
    private readonly Action<int> _receivedDescriptor;
    private volatile Socket? _peer;

    /// <param name="loop">Where input is handed over.</param>
    /// <param name="id">The chardev's name.</param>
    /// <param name="settings">The address.</param>
    /// <param name="notice">Told that the start waits for a client.</param>
    public SocketBackend(EventLoop loop, string id, SocketSettings settings, Action<string> notice)
        : base(loop, id)
    {
        _settings = settings;
        _receivedDescriptor = KeepDescriptor;
        _queue = new OutputQueue(IsWritable, SendAll, lossless: false);
        _telnet = settings.Telnet ? new TelnetFilter() : null;
        if (settings.Server)
        {
            _listener = Listen(settings);
            if (settings.Wait)
            {
                notice($"info: QEMU waiting for connection on: disconnected:{settings}");
                Adopt(_listener.Accept());
            }
        }
        else if (settings.Reconnect == 0)
            Adopt(Connect(settings));
        StartThread("input", Serve);
    }

    /// <summary>The next descriptor that the peer sent along, or -1.</summary>
    public override int TakeDescriptor() => _descriptors.TryDequeue(out var fd) ? fd : -1;

    public override string Description => _peer != null ? $"{_settings}" : $"disconnected:{_settings}";

    protected override void Send(ReadOnlySpan<byte> bytes)
    {
        if (_peer == null)
            return;
        if (_telnet == null)
        {
            _queue.Write(bytes);
            return;
        }

        // A data byte 255 is doubled on a Telnet connection.
        int at;
        while ((at = bytes.IndexOf(TelnetFilter.Iac)) >= 0)
        {
            _queue.Write(bytes[..(at + 1)]);
            _queue.Write([TelnetFilter.Iac]);
            bytes = bytes[(at + 1)..];
        }

        _queue.Write(bytes);
    }

    protected override void Close()
    {
        if (_peer != null)
            _queue.Dispose();
        _listener?.Dispose();
        _peer?.Dispose();
        if (_settings is { Server: true, Path: { } path })
            File.Delete(path);
    }

    private void Serve()
    {
        var buffer = new byte[4096];
        while (!IsDisposed)
        {
            try
            {
                if (_peer == null)
                {
                    if (_listener != null)
                        Adopt(_listener.Accept());
                    else if (_settings.Reconnect > 0)
                        Adopt(Connect(_settings));
                    else
                        return;
                }

                ReadPeer(buffer);
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException or UserErrorException)
            {
                // The peer is gone or is not there yet; both are ordinary here.
            }

            while (_descriptors.TryDequeue(out var fd))
                DescriptorSets.Close(fd);
            var gone = _peer;
            _peer = null;
            gone?.Dispose();
            PostOpen(false);
            if (_listener == null && _settings.Reconnect > 0 && !IsDisposed)
                Thread.Sleep(_settings.Reconnect * 1000);
        }
    }

    private void ReadPeer(byte[] buffer)
    {
        while (_peer is { } peer)
        {
            var n = OperatingSystem.IsLinux() && peer.AddressFamily == AddressFamily.Unix ? ReceiveMessage(peer, buffer) : peer.Receive(buffer);
            if (n <= 0)
                return;
            if (_telnet != null)
            {
                n = _telnet.Strip(buffer.AsSpan(0, n), out var breaks);
                if (breaks)
                    PostBreak();
            }

            PostInput(buffer.AsMemory(0, n));
        }
    }

    /// <summary>A peer may send more than anybody takes.</summary>
    private void KeepDescriptor(int fd)
    {
        if (_descriptors.Count < MostDescriptors)
            _descriptors.Enqueue(fd);
        else
            DescriptorSets.Close(fd);
    }

    private int ReceiveMessage(Socket peer, byte[] buffer)
    {
        var held = false;
        try
        {
            // Closing wakes whoever holds the handle.
            peer.SafeHandle.DangerousAddRef(ref held);
            return DescriptorMessage.Receive((int)peer.Handle, buffer, _receivedDescriptor);
        }
        finally
        {
            if (held)
                peer.SafeHandle.DangerousRelease();
        }
    }

    private void Adopt(Socket peer)
    {
        if (_settings.NoDelay && peer.AddressFamily != AddressFamily.Unix)
            peer.NoDelay = true;
        _queue.Clear();
        if (_telnet != null)
        {
            _telnet.Reset();
            peer.Send(TelnetFilter.Greeting);
        }

        _peer = peer;
        PostOpen(true);
    }

    private int IsWritable()
    {
        try
        {
            return _peer is not { } peer ? -1 : peer.Poll(0, SelectMode.SelectWrite) ? 1 : 0;
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            return -1;
        }
    }

    private bool SendAll(ReadOnlySpan<byte> bytes)
    {
        try
        {
            while (!bytes.IsEmpty)
            {
                if (_peer is not { } peer)
                    return false;
                bytes = bytes[peer.Send(bytes)..];
            }

            return true;
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            return false;
        }
    }

    /// <summary>The socket behind a descriptor that we were started with.</summary>
    private static Socket Inherited(int descriptor)
    {
        try
        {
            return new Socket(new SafeSocketHandle(descriptor, ownsHandle: true));
        }
        catch (Exception e) when (e is SocketException or ArgumentException)
        {
            throw new UserErrorException($"File descriptor '{descriptor}' is not a socket");
        }
    }

    private static Socket Listen(SocketSettings settings)
    {
        if (settings.Descriptor is { } descriptor)
            return Inherited(descriptor);
        if (settings.Path != null)
        {
            File.Delete(settings.Path);
            var local = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            Try(settings, "Failed to bind socket to", () => local.Bind(new UnixDomainSocketEndPoint(settings.Path)));
            local.Listen(1);
            return local;
        }

        var address = settings.Host.Length == 0 ? IPAddress.Any : Resolve(settings.Host);
        for (var port = settings.Port; ; port++)
        {
            var socket = new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
            socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.ReuseAddress, true);
            try
            {
                socket.Bind(new IPEndPoint(address, port));
                socket.Listen(1);
                return socket;
            }
            catch (SocketException e)
            {
                socket.Dispose();
                if (port >= settings.LastPort)
                    throw new UserErrorException($"Failed to find an available port: {e.Message}");
            }
        }
    }

    private static Socket Connect(SocketSettings settings)
    {
        if (settings.Descriptor is { } descriptor)
            return Inherited(descriptor);
        if (settings.Path != null)
        {
            var local = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            Try(settings, "Failed to connect to", () => local.Connect(new UnixDomainSocketEndPoint(settings.Path)));
            return local;
        }

        var address = Resolve(settings.Host.Length == 0 ? "localhost" : settings.Host);
        var socket = new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        Try(settings, "Failed to connect to", () => socket.Connect(new IPEndPoint(address, settings.Port)));
        return socket;
    }

    internal static IPAddress Resolve(string host)
    {
        try
        {
            var all = Dns.GetHostAddresses(host);
            return all.FirstOrDefault(a => a.AddressFamily == AddressFamily.InterNetwork) ?? all[0];
        }
        catch (Exception e) when (e is SocketException or ArgumentException)
        {
            throw new UserErrorException($"address resolution failed for {host}: {e.Message}");
        }
    }

    private static void Try(SocketSettings settings, string what, Action action)
    {
        try
        {
            action();
        }
        catch (Exception e) when (e is SocketException or ArgumentException)
        {
            throw new UserErrorException($"{what} '{settings.Path ?? $"{settings.Host}:{settings.Port}"}': {e.Message}");
        }
    }
}
