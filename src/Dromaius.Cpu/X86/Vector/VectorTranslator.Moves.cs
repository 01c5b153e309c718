using Dromaius.Jit.Ir;
using Iced.Intel;

namespace Dromaius.Cpu.X86;

/// <remarks>This file: moves between registers and memory, conversions to and from general registers.</remarks>
public static partial class VectorTranslator
{
    private static bool EmitMove(X86Emitter e)
    {
        switch (e.Insn.Mnemonic)
        {
            case Mnemonic.Movaps or Mnemonic.Movapd or Mnemonic.Movdqa or Mnemonic.Movntps or Mnemonic.Movntpd or Mnemonic.Movntdq
                or Mnemonic.Movntdqa or Mnemonic.Vmovaps or Mnemonic.Vmovapd or Mnemonic.Vmovdqa or Mnemonic.Vmovntps
                or Mnemonic.Vmovntpd or Mnemonic.Vmovntdq or Mnemonic.Vmovntdqa:
                MoveWhole(e, aligned: true);
                return true;
            case Mnemonic.Movups or Mnemonic.Movupd or Mnemonic.Movdqu or Mnemonic.Lddqu or Mnemonic.Vmovups or Mnemonic.Vmovupd
                or Mnemonic.Vmovdqu or Mnemonic.Vlddqu:
                MoveWhole(e, aligned: false);
                return true;
            case Mnemonic.Movss or Mnemonic.Vmovss:
                MoveScalar(e, W.D, VecKind.Movss);
                return true;
            case Mnemonic.Movsd or Mnemonic.Vmovsd:
                MoveScalar(e, W.Q, VecKind.Movsd);
                return true;
            case Mnemonic.Movlps or Mnemonic.Movlpd or Mnemonic.Vmovlps or Mnemonic.Vmovlpd:
                MoveHalf(e, high: false);
                return true;
            case Mnemonic.Movhps or Mnemonic.Movhpd or Mnemonic.Vmovhps or Mnemonic.Vmovhpd:
                MoveHalf(e, high: true);
                return true;
            case Mnemonic.Movhlps or Mnemonic.Vmovhlps:
                Combine(e, VecKind.Movhlps);
                return true;
            case Mnemonic.Movlhps or Mnemonic.Vmovlhps:
                Combine(e, VecKind.Movlhps);
                return true;
            case Mnemonic.Movd or Mnemonic.Vmovd:
                MoveInteger(e, W.D);
                return true;
            case Mnemonic.Movq or Mnemonic.Vmovq:
                MoveInteger(e, W.Q);
                return true;
            case Mnemonic.Insertps or Mnemonic.Vinsertps:
                InsertSingle(e);
                return true;
            case Mnemonic.Vbroadcastf128 or Mnemonic.Vbroadcasti128:
                var half = LoadMemory(e, 16, aligned: false);
                e.B.VStState(W.X, OffsetOf(e, 0), half);
                e.B.VStState(W.X, OffsetOf(e, 0) + 16, half);
                return true;
            case Mnemonic.Vinsertf128 or Mnemonic.Vinserti128:
                InsertHalf(e);
                return true;
            case Mnemonic.Vextractf128 or Mnemonic.Vextracti128:
                StoreResult(e, 0, W.X, e.B.VLdState(W.X, OffsetOf(e, 1) + (LastImmediate(e) & 1) * 16));
                return true;
            case Mnemonic.Vzeroupper:
                for (var i = 0; i < (e.Is64 ? 16 : 8); i++)
                    ClearUpper(e, X86Layout.YmmRegisterOffset(i));
                return true;
            case Mnemonic.Vzeroall:
                var zero = e.B.VFromInt(W.D, e.Const(0));
                for (var i = 0; i < (e.Is64 ? 16 : 8); i++)
                    e.B.VStState(W.Y, X86Layout.YmmRegisterOffset(i), zero);
                return true;
            default:
                return false;
        }
    }

    private static void MoveWhole(X86Emitter e, bool aligned)
    {
        var w = WidthOf(e);
        if (e.IsMemory(1))
            StoreRegister(e, 0, LoadMemory(e, 1 << (int)w, aligned));
        else if (e.IsMemory(0))
            StoreMemory(e, w, e.B.VLdState(w, OffsetOf(e, 1)), aligned);
        else
            StoreRegister(e, 0, e.B.VLdState(w, OffsetOf(e, 1)));
    }

    /// <summary>MOVSS, MOVSD: a load clears the rest, a register move merges.</summary>
    private static void MoveScalar(X86Emitter e, W w, VecKind merge)
    {
        if (e.IsMemory(0))
            StoreMemory(e, w, e.B.VLdState(W.X, OffsetOf(e, 1)));
        else if (e.IsMemory(1))
            StoreRegister(e, 0, LoadMemory(e, 1 << (int)w, aligned: false));
        else if (IsVex(e))
            Combine(e, merge);
        else
            e.B.VStState(w, OffsetOf(e, 0), e.B.VLdState(W.X, OffsetOf(e, 1)));
    }

    private static void MoveHalf(X86Emitter e, bool high)
    {
        var place = high ? 8 : 0;
        if (e.IsMemory(0))
        {
            StoreMemory(e, W.Q, e.B.VLdState(W.Q, OffsetOf(e, 1) + place));
        }
        else if (IsVex(e))
        {
            var b = LoadMemory(e, 8, aligned: false);
            var a = e.B.VLdState(W.X, OffsetOf(e, 1));
            StoreRegister(e, 0, e.B.Vec(high ? VecKind.Movlhps : VecKind.Movsd, W.X, a, b));
        }
        else
        {
            e.B.VStState(W.Q, OffsetOf(e, 0) + place, LoadMemory(e, 8, aligned: false));
        }
    }

    private static void Combine(X86Emitter e, VecKind kind)
    {
        var first = IsVex(e) ? 1 : 0;
        var b = e.B.VLdState(W.X, OffsetOf(e, first + 1));
        var a = e.B.VLdState(W.X, OffsetOf(e, first));
        StoreRegister(e, 0, e.B.Vec(kind, W.X, a, b));
    }

    /// <summary>MOVD and MOVQ between XMM registers, general registers and memory.</summary>
    private static void MoveInteger(X86Emitter e, W w)
    {
        if (e.IsMemory(0))
            StoreMemory(e, w, e.B.VLdState(w, OffsetOf(e, 1)));
        else if (e.IsMemory(1))
            StoreRegister(e, 0, LoadMemory(e, 1 << (int)w, aligned: false));
        else if (!IsVector(e, 0))
            e.WriteGprClean(e.Insn.Op0Register, e.B.LdState(w, OffsetOf(e, 1)));
        else if (!IsVector(e, 1))
            StoreRegister(e, 0, e.B.VFromInt(w, e.ReadGpr(e.Insn.Op1Register)));
        else
            StoreRegister(e, 0, e.B.VLdState(W.Q, OffsetOf(e, 1)));
    }

    private static bool IsVector(X86Emitter e, int operand) => e.Insn.GetOpRegister(operand).IsXMM();

    private static void InsertSingle(X86Emitter e)
    {
        var first = IsVex(e) ? 1 : 0;
        var imm = LastImmediate(e);
        if (e.IsMemory(first + 1))
            imm &= 0x3F;
        var b = LoadOperand(e, first + 1);
        var a = LoadOperand(e, first);
        StoreRegister(e, 0, e.B.Vec(VecKind.Insertps, W.X, a, b, Val.None, imm));
    }

    private static void InsertHalf(X86Emitter e)
    {
        var b = e.IsMemory(2) ? LoadMemory(e, 16, aligned: false) : e.B.VLdState(W.X, OffsetOf(e, 2));
        var a = e.B.VLdState(W.Y, OffsetOf(e, 1));
        e.B.VStState(W.Y, OffsetOf(e, 0), a);
        e.B.VStState(W.X, OffsetOf(e, 0) + (LastImmediate(e) & 1) * 16, b);
    }

    // Conversions whose row depends on the size of the integer.

    private static bool EmitConversion(X86Emitter e)
    {
        switch (e.Insn.Mnemonic)
        {
            case Mnemonic.Cvtsi2ss or Mnemonic.Vcvtsi2ss:
                FromInteger(e, VecKind.Cvtsi2ss32, VecKind.Cvtsi2ss64);
                return true;
            case Mnemonic.Cvtsi2sd or Mnemonic.Vcvtsi2sd:
                FromInteger(e, VecKind.Cvtsi2sd32, VecKind.Cvtsi2sd64);
                return true;
            case Mnemonic.Cvtss2si or Mnemonic.Vcvtss2si:
                ToInteger(e, VecKind.Cvtss2si32, VecKind.Cvtss2si64);
                return true;
            case Mnemonic.Cvttss2si or Mnemonic.Vcvttss2si:
                ToInteger(e, VecKind.Cvttss2si32, VecKind.Cvttss2si64);
                return true;
            case Mnemonic.Cvtsd2si or Mnemonic.Vcvtsd2si:
                ToInteger(e, VecKind.Cvtsd2si32, VecKind.Cvtsd2si64);
                return true;
            case Mnemonic.Cvttsd2si or Mnemonic.Vcvttsd2si:
                ToInteger(e, VecKind.Cvttsd2si32, VecKind.Cvttsd2si64);
                return true;
            default:
                return false;
        }
    }

    private static void FromInteger(X86Emitter e, VecKind kind32, VecKind kind64)
    {
        var last = e.Insn.OpCount - 1;
        var wide = e.IsMemory(last) ? e.Insn.MemorySize.GetSize() == 8 : e.Insn.GetOpRegister(last).IsGPR64();
        var info = VecOps.Info(wide ? kind64 : kind32);
        var b = LoadInteger(e, last, info);
        var a = LoadOperand(e, last - 1);
        StoreRegister(e, 0, Compute(e, info, W.X, a, b));
    }

    private static void ToInteger(X86Emitter e, VecKind kind32, VecKind kind64)
    {
        var info = VecOps.Info(e.Insn.Op0Register.IsGPR64() ? kind64 : kind32);
        var a = LoadOperand(e, 1);
        e.WriteGprClean(e.Insn.Op0Register, ComputeInteger(e, info, W.X, a, Val.None, 0));
    }
}
