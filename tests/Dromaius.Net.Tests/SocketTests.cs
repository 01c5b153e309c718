using System.Net;
using System.Net.Sockets;
using Dromaius.Core.Errors;
using Dromaius.Core.Options;
using Dromaius.Core.Time;

namespace Dromaius.Net.Tests;

/// <summary>Backends over sockets of the host.</summary>
public sealed class SocketTests
{
    private readonly EventLoop _loop = new(new Lock());

    /// <summary>A connection that was handed over is used, and closed with its backend even while that waits for frames.</summary>
    [Fact]
    public void ConnectionsAreTakenOver()
    {
        using var networks = new NetworkSet(new HostClock(_loop), _loop.MachineLock);
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        using var ours = new TcpClient();
        ours.Connect((IPEndPoint)listener.LocalEndpoint);
        var theirs = listener.AcceptSocket();
        var backend = networks.AddBackend("socket", "s", Options($"fd={theirs.Handle}"));
        theirs.SafeHandle.SetHandleAsInvalid(); // the backend's from here on
        Assert.True(backend.Receive(new byte[60], default));
        ours.ReceiveTimeout = 10_000;
        var received = new byte[64];
        ours.GetStream().ReadExactly(received);
        Assert.Equal(60, received[3]);
        networks.RemoveBackend(backend);
        Assert.Equal(0, ours.GetStream().Read(received));
    }

    [Theory]
    [InlineData("fd=987654", "s: Can't use file descriptor 987654: ")]
    [InlineData("fd=0,listen=:1", "exactly one of listen=, connect=, mcast= or udp= is required")]
    public void WrongDescriptorsAreExplained(string options, string message)
    {
        using var networks = new NetworkSet(new HostClock(_loop), _loop.MachineLock);
        Assert.StartsWith(message, Assert.Throws<UserErrorException>(() => networks.AddBackend("socket", "s", Options(options))).Message);
    }

    private static OptionList Options(string text) => OptionList.Parse(text);
}
