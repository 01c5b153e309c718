using System.Diagnostics;
using Dromaius.Core.Errors;
using Dromaius.Core.Options;
using Dromaius.Core.Sockets;

namespace Dromaius.Net.Host;

/// <summary>An interface of the host (<c>-netdev tap</c>, <c>-netdev bridge</c>), with checksums and segments left undone where both sides can.</summary>
internal sealed class TapBackend : ThreadedBackend
{
    private const string IfUp = "/etc/qemu-ifup", IfDown = "/etc/qemu-ifdown";
    private readonly TapDevice _tap;
    private readonly string _description;
    private readonly string? _downScript;
    private readonly Poller _readable = new(), _writable = new();
    private readonly byte[] _buffer = new byte[FrameOffload.HeaderSize + MaxFrame];

    private TapBackend(NetworkSet networks, string name, TapDevice tap, string kind, string description, string? downScript)
        : base(name, networks.MachineLock)
    {
        _tap = tap;
        Kind = kind;
        _description = description;
        _downScript = downScript;
        _ = _readable.Watch(tap.Fd, 0);
        _ = _writable.Watch(tap.Fd, 0);
    }

    public override string Kind { get; }
    public override string Description => _description;

    public override OffloadFeatures Accepts => !_tap.HasHeader ? OffloadFeatures.None
        : OffloadFeatures.Checksum | OffloadFeatures.Tcp4 | OffloadFeatures.Tcp6 | OffloadFeatures.Ecn;

    public static NetEndpoint Create(NetworkSet networks, string id, OptionList options)
    {
        var name = options.Take("ifname") ?? "";
        var (up, down) = (options.Take("script"), options.Take("downscript"));
        var header = options.Take("vnet_hdr") is { } text ? OptionValue.Bool("vnet_hdr", text) : (bool?)null;
        if (options.TakeBool("vhost", false) || options.TakeBool("vhostforce", false))
            throw new UserErrorException("vhost-net requested but could not be initialized");
        if (options.TakeNumber("queues", 1, 1) != 1 || options.Take("fds") != null)
            throw new UserErrorException("this version opens one queue of a TAP interface");
        var bridge = options.Take("br");
        foreach (var ignored in (ReadOnlySpan<string>)["sndbuf", "poll-us", "helper"])
            _ = options.Take(ignored);
        var fd = options.Take("fd");
        options.RejectUntaken();
        if (fd != null)
        {
            if (name.Length > 0 || up != null || down != null || header != null)
                throw new UserErrorException("ifname=, script=, downscript=, vnet_hdr=, helper=, queues=, fds=, and vhostfds= are invalid with fd=");
            return Begin(new TapBackend(networks, id, TapDevice.FromDescriptor((int)OptionValue.Number("fd", fd, 0, 1 << 20), header: false), "tap", $"fd={fd}", null));
        }

        var tap = TapDevice.Open(name, header);
        try
        {
            if (bridge != null && up == null)
                tap.JoinBridge(bridge);
            else
                Launch(up ?? IfUp, tap.Name, required: true);
            return Begin(new TapBackend(networks, id, tap, "tap", $"ifname={tap.Name},script={up ?? IfUp},downscript={down ?? IfDown}", down ?? (up == "no" ? null : IfDown)));
        }
        catch
        {
            tap.Dispose();
            throw;
        }
    }

    public static NetEndpoint CreateBridge(NetworkSet networks, string id, OptionList options)
    {
        var bridge = options.Take("br") ?? "br0";
        _ = options.Take("helper");
        options.RejectUntaken();
        var tap = TapDevice.Open("", null);
        try
        {
            tap.JoinBridge(bridge);
            return Begin(new TapBackend(networks, id, tap, "bridge", $"helper=none,br={bridge}", null));
        }
        catch
        {
            tap.Dispose();
            throw;
        }
    }

    protected override void ReadFrames()
    {
        var buffer = new byte[_buffer.Length];
        var header = _tap.HasHeader ? FrameOffload.HeaderSize : 0;
        while (!IsStopped)
        {
            var n = _tap.Read(buffer);
            if (n > header)
                Deliver(buffer.AsSpan(header, n - header), header > 0 ? FrameOffload.Parse(buffer) : default);
            else
                _ = _readable.Wait(1000);
        }
    }

    protected override void Write(ReadOnlySpan<byte> frame, in FrameOffload offload)
    {
        var header = _tap.HasHeader ? FrameOffload.HeaderSize : 0;
        if (header > 0)
            offload.Write(_buffer);
        frame.CopyTo(_buffer.AsSpan(header));
        while (!_tap.Write(_buffer.AsSpan(0, header + frame.Length)) && !IsStopped)
            _ = _writable.Wait(1000);
    }

    protected internal override void OnPeerOffloadsChanged()
    {
        if (!_tap.HasHeader)
            return;
        var peer = PeerAccepts;
        var flags = (peer & OffloadFeatures.Checksum) == 0 ? 0u
            : 1u | ((peer & OffloadFeatures.Tcp4) != 0 ? 2u : 0) | ((peer & OffloadFeatures.Tcp6) != 0 ? 4u : 0) | ((peer & OffloadFeatures.Ecn) != 0 ? 8u : 0);
        _ = _tap.SetOffloads(flags);
    }

    protected override void Close()
    {
        if (_downScript != null)
            Launch(_downScript, _tap.Name, required: false);
        _readable.Wake();
        _writable.Wake();
        _tap.Dispose();
    }

    protected override void Release()
    {
        _readable.Dispose();
        _writable.Dispose();
    }

    private static TapBackend Begin(TapBackend backend)
    {
        backend.OnPeerOffloadsChanged();
        backend.Start();
        return backend;
    }

    /// <summary>Runs a script of the user's with the interface's name.</summary>
    private static void Launch(string script, string name, bool required)
    {
        if (script is "no" or "")
            return;
        var status = 1;
        try
        {
            using var process = Process.Start(new ProcessStartInfo(script, [name]))!;
            process.WaitForExit();
            status = process.ExitCode;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            // Told below as any other failure.
        }

        if (status != 0 && required)
            throw new UserErrorException($"network script {script} failed with status {status << 8}");
    }
}
