using System.Runtime.InteropServices;
using Dromaius.Core.Storage;

namespace Dromaius.Core.Sockets;

/// <summary>Bytes of a Unix socket with the descriptors that came along (SCM_RIGHTS of unix(7)).</summary>
public static unsafe partial class DescriptorMessage
{
    private const int SolSocket = 1, ScmRights = 1, Eintr = 4, CloseOnExec = 0x40000000;
    private const int MaxDescriptors = 16, ControlSize = 128;

    /// <summary>struct msghdr of Linux on 64-bit hosts.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct Header
    {
        public void* Name;
        public uint NameLength;
        public IoVector* Vectors;
        public nuint VectorCount;
        public void* Control;
        public nuint ControlLength;
        public int Flags;
    }

    /// <summary>Waits for bytes; 0 at the end, less when it fails.</summary>
    /// <param name="fd">The socket.</param>
    /// <param name="into">Where the bytes go.</param>
    /// <param name="received">Told of each descriptor, which is the caller's from then on.</param>
    public static int Receive(int fd, Span<byte> into, Action<int> received)
    {
        var control = stackalloc byte[ControlSize];
        fixed (byte* p = into)
        {
            var vector = new IoVector { Base = p, Length = (nuint)into.Length };
            while (true)
            {
                var header = new Header { Vectors = &vector, VectorCount = 1, Control = control, ControlLength = ControlSize };
                var n = (int)recvmsg(fd, &header, CloseOnExec);
                if (n < 0 && Marshal.GetLastPInvokeError() == Eintr)
                    continue;
                if (n >= 0)
                    Deliver(control, (int)header.ControlLength, received);
                return n;
            }
        }
    }

    private static void Deliver(byte* control, int length, Action<int> received)
    {
        // struct cmsghdr: a length of 8 bytes, level and type of 4, then the data; the next one begins at a multiple of 8.
        for (var at = 0; at + 16 <= length;)
        {
            var size = (int)*(ulong*)(control + at);
            if (size < 16 || size > length - at)
                return;
            if (*(int*)(control + at + 8) == SolSocket && *(int*)(control + at + 12) == ScmRights)
            {
                for (var i = 0; i < Math.Min((size - 16) / 4, MaxDescriptors); i++)
                    received(((int*)(control + at + 16))[i]);
            }

            at += (size + 7) & ~7;
        }
    }

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint recvmsg(int fd, Header* message, int flags);
}
