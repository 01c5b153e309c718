using System.Buffers.Binary;
using Dromaius.Core.Errors;

namespace Dromaius.Boards.Pc.Loaders;

/// <summary>
/// An ELF executable's loadable segments and notes, checked against the file. Source: System V ABI, generic part, chapters 4 and 5.
/// </summary>
internal sealed class ElfImage
{
    private const int Ehdr32 = 52, Ehdr64 = 64, Phdr32 = 32, Phdr64 = 56;
    private const uint Load = 1, Note = 4;
    private const ushort Machine386 = 3, MachineX8664 = 62;

    private readonly byte[] _file;
    private readonly List<Segment> _segments = [];

    private ElfImage(byte[] file) => _file = file;

    public bool Is64 { get; private init; }
    public ulong Entry { get; private init; }

    /// <summary>Lowest physical address loaded.</summary>
    public ulong Low { get; private set; } = ulong.MaxValue;

    /// <summary>First physical address above what is loaded.</summary>
    public ulong High { get; private set; }

    public static bool IsElf(ReadOnlySpan<byte> file) => file.Length >= 20 && file[..4].SequenceEqual("\u007FELF"u8);

    /// <summary>Reads the headers; throws the one-line error for a file that is cut short or for another processor.</summary>
    public static ElfImage Parse(byte[] file, string name)
    {
        var is64 = file[4] == 2;
        if (file[4] is not (1 or 2))
            throw Bad(name, "unknown ELF class");
        if (file[5] != 1)
            throw Bad(name, "it is for a big-endian processor");
        if (file.Length < (is64 ? Ehdr64 : Ehdr32))
            throw Bad(name, "the file is truncated");
        var machine = U16(file, 18);
        if (machine is not (Machine386 or MachineX8664))
            throw Bad(name, $"it is for another architecture ({MachineName(machine)})");
        if (U16(file, 16) is not (2 or 3))
            throw Bad(name, "it is not an executable");

        var image = new ElfImage(file) { Is64 = is64, Entry = is64 ? U64(file, 24) : U32(file, 24) };
        var table = is64 ? U64(file, 32) : U32(file, 28);
        var entrySize = U16(file, is64 ? 54 : 42);
        var count = U16(file, is64 ? 56 : 44);
        if (entrySize < (is64 ? Phdr64 : Phdr32) || table > (ulong)file.Length
            || (ulong)entrySize * count > (ulong)file.Length - table)
            throw Bad(name, "the file is truncated");
        for (var i = 0; i < count; i++)
            image.AddSegment((int)table + (i * entrySize), name);
        if (image.Low == ulong.MaxValue && !image._segments.Exists(static s => s.Type == Load))
            throw Bad(name, "it has nothing to load");
        return image;
    }

    /// <summary>The memory image from <see cref="Low"/> to <see cref="High"/>.</summary>
    public byte[] Flatten(string name, ulong limit)
    {
        if (High > limit || High - Low > int.MaxValue)
            throw Bad(name, $"it needs memory up to {High:#,0} bytes, which the machine does not have".Replace(",", "", StringComparison.Ordinal));
        var memory = new byte[High - Low];
        foreach (var s in _segments)
        {
            if (s.Type == Load)
                _file.AsSpan((int)s.Offset, (int)s.FileSize).CopyTo(memory.AsSpan((int)(s.Physical - Low)));
        }

        return memory;
    }

    /// <summary>The entry point as a physical address.</summary>
    public ulong PhysicalEntry
    {
        get
        {
            foreach (var s in _segments)
            {
                if (s.Type == Load && Entry >= s.Physical && Entry - s.Physical < s.MemorySize)
                    return Entry;
            }

            foreach (var s in _segments)
            {
                if (s.Type == Load && Entry >= s.Virtual && Entry - s.Virtual < s.MemorySize)
                    return Entry - s.Virtual + s.Physical;
            }

            return Entry;
        }
    }

    /// <summary>The contents of a note, or null.</summary>
    public byte[]? FindNote(string owner, uint type)
    {
        foreach (var s in _segments)
        {
            if (s.Type != Note)
                continue;
            var notes = _file.AsSpan((int)s.Offset, (int)s.FileSize);
            while (notes.Length >= 12)
            {
                var nameSize = BinaryPrimitives.ReadUInt32LittleEndian(notes);
                var dataSize = BinaryPrimitives.ReadUInt32LittleEndian(notes[4..]);
                var kind = BinaryPrimitives.ReadUInt32LittleEndian(notes[8..]);
                var nameSpace = ((ulong)nameSize + 3) & ~3UL;
                var dataSpace = ((ulong)dataSize + 3) & ~3UL;
                if (nameSpace + dataSize > (ulong)notes.Length - 12)
                    break;
                var name = System.Text.Encoding.ASCII.GetString(notes.Slice(12, (int)nameSize)).TrimEnd('\0');
                if (name == owner && kind == type)
                    return notes.Slice(12 + (int)nameSpace, (int)dataSize).ToArray();
                notes = notes[(int)Math.Min(12 + nameSpace + dataSpace, (ulong)notes.Length)..];
            }
        }

        return null;
    }

    private void AddSegment(int at, string name)
    {
        var s = Is64
            ? new Segment(U32(_file, at), U64(_file, at + 8), U64(_file, at + 16), U64(_file, at + 24), U64(_file, at + 32),
                U64(_file, at + 40))
            : new Segment(U32(_file, at), U32(_file, at + 4), U32(_file, at + 8), U32(_file, at + 12), U32(_file, at + 16),
                U32(_file, at + 20));
        if (s.Type is not (Load or Note))
            return;
        if (s.Offset > (ulong)_file.Length || s.FileSize > (ulong)_file.Length - s.Offset)
            throw Bad(name, "the file is truncated");
        _segments.Add(s);
        if (s.Type != Load || s.MemorySize == 0)
            return;
        if (s.FileSize > s.MemorySize || s.Physical > ulong.MaxValue - s.MemorySize)
            throw Bad(name, "its program headers make no sense");
        Low = Math.Min(Low, s.Physical);
        High = Math.Max(High, s.Physical + s.MemorySize);
    }

    internal static UserErrorException Bad(string name, string why) => new($"could not load kernel '{name}': {why}");

    internal static string MachineName(int machine) => machine switch
    {
        2 or 18 or 43 => "SPARC",
        4 => "m68k",
        8 or 10 => "MIPS",
        15 => "PA-RISC",
        20 => "PowerPC",
        21 => "PowerPC64",
        22 => "s390",
        40 => "Arm",
        42 => "SuperH",
        50 => "IA-64",
        183 => "AArch64",
        243 => "RISC-V",
        258 => "LoongArch",
        _ => $"ELF machine {machine}",
    };

    private static ushort U16(byte[] file, int at) => BinaryPrimitives.ReadUInt16LittleEndian(file.AsSpan(at));

    private static uint U32(byte[] file, int at) => BinaryPrimitives.ReadUInt32LittleEndian(file.AsSpan(at));

    private static ulong U64(byte[] file, int at) => BinaryPrimitives.ReadUInt64LittleEndian(file.AsSpan(at));

    private readonly record struct Segment(uint Type, ulong Offset, ulong Virtual, ulong Physical, ulong FileSize, ulong MemorySize);
}
