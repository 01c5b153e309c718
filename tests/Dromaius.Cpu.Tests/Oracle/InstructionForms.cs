using Iced.Intel;

namespace Dromaius.Cpu.Tests.Oracle;

/// <summary>Every instruction form that can be compared with the host, and random instances of one.</summary>
internal static class InstructionForms
{
    private static readonly HashSet<CpuidFeature> Features =
    [
        CpuidFeature.INTEL8086, CpuidFeature.INTEL186, CpuidFeature.INTEL286, CpuidFeature.INTEL386, CpuidFeature.INTEL486,
        CpuidFeature.X64, CpuidFeature.FPU, CpuidFeature.FPU287, CpuidFeature.FPU387, CpuidFeature.CMOV, CpuidFeature.CX8,
        CpuidFeature.CMPXCHG16B, CpuidFeature.MMX, CpuidFeature.SSE, CpuidFeature.SSE2, CpuidFeature.SSE3,
        CpuidFeature.SSSE3, CpuidFeature.SSE4_1, CpuidFeature.SSE4_2, CpuidFeature.POPCNT, CpuidFeature.LZCNT,
        CpuidFeature.BMI1, CpuidFeature.BMI2, CpuidFeature.ADX, CpuidFeature.MOVBE, CpuidFeature.AES,
        CpuidFeature.PCLMULQDQ, CpuidFeature.SHA, CpuidFeature.AVX, CpuidFeature.AVX2, CpuidFeature.FMA,
        CpuidFeature.F16C, CpuidFeature.MULTIBYTENOP, CpuidFeature.PREFETCHW, CpuidFeature.CLFSH,
    ];

    /// <summary>What user code cannot run alone, what looks at the outside, and what leaves more state than is compared.</summary>
    private static readonly HashSet<Mnemonic> Skipped =
    [
        Mnemonic.Syscall, Mnemonic.Sysenter, Mnemonic.Sysret, Mnemonic.Sysexit, Mnemonic.Int, Mnemonic.Int1, Mnemonic.Int3, Mnemonic.Into,
        Mnemonic.Hlt, Mnemonic.In, Mnemonic.Out, Mnemonic.Insb, Mnemonic.Insw, Mnemonic.Insd, Mnemonic.Outsb,
        Mnemonic.Outsw, Mnemonic.Outsd, Mnemonic.Cpuid, Mnemonic.Rdtsc, Mnemonic.Rdpmc, Mnemonic.Lar, Mnemonic.Lsl,
        Mnemonic.Verr, Mnemonic.Verw, Mnemonic.Sldt, Mnemonic.Str, Mnemonic.Sgdt, Mnemonic.Sidt, Mnemonic.Smsw,
        Mnemonic.Lfs, Mnemonic.Lgs, Mnemonic.Lss, Mnemonic.Iret, Mnemonic.Iretd, Mnemonic.Iretq, Mnemonic.Retf,
        Mnemonic.Popf, Mnemonic.Popfd, Mnemonic.Popfq, Mnemonic.Fldenv, Mnemonic.Frstor, Mnemonic.Fxrstor, Mnemonic.Fxrstor64,
        Mnemonic.Fnstenv, Mnemonic.Fstenv, Mnemonic.Fnsave, Mnemonic.Fsave,
        Mnemonic.Clflush, Mnemonic.Monitor, Mnemonic.Mwait, Mnemonic.Fstpnce, Mnemonic.Fsetpm,
        Mnemonic.Frstpm, Mnemonic.Feni, Mnemonic.Fdisi, Mnemonic.Fneni, Mnemonic.Fndisi, Mnemonic.Fnsetpm,
    ];

    /// <summary>Codes that this harness can build, in Iced's order.</summary>
    public static IEnumerable<Code> All(int bits = 64)
    {
        foreach (var code in Enum.GetValues<Code>())
        {
            var op = code.ToOpCode();
            if (!op.IsInstruction || !(bits == 64 ? op.Mode64 : bits == 32 ? op.Mode32 : op.Mode16) || op.IsPrivileged || Skipped.Contains(op.Mnemonic)
                || op.Encoding is not (EncodingKind.Legacy or EncodingKind.VEX)
                || code.CpuidFeatures().Any(static f => !Features.Contains(f)) || Far(op, bits))
                continue;
            yield return code;
        }
    }

    /// <summary>What tells forms of one opcode apart: an operand in memory, and LOCK or REP.</summary>
    public static (Code Code, bool Memory, int Prefix) Form(in Instruction instruction)
    {
        var memory = false;
        for (var i = 0; i < instruction.OpCount; i++)
            memory |= instruction.GetOpKind(i) == OpKind.Memory;
        return (instruction.Code, memory,
            instruction.HasLockPrefix ? 1 : instruction.HasRepPrefix ? 2 : instruction.HasRepnePrefix ? 3 : 0);
    }

    /// <summary>A random instance, encoded; null when there is none.</summary>
    public static byte[]? Build(Code code, ulong rip, Random random, out Instruction instruction, int bits = 64)
    {
        var op = code.ToOpCode();
        for (var tries = 0; tries < 8; tries++)
        {
            instruction = default;
            instruction.Code = code;
            if (!TryOperands(op, bits, random, ref instruction))
                return null;
            Prefixes(op, random, ref instruction);
            if (Encode(instruction, rip, bits) is { } bytes)
            {
                var decoder = Decoder.Create(bits, bytes);
                decoder.IP = rip;
                decoder.Decode(out instruction);
                return instruction.Code == code ? bytes : null;
            }
        }

        instruction = default;
        return null;
    }

    /// <summary>The instruction's bytes at an address; null when it cannot be encoded.</summary>
    public static byte[]? Encode(in Instruction instruction, ulong rip, int bits = 64)
    {
        var writer = new ListWriter();
        return Encoder.Create(bits, writer).TryEncode(instruction, rip, out _, out _) ? [.. writer.Bytes] : null;
    }

    private static bool Far(OpCodeInfo op, int bits)
    {
        for (var i = 0; i < op.OpCount; i++)
        {
            if (op.GetOpKind(i) is OpCodeOperandKind.farbr2_2 or OpCodeOperandKind.farbr4_2 or OpCodeOperandKind.seg_reg
                or OpCodeOperandKind.cr_reg or OpCodeOperandKind.dr_reg or OpCodeOperandKind.fs or OpCodeOperandKind.gs
                or OpCodeOperandKind.es or OpCodeOperandKind.cs or OpCodeOperandKind.ss or OpCodeOperandKind.ds)
                return true;

            // Where the code is, 16 bits do not reach but in a 16-bit segment.
            if (op.GetOpKind(i) is OpCodeOperandKind.br16_1 or OpCodeOperandKind.br16_2 && bits != 16)
                return true;
        }

        return op.Code is Code.Jmp_m1616 or Code.Jmp_m1632 or Code.Jmp_m1664 or Code.Call_m1616 or Code.Call_m1632
            or Code.Call_m1664 || (bits != 16 && op.Code is Code.Jmp_rm16 or Code.Call_rm16 or Code.Retnw or Code.Retnw_imm16);
    }

    private static void Prefixes(OpCodeInfo op, Random random, ref Instruction insn)
    {
        if (op.CanUseLockPrefix && insn.Op0Kind == OpKind.Memory && random.Next(3) == 0)
            insn.HasLockPrefix = true;
        if (op.CanUseRepPrefix && random.Next(2) == 0)
            insn.HasRepPrefix = true;
        else if (op.CanUseRepnePrefix && insn.IsStringInstruction && random.Next(2) == 0)
            insn.HasRepnePrefix = true;
    }

    private static bool TryOperands(OpCodeInfo op, int bits, Random random, ref Instruction insn)
    {
        for (var i = 0; i < op.OpCount; i++)
        {
            if (!TryOperand(op, op.GetOpKind(i), i, bits, random, ref insn))
                return false;
        }

        return true;
    }

    private static bool TryOperand(OpCodeInfo op, OpCodeOperandKind kind, int i, int bits, Random random, ref Instruction insn)
    {
        var memory = random.Next(2) == 0;
        switch (kind)
        {
            case OpCodeOperandKind.mem:
            case OpCodeOperandKind.mem_mib:
                Memory(i, bits, random, ref insn);
                return true;
            case OpCodeOperandKind.mem_offs:
                insn.SetOpKind(i, OpKind.Memory);
                insn.MemoryBase = Register.None;
                insn.MemoryDisplacement64 = (bits == 16 ? 0 : MachineState.ArenaBase) + 0x1000 + (ulong)random.Next(0x1000);
                insn.MemoryDisplSize = bits / 8;
                return true;
            case OpCodeOperandKind.mem_vsib32x:
            case OpCodeOperandKind.mem_vsib64x:
                Vsib(i, Register.XMM0, bits, random, ref insn);
                return true;
            case OpCodeOperandKind.mem_vsib32y:
            case OpCodeOperandKind.mem_vsib64y:
                Vsib(i, Register.YMM0, bits, random, ref insn);
                return true;
            case OpCodeOperandKind.r8_or_mem when memory:
            case OpCodeOperandKind.r16_or_mem when memory:
            case OpCodeOperandKind.r32_or_mem when memory:
            case OpCodeOperandKind.r64_or_mem when memory:
            case OpCodeOperandKind.mm_or_mem when memory:
            case OpCodeOperandKind.xmm_or_mem when memory:
            case OpCodeOperandKind.ymm_or_mem when memory:
                Memory(i, bits, random, ref insn);
                return true;
            case OpCodeOperandKind.r8_or_mem:
            case OpCodeOperandKind.r8_reg:
            case OpCodeOperandKind.r8_opcode:
                return Set(ref insn, i, Register8(bits, random));
            case OpCodeOperandKind.r16_or_mem:
            case OpCodeOperandKind.r16_reg:
            case OpCodeOperandKind.r16_reg_mem:
            case OpCodeOperandKind.r16_rm:
            case OpCodeOperandKind.r16_opcode:
                return Set(ref insn, i, Register.AX + AnyGpr(bits, random));
            case OpCodeOperandKind.r32_or_mem:
            case OpCodeOperandKind.r32_reg:
            case OpCodeOperandKind.r32_reg_mem:
            case OpCodeOperandKind.r32_rm:
            case OpCodeOperandKind.r32_opcode:
            case OpCodeOperandKind.r32_vvvv:
                return Set(ref insn, i, Register.EAX + AnyGpr(bits, random));
            case OpCodeOperandKind.r64_or_mem:
            case OpCodeOperandKind.r64_reg:
            case OpCodeOperandKind.r64_reg_mem:
            case OpCodeOperandKind.r64_rm:
            case OpCodeOperandKind.r64_opcode:
            case OpCodeOperandKind.r64_vvvv:
                return Set(ref insn, i, Register.RAX + AnyGpr(bits, random));
            case OpCodeOperandKind.mm_or_mem:
            case OpCodeOperandKind.mm_reg:
            case OpCodeOperandKind.mm_rm:
                return Set(ref insn, i, Register.MM0 + random.Next(8));
            case OpCodeOperandKind.xmm_or_mem:
            case OpCodeOperandKind.xmm_reg:
            case OpCodeOperandKind.xmm_rm:
            case OpCodeOperandKind.xmm_vvvv:
            case OpCodeOperandKind.xmm_is4:
                return Set(ref insn, i, Register.XMM0 + random.Next(Registers(bits)));
            case OpCodeOperandKind.ymm_or_mem:
            case OpCodeOperandKind.ymm_reg:
            case OpCodeOperandKind.ymm_rm:
            case OpCodeOperandKind.ymm_vvvv:
            case OpCodeOperandKind.ymm_is4:
                return Set(ref insn, i, Register.YMM0 + random.Next(Registers(bits)));
            case OpCodeOperandKind.al:
                return Set(ref insn, i, Register.AL);
            case OpCodeOperandKind.cl:
                return Set(ref insn, i, Register.CL);
            case OpCodeOperandKind.ax:
                return Set(ref insn, i, Register.AX);
            case OpCodeOperandKind.dx:
                return Set(ref insn, i, Register.DX);
            case OpCodeOperandKind.eax:
                return Set(ref insn, i, Register.EAX);
            case OpCodeOperandKind.rax:
                return Set(ref insn, i, Register.RAX);
            case OpCodeOperandKind.st0:
                return Set(ref insn, i, Register.ST0);
            case OpCodeOperandKind.sti_opcode:
                return Set(ref insn, i, Register.ST0 + random.Next(8));
            case OpCodeOperandKind.imm8:
                insn.SetOpKind(i, i > 0 && insn.GetOpKind(i - 1) == OpKind.Immediate16 ? OpKind.Immediate8_2nd : OpKind.Immediate8);
                var imm8 = (byte)(random.Next(2) == 0 ? random.Next(256) : random.Next(10));
                if (op.Mnemonic == Mnemonic.Enter)
                    insn.Immediate8_2nd = (byte)(random.Next(4) == 0 ? random.Next(32) : random.Next(3));
                else
                    insn.Immediate8 = imm8;
                return true;
            case OpCodeOperandKind.imm8_const_1:
                insn.SetOpKind(i, OpKind.Immediate8);
                insn.Immediate8 = 1;
                return true;
            case OpCodeOperandKind.imm8sex16:
                insn.SetOpKind(i, OpKind.Immediate8to16);
                insn.Immediate8to16 = (short)random.Next(-128, 128);
                return true;
            case OpCodeOperandKind.imm8sex32:
                insn.SetOpKind(i, OpKind.Immediate8to32);
                insn.Immediate8to32 = random.Next(-128, 128);
                return true;
            case OpCodeOperandKind.imm8sex64:
                insn.SetOpKind(i, OpKind.Immediate8to64);
                insn.Immediate8to64 = random.Next(-128, 128);
                return true;
            case OpCodeOperandKind.imm16:
                insn.SetOpKind(i, OpKind.Immediate16);
                insn.Immediate16 = op.Mnemonic == Mnemonic.Enter ? (ushort)random.Next(256) : (ushort)StateGenerator.Integer(random);
                return true;
            case OpCodeOperandKind.imm32:
                insn.SetOpKind(i, OpKind.Immediate32);
                insn.Immediate32 = (uint)StateGenerator.Integer(random);
                return true;
            case OpCodeOperandKind.imm32sex64:
                insn.SetOpKind(i, OpKind.Immediate32to64);
                insn.Immediate32to64 = (int)StateGenerator.Integer(random);
                return true;
            case OpCodeOperandKind.imm64:
                insn.SetOpKind(i, OpKind.Immediate64);
                insn.Immediate64 = StateGenerator.Integer(random);
                return true;
            case OpCodeOperandKind.seg_rSI:
                insn.SetOpKind(i, bits == 64 ? OpKind.MemorySegRSI : bits == 32 ? OpKind.MemorySegESI : OpKind.MemorySegSI);
                return true;
            case OpCodeOperandKind.es_rDI:
                insn.SetOpKind(i, bits == 64 ? OpKind.MemoryESRDI : bits == 32 ? OpKind.MemoryESEDI : OpKind.MemoryESDI);
                return true;
            case OpCodeOperandKind.seg_rDI:
                insn.SetOpKind(i, bits == 64 ? OpKind.MemorySegRDI : bits == 32 ? OpKind.MemorySegEDI : OpKind.MemorySegDI);
                return true;
            case OpCodeOperandKind.seg_rBX_al:
                insn.SetOpKind(i, OpKind.Memory);
                insn.MemoryBase = bits == 64 ? Register.RBX : bits == 32 ? Register.EBX : Register.BX;
                insn.MemoryIndex = Register.AL;
                return true;
            case OpCodeOperandKind.br16_1:
            case OpCodeOperandKind.br16_2:
                insn.SetOpKind(i, OpKind.NearBranch16);
                insn.NearBranch16 = (ushort)MachineState.Pad(random.Next(MachineState.PadCount));
                return true;
            case OpCodeOperandKind.br32_1:
            case OpCodeOperandKind.br32_4:
                insn.SetOpKind(i, OpKind.NearBranch32);
                insn.NearBranch32 = (uint)MachineState.Pad(random.Next(MachineState.PadCount)) & (bits == 16 ? 0xFFFF : uint.MaxValue);
                return true;
            case OpCodeOperandKind.br64_1:
            case OpCodeOperandKind.br64_4:
                insn.SetOpKind(i, OpKind.NearBranch64);
                insn.NearBranch64 = MachineState.Pad(random.Next(MachineState.PadCount));
                return true;
            default:
                return false;
        }
    }

    private static int AnyGpr(int bits, Random random)
    {
        if (random is SequenceRandom sequence)
            return sequence.Register();
        // The stack pointer as an operand is rare in code and changes where pushes go.
        var n = random.Next(Registers(bits));
        return n == 4 && random.Next(3) != 0 ? 0 : n;
    }

    private static Register Register8(int bits, Random random)
    {
        // AH to BH do not go together with anything that needs a REX prefix; the encoder refuses and another try is made.
        if (random is SequenceRandom sequence && random.Next(4) != 0)
            return Register.SPL - 4 + sequence.Register() is var r && r < Register.SPL ? Register.AL + (r - Register.SPL + 4) : r;
        if (bits != 64)
            return Register.AL + random.Next(8);
        return random.Next(4) == 0 ? Register.AH + random.Next(4)
            : random.Next(2) == 0 ? Register.AL + random.Next(4) : Register.SPL + random.Next(12);
    }

    private static bool Set(ref Instruction insn, int i, Register register)
    {
        insn.SetOpKind(i, OpKind.Register);
        insn.SetOpRegister(i, register);
        return true;
    }

    private static void Memory(int i, int bits, Random random, ref Instruction insn)
    {
        insn.SetOpKind(i, OpKind.Memory);
        if (bits != 64)
        {
            LegacyMemory(bits, random, ref insn);
            return;
        }

        if (random is SequenceRandom)
        {
            insn.MemoryBase = Register.R15;
            insn.MemoryDisplacement64 = (ulong)(random.Next(-0x100, 0x100) & (random.Next(4) == 0 ? -1 : -16));
            insn.MemoryDisplSize = 8;
            return;
        }

        switch (random.Next(10))
        {
            case 0:
                insn.MemoryBase = Register.RIP;
                insn.MemoryDisplacement64 = Target(random);
                insn.MemoryDisplSize = 8;
                return;
            case 1:
                insn.MemoryDisplacement64 = Target(random);
                insn.MemoryDisplSize = 4;
                return;
        }

        var narrow = random.Next(10) == 0;
        insn.MemoryBase = (narrow ? Register.EAX : Register.RAX) + random.Next(16);
        if (random.Next(2) == 0)
        {
            int index;
            do
                index = random.Next(16);
            while (index == 4 || index == insn.MemoryBase - (narrow ? Register.EAX : Register.RAX));
            insn.MemoryIndex = (narrow ? Register.EAX : Register.RAX) + index;
            insn.MemoryIndexScale = 1 << random.Next(4);
        }

        switch (random.Next(3))
        {
            case 1:
                insn.MemoryDisplacement64 = (ulong)random.Next(-128, 128);
                insn.MemoryDisplSize = 1;
                break;
            case 2:
                insn.MemoryDisplacement64 = (ulong)random.Next(-0x400, 0x400);
                insn.MemoryDisplSize = narrow ? 4 : 8;
                break;
        }
    }

    /// <summary>32-bit addresses in both, and in 16-bit segments the eight forms of the 8086.</summary>
    private static void LegacyMemory(int bits, Random random, ref Instruction insn)
    {
        if (bits == 16 && random.Next(4) != 0)
        {
            (insn.MemoryBase, insn.MemoryIndex) = random.Next(8) switch
            {
                0 => (Register.BX, Register.SI),
                1 => (Register.BX, Register.DI),
                2 => (Register.BP, Register.SI),
                3 => (Register.BP, Register.DI),
                4 => (Register.SI, Register.None),
                5 => (Register.DI, Register.None),
                6 => (Register.BP, Register.None),
                _ => (Register.BX, Register.None),
            };
            insn.MemoryDisplSize = random.Next(3);
            insn.MemoryDisplacement64 = insn.MemoryDisplSize switch
            {
                1 => (ushort)random.Next(-128, 128),
                2 => (ushort)random.Next(-0x400, 0x400),
                _ => 0UL,
            };
            return;
        }

        insn.MemoryBase = Register.EAX + random.Next(8);
        if (random.Next(2) == 0)
        {
            int index;
            do
                index = random.Next(8);
            while (index == 4 || index == insn.MemoryBase - Register.EAX);
            insn.MemoryIndex = Register.EAX + index;
            insn.MemoryIndexScale = 1 << random.Next(4);
        }

        insn.MemoryDisplSize = random.Next(3) switch { 0 => 0, 1 => 1, _ => 4 };
        insn.MemoryDisplacement64 = insn.MemoryDisplSize switch
        {
            1 => (uint)random.Next(-128, 128),
            4 => (uint)random.Next(-0x400, 0x400),
            _ => 0UL,
        };
    }

    private static int Registers(int bits) => bits == 64 ? 16 : 8;

    private static void Vsib(int i, Register first, int bits, Random random, ref Instruction insn)
    {
        insn.SetOpKind(i, OpKind.Memory);
        insn.MemoryBase = (bits == 64 ? Register.RAX : Register.EAX) + random.Next(Registers(bits));
        insn.MemoryIndex = first + random.Next(Registers(bits));
        insn.MemoryIndexScale = 1 << random.Next(4);
        if (random.Next(2) == 0)
        {
            insn.MemoryDisplacement64 = (ulong)random.Next(-128, 128);
            insn.MemoryDisplSize = 1;
        }
    }

    /// <summary>An address in the middle of the arena, mostly aligned.</summary>
    public static ulong Target(Random random)
    {
        var offset = (ulong)random.Next(0x1800, 0x2800);
        return MachineState.ArenaBase + (random.Next(3) == 0 ? offset : offset & ~31UL);
    }

    private sealed class ListWriter : CodeWriter
    {
        public List<byte> Bytes { get; } = [];

        public override void WriteByte(byte value) => Bytes.Add(value);
    }
}
