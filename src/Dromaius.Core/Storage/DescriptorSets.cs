using System.Runtime.InteropServices;

namespace Dromaius.Core.Storage;

/// <summary>
/// Descriptors that clients handed over, in numbered sets: a file <c>/dev/fdset/N</c> is one of set N. Descriptors are the process's, so
/// the sets are too.
/// </summary>
public static partial class DescriptorSets
{
    /// <summary>A descriptor with the client's note on it.</summary>
    public sealed record Entry(int Fd, string? Opaque);

    private const int DuplicateCloseOnExec = 1030, GetFlags = 3, SetFlags = 4;
    private const int AccessMode = 3, ReadWrite = 2, Truncate = 0x200, Append = 0x400, NonBlocking = 0x800;
    private static readonly int Changeable = Append | NonBlocking | HostDisk.ODirect;
    private const string Folder = "/dev/fdset/";
    private static readonly Lock Guard = new();
    private static readonly SortedDictionary<long, List<Entry>> Sets = [];

    public static IReadOnlyList<(long Id, IReadOnlyList<Entry> Entries)> All
    {
        get
        {
            lock (Guard)
                return [.. Sets.Select(static s => (s.Key, (IReadOnlyList<Entry>)[.. s.Value]))];
        }
    }

    /// <summary>Puts a descriptor into a set, or into a new one; gives the set's number.</summary>
    public static long Add(long? set, int fd, string? opaque)
    {
        lock (Guard)
        {
            long id = 0;
            if (set is { } wanted)
                id = wanted;
            else
            {
                while (Sets.ContainsKey(id))
                    id++;
            }

            if (!Sets.TryGetValue(id, out var entries))
                Sets[id] = entries = [];
            entries.Add(new Entry(fd, opaque));
            return id;
        }
    }

    /// <summary>Closes a descriptor of a set, or all of it; false when it is not there.</summary>
    public static bool Remove(long set, long? fd)
    {
        lock (Guard)
        {
            if (!Sets.TryGetValue(set, out var entries))
                return false;
            var gone = entries.Where(e => fd == null || e.Fd == fd).ToList();
            if (gone.Count == 0)
                return false;
            foreach (var entry in gone)
            {
                _ = entries.Remove(entry);
                _ = close(entry.Fd);
            }

            if (entries.Count == 0)
                _ = Sets.Remove(set);
            return true;
        }
    }

    /// <summary>
    /// A copy of the descriptor that a name means, opened as open(2)'s flags say; false for other names, or when the set has none that
    /// may do this. Whether it appends, blocks and goes round the host's cache changes for the client's own descriptor too.
    /// </summary>
    public static bool TryOpen(string path, int flags, out int fd)
    {
        fd = -1;
        if (!path.StartsWith(Folder, StringComparison.Ordinal) || !long.TryParse(path.AsSpan(Folder.Length), out var id))
            return false;
        lock (Guard)
        {
            foreach (var entry in Sets.GetValueOrDefault(id) ?? [])
            {
                var has = fcntl(entry.Fd, GetFlags, 0);
                if ((has & AccessMode) != ReadWrite && (has & AccessMode) != (flags & AccessMode))
                    continue;
                fd = fcntl(entry.Fd, DuplicateCloseOnExec, 3);
                if (fd < 0)
                    return false;
                _ = fcntl(fd, SetFlags, (has & ~Changeable) | (flags & Changeable));
                if ((flags & Truncate) != 0)
                    _ = ftruncate(fd, 0);
                return true;
            }
        }

        return false;
    }

    /// <summary>A second descriptor of the same file; false when there is no such descriptor.</summary>
    public static bool TryDuplicate(int fd, out int copy)
    {
        copy = fcntl(fd, DuplicateCloseOnExec, 3);
        return copy >= 0;
    }

    public static void Close(int fd) => _ = close(fd);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int fcntl(int fd, int command, nint argument);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int ftruncate(int fd, long length);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int close(int fd);
}
