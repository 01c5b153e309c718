using Dromaius.Jit.Ir;
using Iced.Intel;

namespace Dromaius.Cpu.X86;

/// <summary>
/// MMX, SSE to SSE4.2, AES, PCLMULQDQ, SHA, AVX, AVX2, FMA and F16C to IR (Intel SDM volume 2). Instructions that compute are
/// one row of <see cref="VecOps"/>; moves and the rest have emitters of their own.
/// </summary>
/// <remarks>
/// Legacy SSE keeps the upper half of the YMM register, VEX.128 clears it. This file: dispatch, availability, operands.
/// </remarks>
public static partial class VectorTranslator
{
    /// <summary>Emits a vector instruction; false if it is none.</summary>
    public static bool TryEmit(X86Emitter e)
    {
        ref readonly var insn = ref e.Insn;
        if (insn.Encoding is not (EncodingKind.Legacy or EncodingKind.VEX))
            return false;
        var kind = VectorMap.KindOf(insn.Mnemonic);
        var mmx = UsesMmx(insn);
        if (kind == VecKind.None && !IsSpecial(insn.Mnemonic))
            return false;
        if (!Available(e, mmx))
            return true;
        if (kind != VecKind.None)
        {
            if (mmx)
                EmitMmx(e, kind);
            else
                EmitCompute(e, FormOf(insn, kind));
        }
        else if (!(mmx ? EmitMmxSpecial(e) : EmitMove(e) || EmitConversion(e) || EmitMemorySpecial(e) || EmitMmxSpecial(e)))
        {
            e.RaiseInvalidOpcode();
        }

        return true;
    }

    private static bool IsSpecial(Mnemonic mnemonic) => mnemonic is Mnemonic.Movaps or Mnemonic.Movapd or Mnemonic.Movdqa
        or Mnemonic.Movups or Mnemonic.Movupd or Mnemonic.Movdqu or Mnemonic.Lddqu or Mnemonic.Movntps or Mnemonic.Movntpd
        or Mnemonic.Movntdq or Mnemonic.Movntdqa or Mnemonic.Movntq or Mnemonic.Movss or Mnemonic.Movsd or Mnemonic.Movlps
        or Mnemonic.Movlpd or Mnemonic.Movhps or Mnemonic.Movhpd or Mnemonic.Movhlps or Mnemonic.Movlhps or Mnemonic.Movd
        or Mnemonic.Movq or Mnemonic.Movdq2q or Mnemonic.Movq2dq or Mnemonic.Insertps or Mnemonic.Maskmovq
        or Mnemonic.Maskmovdqu or Mnemonic.Cvtpi2ps or Mnemonic.Cvtpi2pd or Mnemonic.Cvtps2pi or Mnemonic.Cvttps2pi
        or Mnemonic.Cvtpd2pi or Mnemonic.Cvttpd2pi or Mnemonic.Cvtsi2ss or Mnemonic.Cvtsi2sd or Mnemonic.Cvtss2si
        or Mnemonic.Cvttss2si or Mnemonic.Cvtsd2si or Mnemonic.Cvttsd2si or Mnemonic.Pcmpistri or Mnemonic.Pcmpistrm
        or Mnemonic.Pcmpestri or Mnemonic.Pcmpestri64 or Mnemonic.Pcmpestrm or Mnemonic.Pcmpestrm64 or Mnemonic.Ldmxcsr
        or Mnemonic.Stmxcsr or Mnemonic.Vmovaps or Mnemonic.Vmovapd or Mnemonic.Vmovdqa or Mnemonic.Vmovups or Mnemonic.Vmovupd
        or Mnemonic.Vmovdqu or Mnemonic.Vlddqu or Mnemonic.Vmovntps or Mnemonic.Vmovntpd or Mnemonic.Vmovntdq
        or Mnemonic.Vmovntdqa or Mnemonic.Vmovss or Mnemonic.Vmovsd or Mnemonic.Vmovlps or Mnemonic.Vmovlpd or Mnemonic.Vmovhps
        or Mnemonic.Vmovhpd or Mnemonic.Vmovhlps or Mnemonic.Vmovlhps or Mnemonic.Vmovd or Mnemonic.Vmovq or Mnemonic.Vinsertps
        or Mnemonic.Vmaskmovdqu or Mnemonic.Vcvtsi2ss or Mnemonic.Vcvtsi2sd or Mnemonic.Vcvtss2si or Mnemonic.Vcvttss2si
        or Mnemonic.Vcvtsd2si or Mnemonic.Vcvttsd2si or Mnemonic.Vpcmpistri or Mnemonic.Vpcmpistrm or Mnemonic.Vpcmpestri
        or Mnemonic.Vpcmpestri64 or Mnemonic.Vpcmpestrm or Mnemonic.Vpcmpestrm64 or Mnemonic.Vldmxcsr or Mnemonic.Vstmxcsr
        or Mnemonic.Vzeroupper or Mnemonic.Vzeroall or Mnemonic.Vbroadcastf128 or Mnemonic.Vbroadcasti128 or Mnemonic.Vinsertf128
        or Mnemonic.Vinserti128 or Mnemonic.Vextractf128 or Mnemonic.Vextracti128 or Mnemonic.Vmaskmovps or Mnemonic.Vmaskmovpd
        or Mnemonic.Vpmaskmovd or Mnemonic.Vpmaskmovq or Mnemonic.Vgatherdps or Mnemonic.Vgatherdpd or Mnemonic.Vgatherqps
        or Mnemonic.Vgatherqpd or Mnemonic.Vpgatherdd or Mnemonic.Vpgatherdq or Mnemonic.Vpgatherqd or Mnemonic.Vpgatherqq;

    /// <summary>Mnemonics that stand for two rows: by register and by immediate.</summary>
    private static VecKind FormOf(in Instruction insn, VecKind kind)
    {
        if (insn.OpCount < 2 || !IsImmediate(insn.GetOpKind(insn.OpCount - 1)))
            return kind;
        return kind switch
        {
            VecKind.Psrlw => VecKind.PsrlwI,
            VecKind.Psrld => VecKind.PsrldI,
            VecKind.Psrlq => VecKind.PsrlqI,
            VecKind.Psraw => VecKind.PsrawI,
            VecKind.Psrad => VecKind.PsradI,
            VecKind.Psllw => VecKind.PsllwI,
            VecKind.Pslld => VecKind.PslldI,
            VecKind.Psllq => VecKind.PsllqI,
            VecKind.Vpermilps => VecKind.VpermilpsI,
            VecKind.Vpermilpd => VecKind.VpermilpdI,
            _ => kind,
        };
    }

    // Availability (Intel SDM volume 3, sections 13.1 and 12.1; volume 2, section 2.4).

    /// <summary>Raises #UD or #NM where the mode asks for it and gives false then.</summary>
    private static bool Available(X86Emitter e, bool mmx)
    {
        ref readonly var insn = ref e.Insn;
        var mode = e.Mode;
        var vex = insn.Encoding == EncodingKind.VEX;
        var usable = Supported(e, insn) && (vex
            ? (mode & Mode.Avx) != 0
            : (mode & Mode.Cr0Em) == 0 && ((mode & Mode.OsFxsr) != 0 || IsMmxOnly(insn, mmx)));
        if (!usable)
        {
            e.RaiseInvalidOpcode();
            return false;
        }

        if ((mode & Mode.Cr0Ts) != 0)
        {
            e.RaiseDeviceNotAvailable();
            return false;
        }

        if (mmx)
            EnterMmx(e);
        return true;
    }

    /// <summary>MMX instructions that touch no XMM register work without CR4.OSFXSR.</summary>
    private static bool IsMmxOnly(in Instruction insn, bool mmx)
    {
        if (!mmx)
            return false;
        for (var i = 0; i < insn.OpCount; i++)
        {
            if (insn.GetOpKind(i) == OpKind.Register && insn.GetOpRegister(i).IsXMM())
                return false;
        }

        return true;
    }

    private static bool UsesMmx(in Instruction insn)
    {
        for (var i = 0; i < insn.OpCount; i++)
        {
            if (insn.GetOpKind(i) == OpKind.Register && insn.GetOpRegister(i).IsMM())
                return true;
        }

        return false;
    }

    private static bool Supported(X86Emitter e, in Instruction insn)
    {
        foreach (var feature in insn.Code.CpuidFeatures())
        {
            X86Feature? needed = feature switch
            {
                CpuidFeature.MMX => X86Feature.Mmx,
                CpuidFeature.SSE => X86Feature.Sse,
                CpuidFeature.SSE2 => X86Feature.Sse2,
                CpuidFeature.SSE3 => X86Feature.Sse3,
                CpuidFeature.SSSE3 => X86Feature.Ssse3,
                CpuidFeature.SSE4_1 => X86Feature.Sse41,
                CpuidFeature.SSE4_2 => X86Feature.Sse42,
                CpuidFeature.AES => X86Feature.Aes,
                CpuidFeature.PCLMULQDQ => X86Feature.Pclmulqdq,
                CpuidFeature.SHA => X86Feature.ShaNi,
                CpuidFeature.AVX => X86Feature.Avx,
                CpuidFeature.AVX2 => X86Feature.Avx2,
                CpuidFeature.FMA => X86Feature.Fma,
                CpuidFeature.F16C => X86Feature.F16c,
                _ => null,
            };
            if (needed is { } f && !e.Model.Has(f))
                return false;
        }

        return true;
    }

    // Operands.

    private static bool IsImmediate(OpKind kind) => kind is OpKind.Immediate8 or OpKind.Immediate8_2nd or OpKind.Immediate8to32
        or OpKind.Immediate32;

    private static bool IsVex(X86Emitter e) => e.Insn.Encoding == EncodingKind.VEX;

    private static bool IsYmm(X86Emitter e, int operand) =>
        e.KindOf(operand) == OpKind.Register && e.Insn.GetOpRegister(operand).IsYMM();

    /// <summary>Whether the operation itself is 256 bits wide.</summary>
    private static W WidthOf(X86Emitter e)
    {
        for (var i = 0; i < e.Insn.OpCount; i++)
        {
            if (IsYmm(e, i))
                return W.Y;
        }

        return HasMemory(e) && e.Insn.MemorySize.GetSize() == 32 ? W.Y : W.X;
    }

    private static bool HasMemory(X86Emitter e)
    {
        for (var i = 0; i < e.Insn.OpCount; i++)
        {
            if (e.IsMemory(i))
                return true;
        }

        return false;
    }

    private static int VectorNumber(Register register) =>
        register >= Register.YMM0 ? register - Register.YMM0 : register - Register.XMM0;

    private static int OffsetOf(X86Emitter e, int operand) =>
        X86Layout.YmmRegisterOffset(VectorNumber(e.Insn.GetOpRegister(operand)));

    private static byte LastImmediate(X86Emitter e) => (byte)e.Insn.GetImmediate(e.Insn.OpCount - 1);

    /// <summary>A vector register (as wide as it is named) or memory operand; bytes above it are clear.</summary>
    private static Val LoadOperand(X86Emitter e, int operand)
    {
        if (e.IsMemory(operand))
            return LoadMemory(e, e.Insn.MemorySize.GetSize(), aligned: !IsVex(e));
        return e.B.VLdState(IsYmm(e, operand) ? W.Y : W.X, OffsetOf(e, operand));
    }

    /// <summary>Memory into a cleared vector. 16 bytes and more are checked for alignment where that is asked for.</summary>
    private static Val LoadMemory(X86Emitter e, int size, bool aligned)
    {
        var w = X86Emitter.WidthOf(size);
        var address = e.EffectiveAddress();
        if (w < W.D)
            return e.B.VFromInt(W.D, e.LoadMemory(w, address));
        if (w >= W.X && aligned)
            CheckAligned(e, address, size);
        return e.B.VGuestLd(w, address, e.MemOpFor(w));
    }

    private static void StoreMemory(X86Emitter e, W w, Val value, bool aligned = false)
    {
        var address = e.EffectiveAddress();
        if (w >= W.X && aligned)
            CheckAligned(e, address, 1 << (int)w);
        e.B.VGuestSt(w, address, value, e.MemOpFor(w));
    }

    /// <summary>Misaligned vector operands raise #GP(0).</summary>
    private static void CheckAligned(X86Emitter e, Val address, int size) =>
        e.B.BrCond(Cond.TestNe, W.Q, address, e.Const(size - 1), e.GeneralProtectionLabel());

    /// <summary>Writes a vector register as its name and the encoding say.</summary>
    private static void StoreRegister(X86Emitter e, int operand, Val value)
    {
        var offset = OffsetOf(e, operand);
        if (IsYmm(e, operand))
        {
            e.B.VStState(W.Y, offset, value);
            return;
        }

        e.B.VStState(W.X, offset, value);
        if (IsVex(e))
            ClearUpper(e, offset);
    }

    private static void ClearUpper(X86Emitter e, int offset)
    {
        e.B.StState(W.Q, offset + 16, e.Const(0));
        e.B.StState(W.Q, offset + 24, e.Const(0));
    }

    private static void StoreResult(X86Emitter e, int operand, W w, Val value)
    {
        if (e.IsMemory(operand))
            StoreMemory(e, w, value);
        else
            StoreRegister(e, operand, value);
    }
}
