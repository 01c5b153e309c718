using Dromaius.Jit.Ir;
using Iced.Intel;

namespace Dromaius.Cpu.X86;

/// <summary>What a repeated string instruction does.</summary>
public enum StringOp
{
    Move, Store, Load, Compare, Scan, Input, Output,
}

/// <summary>A repeated string instruction as one helper argument.</summary>
/// <param name="Op">What it does.</param>
/// <param name="Size">Element size in bytes.</param>
/// <param name="AddressSize">2, 4 or 8: how much of RCX, RSI and RDI counts.</param>
/// <param name="Source">Segment of the source.</param>
/// <param name="WhileEqual">For Compare and Scan: go on while ZF is this.</param>
/// <param name="Checked">Segments have bases and limits to look at.</param>
/// <param name="Single">One element at a time (single-stepping).</param>
public readonly record struct StringCall(
    StringOp Op, int Size, int AddressSize, Seg Source, bool WhileEqual, bool Checked, bool Single)
{
    public ulong Pack() => (ulong)Op | (ulong)Size << 8 | (ulong)AddressSize << 16 | (ulong)Source << 24
        | (WhileEqual ? 1UL << 32 : 0) | (Checked ? 1UL << 33 : 0) | (Single ? 1UL << 34 : 0);

    public static StringCall Unpack(ulong v) => new((StringOp)(byte)v, (byte)(v >> 8), (byte)(v >> 16), (Seg)(byte)(v >> 24),
        (v >> 32 & 1) != 0, (v >> 33 & 1) != 0, (v >> 34 & 1) != 0);
}

/// <remarks>
/// This file: string instructions (Intel SDM volume 1, section 7.3.9). Single ones are inline; repeated ones and port strings go
/// through <see cref="StringHelpers"/>, which work by whole pages and can be restarted at any element.
/// </remarks>
public sealed partial class X86Emitter
{
    private bool EmitStringInstruction()
    {
        switch (Insn.Mnemonic)
        {
            case Mnemonic.Movsb: String(StringOp.Move, W.B); break;
            case Mnemonic.Movsw: String(StringOp.Move, W.W); break;
            case Mnemonic.Movsd when Insn.IsStringInstruction: String(StringOp.Move, W.D); break;
            case Mnemonic.Movsq: String(StringOp.Move, W.Q); break;
            case Mnemonic.Stosb: String(StringOp.Store, W.B); break;
            case Mnemonic.Stosw: String(StringOp.Store, W.W); break;
            case Mnemonic.Stosd: String(StringOp.Store, W.D); break;
            case Mnemonic.Stosq: String(StringOp.Store, W.Q); break;
            case Mnemonic.Lodsb: String(StringOp.Load, W.B); break;
            case Mnemonic.Lodsw: String(StringOp.Load, W.W); break;
            case Mnemonic.Lodsd: String(StringOp.Load, W.D); break;
            case Mnemonic.Lodsq: String(StringOp.Load, W.Q); break;
            case Mnemonic.Cmpsb: String(StringOp.Compare, W.B); break;
            case Mnemonic.Cmpsw: String(StringOp.Compare, W.W); break;
            case Mnemonic.Cmpsd when Insn.IsStringInstruction: String(StringOp.Compare, W.D); break;
            case Mnemonic.Cmpsq: String(StringOp.Compare, W.Q); break;
            case Mnemonic.Scasb: String(StringOp.Scan, W.B); break;
            case Mnemonic.Scasw: String(StringOp.Scan, W.W); break;
            case Mnemonic.Scasd: String(StringOp.Scan, W.D); break;
            case Mnemonic.Scasq: String(StringOp.Scan, W.Q); break;
            case Mnemonic.Insb: PortString(StringOp.Input, W.B); break;
            case Mnemonic.Insw: PortString(StringOp.Input, W.W); break;
            case Mnemonic.Insd: PortString(StringOp.Input, W.D); break;
            case Mnemonic.Outsb: PortString(StringOp.Output, W.B); break;
            case Mnemonic.Outsw: PortString(StringOp.Output, W.W); break;
            case Mnemonic.Outsd: PortString(StringOp.Output, W.D); break;
            default: return false;
        }

        return true;
    }

    /// <summary>Address size of a string instruction, from its implicit operands.</summary>
    private W StringAddressWidth
    {
        get
        {
            for (var i = 0; i < Insn.OpCount; i++)
            {
                switch (Insn.GetOpKind(i))
                {
                    case OpKind.MemorySegSI or OpKind.MemorySegDI or OpKind.MemoryESDI:
                        return W.W;
                    case OpKind.MemorySegESI or OpKind.MemorySegEDI or OpKind.MemoryESEDI:
                        return W.D;
                    case OpKind.MemorySegRSI or OpKind.MemorySegRDI or OpKind.MemoryESRDI:
                        return W.Q;
                }
            }

            return Is64 ? W.Q : Is32 ? W.D : W.W;
        }
    }

    private Seg StringSourceSegment => SegmentOf(Insn.MemorySegment);

    /// <summary>rSI or rDI at the instruction's address size, zero-extended.</summary>
    private Val StringOffset(int register)
    {
        var w = StringAddressWidth;
        return w == W.Q ? Gpr(register) : B.ZExt(w, Gpr(register));
    }

    private void String(StringOp op, W w)
    {
        if (Insn.HasRepPrefix || Insn.HasRepnePrefix)
        {
            RepeatedString(op, w);
            return;
        }

        var size = 1 << (int)w;
        var reads = op is StringOp.Move or StringOp.Load or StringOp.Compare;
        var usesDestination = op != StringOp.Load;
        if (!Is64 && reads)
            CheckRange(StringSourceSegment, StringOffset(X86Layout.Rsi), size, false, ColdKind.StringSource, 0);
        if (!Is64 && usesDestination)
        {
            CheckRange(Seg.Es, StringOffset(X86Layout.Rdi), size, op is StringOp.Move or StringOp.Store,
                ColdKind.StringDestination, 0);
        }

        var source = reads ? LoadMemory(w, ToLinear(StringSourceSegment, StringOffset(X86Layout.Rsi))) : Rax;
        switch (op)
        {
            case StringOp.Move:
            case StringOp.Store:
                StoreMemory(w, ToLinear(Seg.Es, StringOffset(X86Layout.Rdi)), source);
                break;
            case StringOp.Compare:
            case StringOp.Scan:
                var destination = LoadMemory(w, ToLinear(Seg.Es, StringOffset(X86Layout.Rdi)));
                SetFlags(CcOp.Sub, w, B.Sub(Wide(w), source, destination), destination, default, source);
                break;
        }

        var step = StringStep(w);
        if (reads)
            Advance(X86Layout.Rsi, step);
        if (usesDestination)
            Advance(X86Layout.Rdi, step);
        if (op == StringOp.Load)
            WriteGpr(X86Layout.Rax, w, source);
    }

    /// <summary>The element size, negative when EFLAGS.DF is set.</summary>
    private Val StringStep(W w)
    {
        const int directionBit = 10;
        var down = B.Extract(B.LdState(W.Q, X86Layout.EflagsOffset), directionBit, 1);
        return B.Sub(W.Q, B.Const(1 << (int)w), B.Shl(W.Q, down, B.Const((int)w + 1)));
    }

    private void Advance(int register, Val step)
    {
        var w = StringAddressWidth;
        WriteGpr(register, w, B.Add(Wide(w), Gpr(register), step));
    }

    private void RepeatedString(StringOp op, W w)
    {
        var source = StringSourceSegment;
        var call = new StringCall(op, 1 << (int)w, 1 << (int)StringAddressWidth, source, !Insn.HasRepnePrefix,
            !Is64 && !(IsFlatData && IsFlat(source)), Steps);
        var helper = op switch
        {
            StringOp.Move => StringHelpers.Move,
            StringOp.Store => StringHelpers.Store,
            StringOp.Load => StringHelpers.Load,
            StringOp.Compare => StringHelpers.Compare,
            _ => StringHelpers.Scan,
        };
        // The helper computes the flags of a comparison itself, where at least one element was compared.
        var done = op is StringOp.Compare or StringOp.Scan
            ? CallWithPc(helper, B.Const(call.Pack()))
            : CallKeepingFlags(helper, B.Const(call.Pack()));
        if (!Steps)
            return;
        StepThrough(done);
    }

    /// <summary>Under single-stepping each element is a step: the trap comes at this instruction until it is done.</summary>
    private void StepThrough(Val done)
    {
        var more = B.NewLabel();
        B.BrCond(Cond.Eq, W.D, done, B.Const(0), more);
        ExitTo(NextRip, 0);
        PlaceLabel(more);
        ExitTo(Rip, 1);
        Ended = true;
    }

    private void PortString(StringOp op, W w)
    {
        var repeated = Insn.HasRepPrefix || Insn.HasRepnePrefix;
        var source = StringSourceSegment;
        var call = new StringCall(op, 1 << (int)w, 1 << (int)StringAddressWidth, source, repeated,
            !Is64 && !(IsFlatData && IsFlat(source)), Steps);
        var done = CallKeepingFlags(op == StringOp.Input ? StringHelpers.Input : StringHelpers.Output, B.Const(call.Pack()));
        if (Steps && repeated)
            StepThrough(done);
        else
            EndAtNext();
    }
}
