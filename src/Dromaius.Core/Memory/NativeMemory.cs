using System.Runtime.InteropServices;

namespace Dromaius.Core.Memory;

/// <summary>Pages from the host, zeroed, given back whole.</summary>
public static unsafe partial class NativeMemory
{
    private const int ProtRead = 1, ProtWrite = 2, ProtExec = 4;
    private const int MapShared = 1, MapPrivate = 2, MapAnonymousFlag = 0x20, MapNoReserve = 0x4000, MayMove = 1, DontNeed = 4, HugePages = 14;
    private const nuint HugePage = 2 << 20, PageMask = 0xFFF;

    /// <summary>Maps zeroed private memory, or returns null.</summary>
    public static void* MapAnonymous(nuint size)
    {
        var p = mmap(null, size, ProtRead | ProtWrite, MapPrivate | MapAnonymousFlag | MapNoReserve, -1, 0);
        return p == (void*)-1 ? null : p;
    }

    /// <summary>
    /// Maps zeroed private memory that the host may make of huge pages: a guest's RAM, which is touched everywhere. At an address that
    /// fits them. Or returns null.
    /// </summary>
    public static void* MapLarge(nuint size)
    {
        if (size < HugePage)
            return MapAnonymous(size);
        size = (size + PageMask) & ~PageMask;
        var p = (byte*)MapAnonymous(size + HugePage);
        if (p == null)
            return null;
        var head = HugePage - ((nuint)p & (HugePage - 1));
        Unmap(p, head);
        p += head;
        if (head < HugePage)
            Unmap(p + size, HugePage - head);
        _ = madvise(p, size, HugePages);
        return p;
    }

    public static void Unmap(void* address, nuint size) => _ = munmap(address, size);

    /// <summary>Maps the same memory twice: once writable, once executable. Returns false when the host refuses.</summary>
    /// <remarks>Shared anonymous memory, whose name in the process's maps lets perf look for a map of symbols.</remarks>
    public static bool TryMapDual(nuint size, out byte* writable, out byte* executable)
    {
        executable = null;
        writable = (byte*)mmap(null, size, ProtRead | ProtWrite, MapShared | MapAnonymousFlag | MapNoReserve, -1, 0);
        if (writable == (byte*)-1)
            return false;
        // With an old length of 0 a shared mapping is not moved but made a second time.
        executable = (byte*)mremap(writable, 0, size, MayMove);
        if (executable != (byte*)-1 && mprotect(executable, size, ProtRead | ProtExec) == 0)
            return true;
        if (executable != (byte*)-1)
            _ = munmap(executable, size);
        _ = munmap(writable, size);
        return false;
    }

    /// <summary>Gives back what the host keeps for one of the two mappings of <see cref="TryMapDual"/>; the contents stay.</summary>
    public static void Unload(void* address, nuint size) => _ = madvise(address, size, DontNeed);

    [LibraryImport("libc", SetLastError = true)]
    private static partial void* mmap(void* addr, nuint length, int prot, int flags, int fd, nint offset);

    [LibraryImport("libc")]
    private static partial int munmap(void* addr, nuint length);

    [LibraryImport("libc")]
    private static partial int madvise(void* addr, nuint length, int advice);

    [LibraryImport("libc")]
    private static partial void* mremap(void* address, nuint oldSize, nuint newSize, int flags);

    [LibraryImport("libc")]
    private static partial int mprotect(void* address, nuint size, int protection);
}
