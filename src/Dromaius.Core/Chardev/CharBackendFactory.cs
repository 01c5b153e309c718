using Dromaius.Core.Errors;
using Dromaius.Core.Options;
using Dromaius.Core.Time;
using Microsoft.Win32.SafeHandles;

namespace Dromaius.Core.Chardev;

/// <summary>
/// Makes the character backends of a machine from <c>-chardev</c> options and from the short forms of <c>-serial</c>,
/// <c>-monitor</c>, <c>-debugcon</c>... and keeps them by id.
/// </summary>
public sealed partial class CharBackendFactory : IDisposable
{
    /// <summary>The types, as <c>-chardev help</c> lists them.</summary>
    public static readonly string[] Types =
        ["file", "msmouse", "null", "parallel", "pipe", "pty", "ringbuf", "memory", "serial", "socket", "stdio", "udp", "vc"];

    private readonly EventLoop _loop;
    private readonly Action _terminate;
    private readonly Action<string> _notice;
    private readonly Action<string> _print;
    private readonly Dictionary<string, ICharBackend> _backends = [];
    private readonly Dictionary<string, MuxBackend> _muxes = [];
    private readonly HashSet<string> _users = [];
    private readonly Dictionary<string, CharPort> _ports = [];
    private bool _stdioTaken;

    /// <param name="loop">Runs the input.</param>
    /// <param name="terminate">Ctrl-A x.</param>
    /// <param name="notice">A line for standard error.</param>
    /// <param name="print">A line for standard output.</param>
    public CharBackendFactory(EventLoop loop, Action terminate, Action<string> notice, Action<string> print)
    {
        _loop = loop;
        _terminate = terminate;
        _notice = notice;
        _print = print;
    }

    /// <summary>What begins a command on multiplexed devices (<c>-echr</c>).</summary>
    public byte EscapeCharacter { get; init; } = 1;

    /// <summary>Makes a mouse of an id, as it is where there are input events.</summary>
    public Func<string, ICharBackend>? SerialMouse { get; init; }

    /// <summary>All backends by id; of multiplexed ones the shared one.</summary>
    public IReadOnlyDictionary<string, ICharBackend> Backends => _backends;

    /// <summary>What devices may name with <c>chardev=</c>: backends by id, of multiplexed ones a new user's side.</summary>
    public Dictionary<string, ICharBackend> ForDevices()
    {
        var result = new Dictionary<string, ICharBackend>();
        foreach (var (id, backend) in _backends)
        {
            if (!_users.Contains(id))
                result.Add(id, _muxes.TryGetValue(id, out var mux) ? mux.CreateFrontend() : Port(id, backend));
        }

        return result;
    }

    private CharPort Port(string id, ICharBackend backend)
    {
        if (!_ports.TryGetValue(id, out var port))
            _ports[id] = port = new CharPort(backend);
        return port;
    }

    /// <summary>Makes one from <c>-chardev</c>'s argument.</summary>
    public void Create(OptionList options)
    {
        var type = options.Take("backend") ?? throw new UserErrorException("chardev: \"backend\" missing");
        var id = options.Take("id") ?? throw new UserErrorException("chardev: no id specified");
        if (!IsWellFormedId(id))
            throw new UserErrorException("Parameter 'id' expects an identifier");
        Create(id, type, options);
    }

    /// <summary>
    /// The backend that a device's argument names: <c>chardev:ID</c>, or one made from a short form such as <c>stdio</c>,
    /// <c>mon:stdio</c>, <c>file:PATH</c>, <c>tcp:HOST:PORT,server=on,wait=off</c>. Null for <c>none</c>.
    /// </summary>
    /// <param name="spec">The argument.</param>
    /// <param name="label">Id of a new backend, such as <c>serial0</c>.</param>
    /// <param name="withMonitor">Set when a human monitor shares it (<c>mon:</c>); attach one to its frontend.</param>
    public ICharBackend? Open(string spec, string label, out ICharBackend? withMonitor)
    {
        withMonitor = null;
        if (spec == "none")
            return null;
        if (spec.StartsWith("chardev:", StringComparison.Ordinal))
            return Get(spec["chardev:".Length..]);
        var muxed = spec.StartsWith("mon:", StringComparison.Ordinal);
        if (muxed)
        {
            spec = spec["mon:".Length..];
            if (spec == "none")
                return null;
        }

        var options = ShortForm.Parse(spec);
        var type = options.TakeRequired("backend");
        if (muxed)
        {
            options.Add("mux", "on");
            if (type == "stdio")
                options.Add("signal", "off");
        }

        Create(label, type, options);
        if (!muxed)
            return Get(label);
        withMonitor = _muxes[label].CreateFrontend();
        return _muxes[label].CreateFrontend();
    }

    /// <summary>The backend of an id, or a new user's side of it when it is multiplexed.</summary>
    public ICharBackend Get(string id)
    {
        if (_muxes.TryGetValue(id, out var mux))
            return mux.CreateFrontend();
        if (!_backends.TryGetValue(id, out var backend))
            throw new UserErrorException($"chardev \"{id}\" not found{NearestNames.Hint(id, _backends.Keys)}");
        if (!_users.Add(id))
            throw new UserErrorException($"Device '{id}' is in use");
        return Port(id, backend);
    }

    public void Dispose()
    {
        foreach (var backend in _backends.Values)
            backend.Dispose();
    }

    private void Create(string id, string type, OptionList options)
    {
        if (_backends.ContainsKey(id))
            throw new UserErrorException($"Chardev with id '{id}' already exists");
        var mux = options.TakeBool("mux", false);
        var log = options.Take("logfile");
        var append = options.TakeBool("logappend", false);
        var backend = CreateBackend(id, type, options);
        try
        {
            options.RejectUntaken();
            if (log != null)
                ((CharBackend)backend).Log = OpenLog(log, append);
        }
        catch
        {
            backend.Dispose();
            throw;
        }

        _backends.Add(id, backend);
        if (mux)
            _muxes.Add(id, new MuxBackend(_loop, backend, EscapeCharacter, _terminate));
    }

    private ICharBackend CreateBackend(string id, string type, OptionList options)
    {
        switch (type)
        {
            case "null":
                return new NullBackend(_loop, id);
            case "msmouse" when SerialMouse != null:
                return SerialMouse(id);
            case "vc":
                foreach (var key in (ReadOnlySpan<string>)["width", "height", "cols", "rows"])
                    _ = options.Take(key);
                return new NullBackend(_loop, id, "vc");
            case "stdio":
                var signals = options.TakeBool("signal", true);
                if (_stdioTaken)
                    throw new UserErrorException("cannot use stdio by multiple character devices");
                _stdioTaken = true;
                return new StdioBackend(_loop, id, signals);
            case "file":
                return new FileBackend(_loop, id, options.TakeRequired("path"), options.TakeBool("append", false), options.Take("input-path"));
            case "pipe":
                return PipeBackend.Open(_loop, id, options.TakeRequired("path"));
            case "serial" or "parallel" or "tty":
                return DeviceBackend.Open(_loop, id, options.TakeRequired("path"));
            case "pty":
                var pty = new PtyBackend(_loop, id);
                _print($"char device redirected to {pty.SlavePath} (label {id})");
                return pty;
            case "ringbuf" or "memory":
                var size = OptionValue.Size("size", options.Take("size") ?? "65536");
                if (size is 0 or > 1 << 30 || (size & (size - 1)) != 0)
                    throw new UserErrorException("size of ringbuf chardev must be power of two");
                return new RingBufferBackend(_loop, id, (int)size);
            case "socket":
                return new SocketBackend(_loop, id, ParseSocket(options), _notice);
            case "udp":
                return new UdpBackend(_loop, id, options.Take("host") ?? "", (int)OptionValue.Number("port", options.TakeRequired("port"), 0, 65535),
                    options.Take("localaddr") ?? "", (int)options.TakeNumber("localport", 0, 0, 65535));
            default:
                throw new UserErrorException($"'{type}' is not a valid char driver name{NearestNames.Hint(type, Types)}");
        }
    }

    private static SocketSettings ParseSocket(OptionList options)
    {
        var server = options.TakeBool("server", false);
        var path = options.Take("path");
        int? descriptor = options.Take("fd") is { } fd ? (int)OptionValue.Number("fd", fd, 0, int.MaxValue) : null;
        _ = options.Take("ipv4");
        _ = options.Take("ipv6");
        _ = options.Take("abstract");
        _ = options.Take("tight");
        var port = path == null && descriptor == null ? (int)OptionValue.Number("port", options.TakeRequired("port"), 0, 65535) : 0;
        var settings = new SocketSettings
        {
            Path = path,
            Descriptor = descriptor,
            Host = options.Take("host") ?? "",
            Port = port,
            LastPort = (int)options.TakeNumber("to", port, 0, 65535),
            Server = server,
            Wait = options.TakeBool("wait", server),
            NoDelay = options.TakeBool("nodelay", !options.TakeBool("delay", true)),
            Telnet = options.TakeBool("telnet", false),
            Reconnect = (int)options.TakeNumber("reconnect", 0, 0, 3600),
        };
        if (server && settings.Reconnect != 0)
            throw new UserErrorException("'reconnect' option is incompatible with socket in server listen mode");
        if (!server && options.Has("wait"))
            throw new UserErrorException("'wait' option is incompatible with socket in client connect mode");
        return settings;
    }

    private static FileStream OpenLog(string path, bool append)
    {
        var fd = HostFile.TryOpen(path, HostFile.WriteOnly | HostFile.Create | (append ? HostFile.Append : HostFile.Truncate));
        if (fd < 0)
            throw new UserErrorException($"Unable to open logfile '{path}': {HostFile.LastError}");
        return new FileStream(new SafeFileHandle(fd, ownsHandle: true), FileAccess.Write, bufferSize: 0);
    }

    private static bool IsWellFormedId(string id)
    {
        if (id.Length == 0 || !char.IsAsciiLetter(id[0]))
            return false;
        foreach (var c in id)
        {
            if (!char.IsAsciiLetterOrDigit(c) && c is not ('-' or '.' or '_'))
                return false;
        }

        return true;
    }
}
