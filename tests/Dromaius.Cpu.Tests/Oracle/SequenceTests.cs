using System.Globalization;
using System.Text;
using Iced.Intel;

namespace Dromaius.Cpu.Tests.Oracle;

/// <summary>
/// Random sequences of instructions against the host: what one instruction leaves for the next (flags above all) and what the
/// back ends keep in registers. <c>DROMAIUS_X86_SEQUENCES</c>: how many (default 2,000). <c>DROMAIUS_X86_SEED</c>: first seed.
/// </summary>
public sealed class SequenceTests
{
    private const int MaxLength = 14;
    private const int MaxBytes = 0x100;
    private static readonly int Count = HostOracleTests.Setting("DROMAIUS_X86_SEQUENCES", 2000);
    private static readonly int FirstSeed = HostOracleTests.Setting("DROMAIUS_X86_SEED", 1);
    private static readonly Code[] Integer = [.. InstructionForms.All().Where(static c => Usable(c, vector: false))];
    private static readonly Code[] Vector = [.. InstructionForms.All().Where(static c => Usable(c, vector: true))];
    private static readonly Code[] Carries = [.. Integer.Where(static c => c.Mnemonic() is Mnemonic.Add or Mnemonic.Adc or Mnemonic.Sub
        or Mnemonic.Sbb or Mnemonic.Adcx or Mnemonic.Adox or Mnemonic.Mulx or Mnemonic.Neg or Mnemonic.Inc or Mnemonic.Lea or Mnemonic.Setb
        or Mnemonic.Cmp or Mnemonic.Bt or Mnemonic.Sete)];
    private static readonly Code[] Branches = [.. Integer.Where(static c => c.IsJccShortOrNear() || c.Mnemonic() is Mnemonic.Cmp or Mnemonic.Test
        or Mnemonic.Add or Mnemonic.Sub or Mnemonic.Inc or Mnemonic.Dec or Mnemonic.Bt or Mnemonic.Rol or Mnemonic.Ror or Mnemonic.Sbb
        or Mnemonic.Setb or Mnemonic.Seta or Mnemonic.Cmovg or Mnemonic.Jrcxz or Mnemonic.Lea)];
    private static readonly Code[] Fpu = [.. InstructionForms.All().Where(IsUsableFpu)];

    [Fact]
    public void InterpretedSequencesDoWhatTheHostDoes() => CompareAll(native: false);

    [Fact]
    public void CompiledSequencesDoWhatTheHostDoes() => CompareAll(native: true);

    [Fact]
    public void InterpretedLoopsDoWhatTheHostDoes() => CompareAll(native: false, loops: true);

    [Fact]
    public void CompiledLoopsDoWhatTheHostDoes() => CompareAll(native: true, loops: true);

    private static void CompareAll(bool native, bool loops = false)
    {
        if (!HostProcessor.IsSupported)
            return;
        using var guest = new GuestProcessor(native);
        for (var n = 0; n < Count; n++)
        {
            var program = Generate(FirstSeed + n) with { Loops = loops };
            if (Compare(guest, program, FirstSeed + n) == null)
                continue;
            program = Reduce(guest, program, FirstSeed + n);
            var text = new StringBuilder($"repeat: DROMAIUS_X86_SEQUENCES=1 DROMAIUS_X86_SEED={FirstSeed + n}\n");
            foreach (var insn in program.Instructions)
                text.Append("  ").Append(insn).Append('\n');
            Assert.Fail(text + Compare(guest, program, FirstSeed + n));
        }

        Assert.Equal(loops, guest.Traces > Count / 3);
    }

    private sealed record Program(List<Instruction> Instructions, List<byte[]> Codes)
    {
        /// <summary>Runs as often as R14 says.</summary>
        public bool Loops { get; init; }

        public byte[] Bytes
        {
            get
            {
                var bytes = Codes.SelectMany(static c => c).ToList();
                if (!Loops)
                    return [.. bytes];
                bytes.AddRange(At(Instruction.Create(Code.Sub_rm32_imm8, Register.R14D, 1), bytes.Count));
                bytes.AddRange(At(Instruction.CreateBranch(Code.Jne_rel32_64, MachineState.SequenceBase), bytes.Count));
                return [.. bytes];
            }
        }

        /// <summary>The addresses of its basic blocks.</summary>
        public ulong[]? Path
        {
            get
            {
                var path = new List<ulong> { MachineState.SequenceBase };
                var at = MachineState.SequenceBase;
                for (var i = 0; i < Codes.Count; i++)
                {
                    at += (ulong)Codes[i].Length;
                    if (Instructions[i].FlowControl == FlowControl.ConditionalBranch)
                        path.Add(at);
                }

                return Loops ? [.. path] : null;
            }
        }

        private static byte[] At(in Instruction insn, int offset) =>
            InstructionForms.Encode(insn, MachineState.SequenceBase + (ulong)offset) ?? [];
    }

    private static bool Usable(Code code, bool vector)
    {
        var op = code.ToOpCode();
        if (op.Mnemonic is Mnemonic.Xlatb or Mnemonic.Enter or Mnemonic.Leave or Mnemonic.Div or Mnemonic.Idiv or Mnemonic.Push
            or Mnemonic.Pop or Mnemonic.Maskmovdqu or Mnemonic.Maskmovq or Mnemonic.Vmaskmovdqu or Mnemonic.Wait
            || op.Mnemonic.ToString().StartsWith('F') || op.MemorySize.ToString().StartsWith("Bound", StringComparison.Ordinal))
            return false;
        for (var i = 0; i < op.OpCount; i++)
        {
            if (op.GetOpKind(i) is OpCodeOperandKind.seg_rSI or OpCodeOperandKind.es_rDI or OpCodeOperandKind.seg_rDI
                or OpCodeOperandKind.br64_1 or OpCodeOperandKind.mm_reg or OpCodeOperandKind.mm_or_mem or OpCodeOperandKind.mm_rm
                or OpCodeOperandKind.mem_offs or OpCodeOperandKind.mem_vsib32x or OpCodeOperandKind.mem_vsib64x
                or OpCodeOperandKind.mem_vsib32y or OpCodeOperandKind.mem_vsib64y)
                return false;
        }

        var insn = default(Instruction);
        insn.Code = code;
        if (insn.FlowControl is not (FlowControl.Next or FlowControl.ConditionalBranch) || insn.IsStackInstruction)
            return false;
        if (op.Mnemonic is Mnemonic.Cmpxchg8b or Mnemonic.Cmpxchg16b or Mnemonic.Loop or Mnemonic.Loope or Mnemonic.Loopne
            or Mnemonic.Emms || HostOracleTests.IsReservedNop(code))
            return false;
        var features = code.CpuidFeatures();
        var isVector = features.Any(static f => f is CpuidFeature.SSE or CpuidFeature.SSE2 or CpuidFeature.SSE3 or CpuidFeature.SSSE3
            or CpuidFeature.SSE4_1 or CpuidFeature.SSE4_2 or CpuidFeature.AVX or CpuidFeature.AVX2 or CpuidFeature.FMA
            or CpuidFeature.AES or CpuidFeature.PCLMULQDQ or CpuidFeature.SHA or CpuidFeature.F16C or CpuidFeature.MMX);
        return vector == isVector;
    }

    private static bool IsUsableFpu(Code code)
    {
        var op = code.ToOpCode();
        return op.Mnemonic.ToString().StartsWith('F') && !HostOracleTests.IsTranscendental(op.Mnemonic)
            && code.CpuidFeatures().All(static f => f is CpuidFeature.FPU or CpuidFeature.FPU287 or CpuidFeature.FPU387
                or CpuidFeature.CMOV or CpuidFeature.SSE3);
    }

    private static Program Generate(int seed)
    {
        var random = new SequenceRandom(seed);
        var program = new Program([], []);
        var rip = MachineState.SequenceBase;
        var wanted = random.Next(2, MaxLength);
        var (family, share) = random.Next(6) switch
        {
            0 => (Vector, 3),
            1 => (Fpu, 8),
            2 => (Carries, 6),
            3 => (Branches, 6),
            _ => (Integer, 2),
        };
        var defined = ~0UL;
        for (var tries = 0; tries < 200 && program.Codes.Count < wanted; tries++)
        {
            var list = random.Next(share) != 0 ? family : Integer;
            var code = list[random.Next(list.Length)];
            if (InstructionForms.Build(code, rip, random, out var insn) is not { } bytes || Touches(insn)
                || rip + (ulong)bytes.Length > MachineState.SequenceBase + MaxBytes
                || (HostOracleTests.Flags(insn.RflagsRead) & ~defined) != 0)
                continue;
            defined = DefinedAfter(insn, defined);
            program.Instructions.Add(insn);
            program.Codes.Add(bytes);
            rip += (ulong)bytes.Length;
        }

        return program;
    }

    /// <summary>Which flags have a value that the manual defines, given those that had one before.</summary>
    private static ulong DefinedAfter(in Instruction insn, ulong defined)
    {
        // A shift by nothing changes no flag, by more than one leaves OF undefined.
        if (IsShift(insn.Mnemonic))
            return defined & ~HostOracleTests.Flags(insn.RflagsUndefined) & ~0x810UL;
        return (defined | HostOracleTests.Flags(insn.RflagsModified)) & ~HostOracleTests.Flags(insn.RflagsUndefined);
    }

    private static bool IsShift(Mnemonic mnemonic) => mnemonic is Mnemonic.Shl or Mnemonic.Sal or Mnemonic.Shr or Mnemonic.Sar
        or Mnemonic.Rol or Mnemonic.Ror or Mnemonic.Rcl or Mnemonic.Rcr or Mnemonic.Shld or Mnemonic.Shrd;

    /// <summary>The registers that address memory and count rounds must stay, and results must be defined.</summary>
    private static bool Touches(in Instruction insn)
    {
        if (insn.Mnemonic is Mnemonic.Shld or Mnemonic.Shrd && insn.Code.ToString().Contains("rm16", StringComparison.Ordinal))
            return true;
        if (insn.Mnemonic is Mnemonic.Bt or Mnemonic.Bts or Mnemonic.Btr or Mnemonic.Btc && insn.Op0Kind == OpKind.Memory
            && insn.Op1Kind == OpKind.Register)
            return true;

        // Processors differ: the NaN that wins, and whether this must be aligned (R15 is).
        if (HostOracleTests.IsDotProduct(insn.Mnemonic)
            || (HostOracleTests.IsSha(insn) && insn.MemorySize != MemorySize.Unknown && (insn.MemoryDisplacement64 & 15) != 0))
            return true;
        for (var i = 0; i < insn.OpCount; i++)
        {
            if (insn.GetOpKind(i) == OpKind.Register && insn.GetOpRegister(i).IsGPR()
                && insn.GetOpRegister(i).GetFullRegister() is Register.R14 or Register.R15 or Register.RSP)
                return true;
        }

        return false;
    }

    private static string? Compare(GuestProcessor guest, Program program, int seed)
    {
        var before = new MachineState();
        var host = new MachineState();
        var actual = new MachineState();
        var random = new Random(seed);
        StateGenerator.Fill(before, random, default);
        before.Rip = MachineState.SequenceBase;
        before.Gpr[15] = MachineState.ArenaBase + 0x2000;
        before.Gpr[14] = (ulong)random.Next(1, 4);
        before.CopyTo(host);
        before.CopyTo(actual);
        var bytes = program.Bytes;
        HostProcessor.Instance.Run(bytes, host);
        guest.Run(bytes, actual, random.Next(3) == 0 ? random.Next(1, 5) : 64, program.Path);
        var undefined = ~program.Instructions.Aggregate(~0UL, static (d, i) => DefinedAfter(i, d));

        // A branch may have left before the last of them.
        if (program.Instructions.Any(static i => i.FlowControl == FlowControl.ConditionalBranch) || host.Trap != MachineState.NoTrap)
        {
            foreach (var insn in program.Instructions)
                undefined |= ~DefinedAfter(insn, ~0UL);
        }

        ForgetEmpty(host);
        ForgetEmpty(actual);
        host.Rflags &= ~undefined;
        actual.Rflags &= ~undefined;
        return MachineState.Difference(before, host, actual, undefined) is { } difference ? difference + before.Describe() : null;
    }

    /// <summary>What lies in empty registers is nobody's: values that were popped need not get there.</summary>
    private static void ForgetEmpty(MachineState state)
    {
        for (var i = 0; i < 8; i++)
        {
            if ((state.FpTags >> ((state.FpStatus >> 11) + i & 7) & 1) == 0)
                state.Fp.AsSpan(i * 10, 10).Clear();
        }
    }

    private static Program Reduce(GuestProcessor guest, Program program, int seed)
    {
        for (var i = program.Codes.Count - 1; i >= 0; i--)
        {
            var without = Without(program, i);
            if (without != null && Compare(guest, without, seed) != null)
                program = without;
        }

        return program;
    }

    private static Program? Without(Program program, int index)
    {
        var result = program with { Instructions = [], Codes = [] };
        var rip = MachineState.SequenceBase;
        var defined = ~0UL;
        for (var i = 0; i < program.Codes.Count; i++)
        {
            if (i == index)
                continue;
            var insn = program.Instructions[i];
            if ((HostOracleTests.Flags(insn.RflagsRead) & ~defined) != 0)
                return null;
            defined = DefinedAfter(insn, defined);
            var bytes = InstructionForms.Encode(insn, rip);
            if (bytes == null)
                return null;
            result.Instructions.Add(insn);
            result.Codes.Add(bytes);
            rip += (ulong)bytes.Length;
        }

        return result;
    }
}
