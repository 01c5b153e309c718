using System.Globalization;
using System.Net.Sockets;
using Dromaius.Block.Graph;

namespace Dromaius.Block.Nbd;

/// <summary>Where a server is, and which of its exports is meant.</summary>
public sealed record NbdAddress
{
    public string? Host { get; init; }
    public int Port { get; init; } = NbdProtocol.DefaultPort;

    /// <summary>A Unix socket instead of a host.</summary>
    public string? SocketPath { get; init; }
    public string Export { get; init; } = "";

    /// <summary>Reads <c>nbd://host:port/export</c>, <c>nbd+unix:///export?socket=path</c>, <c>nbd:host:port:exportname=...</c>.</summary>
    public static NbdAddress Parse(string text)
    {
        if (text.StartsWith("nbd://", StringComparison.Ordinal) || text.StartsWith("nbd+tcp://", StringComparison.Ordinal)
            || text.StartsWith("nbd+unix://", StringComparison.Ordinal))
            return ParseUri(text);
        if (!text.StartsWith("nbd:", StringComparison.Ordinal))
            throw new BlockException(BlockError.Invalid, "File name string for new protocols must start with 'nbd:'");
        var rest = text[4..];
        var export = "";
        var at = rest.IndexOf(":exportname=", StringComparison.Ordinal);
        if (at >= 0)
        {
            export = rest[(at + 12)..];
            rest = rest[..at];
        }

        if (rest.StartsWith("unix:", StringComparison.Ordinal))
            return new NbdAddress { SocketPath = rest[5..], Export = export };
        var (host, port) = SplitHost(rest);
        return new NbdAddress { Host = host, Port = port, Export = export };
    }

    /// <summary>From the options of a node: <c>server.type=unix,server.path=...</c> or the flat old ones.</summary>
    public static NbdAddress FromOptions(BlockOptions options)
    {
        var export = options.Take("export") ?? "";
        var server = options.Below("server");
        var type = server.Take("type");
        var path = server.Take("path") ?? options.Take("path");
        var host = server.Take("host") ?? options.Take("host");
        var port = server.Take("port") ?? options.Take("port");
        if (type == "unix" || (type == null && path != null))
            return new NbdAddress { SocketPath = path ?? throw new BlockException(BlockError.Invalid, "Parameter 'server.path' is missing"), Export = export };
        if (host == null)
            throw new BlockException(BlockError.Invalid, "NBD server address missing");
        return new NbdAddress { Host = host, Port = port == null ? NbdProtocol.DefaultPort : PortNumber(port), Export = export };
    }

    public Socket Connect()
    {
        Socket? socket = null;
        try
        {
            if (SocketPath != null)
            {
                socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
                socket.Connect(new UnixDomainSocketEndPoint(SocketPath));
            }
            else
            {
                socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
                socket.Connect(Host!, Port);
            }

            return socket;
        }
        catch (Exception e) when (e is SocketException or ArgumentException)
        {
            socket?.Dispose();
            var reason = e is SocketException { SocketErrorCode: SocketError.ConnectionRefused } ? "Connection refused"
                : e is SocketException { SocketErrorCode: SocketError.HostNotFound } ? "Name or service not known"
                : SocketPath != null && !File.Exists(SocketPath) ? "No such file or directory" : e.Message;
            throw new BlockException(BlockError.Io, SocketPath != null
                ? $"Failed to connect to '{SocketPath}': {reason}"
                : $"Failed to connect to '{Host}:{Port}': {reason}", e);
        }
    }

    public override string ToString() => SocketPath != null
        ? $"nbd+unix:///{Export}?socket={SocketPath}"
        : $"nbd://{Host}:{Port}{(Export.Length > 0 ? "/" + Export : "")}";

    private static NbdAddress ParseUri(string text)
    {
        var isUnix = text.StartsWith("nbd+unix:", StringComparison.Ordinal);
        var rest = text[(text.IndexOf("://", StringComparison.Ordinal) + 3)..];
        var question = rest.IndexOf('?');
        var query = question < 0 ? "" : rest[(question + 1)..];
        if (question >= 0)
            rest = rest[..question];
        var slash = rest.IndexOf('/');
        var authority = slash < 0 ? rest : rest[..slash];
        var export = slash < 0 ? "" : Uri.UnescapeDataString(rest[(slash + 1)..]);
        if (isUnix)
        {
            var socket = query.Split('&').FirstOrDefault(static p => p.StartsWith("socket=", StringComparison.Ordinal));
            if (authority.Length > 0 || socket == null)
                throw new BlockException(BlockError.Invalid, "No valid URL specified");
            return new NbdAddress { SocketPath = Uri.UnescapeDataString(socket[7..]), Export = export };
        }

        if (query.Length > 0 || authority.Length == 0)
            throw new BlockException(BlockError.Invalid, "No valid URL specified");
        var (host, port) = SplitHost(authority);
        return new NbdAddress { Host = host, Port = port, Export = export };
    }

    private static (string Host, int Port) SplitHost(string text)
    {
        var end = text.StartsWith('[') ? text.IndexOf(']') : -1;
        var colon = text.IndexOf(':', Math.Max(end, 0));
        var host = (colon < 0 ? text : text[..colon]).Trim('[', ']');
        return (host.Length == 0 ? "localhost" : host, colon < 0 ? NbdProtocol.DefaultPort : PortNumber(text[(colon + 1)..]));
    }

    private static int PortNumber(string text) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var port) && port is > 0 and < 65536
            ? port
            : throw new BlockException(BlockError.Invalid, $"Invalid port '{text}'");
}
