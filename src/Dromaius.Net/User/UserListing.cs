using System.Text;
using Dromaius.Core.Sockets;

namespace Dromaius.Net.User;

/// <summary>The connections of a user-mode network, as <c>info usernet</c> lays them out.</summary>
internal static class UserListing
{
    public static string Describe(UserStack stack)
    {
        var text = new StringBuilder("  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\n");
        foreach (var (host, guest) in stack.Tcp.Listeners)
            Line(text, "TCP[HOST_FORWARD]", -1, host, guest, 0, 0);
        foreach (var c in stack.Tcp.Connections)
        {
            Line(text, $"TCP[{c.StateName}]", c.Fd, new HostEndpoint(c.Key.Guest, c.Key.GuestPort), new HostEndpoint(c.Key.Remote, c.Key.RemotePort),
                c.Queued, c.QueuedToHost);
        }

        foreach (var (guest, remote, fd, isForward) in stack.Udp.Flows)
        {
            if (isForward)
                Line(text, "UDP[HOST_FORWARD]", fd, HostSocket.LocalEndpoint(fd), guest, 0, 0);
            else
                Line(text, "UDP[240 sec]", fd, guest, remote, 0, 0);
        }

        return text.ToString();
    }

    private static void Line(StringBuilder text, string state, int fd, HostEndpoint source, HostEndpoint destination, int received, int sent)
    {
        text.Append($"  {state,-18} {(fd < 0 ? 3 : fd),3} {Address(source),15} {source.Port,5} {Address(destination),15} {destination.Port,5} {received,5} {sent,5}\n");
    }

    private static string Address(HostEndpoint endpoint) =>
        endpoint is { IsIpv4: true, Ipv4: 0 } ? "*" : HostEndpoint.ToIpAddress(endpoint.Address).ToString();
}
