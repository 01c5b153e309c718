namespace Dromaius.Bench;

/// <summary>The groups of the table, in its order.</summary>
internal enum Group
{
    Integer,
    Control,
    Memory,
    FloatingPoint,
    System,
    Programs,
    Disks,
}

/// <summary>The guests that kernels run in.</summary>
internal enum GuestKind
{
    /// <summary>One processor, with the static programs.</summary>
    Kernels,

    /// <summary>Two processors, with the static programs.</summary>
    Threads,

    /// <summary>One processor, with Debian's programs.</summary>
    Programs,

    /// <summary>One processor and two virtio disks, a raw image and a qcow2 one.</summary>
    Disks,
}

/// <summary>One line of the table: a program that measures itself.</summary>
internal sealed record Kernel(string Name, Group Group, string What, GuestKind Guest = GuestKind.Kernels)
{
    /// <summary>The program that measures the same work by one thread and by two.</summary>
    public const string Scaling = "scaling", ScalingOne = "scaling_one", ScalingTwo = "scaling_two";

    public const string Convert = "convert";

    public static readonly Kernel[] All =
    [
        new("integer", Group.Integer, "records, strings, small functions"),
        new("bits", Group.Integer, "CRC-32, counting and moving bits"),
        new("sha256", Group.Integer, "SHA-256 in C"),
        new("lz", Group.Integer, "LZ77 compression and decompression"),
        new("tree", Group.Integer, "treap, heap, merge sort of a list"),
        new("branches", Group.Control, "quicksort, Collatz"),
        new("calls", Group.Control, "recursion, function pointers"),
        new("bytecode", Group.Control, "interpreter, indirect jumps"),
        new("chase", Group.Memory, "dependent loads"),
        new("memory", Group.Memory, "memcpy, memset, strlen of 1 MiB, byte loop"),
        new("strings", Group.Memory, "the C library's SIMD string functions"),
        new("nbody", Group.FloatingPoint, "double, square roots"),
        new("matrix", Group.FloatingPoint, "double, matrix product"),
        new("mandelbrot", Group.FloatingPoint, "double, branches"),
        new("simd_float", Group.FloatingPoint, "vectorised float, SSE2"),
        new("simd_float_avx2", Group.FloatingPoint, "vectorised float, AVX2 and FMA"),
        new("simd_int", Group.FloatingPoint, "vectorised bytes and words, SSE2"),
        new("simd_int_avx2", Group.FloatingPoint, "vectorised bytes and words, AVX2"),
        new("x87", Group.FloatingPoint, "long double"),
        new("syscalls", Group.System, "getppid, pipe"),
        new("pagefaults", Group.System, "map, touch, unmap"),
        new("fork", Group.System, "fork, exit, wait"),
        new("exec", Group.System, "fork, execve, wait"),
        new("switches", Group.System, "two processes, a pipe each way"),
        new("threads", Group.System, "two threads, atomics and a mutex, `-smp 2`", GuestKind.Threads),
        new("gzip", Group.Programs, "1 MB of text, there and back", GuestKind.Programs),
        new("xz", Group.Programs, "the same, `-2`", GuestKind.Programs),
        new("bzip2", Group.Programs, "the same", GuestKind.Programs),
        new("openssl_sha256", Group.Programs, "`openssl speed`, 32 MiB", GuestKind.Programs),
        new("openssl_aes", Group.Programs, "`openssl speed`, AES-128-GCM, 128 MiB", GuestKind.Programs),
        new("openssl_chacha20", Group.Programs, "`openssl speed`, ChaCha20-Poly1305, 64 MiB", GuestKind.Programs),
        new("openssl_rsa", Group.Programs, "`openssl speed`, 50 signatures of 2048 bits", GuestKind.Programs),
        new("perl", Group.Programs, "words of 1 MB of text", GuestKind.Programs),
        new("python3", Group.Programs, "objects, regular expressions, big numbers", GuestKind.Programs),
        new("gcc", Group.Programs, "compile `-O2` and link lz.c", GuestKind.Programs),
        new("sqlite3", Group.Programs, "40000 rows, index, joins", GuestKind.Programs),
        .. Disks("raw"), .. Disks("qcow2"),
        new(Convert, Group.Disks, "`convert` of 256 MiB, raw to qcow2, on the host", GuestKind.Disks),
    ];

    /// <summary>What is measured of one disk; the guest's program prints them all.</summary>
    private static IEnumerable<Kernel> Disks(string format) =>
    [
        new(format + "_allocate", Group.Disks, $"virtio, {format}: 256 MiB written in order, 1 MiB each, nothing there before", GuestKind.Disks),
        new(format + "_write", Group.Disks, "the same again", GuestKind.Disks),
        new(format + "_read", Group.Disks, "read in order", GuestKind.Disks),
        new(format + "_write_4k", Group.Disks, "4000 blocks of 4 KiB at random, one at a time", GuestKind.Disks),
        new(format + "_read_4k", Group.Disks, "the same, read", GuestKind.Disks),
        new(format + "_write_4k_8", Group.Disks, "16000 blocks by eight threads", GuestKind.Disks),
        new(format + "_read_4k_8", Group.Disks, "the same, read", GuestKind.Disks),
    ];

    public static string Title(Group group) => group switch
    {
        Group.FloatingPoint => "floating point and SIMD",
        _ => group.ToString().ToLowerInvariant(),
    };

    /// <summary>The programs of a guest that were asked for; with no names, all.</summary>
    public static List<string> Programs(GuestKind guest, IReadOnlyCollection<string> names)
    {
        var programs = All.Where(k => k.Guest == guest).Select(static k => k.Name);
        if (guest == GuestKind.Threads)
            programs = programs.Append(Scaling);
        return [.. programs.Where(p => names.Count == 0 || names.Contains(p))];
    }
}
