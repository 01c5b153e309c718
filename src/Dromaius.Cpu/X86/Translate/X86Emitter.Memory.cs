using Dromaius.Jit.Ir;
using Iced.Intel;

namespace Dromaius.Cpu.X86;

/// <remarks>This file: effective addresses, segmentation (Intel SDM volume 3, chapter 5) and guest memory.</remarks>
public sealed partial class X86Emitter
{
    // The current instruction's address, once computed.
    private Val _offset, _linear;

    /// <summary>Which TLB data accesses use.</summary>
    public byte MmuIndex => (byte)_modeNow.MmuIndex();

    /// <summary>How an access of a width is made; alignment is checked when EFLAGS.AC and CR0.AM ask for it.</summary>
    public MemOp MemOpFor(W w) =>
        new(MmuIndex, (Mode & Mode.AlignCheck) != 0 && w <= W.Q ? (byte)((1 << (int)w) - 1) : (byte)0);

    /// <summary>An access that faults unless aligned on so many bytes (vector moves that ask for it).</summary>
    public MemOp AlignedMemOp(int alignment) => new(MmuIndex, (byte)(alignment - 1));

    public Val LoadMemory(W w, Val address) => B.GuestLd(w, address, MemOpFor(w));

    public void StoreMemory(W w, Val address, Val value) => B.GuestSt(w, address, value, MemOpFor(w));

    public Val LoadVector(W w, Val address, int alignment = 1) => B.VGuestLd(w, address, AlignedMemOp(alignment));

    public void StoreVector(W w, Val address, Val value, int alignment = 1) =>
        B.VGuestSt(w, address, value, AlignedMemOp(alignment));

    /// <summary>The address size of the instruction's memory operand in bytes.</summary>
    public int AddressSize
    {
        get
        {
            ref readonly var insn = ref Insn;
            var register = insn.MemoryBase != Register.None ? insn.MemoryBase : insn.MemoryIndex;
            if (register is Register.EIP)
                return 4;
            if (register is Register.RIP)
                return 8;
            if (register != Register.None && register.IsGPR())
                return 1 << (int)WidthOf(register);
            return register != Register.None ? VsibAddressSize(insn) : insn.MemoryDisplSize switch
            {
                2 => 2,
                4 => 4,
                8 => 8,
                _ => Is64 ? 8 : Is32 ? 4 : 2,
            };
        }
    }

    /// <summary>The linear address of the memory operand, 64 bits wide and final (segment base added).</summary>
    public Val EffectiveAddress()
    {
        if (_linear.IsNone)
            _linear = ToLinear(SegmentOf(Insn.MemorySegment), EffectiveOffset());
        return _linear;
    }

    /// <summary>The offset of the memory operand in its segment, zero-extended from the address size.</summary>
    public Val EffectiveOffset()
    {
        if (_offset.IsNone)
            _offset = ComputeOffset();
        return _offset;
    }

    /// <summary>An offset (zero-extended) to a linear address. No checks.</summary>
    public Val ToLinear(Seg segment, Val offset)
    {
        if (Is64)
        {
            return segment is Seg.Fs or Seg.Gs
                ? B.Add(W.Q, offset, B.LdState(W.Q, X86Layout.BaseOffset(segment)))
                : offset;
        }

        return IsFlat(segment) ? offset : B.Add(W.D, offset, B.LdState(W.D, X86Layout.BaseOffset(segment)));
    }

    /// <summary>Whether a segment needs neither base nor checks in this mode.</summary>
    public bool IsFlat(Seg segment) =>
        Is64 ? segment is not (Seg.Fs or Seg.Gs) : IsFlatData && segment is (Seg.Ds or Seg.Es or Seg.Ss);

    public static Seg SegmentOf(Register register) => register switch
    {
        Register.ES => Seg.Es,
        Register.CS => Seg.Cs,
        Register.SS => Seg.Ss,
        Register.FS => Seg.Fs,
        Register.GS => Seg.Gs,
        _ => Seg.Ds,
    };

    private static int VsibAddressSize(in Instruction insn) => insn.MemoryDisplSize == 8 || insn.CodeSize == CodeSize.Code64 ? 8 : 4;

    private Val ComputeOffset()
    {
        ref readonly var insn = ref Insn;
        var size = AddressSize;
        var w = size == 8 ? W.Q : W.D;
        var displacement = insn.MemoryDisplacement64 + (ulong)_baseAdjust;
        if (insn.IsIPRelativeMemoryOperand)
            return B.Const(size == 8 ? insn.IPRelativeMemoryAddress : (uint)insn.IPRelativeMemoryAddress);
        var offset = Val.None;
        var clean = false;
        if (insn.MemoryBase != Register.None)
            offset = Gpr(GprNumber(insn.MemoryBase));
        if (insn.MemoryIndex != Register.None && insn.MemoryIndex.IsGPR())
        {
            var index = Gpr(GprNumber(insn.MemoryIndex));
            if (insn.MemoryIndex == Register.AL)
                index = B.ZExt(W.B, index); // XLAT
            var shift = int.TrailingZeroCount(insn.MemoryIndexScale);
            clean = shift != 0 || !offset.IsNone;
            if (!offset.IsNone)
                offset = shift == 0 ? B.Add(w, offset, index) : B.AddScaled(w, offset, index, shift);
            else
                offset = shift == 0 ? index : B.Shl(w, index, B.Const(shift));
        }

        if (offset.IsNone)
            return B.Const(Truncate(size, displacement));
        if (displacement != 0)
        {
            offset = B.Add(w, offset, B.Const(size == 8 ? displacement : (ulong)(int)displacement));
            clean = true;
        }

        if (size == 2)
            return B.ZExt(W.W, offset);
        return size == 4 && !clean ? B.ZExt(W.D, offset) : offset;
    }

    private static ulong Truncate(int size, ulong value) => size switch
    {
        2 => (ushort)value,
        4 => (uint)value,
        _ => value,
    };

    // Checks.

    /// <summary>
    /// Checks a range of a segment against its limit and type: what is beyond the limit or in a segment that is not plain (expand-up,
    /// writable) takes a helper that knows all rules. In real and virtual-8086 mode only the limit matters.
    /// </summary>
    private void CheckRange(Seg segment, Val offset, int size, bool write, ColdKind kind, long delta)
    {
        if (Is64 || IsFlat(segment))
            return;
        var limit = B.LdState(W.D, X86Layout.LimitOffset(segment));
        var last = size == 1 ? offset : B.Add(W.Q, offset, B.Const(size - 1));
        var back = B.NewLabel();
        var cold = NewCold(kind, back, segment, size, write, delta);
        B.BrCond(Cond.UGt, W.Q, last, limit, cold);
        if (!IsRealLike)
        {
            var attributes = B.LdState(W.W, X86Layout.AttributesOffset(segment));
            B.BrCond(Cond.Ne, W.D, B.And(W.D, attributes, B.Const(PlainDataMask)), B.Const(PlainData), cold);
            B.BrCond(Cond.Ne, W.D, B.LdState(W.D, X86Layout.UnusableOffset(segment)), B.Const(0), cold);
        }

        PlaceLabel(back);
    }

    // P, S, code, expand-down, writable; and a present, writable, expand-up data segment.
    private const int PlainDataMask = 0x9E, PlainData = 0x92;

    /// <summary>Checks the memory operand where its segment asks for it; called before the instruction is emitted.</summary>
    private void CheckMemoryOperand(int size, bool write)
    {
        var segment = SegmentOf(Insn.MemorySegment);
        if (Is64 || IsFlat(segment) || size == 0)
            return;
        CheckRange(segment, EffectiveOffset(), size, write, ColdKind.Operand, 0);
    }
}
