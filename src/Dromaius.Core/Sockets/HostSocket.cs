using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace Dromaius.Core.Sockets;

/// <summary>
/// Non-blocking Internet sockets as plain descriptors: nothing allocates, nothing throws, and what went wrong comes back as a
/// negative error number.
/// </summary>
public static unsafe partial class HostSocket
{
    public const int Eagain = 11, Econnrefused = 111, Einprogress = 115, Enetunreach = 101, Ehostunreach = 113, Etimedout = 110, Emsgsize = 90;
    private const int Eintr = 4;
    private const int AfUnix = 1, AfInet = 2, AfInet6 = 10, Stream = 1, Datagram = 2, NonBlocking = 0x800, CloseOnExec = 0x80000;
    private const int SolSocket = 1, SoReuseAddress = 2, SoError = 4, SoLinger = 13, SoOutOfBandInline = 10;
    private const int IpProtocolTcp = 6, TcpNoDelay = 1, IpProtocolIpv6 = 41, Ipv6Only = 26, IpProtocolIcmp = 1, IpProtocolIcmpv6 = 58;
    private const int NoSignal = 0x4000, DontWait = 0x40, AddressSize = 28;

    public static int OpenStream(bool ipv6) => Check(socket(ipv6 ? AfInet6 : AfInet, Stream | NonBlocking | CloseOnExec, 0));

    public static int OpenDatagram(bool ipv6) => Check(socket(ipv6 ? AfInet6 : AfInet, Datagram | NonBlocking | CloseOnExec, 0));

    /// <summary>A socket for echo requests, where the host lets users have them.</summary>
    public static int OpenEcho(bool ipv6) =>
        Check(socket(ipv6 ? AfInet6 : AfInet, Datagram | NonBlocking | CloseOnExec, ipv6 ? IpProtocolIcmpv6 : IpProtocolIcmp));

    /// <summary>Two ends of a stream inside this process.</summary>
    public static bool TryOpenPair(out int first, out int second)
    {
        var ends = stackalloc int[2];
        var ok = socketpair(AfUnix, Stream | NonBlocking | CloseOnExec, 0, ends) == 0;
        (first, second) = ok ? (ends[0], ends[1]) : (-1, -1);
        return ok;
    }

    /// <summary>The same by TCP over the host's loopback, for programs that ask who the other end is.</summary>
    public static bool TryOpenLoopbackPair(out int first, out int second)
    {
        const uint Loopback = 0x7F00_0001;
        (first, second) = (OpenStream(false), -1);
        var listener = OpenStream(false);
        if (first >= 0 && listener >= 0 && Bind(listener, HostEndpoint.OfIpv4(Loopback, 0)) >= 0 && Listen(listener, 1) >= 0
            && Connect(first, LocalEndpoint(listener)) is 0 or -Einprogress)
        {
            // Somebody else on the host may have been faster.
            while ((second = Accept(listener, out var from)) >= 0 && from != LocalEndpoint(first))
                Close(second);
        }

        if (listener >= 0)
            Close(listener);
        if (second >= 0)
            return true;
        if (first >= 0)
            Close(first);
        return false;
    }

    /// <summary>Makes a socket one that other programs expect: calls wait.</summary>
    public static void SetBlocking(int fd)
    {
        const int SetFlags = 4;
        _ = fcntl(fd, SetFlags, 0);
    }

    public static int Bind(int fd, HostEndpoint at)
    {
        var address = stackalloc byte[AddressSize];
        return Check(bind(fd, address, Fill(address, at)));
    }

    public static int Listen(int fd, int backlog) => Check(listen(fd, backlog));

    /// <summary>0 when connected, -<see cref="Einprogress"/> when that is still to come.</summary>
    public static int Connect(int fd, HostEndpoint to)
    {
        var address = stackalloc byte[AddressSize];
        return Check(connect(fd, address, Fill(address, to)));
    }

    /// <summary>The next connection that came in.</summary>
    public static int Accept(int fd, out HostEndpoint from)
    {
        var address = stackalloc byte[AddressSize];
        var size = (uint)AddressSize;
        var result = Check(accept4(fd, address, &size, NonBlocking | CloseOnExec));
        from = result < 0 ? default : Parse(address);
        return result;
    }

    public static int Send(int fd, ReadOnlySpan<byte> bytes)
    {
        fixed (byte* p = bytes)
        {
            while (true)
            {
                var n = Check((int)send(fd, p, (nuint)bytes.Length, NoSignal | DontWait));
                if (n != -Eintr)
                    return n;
            }
        }
    }

    public static int Receive(int fd, Span<byte> into)
    {
        fixed (byte* p = into)
        {
            while (true)
            {
                var n = Check((int)recv(fd, p, (nuint)into.Length, DontWait));
                if (n != -Eintr)
                    return n;
            }
        }
    }

    public static int SendTo(int fd, ReadOnlySpan<byte> bytes, HostEndpoint to)
    {
        var address = stackalloc byte[AddressSize];
        var size = Fill(address, to);
        fixed (byte* p = bytes)
            return Check((int)sendto(fd, p, (nuint)bytes.Length, NoSignal | DontWait, address, size));
    }

    public static int ReceiveFrom(int fd, Span<byte> into, out HostEndpoint from)
    {
        var address = stackalloc byte[AddressSize];
        var size = (uint)AddressSize;
        fixed (byte* p = into)
        {
            var n = Check((int)recvfrom(fd, p, (nuint)into.Length, DontWait, address, &size));
            from = n < 0 ? default : Parse(address);
            return n;
        }
    }

    /// <summary>Says that no more will be sent.</summary>
    public static void ShutdownSend(int fd) => _ = shutdown(fd, 1);

    public static void Close(int fd)
    {
        if (fd >= 0)
            _ = close(fd);
    }

    /// <summary>Closes a connection so that the peer sees a reset.</summary>
    public static void Abort(int fd)
    {
        var linger = stackalloc int[2];
        (linger[0], linger[1]) = (1, 0);
        _ = setsockopt(fd, SolSocket, SoLinger, linger, 8);
        Close(fd);
    }

    /// <summary>What became of a connection attempt: 0 or the error number.</summary>
    public static int TakeError(int fd)
    {
        var error = 0;
        var size = 4u;
        return getsockopt(fd, SolSocket, SoError, &error, &size) == 0 ? error : Marshal.GetLastPInvokeError();
    }

    public static void SetNoDelay(int fd) => Set(fd, IpProtocolTcp, TcpNoDelay, 1);

    /// <summary>Urgent bytes stay in the stream.</summary>
    public static void SetOutOfBandInline(int fd) => Set(fd, SolSocket, SoOutOfBandInline, 1);

    public static void SetReuseAddress(int fd) => Set(fd, SolSocket, SoReuseAddress, 1);

    public static void SetIpv6Only(int fd) => Set(fd, IpProtocolIpv6, Ipv6Only, 1);

    /// <summary>Where the socket is bound.</summary>
    public static HostEndpoint LocalEndpoint(int fd)
    {
        var address = stackalloc byte[AddressSize];
        var size = (uint)AddressSize;
        return getsockname(fd, address, &size) == 0 ? Parse(address) : default;
    }

    private static void Set(int fd, int level, int name, int value) => _ = setsockopt(fd, level, name, &value, 4);

    private static int Check(int result) => result >= 0 ? result : -Marshal.GetLastPInvokeError();

    private static uint Fill(byte* address, HostEndpoint from)
    {
        var bytes = new Span<byte>(address, AddressSize);
        bytes.Clear();
        BinaryPrimitives.WriteUInt16BigEndian(bytes[2..], from.Port);
        if (from.IsIpv4)
        {
            *(ushort*)address = AfInet;
            BinaryPrimitives.WriteUInt32BigEndian(bytes[4..], from.Ipv4);
            return 16;
        }

        *(ushort*)address = AfInet6;
        BinaryPrimitives.WriteUInt128BigEndian(bytes[8..], from.Address);
        return AddressSize;
    }

    private static HostEndpoint Parse(byte* address)
    {
        var bytes = new ReadOnlySpan<byte>(address, AddressSize);
        var port = BinaryPrimitives.ReadUInt16BigEndian(bytes[2..]);
        return *(ushort*)address switch
        {
            AfInet => HostEndpoint.OfIpv4(BinaryPrimitives.ReadUInt32BigEndian(bytes[4..]), port),
            AfInet6 => new HostEndpoint(BinaryPrimitives.ReadUInt128BigEndian(bytes[8..]), port),
            _ => default,
        };
    }

    [LibraryImport("libc", SetLastError = true)]
    private static partial int socket(int family, int type, int protocol);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int socketpair(int family, int type, int protocol, int* ends);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int bind(int fd, byte* address, uint size);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int listen(int fd, int backlog);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int connect(int fd, byte* address, uint size);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int accept4(int fd, byte* address, uint* size, int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint send(int fd, byte* bytes, nuint count, int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint recv(int fd, byte* bytes, nuint count, int flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint sendto(int fd, byte* bytes, nuint count, int flags, byte* address, uint size);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint recvfrom(int fd, byte* bytes, nuint count, int flags, byte* address, uint* size);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int shutdown(int fd, int how);

    [LibraryImport("libc")]
    private static partial int close(int fd);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int getsockopt(int fd, int level, int name, void* value, uint* size);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int setsockopt(int fd, int level, int name, void* value, uint size);

    [LibraryImport("libc")]
    private static partial int fcntl(int fd, int command, int argument);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int getsockname(int fd, byte* address, uint* size);
}
