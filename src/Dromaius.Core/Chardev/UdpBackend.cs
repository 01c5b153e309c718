using System.Net;
using System.Net.Sockets;
using Dromaius.Core.Errors;
using Dromaius.Core.Time;

namespace Dromaius.Core.Chardev;

/// <summary>Datagrams to and from one peer.</summary>
public sealed class UdpBackend : CharBackend
{
    private readonly Socket _socket;

    public UdpBackend(EventLoop loop, string id, string host, int port, string localHost, int localPort)
        : base(loop, id)
    {
        var remote = new IPEndPoint(SocketBackend.Resolve(host.Length == 0 ? "localhost" : host), port);
        _socket = new Socket(remote.AddressFamily, SocketType.Dgram, ProtocolType.Udp);
        try
        {
            var any = remote.AddressFamily == AddressFamily.InterNetwork ? IPAddress.Any : IPAddress.IPv6Any;
            _socket.Bind(new IPEndPoint(localHost.Length == 0 ? any : SocketBackend.Resolve(localHost), localPort));
            _socket.Connect(remote);
        }
        catch (SocketException e)
        {
            throw new UserErrorException($"Failed to connect to '{remote}': {e.Message}");
        }

        _socket.Blocking = true;
        Description = $"udp:{remote}";
        PostOpen(true);
        StartThread("input", ReadLoop);
    }

    public override string Description { get; }

    protected override void Send(ReadOnlySpan<byte> bytes)
    {
        try
        {
            _socket.Send(bytes);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // Nobody listens there now: a lost datagram.
        }
    }

    protected override void Close() => _socket.Dispose();

    private void ReadLoop()
    {
        var buffer = new byte[65536];
        while (!IsDisposed)
        {
            try
            {
                PostInput(buffer.AsMemory(0, _socket.Receive(buffer)));
            }
            catch (SocketException)
            {
                // ICMP "port unreachable" of an earlier datagram.
                Thread.Sleep(10);
            }
            catch (ObjectDisposedException)
            {
                return;
            }
        }
    }
}
