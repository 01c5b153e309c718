using Dromaius.Core.Errors;
using Dromaius.Core.Options;

namespace Dromaius.Core.Chardev;

/// <summary>The short spellings of character devices in <c>-serial</c> and its kin, turned into <c>-chardev</c>'s.</summary>
internal static class ShortForm
{
    private static readonly string[] Names =
        ["null", "msmouse", "pty", "stdio", "vc", "file:", "pipe:", "tcp:", "telnet:", "unix:", "udp:", "chardev:", "mon:", "none"];

    public static OptionList Parse(string spec)
    {
        var colon = spec.IndexOf(':');
        var name = colon < 0 ? spec : spec[..colon];
        var rest = colon < 0 ? null : spec[(colon + 1)..];
        switch (name)
        {
            case "null" or "msmouse" or "pty" or "ringbuf" when rest == null:
                return With(("backend", name));
            case "stdio" when rest == null:
                return With(("backend", name));
            case "vc":
                return With(("backend", name));
            case "file" or "pipe" when rest != null:
                return WithRest(rest, "path", name);
            case "unix" when rest != null:
                return WithRest(rest, "path", "socket");
            case "tcp" or "telnet" when rest != null:
                return Stream(spec, rest, name == "telnet");
            case "udp" when rest != null:
                return Datagram(spec, rest);
        }

        if (spec.StartsWith("/dev/parport", StringComparison.Ordinal))
            return With(("backend", "parallel"), ("path", spec));
        if (spec.StartsWith("/dev/", StringComparison.Ordinal))
            return With(("backend", "serial"), ("path", spec));
        throw new UserErrorException($"'{name}' is not a valid char driver{NearestNames.Hint(name, Names)}");
    }

    private static OptionList Stream(string spec, string rest, bool telnet)
    {
        var parts = OptionList.SplitParts(rest);
        var (host, port) = HostPort(spec, parts[0]);
        var list = WithRest(rest, null, "socket");
        list.Add("host", host);
        list.Add("port", port);
        if (telnet)
            list.Add("telnet", "on");
        return list;
    }

    /// <summary><c>[host]:port[@[localaddr]:localport]</c></summary>
    private static OptionList Datagram(string spec, string rest)
    {
        var at = rest.IndexOf('@');
        var (host, port) = HostPort(spec, at < 0 ? rest : rest[..at]);
        var list = With(("backend", "udp"), ("host", host), ("port", port));
        if (at < 0)
            return list;
        var (localHost, localPort) = HostPort(spec, rest[(at + 1)..]);
        list.Add("localaddr", localHost);
        list.Add("localport", localPort.Length == 0 ? "0" : localPort);
        return list;
    }

    private static (string Host, string Port) HostPort(string spec, string text)
    {
        var colon = text.LastIndexOf(':');
        if (colon < 0)
            throw new UserErrorException($"'{spec}': expected host:port");
        return (text[..colon].Trim('[', ']'), text[(colon + 1)..]);
    }

    private static OptionList With(params ReadOnlySpan<(string Key, string Value)> items)
    {
        var list = OptionList.Parse("", null);
        foreach (var (key, value) in items)
            list.Add(key, value);
        return list;
    }

    /// <summary>The options after the first part; the first part under a key, or dropped.</summary>
    private static OptionList WithRest(string rest, string? key, string backend)
    {
        var parsed = OptionList.Parse(rest, key ?? "address");
        var list = OptionList.Parse("", null);
        list.Add("backend", backend);
        foreach (var item in parsed.Items)
        {
            if (item.Key != "address")
                list.Add(item.Key, item.Value);
        }

        return list;
    }
}
