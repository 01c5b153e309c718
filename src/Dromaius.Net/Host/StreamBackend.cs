using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using Dromaius.Core.Errors;

namespace Dromaius.Net.Host;

/// <summary>
/// Frames over a stream to another emulator, each after its length in four bytes (<c>-netdev socket</c> with listen, connect
/// or fd, <c>-netdev stream</c>). One peer at a time; after one has gone the next may come.
/// </summary>
internal sealed class StreamBackend : ThreadedBackend
{
    private const int RetryMilliseconds = 1000;
    private readonly EndPoint? _address;   // null for a connection that was handed over
    private readonly Socket? _listener;
    private readonly byte[] _buffer = new byte[4 + MaxFrame];
    private volatile Socket? _peer;
    private readonly string? _source;

    /// <param name="networks">Its networks.</param>
    /// <param name="name">The id.</param>
    /// <param name="kind">The type's name.</param>
    /// <param name="address">Where to listen or whom to call.</param>
    /// <param name="server">Listen.</param>
    public StreamBackend(NetworkSet networks, string name, string kind, EndPoint address, bool server)
        : base(name, networks.MachineLock)
    {
        Kind = kind;
        _address = address;
        if (!server)
            return;
        _listener = NewSocket();
        try
        {
            if (address is not UnixDomainSocketEndPoint)
                _listener.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.ReuseAddress, true);
            _listener.Bind(address);
            _listener.Listen(1);
        }
        catch (SocketException e)
        {
            _listener.Dispose();
            throw new UserErrorException($"can't bind ip={address}: {e.Message}");
        }
    }

    /// <summary>Takes over a connection that whoever started the program made.</summary>
    /// <param name="networks">Its networks.</param>
    /// <param name="name">The id.</param>
    /// <param name="fd">The descriptor.</param>
    public StreamBackend(NetworkSet networks, string name, int fd)
        : base(name, networks.MachineLock)
    {
        Kind = "socket";
        _source = $"socket: fd={fd}";
        try
        {
            _peer = new Socket(new SafeSocketHandle(fd, ownsHandle: true));
        }
        catch (SocketException e)
        {
            throw new UserErrorException($"{name}: Can't use file descriptor {fd}: {e.Message}");
        }

        if (_peer.SocketType == SocketType.Stream)
            return;
        var type = _peer.SocketType;
        _peer.Dispose();
        throw new UserErrorException($"socket type={(int)type} for fd={fd} must be SOCK_STREAM");
    }

    public override string Kind { get; }

    public override string Description => _peer is not { } peer ? "" : _source ?? (_listener != null ? $"{Prefix}connection from {peer.RemoteEndPoint}" : $"{Prefix}connect to {_address}");

    private string Prefix => Kind == "socket" ? "socket: " : "";

    protected override void ReadFrames()
    {
        while (!IsStopped)
        {
            try
            {
                using var peer = _peer ?? Meet();
                if (peer == null)
                {
                    Thread.Sleep(RetryMilliseconds);
                    continue;
                }

                if (peer.AddressFamily != AddressFamily.Unix)
                    peer.NoDelay = true;
                _peer = peer;
                Read(peer);
            }
            catch (SocketException) when (!IsStopped)
            {
                // The peer is gone; another may come.
            }

            _peer = null;
            if (_address == null)
                return;
        }
    }

    protected override void Write(ReadOnlySpan<byte> frame, in FrameOffload offload)
    {
        // Nobody there: lost, as on a wire.
        if (_peer is not { } peer)
            return;
        BinaryPrimitives.WriteInt32BigEndian(_buffer, frame.Length);
        frame.CopyTo(_buffer.AsSpan(4));
        try
        {
            for (var rest = _buffer.AsSpan(0, 4 + frame.Length); !rest.IsEmpty;)
                rest = rest[peer.Send(rest)..];
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            _ = Interlocked.CompareExchange(ref _peer, null, peer);
        }
    }

    protected override void Close()
    {
        _listener?.Dispose();
        if (_peer is { } peer)
        {
            // Closing alone does not wake a thread that reads from a descriptor made elsewhere.
            try
            {
                peer.Shutdown(SocketShutdown.Both);
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException)
            {
                // The other side was faster.
            }

            peer.Dispose();
        }

        if (_listener != null && _address is UnixDomainSocketEndPoint unix)
            File.Delete(unix.ToString());
    }

    private Socket NewSocket() => new(_address!.AddressFamily, SocketType.Stream, ProtocolType.Unspecified);

    private Socket? Meet()
    {
        if (_listener != null)
            return _listener.Accept();
        var socket = NewSocket();
        try
        {
            socket.Connect(_address!);
            return socket;
        }
        catch (SocketException)
        {
            socket.Dispose();
            return null;
        }
    }

    private void Read(Socket peer)
    {
        var buffer = new byte[MaxFrame];
        Span<byte> head = stackalloc byte[4];
        while (ReadAll(peer, head))
        {
            var length = BinaryPrimitives.ReadUInt32BigEndian(head);
            // A length that no frame has: the stream is out of step.
            if (length > (uint)buffer.Length || !ReadAll(peer, buffer.AsSpan(0, (int)length)))
                return;
            Deliver(buffer.AsSpan(0, (int)length), default);
        }
    }

    private static bool ReadAll(Socket peer, Span<byte> into)
    {
        while (!into.IsEmpty)
        {
            var n = peer.Receive(into);
            if (n == 0)
                return false;
            into = into[n..];
        }

        return true;
    }
}
