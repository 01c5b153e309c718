using System.Runtime.InteropServices;
using System.Text;
using Dromaius.Core.Errors;
using Microsoft.Win32.SafeHandles;

namespace Dromaius.Core.Sockets;

/// <summary>A network interface of the host whose wire is this process (Linux TUN/TAP, Documentation/networking/tuntap.rst).</summary>
public sealed unsafe partial class TapDevice : IDisposable
{
    private const int ReadWrite = 2, NonBlocking = 0x800, CloseOnExec = 0x80000, NameLength = 16;
    private const ulong SetInterface = 0x4004_54CA, GetFeatures = 0x8004_54CF, SetHeaderSize = 0x4004_54D8, SetOffload = 0x4004_54D0;
    private const ulong AddBridgePort = 0x89A2, GetIndex = 0x8933, GetFlags = 0x8913, SetFlags = 0x8914;
    private const short FlagTap = 2, FlagNoInfo = 0x1000, FlagHeader = 0x4000, FlagUp = 1;

    private readonly SafeFileHandle _handle;

    private TapDevice(int fd, string name, bool hasHeader)
    {
        _handle = new SafeFileHandle(fd, ownsHandle: true);
        Name = name;
        HasHeader = hasHeader;
    }

    public string Name { get; }

    /// <summary>A virtio network header stands before each frame.</summary>
    public bool HasHeader { get; }
    public int Fd => (int)_handle.DangerousGetHandle();

    /// <summary>Opens or makes an interface.</summary>
    /// <param name="name">Its name; empty for one that the host chooses, with a %d for a number.</param>
    /// <param name="header">True or false for with or without headers, null for with them if the host can.</param>
    public static TapDevice Open(string name, bool? header)
    {
        var fd = open("/dev/net/tun", ReadWrite | NonBlocking | CloseOnExec);
        if (fd < 0)
            throw new UserErrorException($"could not open /dev/net/tun: {LastError()}");
        var features = 0u;
        var canHeader = ioctl(fd, GetFeatures, &features) == 0 && (features & (uint)FlagHeader) != 0;
        if (header == true && !canHeader)
        {
            _ = close(fd);
            throw new UserErrorException("vnet_hdr=1 requested, but no kernel support for IFF_VNET_HDR available");
        }

        var useHeader = header ?? canHeader;
        var request = new InterfaceRequest { Flags = (short)(FlagTap | FlagNoInfo | (useHeader ? FlagHeader : 0)) };
        request.SetName(name.Length == 0 ? "tap%d" : name);
        if (ioctl(fd, SetInterface, &request) != 0)
        {
            var why = LastError();
            _ = close(fd);
            throw new UserErrorException(name.Length == 0 ? $"could not configure /dev/net/tun: {why}" : $"could not configure /dev/net/tun ({name}): {why}");
        }

        return new TapDevice(fd, request.GetName(), useHeader);
    }

    /// <summary>An interface that whoever started this process has opened.</summary>
    public static TapDevice FromDescriptor(int fd, bool header) => new(fd, "", header);

    /// <summary>Says which of the things a header can leave undone are left undone on the way to us; false if the host refuses.</summary>
    public bool SetOffloads(uint flags) => ioctl(Fd, SetOffload, (void*)(nuint)flags) == 0;

    public void SetHeaderLength(int length) => _ = ioctl(Fd, SetHeaderSize, &length);

    /// <summary>A frame with its header; 0 or less when there is none.</summary>
    public int Read(Span<byte> into)
    {
        fixed (byte* p = into)
            return (int)read(_handle, p, (nuint)into.Length);
    }

    /// <summary>False when the host has no room now; errors lose the frame.</summary>
    public bool Write(ReadOnlySpan<byte> frame)
    {
        fixed (byte* p = frame)
            return write(_handle, p, (nuint)frame.Length) >= 0 || Marshal.GetLastPInvokeError() != HostSocket.Eagain;
    }

    /// <summary>Makes the interface a port of a bridge of the host and brings it up.</summary>
    public void JoinBridge(string bridge)
    {
        using var control = new ControlSocket();
        var request = default(InterfaceRequest);
        request.SetName(Name);
        if (ioctl(control.Fd, GetIndex, &request) != 0)
            throw new UserErrorException($"bridge: {Name}: {LastError()}");
        var index = request.Index;
        var port = default(InterfaceRequest);
        port.SetName(bridge);
        port.Index = index;
        if (ioctl(control.Fd, AddBridgePort, &port) != 0)
            throw new UserErrorException($"failed to add interface `{Name}' to bridge `{bridge}': {LastError()}");
        request = default;
        request.SetName(Name);
        if (ioctl(control.Fd, GetFlags, &request) != 0)
            throw new UserErrorException($"bridge: {Name}: {LastError()}");
        request.Flags |= FlagUp;
        if (ioctl(control.Fd, SetFlags, &request) != 0)
            throw new UserErrorException($"failed to bring up the interface: {LastError()}");
    }

    /// <summary>Closes the interface once no thread reads or writes any more.</summary>
    public void Dispose() => _handle.Dispose();

    private static string LastError() => Marshal.GetPInvokeErrorMessage(Marshal.GetLastPInvokeError());

    /// <summary>A socket for requests about interfaces.</summary>
    private readonly struct ControlSocket : IDisposable
    {
        public ControlSocket() => Fd = HostSocket.OpenDatagram(ipv6: false);

        public int Fd { get; }

        public void Dispose() => HostSocket.Close(Fd);
    }

    [StructLayout(LayoutKind.Explicit, Size = 40)]
    private struct InterfaceRequest
    {
        [FieldOffset(0)]
        private fixed byte _name[NameLength];
        [FieldOffset(NameLength)]
        public short Flags;
        [FieldOffset(NameLength)]
        public int Index;

        public void SetName(string name)
        {
            var bytes = Encoding.UTF8.GetBytes(name);
            for (var i = 0; i < Math.Min(bytes.Length, NameLength - 1); i++)
                _name[i] = bytes[i];
        }

        public readonly string GetName()
        {
            fixed (byte* p = _name)
                return Marshal.PtrToStringUTF8((nint)p)!;
        }
    }

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int open(string path, int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int ioctl(int fd, ulong request, void* argument);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint read(SafeFileHandle fd, byte* buffer, nuint count);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint write(SafeFileHandle fd, byte* buffer, nuint count);

    [LibraryImport("libc")]
    private static partial int close(int fd);
}
