using System.Runtime.InteropServices;

namespace Dromaius.Core.Memory;

/// <summary>Pages from the host, zeroed, given back whole.</summary>
public static unsafe partial class NativeMemory
{
    private const int ProtRead = 1, ProtWrite = 2, ProtExec = 4;
    private const int MapShared = 1, MapPrivate = 2, MapAnonymousFlag = 0x20, MapNoReserve = 0x4000;

    /// <summary>Maps zeroed private memory, or returns null.</summary>
    public static void* MapAnonymous(nuint size)
    {
        var p = mmap(null, size, ProtRead | ProtWrite, MapPrivate | MapAnonymousFlag | MapNoReserve, -1, 0);
        return p == (void*)-1 ? null : p;
    }

    public static void Unmap(void* address, nuint size) => _ = munmap(address, size);

    /// <summary>Maps the same memory twice: once writable, once executable. Returns false when the host refuses.</summary>
    public static bool TryMapDual(string name, nuint size, out byte* writable, out byte* executable)
    {
        writable = executable = null;
        var fd = memfd_create(name, 1);
        if (fd < 0)
            return false;
        try
        {
            if (ftruncate(fd, (nint)size) != 0)
                return false;
            writable = (byte*)mmap(null, size, ProtRead | ProtWrite, MapShared, fd, 0);
            executable = (byte*)mmap(null, size, ProtRead | ProtExec, MapShared, fd, 0);
            return writable != (byte*)-1 && executable != (byte*)-1;
        }
        finally
        {
            _ = close(fd);
        }
    }

    [LibraryImport("libc", SetLastError = true)]
    private static partial void* mmap(void* addr, nuint length, int prot, int flags, int fd, nint offset);

    [LibraryImport("libc")]
    private static partial int munmap(void* addr, nuint length);

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int memfd_create(string name, uint flags);

    [LibraryImport("libc")]
    private static partial int ftruncate(int fd, nint length);

    [LibraryImport("libc")]
    private static partial int close(int fd);
}
