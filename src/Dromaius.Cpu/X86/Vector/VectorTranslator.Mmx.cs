using Dromaius.Jit.Ir;
using Iced.Intel;

namespace Dromaius.Cpu.X86;

/// <remarks>
/// This file: MMX (Intel SDM volume 1, chapter 9; volume 3, chapter 12). The rows for 128 bits serve on 64, the operands being
/// rearranged where an instruction looks at both halves.
/// </remarks>
public static partial class VectorTranslator
{
    /// <summary>A pending x87 exception comes first; then the x87 state becomes the MMX state: TOP 0, all tags valid.</summary>
    private static void EnterMmx(X86Emitter e)
    {
        FpuTranslator.Wait(e);
        // A memory operand has to be known good before the state changes.
        if (!HasMemory(e))
            SetMmxState(e);
    }

    private static void SetMmxState(X86Emitter e)
    {
        e.SetFpuStack(0, 8);
    }

    private static int MmxOffset(X86Emitter e, int operand) =>
        X86Layout.FpRegsOffset + 16 * (e.Insn.GetOpRegister(operand) - Register.MM0);

    private static bool IsMmx(X86Emitter e, int operand) =>
        e.KindOf(operand) == OpKind.Register && e.Insn.GetOpRegister(operand).IsMM();

    private static Val LoadMmxOperand(X86Emitter e, int operand)
    {
        if (!e.IsMemory(operand))
            return e.B.VLdState(W.Q, MmxOffset(e, operand));
        var value = LoadMemory(e, e.Insn.MemorySize.GetSize(), aligned: false);
        SetMmxState(e);
        return value;
    }

    private static void StoreMmx(X86Emitter e, int operand, Val value)
    {
        var offset = MmxOffset(e, operand);
        e.B.VStState(W.Q, offset, value);
        e.B.StState(W.W, offset + 8, e.Const(0xFFFF));
    }

    private static void EmitMmx(X86Emitter e, VecKind kind)
    {
        var b = e.B;
        kind = FormOf(e.Insn, kind);
        var info = VecOps.Info(kind);
        var imm = info.HasImm ? LastImmediate(e) : (byte)0;
        switch (info.Form)
        {
            case VecForm.Unary:
            case VecForm.UnaryImm:
                StoreMmx(e, 0, b.Vec(kind, W.X, LoadMmxOperand(e, 1), Val.None, Val.None, imm));
                return;
            case VecForm.ShiftImm:
                StoreMmx(e, 0, b.Vec(kind, W.X, LoadMmxOperand(e, 0), Val.None, Val.None, imm));
                return;
            case VecForm.FromGprImm:
                var integer = LoadInteger(e, 1, info);
                if (e.IsMemory(1))
                    SetMmxState(e);
                StoreMmx(e, 0, b.Vec(kind, W.X, LoadMmxOperand(e, 0), integer, Val.None, (byte)(imm & 3)));
                return;
            case VecForm.ToGpr:
            case VecForm.ToGprImm:
                e.WriteGprClean(e.Insn.Op0Register, b.VecToInt(kind, W.X, LoadMmxOperand(e, 1), Val.None, (byte)(imm & 3)));
                return;
        }

        var second = LoadMmxOperand(e, 1);
        var first = LoadMmxOperand(e, 0);
        StoreMmx(e, 0, MmxBinary(b, kind, first, second, imm));
    }

    private static Val MmxBinary(IrBuilder b, VecKind kind, Val first, Val second, byte imm)
    {
        switch (kind)
        {
            // The high halves of 8 bytes are the second quadword of what the low unpack of 16 makes.
            case VecKind.Punpckhbw:
            case VecKind.Punpckhwd:
            case VecKind.Punpckhdq:
                var low = kind - VecKind.Punpckhbw + VecKind.Punpcklbw;
                return b.Vec(VecKind.Psrldq, W.X, b.Vec(low, W.X, first, second), Val.None, Val.None, 8);

            // These take all of one operand, then all of the other.
            case VecKind.Packsswb:
            case VecKind.Packuswb:
            case VecKind.Packssdw:
            case VecKind.Phaddw:
            case VecKind.Phaddd:
            case VecKind.Phaddsw:
            case VecKind.Phsubw:
            case VecKind.Phsubd:
            case VecKind.Phsubsw:
                var both = b.Vec(VecKind.Punpcklqdq, W.X, first, second);
                return b.Vec(kind, W.X, both, both);

            // Three-bit indices: bit 3 finds the same bytes in the upper copy.
            case VecKind.Pshufb:
                return b.Vec(kind, W.X, b.Vec(VecKind.Punpcklqdq, W.X, first, first), second);

            case VecKind.Palignr:
                return b.Vec(VecKind.Psrldq, W.X, b.Vec(VecKind.Punpcklqdq, W.X, second, first), Val.None, Val.None, imm);
            default:
                return b.Vec(kind, W.X, first, second, Val.None, imm);
        }
    }

    private static bool EmitMmxSpecial(X86Emitter e)
    {
        var b = e.B;
        switch (e.Insn.Mnemonic)
        {
            case Mnemonic.Movd:
                MoveMmxInteger(e, W.D);
                return true;
            case Mnemonic.Movq:
                MoveMmxInteger(e, W.Q);
                return true;
            case Mnemonic.Movntq:
                StoreMmxMemory(e, W.Q);
                return true;
            case Mnemonic.Movq2dq:
                b.VStState(W.X, OffsetOf(e, 0), b.VLdState(W.Q, MmxOffset(e, 1)));
                return true;
            case Mnemonic.Movdq2q:
                StoreMmx(e, 0, b.VLdState(W.Q, OffsetOf(e, 1)));
                return true;
            case Mnemonic.Maskmovq:
                b.VStState(W.X, VectorHelpers.AOffset, b.VLdState(W.Q, MmxOffset(e, 1)));
                b.VStState(W.X, VectorHelpers.BOffset, b.VLdState(W.Q, MmxOffset(e, 2)));
                StoreBytesUnderMask(e);
                return true;
            case Mnemonic.Cvtpi2ps:
                // The upper lanes are zero: converting them raises nothing.
                var singles = Compute(e, VecOps.Info(VecKind.Cvtdq2ps), W.X, LoadPair(e), Val.None);
                b.VStState(W.Q, OffsetOf(e, 0), singles);
                return true;
            case Mnemonic.Cvtpi2pd:
                var doubles = b.Vec(VecKind.Cvtdq2pd, W.X, LoadPair(e), Val.None);
                b.VStState(W.X, OffsetOf(e, 0), doubles);
                return true;
            case Mnemonic.Cvtps2pi:
                ConvertToMmx(e, VecKind.Cvtps2dq, 8);
                return true;
            case Mnemonic.Cvttps2pi:
                ConvertToMmx(e, VecKind.Cvttps2dq, 8);
                return true;
            case Mnemonic.Cvtpd2pi:
                ConvertToMmx(e, VecKind.Cvtpd2dq, 16);
                return true;
            case Mnemonic.Cvttpd2pi:
                ConvertToMmx(e, VecKind.Cvttpd2dq, 16);
                return true;
            default:
                return false;
        }
    }

    /// <summary>The integers of CVTPI2PS and CVTPI2PD: from memory they are no MMX instructions.</summary>
    private static Val LoadPair(X86Emitter e) =>
        e.IsMemory(1) ? LoadMemory(e, 8, aligned: false) : LoadMmxOperand(e, 1);

    private static void MoveMmxInteger(X86Emitter e, W w)
    {
        if (!IsMmx(e, 0))
        {
            if (e.IsMemory(0))
                StoreMmxMemory(e, w);
            else
                e.WriteGprClean(e.Insn.Op0Register, e.B.LdState(w, MmxOffset(e, 1)));
        }
        else if (e.IsMemory(1) || IsMmx(e, 1))
        {
            StoreMmx(e, 0, LoadMmxOperand(e, 1));
        }
        else
        {
            StoreMmx(e, 0, e.B.VFromInt(w, e.ReadGpr(e.Insn.Op1Register)));
        }
    }

    private static void StoreMmxMemory(X86Emitter e, W w)
    {
        StoreMemory(e, w, e.B.VLdState(w, MmxOffset(e, 1)));
        SetMmxState(e);
    }

    private static void ConvertToMmx(X86Emitter e, VecKind kind, int size)
    {
        var source = e.IsMemory(1)
            ? LoadMemory(e, size, aligned: true)
            : e.B.VLdState(X86Emitter.WidthOf(size), OffsetOf(e, 1));
        // The MMX state is entered even when #XM follows.
        SetMmxState(e);
        StoreMmx(e, 0, Compute(e, VecOps.Info(kind), W.X, source, Val.None));
    }
}
