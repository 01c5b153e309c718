using System.Net;
using System.Net.Sockets;
using Dromaius.Core.Errors;

namespace Dromaius.Net.Host;

/// <summary>A frame a datagram: to one peer, or to all members of a multicast group (<c>-netdev socket</c> with mcast or udp, <c>-netdev dgram</c>).</summary>
internal sealed class DatagramBackend : ThreadedBackend
{
    private readonly Socket _socket;
    private readonly EndPoint? _remote;
    private readonly EndPoint? _local;

    /// <param name="networks">Its networks.</param>
    /// <param name="name">The id.</param>
    /// <param name="kind">The type's name.</param>
    /// <param name="description">For listings.</param>
    /// <param name="local">Where to receive; for a group the interface's address, or null.</param>
    /// <param name="remote">Where to send; null for nowhere.</param>
    public DatagramBackend(NetworkSet networks, string name, string kind, string description, EndPoint? local, EndPoint? remote)
        : base(name, networks.MachineLock)
    {
        Kind = kind;
        Description = description;
        _remote = remote;
        _local = local;
        _socket = new Socket((local ?? remote)!.AddressFamily, SocketType.Dgram, ProtocolType.Unspecified);
        try
        {
            if (IsGroup(remote))
                Join((IPEndPoint)remote!, (local as IPEndPoint)?.Address);
            else if (local != null)
            {
                if (local is not UnixDomainSocketEndPoint)
                    _socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.ReuseAddress, true);
                _socket.Bind(local);
            }
        }
        catch (SocketException e)
        {
            _socket.Dispose();
            throw new UserErrorException($"can't bind ip={(IsGroup(remote) ? remote : local)} to socket: {e.Message}");
        }
    }

    public override string Kind { get; }
    public override string Description { get; }

    internal static bool IsGroup(EndPoint? address) => address is IPEndPoint { AddressFamily: AddressFamily.InterNetwork } ip && ip.Address.GetAddressBytes()[0] >> 4 == 14;

    protected override void ReadFrames()
    {
        var buffer = new byte[MaxFrame];
        while (!IsStopped)
        {
            try
            {
                var n = _socket.Receive(buffer);
                if (n > 0)
                    Deliver(buffer.AsSpan(0, n), default);
            }
            catch (SocketException) when (!IsStopped)
            {
                // What an earlier datagram met with.
            }
        }
    }

    protected override void Write(ReadOnlySpan<byte> frame, in FrameOffload offload)
    {
        if (_remote == null)
            return;
        try
        {
            _ = _socket.SendTo(frame, _remote);
        }
        catch (SocketException)
        {
            // Nobody there: lost, as on a wire.
        }
    }

    protected override void Close()
    {
        _socket.Dispose();
        if (_local is UnixDomainSocketEndPoint unix)
            File.Delete(unix.ToString());
    }

    private void Join(IPEndPoint group, IPAddress? local)
    {
        _socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.ReuseAddress, true);
        _socket.Bind(group);
        _socket.SetSocketOption(SocketOptionLevel.IP, SocketOptionName.AddMembership,
            local != null ? new MulticastOption(group.Address, local) : new MulticastOption(group.Address));
        // Other machines of this host are to hear it.
        _socket.SetSocketOption(SocketOptionLevel.IP, SocketOptionName.MulticastLoopback, true);
        if (local != null)
            _socket.SetSocketOption(SocketOptionLevel.IP, SocketOptionName.MulticastInterface, local.GetAddressBytes());
    }
}
