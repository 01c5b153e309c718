using Iced.Intel;

namespace Dromaius.Cpu.X86;

/// <summary>What the translator asks of every instruction, tabulated by code: whether a model has it, and its part in flag liveness.</summary>
internal sealed class InstructionFacts
{
    /// <summary>CF, PF, AF, ZF, SF and OF.</summary>
    public const RflagsBits Arithmetic =
        RflagsBits.CF | RflagsBits.PF | RflagsBits.AF | RflagsBits.ZF | RflagsBits.SF | RflagsBits.OF;

    private readonly bool[] _supported;
    private static readonly bool[] Harmless = BuildHarmless();
    private static readonly (byte Read, byte Written)[] Flags = BuildFlags();

    public InstructionFacts(X86Model model)
    {
        _supported = new bool[Enum.GetValues<Code>().Length];
        for (var i = 1; i < _supported.Length; i++)
            _supported[i] = IsSupported(model, (Code)i);
    }

    public bool Supports(in Instruction insn) => _supported[(int)insn.Code];

    /// <summary>It can neither fault nor leave the block, so that nobody sees the flags in front of it.</summary>
    public static bool CannotLeave(in Instruction insn)
    {
        if (!Harmless[(int)insn.Mnemonic])
            return false;
        if (insn.Mnemonic is Mnemonic.Lea or Mnemonic.Nop)
            return true;
        for (var i = 0; i < insn.OpCount; i++)
        {
            var kind = insn.GetOpKind(i);
            if (kind is >= OpKind.MemorySegSI and <= OpKind.Memory)
                return false;
            // MOV to and from segment and system registers.
            if (kind == OpKind.Register && !insn.GetOpRegister(i).IsGPR())
                return false;
        }

        return true;
    }

    public static RflagsBits ReadBy(in Instruction insn) => (RflagsBits)Flags[(int)insn.Code].Read;

    /// <summary>Flags that the instruction may give new values.</summary>
    public static RflagsBits MayWrite(in Instruction insn) => (RflagsBits)Flags[(int)insn.Code].Written;

    /// <summary>Flags that the instruction gives new values in any case.</summary>
    public static RflagsBits WrittenBy(in Instruction insn)
    {
        var written = MayWrite(insn);
        if (written != 0 && IsShift(insn.Mnemonic))
        {
            // A count of 0 leaves them.
            var last = insn.OpCount - 1;
            if (insn.GetOpKind(last) == OpKind.Register || (insn.GetImmediate(last) & 31) == 0)
                return 0;
        }

        return written;
    }

    private static bool IsShift(Mnemonic mnemonic) => mnemonic is Mnemonic.Shl or Mnemonic.Sal or Mnemonic.Shr or Mnemonic.Sar
        or Mnemonic.Rol or Mnemonic.Ror or Mnemonic.Rcl or Mnemonic.Rcr or Mnemonic.Shld or Mnemonic.Shrd;

    private static bool[] BuildHarmless()
    {
        ReadOnlySpan<Mnemonic> list =
        [
            Mnemonic.Add, Mnemonic.Adc, Mnemonic.Sub, Mnemonic.Sbb, Mnemonic.Cmp, Mnemonic.And, Mnemonic.Or, Mnemonic.Xor,
            Mnemonic.Test, Mnemonic.Inc, Mnemonic.Dec, Mnemonic.Neg, Mnemonic.Not, Mnemonic.Mov, Mnemonic.Movzx,
            Mnemonic.Movsx, Mnemonic.Movsxd, Mnemonic.Lea, Mnemonic.Xchg, Mnemonic.Bswap, Mnemonic.Cbw, Mnemonic.Cwde,
            Mnemonic.Cdqe, Mnemonic.Cwd, Mnemonic.Cdq, Mnemonic.Cqo, Mnemonic.Imul, Mnemonic.Mul, Mnemonic.Shl, Mnemonic.Sal,
            Mnemonic.Shr, Mnemonic.Sar, Mnemonic.Rol, Mnemonic.Ror, Mnemonic.Rcl, Mnemonic.Rcr, Mnemonic.Shld, Mnemonic.Shrd,
            Mnemonic.Bt, Mnemonic.Bts, Mnemonic.Btr, Mnemonic.Btc, Mnemonic.Bsf, Mnemonic.Bsr, Mnemonic.Tzcnt, Mnemonic.Lzcnt,
            Mnemonic.Popcnt, Mnemonic.Andn, Mnemonic.Bextr, Mnemonic.Blsi, Mnemonic.Blsmsk, Mnemonic.Blsr, Mnemonic.Bzhi,
            Mnemonic.Mulx, Mnemonic.Pdep, Mnemonic.Pext, Mnemonic.Rorx, Mnemonic.Shlx, Mnemonic.Shrx, Mnemonic.Sarx,
            Mnemonic.Clc, Mnemonic.Stc, Mnemonic.Cmc, Mnemonic.Cld, Mnemonic.Std, Mnemonic.Nop, Mnemonic.Xadd,
            Mnemonic.Cmpxchg, Mnemonic.Lahf, Mnemonic.Sahf, Mnemonic.Endbr64, Mnemonic.Endbr32,
            Mnemonic.Seta, Mnemonic.Setae, Mnemonic.Setb, Mnemonic.Setbe, Mnemonic.Sete, Mnemonic.Setg, Mnemonic.Setge,
            Mnemonic.Setl, Mnemonic.Setle, Mnemonic.Setne, Mnemonic.Setno, Mnemonic.Setnp, Mnemonic.Setns, Mnemonic.Seto,
            Mnemonic.Setp, Mnemonic.Sets, Mnemonic.Cmova, Mnemonic.Cmovae, Mnemonic.Cmovb, Mnemonic.Cmovbe, Mnemonic.Cmove,
            Mnemonic.Cmovg, Mnemonic.Cmovge, Mnemonic.Cmovl, Mnemonic.Cmovle, Mnemonic.Cmovne, Mnemonic.Cmovno,
            Mnemonic.Cmovnp, Mnemonic.Cmovns, Mnemonic.Cmovo, Mnemonic.Cmovp, Mnemonic.Cmovs,
        ];
        var harmless = new bool[Enum.GetValues<Mnemonic>().Length];
        foreach (var mnemonic in list)
            harmless[(int)mnemonic] = true;
        return harmless;
    }

    private static (byte, byte)[] BuildFlags()
    {
        var flags = new (byte, byte)[Enum.GetValues<Code>().Length];
        for (var i = 0; i < flags.Length; i++)
        {
            var insn = default(Instruction);
            insn.Code = (Code)i;
            var read = insn.RflagsRead;
            var modified = insn.RflagsModified;
            if (((Code)i).Mnemonic() is Mnemonic.Rcl or Mnemonic.Rcr)
                read |= RflagsBits.CF;
            if (IsShift(((Code)i).Mnemonic()))
            {
                // The table must not depend on the immediate of the sample.
                modified |= ((Code)i).Mnemonic() is Mnemonic.Rol or Mnemonic.Ror or Mnemonic.Rcl or Mnemonic.Rcr
                    ? RflagsBits.CF | RflagsBits.OF
                    : Arithmetic;
            }

            // Flags that the manual leaves undefined but processors and these translations keep.
            if (((Code)i).Mnemonic() is Mnemonic.Bt or Mnemonic.Bts or Mnemonic.Btr or Mnemonic.Btc)
                modified = RflagsBits.CF;
            flags[i] = ((byte)(read & Arithmetic), (byte)(modified & Arithmetic));
        }

        return flags;
    }

    private static bool IsSupported(X86Model model, Code code)
    {
        // ENDBR and shadow stack pointer reads are no-ops where CET is not there.
        if (code is Code.Endbr32 or Code.Endbr64 or Code.Rdsspd_r32 or Code.Rdsspq_r64)
            return true;
        foreach (var feature in code.CpuidFeatures())
        {
            if (!Has(model, feature))
                return false;
        }

        return true;
    }

    private static bool Has(X86Model model, CpuidFeature feature) => feature switch
    {
        CpuidFeature.INTEL8086 or CpuidFeature.INTEL8086_ONLY or CpuidFeature.INTEL186 or CpuidFeature.INTEL286
            or CpuidFeature.INTEL386 or CpuidFeature.INTEL486 or CpuidFeature.SMM or CpuidFeature.PREFETCHW
            or CpuidFeature.MULTIBYTENOP or CpuidFeature.CPUID or CpuidFeature.RDPMC or CpuidFeature.PREFETCHITI
            or CpuidFeature.PREFETCHWT1 or CpuidFeature.PAUSE => true,
        // On every model, as on QEMU's: systems that start on its 486 use the counter without asking.
        CpuidFeature.TSC or CpuidFeature.MSR or CpuidFeature.SEP => true,
        CpuidFeature.X64 => model.Has(X86Feature.Lm),
        CpuidFeature.FPU or CpuidFeature.FPU287 or CpuidFeature.FPU387 => model.Has(X86Feature.Fpu),
        CpuidFeature.CMOV => model.Has(X86Feature.Cmov),
        CpuidFeature.CX8 => model.Has(X86Feature.Cx8),
        CpuidFeature.CMPXCHG16B => model.Has(X86Feature.Cx16),
        CpuidFeature.SYSCALL => model.Has(X86Feature.Syscall) || model.Has(X86Feature.Lm),
        CpuidFeature.MMX => model.Has(X86Feature.Mmx),
        CpuidFeature.FXSR => model.Has(X86Feature.Fxsr),
        CpuidFeature.SSE => model.Has(X86Feature.Sse),
        CpuidFeature.SSE2 => model.Has(X86Feature.Sse2),
        CpuidFeature.SSE3 => model.Has(X86Feature.Sse3),
        CpuidFeature.SSSE3 => model.Has(X86Feature.Ssse3),
        CpuidFeature.SSE4_1 => model.Has(X86Feature.Sse41),
        CpuidFeature.SSE4_2 => model.Has(X86Feature.Sse42),
        CpuidFeature.SSE4A => model.Has(X86Feature.Sse4a),
        CpuidFeature.PCLMULQDQ => model.Has(X86Feature.Pclmulqdq),
        CpuidFeature.AES => model.Has(X86Feature.Aes),
        CpuidFeature.SHA => model.Has(X86Feature.ShaNi),
        CpuidFeature.AVX => model.Has(X86Feature.Avx),
        CpuidFeature.AVX2 => model.Has(X86Feature.Avx2),
        CpuidFeature.FMA => model.Has(X86Feature.Fma),
        CpuidFeature.F16C => model.Has(X86Feature.F16c),
        CpuidFeature.VAES => model.Has(X86Feature.Vaes),
        CpuidFeature.VPCLMULQDQ => model.Has(X86Feature.Vpclmulqdq),
        CpuidFeature.GFNI => model.Has(X86Feature.Gfni),
        CpuidFeature.BMI1 => model.Has(X86Feature.Bmi1),
        CpuidFeature.BMI2 => model.Has(X86Feature.Bmi2),
        CpuidFeature.LZCNT => model.Has(X86Feature.Abm),
        CpuidFeature.POPCNT => model.Has(X86Feature.Popcnt),
        CpuidFeature.MOVBE => model.Has(X86Feature.Movbe),
        CpuidFeature.ADX => model.Has(X86Feature.Adx),
        CpuidFeature.RDRAND => model.Has(X86Feature.Rdrand),
        CpuidFeature.RDSEED => model.Has(X86Feature.Rdseed),
        CpuidFeature.RDTSCP => model.Has(X86Feature.Rdtscp),
        CpuidFeature.RDPID => model.Has(X86Feature.Rdpid),
        CpuidFeature.FSGSBASE => model.Has(X86Feature.FsGsBase),
        CpuidFeature.SMAP => model.Has(X86Feature.Smap),
        CpuidFeature.INVPCID => model.Has(X86Feature.Invpcid),
        CpuidFeature.PKU => model.Has(X86Feature.Pku),
        CpuidFeature.MONITOR => model.Has(X86Feature.Monitor),
        CpuidFeature.CLFSH => model.Has(X86Feature.Clflush),
        CpuidFeature.CLFLUSHOPT => model.Has(X86Feature.Clflushopt),
        CpuidFeature.CLWB => model.Has(X86Feature.Clwb),
        CpuidFeature.CLDEMOTE => true,
        CpuidFeature.WBNOINVD => model.Has(X86Feature.Wbnoinvd),
        CpuidFeature.SERIALIZE => model.Has(X86Feature.Serialize),
        CpuidFeature.XSAVE => model.Has(X86Feature.Xsave),
        CpuidFeature.XSAVEOPT => model.Has(X86Feature.Xsaveopt),
        CpuidFeature.XSAVEC => model.Has(X86Feature.Xsavec),
        CpuidFeature.XSAVES => model.Has(X86Feature.Xsaves),
        CpuidFeature.D3NOW => model.Has(X86Feature.ThreeDNow),
        CpuidFeature.D3NOWEXT => model.Has(X86Feature.ThreeDNowExt),
        CpuidFeature.MOVDIRI => model.Has(X86Feature.Movdiri),
        CpuidFeature.MOVDIR64B => model.Has(X86Feature.Movdir64B),
        _ => false,
    };
}
