using System.Buffers.Binary;
using System.Text;
using Dromaius.Control.Hmp;
using Dromaius.Core.Memory;

namespace Dromaius.Control;

/// <summary>
/// A guest's memory and registers as an ELF core file, which gdb, crash and readelf read. Sources: System V ABI "Object files" and its
/// AMD64 supplement; the notes are Linux's <c>elf_prstatus</c> and, by the name QEMU, the system registers.
/// </summary>
internal sealed class GuestDump
{
    private const ushort CoreType = 4, MachineI386 = 3, MachineX64 = 62, NoCount = 0xFFFF;
    private const uint Load = 1, Note = 4, ProcessStatus = 1;
    private const ulong LongModeActive = 1 << 10;
    private const int Piece = 1 << 20;

    /// <summary>General registers in the order of user_regs_struct.</summary>
    private static readonly string[] Registers64 =
    [
        "r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi", "rdi", "rax", "rip", "cs", "rflags", "rsp", "ss",
        "fs.base", "gs.base", "ds", "es", "fs", "gs",
    ];

    private static readonly string[] Registers32 =
        ["ebx", "ecx", "edx", "esi", "edi", "ebp", "eax", "ds", "es", "fs", "gs", "eax", "eip", "cs", "eflags", "esp", "ss"];

    private static readonly string[] SystemRegisters =
    [
        "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rsp", "rbp", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rip", "rflags",
    ];

    private readonly IMachineControl _machine;
    private readonly List<(ulong Physical, ulong Virtual, ulong Length)> _loads = [];
    private readonly bool _is64;

    /// <param name="machine">Whose memory; it is stopped.</param>
    /// <param name="begin">First physical address.</param>
    /// <param name="length">How much of it; null for everything.</param>
    /// <param name="paging">Describes the memory by the virtual addresses that processors use.</param>
    public GuestDump(IMachineControl machine, ulong begin, ulong? length, bool paging)
    {
        _machine = machine;
        foreach (ref readonly var range in machine.Memory.View.Ranges)
        {
            if (range.Region.Kind is not (RegionKind.Ram or RegionKind.Rom) || range.Region.Ram == null)
                continue;
            var first = Math.Max(range.Start, begin);
            var last = length is { } n ? Math.Min(range.Last, begin + (n - 1)) : range.Last;
            if (first <= last)
                AddLoad(first, first, last - first + 1);
        }

        if (paging)
            AddMappings();
        _is64 = (Register(0, "efer") & LongModeActive) != 0 || (_loads.Count > 0 && _loads[^1].Physical >> 32 != 0);
        Total = _loads.Sum(static l => (long)l.Length);
    }

    /// <summary>Bytes of memory that the file holds.</summary>
    public long Total { get; }

    /// <summary>Nothing is there between the addresses.</summary>
    public bool IsEmpty => _loads.Count == 0;

    public void Write(Stream output, Action<long> progress)
    {
        var notes = Notes();
        var headerSize = _is64 ? 64 : 52;
        var programSize = _is64 ? 56 : 32;
        var count = _loads.Count + 1;
        var notesAt = (ulong)(headerSize + (programSize * count) + (count >= NoCount ? SectionSize : 0));
        output.Write(Header(headerSize, programSize, count));
        output.Write(Program(Note, notesAt, 0, 0, (ulong)notes.Length));
        var at = notesAt + (ulong)notes.Length;
        foreach (var (physical, address, length) in _loads)
        {
            output.Write(Program(Load, at, physical, address, length));
            at += length;
        }

        if (count >= NoCount)
            output.Write(FirstSection(count));
        output.Write(notes);
        var buffer = new byte[Piece];
        var done = 0L;
        foreach (var (physical, _, length) in _loads)
        {
            for (var offset = 0UL; offset < length;)
            {
                var part = buffer.AsSpan(0, (int)Math.Min(length - offset, Piece));
                _ = _machine.Memory.Read(physical + offset, part);
                output.Write(part);
                offset += (ulong)part.Length;
                done += part.Length;
                progress(done);
            }
        }
    }

    private int SectionSize => _is64 ? 64 : 40;

    private ulong Register(int cpu, string name) => _machine.TryGetRegister(cpu, name, out var value) ? value : 0;

    private void AddLoad(ulong physical, ulong address, ulong length)
    {
        if (_loads.Count > 0 && _loads[^1] is var last && last.Physical + last.Length == physical && last.Virtual + last.Length == address)
            _loads[^1] = last with { Length = last.Length + length };
        else
            _loads.Add((physical, address, length));
    }

    /// <summary>Replaces what processors map by what they map it to; the rest stays by its physical address.</summary>
    private void AddMappings()
    {
        var plain = _loads.ToList();
        _loads.Clear();
        var seen = new HashSet<(ulong, ulong)>();
        foreach (var cpu in _machine.Cpus)
        {
            foreach (var (address, size, physical) in new PageTables(_machine, cpu.Index).Mappings())
            {
                if (!seen.Add((address, physical)))
                    continue;
                foreach (var (start, _, length) in plain)
                {
                    var first = Math.Max(physical, start);
                    var end = Math.Min(physical + size, start + length);
                    if (first < end)
                        AddLoad(first, address + (first - physical), end - first);
                }
            }
        }

        foreach (var (physical, _, length) in plain)
            _loads.Add((physical, 0, length));
    }

    private byte[] Header(int headerSize, int programSize, int count)
    {
        var h = new byte[headerSize];
        "\u007FELF"u8.CopyTo(h);
        h[4] = (byte)(_is64 ? 2 : 1);
        h[5] = h[6] = 1;
        U16(h, 16, CoreType);
        U16(h, 18, _is64 ? MachineX64 : MachineI386);
        U32(h, 20, 1);
        var tail = _is64 ? 52 : 40;
        Word(h, _is64 ? 32 : 28, (ulong)headerSize);
        // More program headers than the field holds are counted in the first section.
        if (count >= NoCount)
        {
            Word(h, _is64 ? 40 : 32, (ulong)(headerSize + (programSize * count)));
            U16(h, tail + 6, (ushort)SectionSize);
            U16(h, tail + 8, 1);
        }

        U16(h, tail, (ushort)headerSize);
        U16(h, tail + 2, (ushort)programSize);
        U16(h, tail + 4, (ushort)Math.Min(count, NoCount));
        return h;
    }

    private byte[] FirstSection(int count)
    {
        var s = new byte[SectionSize];
        U32(s, _is64 ? 44 : 28, (uint)count);
        return s;
    }

    private byte[] Program(uint type, ulong offset, ulong physical, ulong address, ulong length)
    {
        var p = new byte[_is64 ? 56 : 32];
        U32(p, 0, type);
        var at = _is64 ? 8 : 4;
        foreach (var value in (ReadOnlySpan<ulong>)[offset, address == 0 ? physical : address, physical, length, length])
        {
            Word(p, at, value);
            at += _is64 ? 8 : 4;
        }

        return p;
    }

    private byte[] Notes()
    {
        using var stream = new MemoryStream();
        foreach (var cpu in _machine.Cpus)
            AddNote(stream, "CORE", ProcessStatus, Status(cpu.Index));
        foreach (var cpu in _machine.Cpus)
            AddNote(stream, "QEMU", 0, SystemState(cpu.Index));
        return stream.ToArray();
    }

    private static void AddNote(MemoryStream stream, string name, uint type, byte[] content)
    {
        var head = new byte[12 + 8];
        U32(head, 0, (uint)name.Length + 1);
        U32(head, 4, (uint)content.Length);
        U32(head, 8, type);
        Encoding.ASCII.GetBytes(name).CopyTo(head, 12);
        stream.Write(head);
        stream.Write(content);
        stream.Write(new byte[-content.Length & 3]);
    }

    /// <summary>struct elf_prstatus of Linux: the process number and the general registers are filled in.</summary>
    private byte[] Status(int cpu)
    {
        var status = new byte[_is64 ? 336 : 144];
        U32(status, _is64 ? 32 : 24, (uint)cpu + 1);
        var at = _is64 ? 112 : 72;
        foreach (var name in _is64 ? Registers64 : Registers32)
        {
            if (_is64)
                BinaryPrimitives.WriteUInt64LittleEndian(status.AsSpan(at), Register(cpu, name));
            else
                U32(status, at, (uint)Register(cpu, name));
            at += _is64 ? 8 : 4;
        }

        return status;
    }

    /// <summary>Version, size, general registers, segments and control registers.</summary>
    private byte[] SystemState(int cpu)
    {
        var state = new byte[440];
        U32(state, 0, 1);
        U32(state, 4, (uint)state.Length);
        var at = 8;
        void Put(ulong value)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(state.AsSpan(at), value);
            at += 8;
        }

        foreach (var name in SystemRegisters)
            Put(Register(cpu, name));
        foreach (var name in (ReadOnlySpan<string>)["cs", "ds", "es", "fs", "gs", "ss", "ldt", "tr", "gdt", "idt"])
        {
            U32(state, at, (uint)Register(cpu, name));
            U32(state, at + 4, (uint)Register(cpu, name + ".limit"));
            U32(state, at + 8, (uint)Register(cpu, name + ".flags"));
            at += 16;
            Put(Register(cpu, name + ".base"));
        }

        foreach (var name in (ReadOnlySpan<string>)["cr0", "cr1", "cr2", "cr3", "cr4", "kernelgsbase"])
            Put(Register(cpu, name));
        return state;
    }

    private static void U16(byte[] bytes, int at, ushort value) => BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(at), value);

    private static void U32(byte[] bytes, int at, uint value) => BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(at), value);

    private void Word(byte[] bytes, int at, ulong value)
    {
        if (_is64)
            BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(at), value);
        else
            U32(bytes, at, (uint)value);
    }
}
