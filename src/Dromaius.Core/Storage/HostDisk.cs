using System.Buffers;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Dromaius.Core.Storage;

/// <summary>How to open a host file.</summary>
[Flags]
public enum HostDiskFlags
{
    None = 0,
    Write = 1,

    /// <summary>Past the host's page cache (O_DIRECT).</summary>
    Direct = 2,
    Create = 4,
    Truncate = 8,

    /// <summary>Fails if the file is there (with <see cref="Create"/>).</summary>
    Exclusive = 16,
}

/// <summary>
/// A regular file or block device of the host, by offset: what <see cref="RandomAccess"/> does, and holes, preallocation, direct
/// I/O and locks besides. Calls return zero or more for success, or the negated error number. Safe for several threads.
/// </summary>
public sealed unsafe partial class HostDisk : IDisposable
{
    private const int OReadWrite = 2, OCreate = 0x40, OExclusive = 0x80, OTruncate = 0x200, OCloseOnExec = 0x80000;
    private const int Eintr = 4;
    private const int DirectAlignment = 4096;
    private const int BounceSize = 1 << 20;

    /// <summary>Pieces in one call to the host, which takes 1,024.</summary>
    private const int MaxVectors = 256;

    // O_DIRECT is one of the few flags whose number depends on the processor.
    internal static readonly int ODirect = RuntimeInformation.ProcessArchitecture is Architecture.Arm64 or Architecture.Arm ? 0x10000 : 0x4000;

    private readonly SafeFileHandle _handle;
    private readonly Lock _tails = new();

    /// <summary>Held for reading by what may make a file grow that is open past the host's cache, and for writing to cut its end off.</summary>
    private readonly ReaderWriterLockSlim _end = new();

    private HostDisk(SafeFileHandle handle, string path, bool direct)
    {
        _handle = handle;
        Path = path;
        IsDirect = direct;
    }

    public string Path { get; }
    public bool IsDirect { get; }

    /// <summary>Opens a file.</summary>
    /// <param name="path">The file.</param>
    /// <param name="flags">How.</param>
    /// <param name="error">The error number when the result is null.</param>
    public static HostDisk? Open(string path, HostDiskFlags flags, out int error)
    {
        var o = OCloseOnExec;
        if ((flags & HostDiskFlags.Write) != 0)
            o |= OReadWrite;
        if ((flags & HostDiskFlags.Direct) != 0)
            o |= ODirect;
        if ((flags & HostDiskFlags.Create) != 0)
            o |= OCreate;
        if ((flags & HostDiskFlags.Truncate) != 0)
            o |= OTruncate;
        if ((flags & HostDiskFlags.Exclusive) != 0)
            o |= OExclusive;
        if (DescriptorSets.TryOpen(path, o, out var fd))
        {
            error = 0;
            return new HostDisk(new SafeFileHandle(fd, true), path, (flags & HostDiskFlags.Direct) != 0);
        }

        do
            fd = open(path, o, 0x1A4);
        while (fd < 0 && Marshal.GetLastPInvokeError() == Eintr);
        error = fd < 0 ? Marshal.GetLastPInvokeError() : 0;
        return fd < 0 ? null : new HostDisk(new SafeFileHandle(fd, true), path, (flags & HostDiskFlags.Direct) != 0);
    }

    /// <summary>The words of strerror(3).</summary>
    public static string Explain(int error) => Marshal.GetPInvokeErrorMessage(error);

    /// <summary>Reads; short only at the end of the file.</summary>
    public long Read(long offset, Span<byte> into)
    {
        fixed (byte* p = into)
        {
            return IsDirect && !IsAligned(offset, p, into.Length)
                ? ReadBounced(offset, p, into.Length)
                : ReadRaw(offset, p, into.Length);
        }
    }

    /// <summary>Writes everything.</summary>
    public long Write(long offset, ReadOnlySpan<byte> from)
    {
        fixed (byte* p = from)
        {
            if (!IsDirect)
                return WriteRaw(offset, p, from.Length);
            if (!IsAligned(offset, p, from.Length))
                return WriteBounced(offset, p, from.Length);
            _end.EnterReadLock();
            try
            {
                return WriteRaw(offset, p, from.Length);
            }
            finally
            {
                _end.ExitReadLock();
            }
        }
    }

    /// <summary>Reads into pieces, one behind the other. May come short, and not only at the end of the file.</summary>
    public long Read(long offset, IReadOnlyList<Memory<byte>> into) => Transfer(offset, into, isWrite: false);

    /// <summary>Writes pieces, one behind the other. May come short.</summary>
    public long Write(long offset, IReadOnlyList<Memory<byte>> from) => Transfer(offset, from, isWrite: true);

    private long Transfer(long offset, IReadOnlyList<Memory<byte>> pieces, bool isWrite)
    {
        var vectors = stackalloc IoVector[MaxVectors];
        var pins = ArrayPool<MemoryHandle>.Shared.Rent(MaxVectors);
        var done = 0L;
        for (var first = 0; first < pieces.Count; first += MaxVectors)
        {
            var (count, length) = (Math.Min(MaxVectors, pieces.Count - first), 0L);
            for (var i = 0; i < count; i++)
            {
                var piece = pieces[first + i];
                pins[i] = piece.Pin();
                vectors[i] = new IoVector { Base = pins[i].Pointer, Length = (nuint)piece.Length };
                length += piece.Length;
            }

            nint n;
            do
                n = isWrite ? pwritev(_handle, vectors, count, offset + done) : preadv(_handle, vectors, count, offset + done);
            while (n < 0 && Marshal.GetLastPInvokeError() == Eintr);
            var error = Marshal.GetLastPInvokeError();
            for (var i = 0; i < count; i++)
                pins[i].Dispose();
            if (n < 0 && done == 0)
                done = -error;
            else
                done += Math.Max(n, 0);
            if (n != length)
                break;
        }

        ArrayPool<MemoryHandle>.Shared.Return(pins);
        return done;
    }

    /// <summary>Data and the size are on the medium when it returns.</summary>
    public int Sync() => Retry(this, static d => fdatasync(d._handle));

    /// <summary>The size, of block devices too.</summary>
    public long Length()
    {
        var end = lseek(_handle, 0, 2);
        return end < 0 ? -Marshal.GetLastPInvokeError() : end;
    }

    /// <summary>Bytes that the host has set aside (st_blocks), or -1.</summary>
    public long AllocatedBytes()
    {
        var buffer = stackalloc byte[256];
        return Stat(buffer) ? *(long*)(buffer + 48) * 512 : -1;
    }

    public bool IsBlockDevice => FileType == 0x6000;
    public bool IsDirectory => FileType == 0x4000;

    private int FileType
    {
        get
        {
            var buffer = stackalloc byte[256];
            return Stat(buffer) ? *(ushort*)(buffer + 28) & 0xF000 : 0;
        }
    }

    public int Truncate(long length)
    {
        _end.EnterWriteLock();
        try
        {
            return ftruncate(_handle, length) == 0 ? 0 : -Marshal.GetLastPInvokeError();
        }
        finally
        {
            _end.ExitWriteLock();
        }
    }

    /// <summary>Sets space aside, and grows the file to hold it.</summary>
    public int Preallocate(long offset, long length) => Fallocate(0, offset, length);

    /// <summary>Gives the space of a range back; it reads as zeroes.</summary>
    public int PunchHole(long offset, long length) => Fallocate(3, offset, length);

    /// <summary>Makes a range read as zeroes and keeps its space.</summary>
    public int ZeroRange(long offset, long length) => Fallocate(0x11, offset, length);

    /// <summary>The next byte at or after an offset that is data, or the negated error (ENXIO: no more data).</summary>
    public long SeekData(long offset) => lseek(_handle, offset, 3) is var at && at < 0 ? -Marshal.GetLastPInvokeError() : at;

    /// <summary>The next byte at or after an offset that is in a hole; the end of the file is one.</summary>
    public long SeekHole(long offset) => lseek(_handle, offset, 4) is var at && at < 0 ? -Marshal.GetLastPInvokeError() : at;

    /// <summary>Takes, or gives back, a shared lock of this open file (not of the process) on one byte.</summary>
    public bool SetByteLock(long at, bool locked)
    {
        var request = new FileLock { Type = (short)(locked ? 0 : 2), Start = at, Length = 1 };
        return fcntl(_handle, 37, &request) == 0;
    }

    /// <summary>Somebody else holds a lock on this byte.</summary>
    public bool IsByteLocked(long at)
    {
        var request = new FileLock { Type = 1, Start = at, Length = 1 };
        return fcntl(_handle, 36, &request) == 0 && request.Type != 2;
    }

    /// <summary>Copies inside the host, sharing storage where the file system can. May copy less.</summary>
    public long CopyTo(HostDisk target, long offset, long targetOffset, long length)
    {
        target._end.EnterReadLock();
        try
        {
            var n = copy_file_range(_handle, &offset, target._handle, &targetOffset, (nuint)length, 0);
            return n < 0 ? -Marshal.GetLastPInvokeError() : n;
        }
        finally
        {
            target._end.ExitReadLock();
        }
    }

    public void Dispose()
    {
        _handle.Dispose();
        _end.Dispose();
    }

    private static bool IsAligned(long offset, byte* p, int length) =>
        (((ulong)offset | (uint)length | (nuint)p) & (DirectAlignment - 1)) == 0;

    private int Fallocate(int mode, long offset, long length)
    {
        _end.EnterReadLock();
        try
        {
            while (fallocate(_handle, mode, offset, length) != 0)
            {
                var error = Marshal.GetLastPInvokeError();
                if (error != Eintr)
                    return -error;
            }

            return 0;
        }
        finally
        {
            _end.ExitReadLock();
        }
    }

    private static int Retry(HostDisk disk, Func<HostDisk, int> call)
    {
        while (call(disk) != 0)
        {
            var error = Marshal.GetLastPInvokeError();
            if (error != Eintr)
                return -error;
        }

        return 0;
    }

    private long ReadRaw(long offset, byte* p, long length)
    {
        var done = 0L;
        while (done < length)
        {
            var n = pread(_handle, p + done, (nuint)(length - done), offset + done);
            if (n == 0)
                break;
            if (n > 0)
                done += n;
            else if (Marshal.GetLastPInvokeError() is var error && error != Eintr)
                return -error;
        }

        return done;
    }

    private long WriteRaw(long offset, byte* p, long length)
    {
        var done = 0L;
        while (done < length)
        {
            var n = pwrite(_handle, p + done, (nuint)(length - done), offset + done);
            if (n >= 0)
                done += n;
            else if (Marshal.GetLastPInvokeError() is var error && error != Eintr)
                return -error;
        }

        return done;
    }

    private long ReadBounced(long offset, byte* p, long length)
    {
        var bounce = (byte*)System.Runtime.InteropServices.NativeMemory.AlignedAlloc(BounceSize, DirectAlignment);
        try
        {
            var done = 0L;
            while (done < length)
            {
                var start = (offset + done) & ~(DirectAlignment - 1L);
                var skip = offset + done - start;
                var span = Math.Min(BounceSize, (skip + length - done + DirectAlignment - 1) & ~(DirectAlignment - 1L));
                var n = ReadRaw(start, bounce, span);
                if (n < 0)
                    return n;
                var take = Math.Min(n - skip, length - done);
                if (take <= 0)
                    break;
                Buffer.MemoryCopy(bounce + skip, p + done, take, take);
                done += take;
            }

            return done;
        }
        finally
        {
            System.Runtime.InteropServices.NativeMemory.AlignedFree(bounce);
        }
    }

    private long WriteBounced(long offset, byte* p, long length)
    {
        var bounce = (byte*)System.Runtime.InteropServices.NativeMemory.AlignedAlloc(BounceSize, DirectAlignment);
        try
        {
            var done = 0L;
            while (done < length)
            {
                var start = (offset + done) & ~(DirectAlignment - 1L);
                var skip = offset + done - start;
                var take = Math.Min(BounceSize - skip, length - done);
                var span = (skip + take + DirectAlignment - 1) & ~(DirectAlignment - 1L);
                // Neighbours in the same block would undo each other's bytes.
                lock (_tails)
                {
                    var error = WriteBlocks(start, bounce, span, new ReadOnlySpan<byte>(p + done, (int)take), (int)skip);
                    if (error < 0)
                        return error;
                }

                done += take;
            }

            return done;
        }
        finally
        {
            System.Runtime.InteropServices.NativeMemory.AlignedFree(bounce);
        }
    }

    /// <summary>Puts bytes into whole blocks of the file. Blocks behind its end are cut off again, while nobody else can make it grow.</summary>
    private long WriteBlocks(long start, byte* bounce, long span, ReadOnlySpan<byte> from, int skip)
    {
        var grows = start + span > Length();
        if (grows)
            _end.EnterWriteLock();
        try
        {
            var end = grows ? Length() : 0;
            if (from.Length != span)
            {
                var n = ReadRaw(start, bounce, span);
                if (n < 0)
                    return n;
                new Span<byte>(bounce + n, (int)(span - n)).Clear();
            }

            from.CopyTo(new Span<byte>(bounce + skip, from.Length));
            var written = WriteRaw(start, bounce, span);
            if (written >= 0 && grows && start + span > end && ftruncate(_handle, Math.Max(end, start + skip + from.Length)) != 0)
                return -Marshal.GetLastPInvokeError();
            return written;
        }
        finally
        {
            if (grows)
                _end.ExitWriteLock();
        }
    }

    // statx has the same layout on every processor.
    private bool Stat(byte* buffer) => statx(_handle, "", 0x1000, 0x7FF, buffer) == 0;

    [StructLayout(LayoutKind.Sequential)]
    private struct FileLock
    {
        public short Type;
        public short Whence;
        public long Start;
        public long Length;
        public int Pid;
    }

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int open(string path, int flags, int mode);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint preadv(SafeFileHandle fd, IoVector* vectors, int count, long offset);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint pwritev(SafeFileHandle fd, IoVector* vectors, int count, long offset);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint pread(SafeFileHandle fd, byte* buffer, nuint count, long offset);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint pwrite(SafeFileHandle fd, byte* buffer, nuint count, long offset);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int fdatasync(SafeFileHandle fd);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int ftruncate(SafeFileHandle fd, long length);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int fallocate(SafeFileHandle fd, int mode, long offset, long length);

    [LibraryImport("libc", SetLastError = true)]
    private static partial long lseek(SafeFileHandle fd, long offset, int whence);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int fcntl(SafeFileHandle fd, int command, FileLock* argument);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint copy_file_range(SafeFileHandle from, long* fromOffset, SafeFileHandle to, long* toOffset, nuint length, uint flags);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int statx(SafeFileHandle fd, string path, int flags, uint mask, byte* buffer);
}
