using System.Buffers.Binary;

namespace Dromaius.Cpu.X86;

/// <content>
/// System-management mode: entry, RSM and the state-save map (Intel SDM volume 3, chapter 31; AMD APM volume 2, section
/// 10.2.3 for the 64-bit map).
/// </content>
public sealed unsafe partial class X86Cpu
{
    private const uint SmmRevision32 = 0x00020000, SmmRevision64 = 0x00020064;
    private const int SaveSize = 0x200, SaveStart = 0x7E00, HandlerOffset = 0x8000;

    /// <summary>Told when the processor enters (true) and leaves (false) system-management mode.</summary>
    public event Action<X86Cpu, bool>? SmmChanged;

    private void EnterSmm()
    {
        _smiCount++;
        var halted = State->Halted != 0;
        Span<byte> map = stackalloc byte[SaveSize];
        map.Clear();
        if (Model.Has(X86Feature.Lm))
            Save64(map, halted);
        else
            Save32(map, halted);
        State->InSmm = State->NmiBlocked != 0 ? 3u : 1u;
        State->NmiBlocked = 1;
        SmmChanged?.Invoke(this, true);
        _ = ActiveMemory.Write(State->SmBase + HandlerOffset + SaveStart, map);

        WakeUp();
        State->Efer = 0;
        SetEflagsRaw(Eflags.Fixed);
        State->Rip = HandlerOffset;
        State->Cr0 &= ~(Cr.Pe | Cr.Em | Cr.Ts | Cr.Pg);
        State->Cr4 = 0;
        State->Dr[7] = Dr7Fixed;
        for (var seg = Seg.Es; seg <= Seg.Gs; seg++)
            *SegmentOf(seg) = new Segment { Limit = uint.MaxValue, Attributes = 0x8093 };
        State->Cs.Base = (uint)State->SmBase;
        State->Cs.Selector = (ushort)(State->SmBase >> 4);
        FlushTlb(true);
        UpdateMode();
    }

    internal void ResumeFromSmm()
    {
        if (State->InSmm == 0)
            throw GuestFaultException.InvalidOpcode();
        Span<byte> map = stackalloc byte[SaveSize];
        _ = ActiveMemory.Read(State->SmBase + HandlerOffset + SaveStart, map);
        if (Model.Has(X86Feature.Lm))
            Restore64(map);
        else
            Restore32(map);
        if (State->InSmm == 1)
            State->NmiBlocked = 0;
        State->InSmm = 0;
        SmmChanged?.Invoke(this, false);
        FlushTlb(true);
        UpdateMode();
        RecheckRequests();
    }

    // Offsets below are those of the manuals, relative to SMBASE + 0x8000.
    private static uint Get32(ReadOnlySpan<byte> map, int offset) =>
        BinaryPrimitives.ReadUInt32LittleEndian(map[(offset - SaveStart)..]);

    private static ulong Get64(ReadOnlySpan<byte> map, int offset) =>
        BinaryPrimitives.ReadUInt64LittleEndian(map[(offset - SaveStart)..]);

    private static void Put32(Span<byte> map, int offset, ulong value) =>
        BinaryPrimitives.WriteUInt32LittleEndian(map[(offset - SaveStart)..], (uint)value);

    private static void Put64(Span<byte> map, int offset, ulong value) =>
        BinaryPrimitives.WriteUInt64LittleEndian(map[(offset - SaveStart)..], value);

    private static void PutSegment64(Span<byte> map, int offset, in Segment segment)
    {
        var attributes = segment.Unusable != 0 ? 0u : (uint)segment.Attributes;
        Put32(map, offset, segment.Selector | ((attributes & 0xFF) | ((attributes & 0xF000) >> 4)) << 16);
        Put32(map, offset + 4, segment.Limit);
        Put64(map, offset + 8, segment.Base);
    }

    private static Segment GetSegment64(ReadOnlySpan<byte> map, int offset)
    {
        var word = Get32(map, offset);
        return MakeSegment((ushort)word, (word >> 16 & 0xFF) | ((word >> 16 & 0xF00) << 4), Get32(map, offset + 4),
            Get64(map, offset + 8));
    }

    private static Segment MakeSegment(ushort selector, uint attributes, uint limit, ulong address) => new()
    {
        Base = address,
        Limit = limit,
        Attributes = (ushort)attributes,
        Selector = selector,
        Unusable = (attributes & 0x80) == 0 ? 1u : 0,
    };

    private void Save64(Span<byte> map, bool halted)
    {
        for (var i = 0; i < 6; i++)
            PutSegment64(map, 0x7E00 + (i * 16), *SegmentOf((Seg)i));
        Put32(map, 0x7E64, State->Gdt.Limit);
        Put64(map, 0x7E68, State->Gdt.Base);
        PutSegment64(map, 0x7E70, State->Ldt);
        Put32(map, 0x7E84, State->Idt.Limit);
        Put64(map, 0x7E88, State->Idt.Base);
        PutSegment64(map, 0x7E90, State->Tr);
        map[0x7EC9 - SaveStart] = halted ? (byte)1 : (byte)0;
        Put64(map, 0x7ED0, State->Efer);
        Put32(map, 0x7EFC, SmmRevision64);
        Put32(map, 0x7F00, State->SmBase);
        Put64(map, 0x7F48, State->Cr4);
        Put64(map, 0x7F50, State->Cr3);
        Put64(map, 0x7F58, State->Cr0);
        Put64(map, 0x7F60, State->Dr[7]);
        Put64(map, 0x7F68, State->Dr[6]);
        Put64(map, 0x7F70, ReadEflags());
        Put64(map, 0x7F78, State->Rip);
        for (var i = 0; i < 8; i++)
        {
            Put64(map, 0x7FF8 - (i * 8), State->Gpr[i]);
            Put64(map, 0x7FB8 - (i * 8), State->Gpr[i + 8]);
        }
    }

    private void Restore64(ReadOnlySpan<byte> map)
    {
        for (var i = 0; i < 8; i++)
        {
            State->Gpr[i] = Get64(map, 0x7FF8 - (i * 8));
            State->Gpr[i + 8] = Get64(map, 0x7FB8 - (i * 8));
        }

        State->Rip = Get64(map, 0x7F78);
        SetEflagsRaw(Get64(map, 0x7F70));
        State->Dr[6] = Get64(map, 0x7F68);
        State->Dr[7] = Get64(map, 0x7F60);
        State->Efer = Get64(map, 0x7ED0);
        State->Cr4 = Get64(map, 0x7F48) & Cr4Allowed;
        State->Cr3 = Get64(map, 0x7F50);
        State->Cr0 = Get64(map, 0x7F58) | Cr.Et;
        State->Gdt = new DescriptorTable { Base = Get64(map, 0x7E68), Limit = Get32(map, 0x7E64) };
        State->Idt = new DescriptorTable { Base = Get64(map, 0x7E88), Limit = Get32(map, 0x7E84) };
        State->Ldt = GetSegment64(map, 0x7E70);
        State->Tr = GetSegment64(map, 0x7E90);
        for (var i = 0; i < 6; i++)
            *SegmentOf((Seg)i) = GetSegment64(map, 0x7E00 + (i * 16));
        FinishRestore(map[0x7EC9 - SaveStart] != 0, Get32(map, 0x7EFC), Get32(map, 0x7F00));
    }

    private void FinishRestore(bool halted, uint revision, uint smBase)
    {
        State->Halted = halted ? 1u : 0;
        if (halted)
            State->Engine.ExitReason = Dromaius.Jit.ExitReason.Halt;
        if ((revision & 0x20000) != 0)
            State->SmBase = smBase;

        // PAE registers come back from memory, which the guest has to keep intact.
        if ((State->Cr0 & Cr.Pg) != 0 && (State->Cr4 & Cr.Pae) != 0 && !LongMode)
        {
            for (var i = 0; i < 4; i++)
                _pdptes[i] = Memory.Load((State->Cr3 & 0xFFFFFFE0) + ((ulong)i * 8), 8);
        }
    }

    private static (int Data, int Selector) SegmentPlace32(int seg) =>
        (seg < 3 ? 0x7F84 + (seg * 12) : 0x7F2C + ((seg - 3) * 12), 0x7FA8 + (seg * 4));

    private static void PutSegment32(Span<byte> map, int data, int selector, in Segment segment)
    {
        Put32(map, selector, segment.Selector);
        Put32(map, data + 8, segment.Base);
        Put32(map, data + 4, segment.Limit);
        Put32(map, data, segment.Unusable != 0 ? 0u : segment.Attributes);
    }

    private static Segment GetSegment32(ReadOnlySpan<byte> map, int data, int selector) =>
        MakeSegment((ushort)Get32(map, selector), Get32(map, data), Get32(map, data + 4), Get32(map, data + 8));

    private void Save32(Span<byte> map, bool halted)
    {
        Put32(map, 0x7FFC, State->Cr0);
        Put32(map, 0x7FF8, State->Cr3);
        Put32(map, 0x7FF4, ReadEflags());
        Put32(map, 0x7FF0, State->Rip);
        for (var i = 0; i < 8; i++)
            Put32(map, 0x7FD0 + (i * 4), State->Gpr[i]);
        Put32(map, 0x7FCC, State->Dr[6]);
        Put32(map, 0x7FC8, State->Dr[7]);
        PutSegment32(map, 0x7F5C, 0x7FC4, State->Tr);
        PutSegment32(map, 0x7F78, 0x7FC0, State->Ldt);
        Put32(map, 0x7F74, State->Gdt.Base);
        Put32(map, 0x7F70, State->Gdt.Limit);
        Put32(map, 0x7F58, State->Idt.Base);
        Put32(map, 0x7F54, State->Idt.Limit);
        for (var i = 0; i < 6; i++)
        {
            var (data, selector) = SegmentPlace32(i);
            PutSegment32(map, data, selector, *SegmentOf((Seg)i));
        }

        Put32(map, 0x7F14, State->Cr4);
        map[0x7F02 - SaveStart] = halted ? (byte)1 : (byte)0;
        Put32(map, 0x7EFC, SmmRevision32);
        Put32(map, 0x7EF8, State->SmBase);
    }

    private void Restore32(ReadOnlySpan<byte> map)
    {
        State->Cr0 = Get32(map, 0x7FFC) | Cr.Et;
        State->Cr3 = Get32(map, 0x7FF8);
        SetEflagsRaw(Get32(map, 0x7FF4));
        State->Rip = Get32(map, 0x7FF0);
        for (var i = 0; i < 8; i++)
            State->Gpr[i] = Get32(map, 0x7FD0 + (i * 4));
        State->Dr[6] = Get32(map, 0x7FCC);
        State->Dr[7] = Get32(map, 0x7FC8);
        State->Tr = GetSegment32(map, 0x7F5C, 0x7FC4);
        State->Ldt = GetSegment32(map, 0x7F78, 0x7FC0);
        State->Gdt = new DescriptorTable { Base = Get32(map, 0x7F74), Limit = Get32(map, 0x7F70) };
        State->Idt = new DescriptorTable { Base = Get32(map, 0x7F58), Limit = Get32(map, 0x7F54) };
        for (var i = 0; i < 6; i++)
        {
            var (data, selector) = SegmentPlace32(i);
            *SegmentOf((Seg)i) = GetSegment32(map, data, selector);
        }

        State->Cr4 = Get32(map, 0x7F14) & Cr4Allowed;
        FinishRestore(map[0x7F02 - SaveStart] != 0, Get32(map, 0x7EFC), Get32(map, 0x7EF8));
    }
}
