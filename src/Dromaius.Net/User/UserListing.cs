using System.Text;
using Dromaius.Core.Sockets;

namespace Dromaius.Net.User;

/// <summary>The connections of a user-mode network, as <c>info usernet</c> lays them out.</summary>
internal static class UserListing
{
    public static string Describe(UserStack stack)
    {
        var text = new StringBuilder("  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\n");
        // The newest first.
        foreach (var c in stack.Tcp.Connections.Reverse())
        {
            var guest = new HostEndpoint(c.Key.Guest, c.Key.GuestPort);
            if (c.IsForwarded)
                Line(text, $"TCP[{c.StateName}]", c.Fd, HostSocket.LocalEndpoint(c.Fd), guest, c.Queued, c.QueuedToHost);
            else
                Line(text, $"TCP[{c.StateName}]", c.Fd, guest, new HostEndpoint(c.Key.Remote, c.Key.RemotePort), c.Queued, c.QueuedToHost);
        }

        foreach (var (host, guest, fd) in stack.Tcp.Listeners.Reverse())
            Line(text, "TCP[HOST_FORWARD]", fd, host, guest, 0, 0);
        foreach (var flow in stack.Udp.Flows.Reverse())
        {
            if (flow.IsForward)
                Line(text, "UDP[HOST_FORWARD]", flow.Fd, HostSocket.LocalEndpoint(flow.Fd), flow.Guest, 0, 0);
            else if (flow.IsEcho)
                text.Append($"  {State("ICMP", flow),-17} {flow.Fd,3} {Address(flow.Guest),15} {"-",5} {Address(flow.Remote),15} {"-",5} {0,5} {0,5}\n");
            else
                Line(text, State("UDP", flow), flow.Fd, flow.Guest, flow.Remote, 0, 0);
        }

        return text.ToString();

        string State(string protocol, UdpLayer.Flow flow) => $"{protocol}[{Math.Max(0, flow.Expires - stack.Now) / 1000} sec]";
    }

    private static void Line(StringBuilder text, string state, int fd, HostEndpoint source, HostEndpoint destination, int received, int sent) =>
        text.Append($"  {state,-17} {fd,3} {Address(source),15} {source.Port,5} {Address(destination),15} {destination.Port,5} {received,5} {sent,5}\n");

    private static string Address(HostEndpoint endpoint) =>
        endpoint is { IsIpv4: true, Ipv4: 0 } ? "*" : HostEndpoint.ToIpAddress(endpoint.Address).ToString();
}
