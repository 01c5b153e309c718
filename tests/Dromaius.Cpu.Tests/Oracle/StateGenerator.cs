using System.Buffers.Binary;
using Iced.Intel;

namespace Dromaius.Cpu.Tests.Oracle;

/// <summary>Random processor states that make an instruction's operands lie where they may.</summary>
internal static class StateGenerator
{
    private const int Rax = 0, Rcx = 1, Rbx = 3, Rsp = 4, Rbp = 5, Rsi = 6, Rdi = 7;

    private static readonly ulong[] Edges =
    [
        0, 1, 2, 3, 7, 8, 0xF, 0x10, 0x1F, 0x20, 0x3F, 0x40, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x10000,
        0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x100000000, 0x7FFFFFFFFFFFFFFF, 0x8000000000000000, 0xFFFFFFFFFFFFFFFF,
        0xFFFFFFFF80000000, 0xFFFFFFFFFFFF8000, 0xFFFFFFFFFFFFFF80, 0x5555555555555555, 0xAAAAAAAAAAAAAAAA,
    ];

    private static readonly uint[] Singles =
    [
        0, 0x80000000, 0x3F800000, 0xBF800000, 0x7F800000, 0xFF800000, 0x7FC00000, 0x7F800001, 0xFFC12345, 1, 0x007FFFFF,
        0x00800000, 0x7F7FFFFF, 0x4F000000, 0xCF000000, 0x5F000000, 0xDF000000, 0x3F000000, 0x40490FDB, 0x33800000,
        0x4EFFFFFF, 0x3FC00000, 0x40200000,
    ];

    private static readonly ulong[] Doubles =
    [
        0, 0x8000000000000000, 0x3FF0000000000000, 0xBFF0000000000000, 0x7FF0000000000000, 0xFFF0000000000000,
        0x7FF8000000000000, 0x7FF0000000000001, 0xFFF8123456789ABC, 1, 0x000FFFFFFFFFFFFF, 0x0010000000000000,
        0x7FEFFFFFFFFFFFFF, 0x41E0000000000000, 0xC3E0000000000000, 0x3FE0000000000000, 0x400921FB54442D18,
        0x380FFFFFE0000000, 0x47EFFFFFF0000000, 0x41DFFFFFFFC00000, 0x3FF8000000000000, 0x4004000000000000,
    ];

    private static readonly (ushort Exponent, ulong Significand)[] Extended =
    [
        (0, 0), (0x8000, 0), (0x3FFF, 1UL << 63), (0xBFFF, 1UL << 63), (0x7FFF, 1UL << 63), (0xFFFF, 1UL << 63),
        (0x7FFF, 3UL << 62), (0xFFFF, 3UL << 62), (0x7FFF, 0xA000000000000000), (0, 1), (0, 0x7FFFFFFFFFFFFFFF),
        (0, 1UL << 63), (1, 1UL << 63), (0x7FFE, ulong.MaxValue), (0x4000, 0xC90FDAA22168C235), (0x403E, 1UL << 63),
        (0x401E, 0x8000000000000000), (0x3FFE, 1UL << 63), (0x4001, 0xA000000000000000), (0x3F80, 0x8000000000000001),
        (0x43FE, 0xFFFFFFFFFFFFF800), (0x3C00, 0x8000000000000000), (0x407E, 0xFFFFFF8000000000),
        (0x4010, 0x123456789ABCDEF0), (0xFFFF, 0x0000000000001234),
    ];

    public static ulong Integer(Random random) => random.Next(3) switch
    {
        0 => Edges[random.Next(Edges.Length)],
        1 => (ulong)random.NextInt64() >> random.Next(64),
        _ => (ulong)random.NextInt64(long.MinValue, long.MaxValue),
    };

    public static void Fill(MachineState s, Random random, in Instruction insn)
    {
        for (var i = 0; i < 16; i++)
            s.Gpr[i] = Integer(random);
        s.Rip = MachineState.CodeBase;
        s.Trap = MachineState.NoTrap;
        s.Rflags = 0x202 | ((ulong)random.Next(0x1000) & 0xCD5);
        for (var i = 0; i < s.Ymm.Length; i += 32)
            Vector(s.Ymm.AsSpan(i, 32), random);
        s.Mxcsr = 0x1F80;
        if (random.Next(2) == 0)
            s.Mxcsr |= (uint)random.Next(4) << 13;
        if (random.Next(8) == 0)
            s.Mxcsr |= 0x8000;
        if (random.Next(8) == 0)
            s.Mxcsr |= 0x40;
        if (random.Next(4) == 0)
            s.Mxcsr |= (uint)random.Next(64);
        if (random.Next(12) == 0)
            s.Mxcsr = (s.Mxcsr & ~0x1FBFU) | (uint)random.Next(64) << 7;
        Fpu(s, random);
        for (var i = 0; i < s.Memory.Length; i += 32)
        {
            if (i is >= 0x1700 and < 0x2A00)
                Vector(s.Memory.AsSpan(i, 32), random);
            else
                s.Memory.AsSpan(i, 32).Fill((byte)i);
        }

        if (random.Next(3) == 0)
        {
            // An 80-bit operand is rarely a meaningful number by chance.
            for (var i = 0x1800; i < 0x2800; i += 32)
                ExtendedValue(s.Memory.AsSpan(i, 10), random);
        }

        Place(s, random, insn);
        s.Narrow();
    }

    private static void Fpu(MachineState s, Random random)
    {
        s.FpControl = (ushort)(0x37F & ~0x300 | random.Next(4) << 8);
        if ((s.FpControl & 0x300) == 0x100)
            s.FpControl |= 0x300;
        if (random.Next(2) == 0)
            s.FpControl |= (ushort)(random.Next(4) << 10);
        s.FpStatus = (ushort)(random.Next(8) << 11);
        if (random.Next(2) == 0)
            s.FpStatus |= (ushort)((random.Next(128) & 0x3F) | (random.Next(0x10000) & 0x4700));
        s.FpTags = random.Next(5) switch
        {
            0 => 0xFF,
            1 => (byte)random.Next(256),
            2 => (byte)(random.Next(256) | random.Next(256)),
            // So many registers in order from the top of the stack on.
            _ => byte.RotateLeft((byte)((1 << random.Next(9)) - 1), s.FpStatus >> 11 & 7),
        };
        for (var i = 0; i < 8; i++)
            ExtendedValue(s.Fp.AsSpan(i * 10, 10), random);
    }

    private static void ExtendedValue(Span<byte> into, Random random)
    {
        var (exponent, significand) = Extended[random.Next(Extended.Length)];
        switch (random.Next(4))
        {
            case 0:
                break;
            case 1:
                exponent = (ushort)(0x3FFF + random.Next(-70, 70) | random.Next(2) << 15);
                significand = (ulong)random.NextInt64(long.MinValue, 0);
                break;
            case 2:
                exponent = (ushort)(0x3FFF + random.Next(0, 20) | random.Next(2) << 15);
                significand = (ulong)random.Next(0x8000, 0x10000) << 48;
                break;
            default:
                if (random.Next(3) == 0)
                    exponent = (ushort)(random.Next(0x7FFF) | random.Next(2) << 15);
                significand |= 1UL << 63;
                break;
        }

        BinaryPrimitives.WriteUInt64LittleEndian(into, significand);
        BinaryPrimitives.WriteUInt16LittleEndian(into[8..], exponent);
    }

    private static void Vector(Span<byte> into, Random random)
    {
        var kind = random.Next(5);
        for (var i = 0; i < into.Length; i += 8)
        {
            var value = kind switch
            {
                0 => Integer(random),
                1 => Singles[random.Next(Singles.Length)] | (ulong)Singles[random.Next(Singles.Length)] << 32,
                2 => Doubles[random.Next(Doubles.Length)],
                3 => (ulong)BitConverter.DoubleToInt64Bits((random.NextDouble() - 0.5) * Math.Pow(10, random.Next(-5, 20))),
                _ => BitConverter.SingleToUInt32Bits((float)((random.NextDouble() - 0.5) * Math.Pow(10, random.Next(-3, 10))))
                    | (ulong)BitConverter.SingleToUInt32Bits((float)((random.NextDouble() - 0.5) * 100)) << 32,
            };
            BinaryPrimitives.WriteUInt64LittleEndian(into[i..], value);
        }
    }

    /// <summary>Sets the registers that address memory.</summary>
    private static void Place(MachineState s, Random random, in Instruction insn)
    {
        s.Gpr[Rsp] = MachineState.ArenaBase - s.DataSegment + 0x2000 + (ulong)random.Next(-16, 16) * 8;
        var mask = insn.IsStringInstruction || insn.Mnemonic is Mnemonic.Maskmovdqu or Mnemonic.Vmaskmovdqu or Mnemonic.Maskmovq;
        if (mask)
        {
            s.Gpr[Rsi] = InstructionForms.Target(random) - s.DataSegment;
            s.Gpr[Rdi] = random.Next(3) == 0
                ? s.Gpr[Rsi] + (ulong)random.Next(-24, 24)
                : InstructionForms.Target(random) - s.DataSegment;
            if (insn.IsStringInstruction)
                s.Gpr[Rcx] = (ulong)random.Next(40);
            if (random.Next(2) == 0)
            {
                // Runs of equal elements, for the conditional repeats.
                var value = (byte)random.Next(256);
                s.Memory.AsSpan(0x1700, 0x1200).Fill(value);
                s.Gpr[Rax] = value * 0x0101010101010101UL;
                s.Memory[(int)(s.Gpr[Rdi] + s.DataSegment - MachineState.ArenaBase) + random.Next(-64, 64)] ^= 0x55;
            }
        }

        switch (insn.Mnemonic)
        {
            case Mnemonic.Enter:
            case Mnemonic.Leave:
                s.Gpr[Rbp] = MachineState.ArenaBase - s.DataSegment + 0x2000 + (ulong)random.Next(-16, 16) * 8;
                break;
            case Mnemonic.Xlatb:
                s.Gpr[Rbx] = InstructionForms.Target(random) - s.DataSegment;
                return;
            case Mnemonic.Loop:
            case Mnemonic.Loope:
            case Mnemonic.Loopne:
            case Mnemonic.Jrcxz:
            case Mnemonic.Jecxz:
                s.Gpr[Rcx] = random.Next(2) == 0 ? (ulong)random.Next(3) : 0x100000000UL * (ulong)random.Next(3) + (ulong)random.Next(3);
                break;
            case Mnemonic.Div:
            case Mnemonic.Idiv:
                // Quotients that fit are rare by chance.
                if (random.Next(4) != 0)
                    s.Gpr[2] = random.Next(2) == 0 ? 0 : ulong.MaxValue;
                break;
            case Mnemonic.Cmpxchg when random.Next(2) == 0 && insn.Op0Kind == OpKind.Register:
                s.Gpr[insn.Op0Register.GetFullRegister() - Register.RAX] = s.Gpr[Rax];
                break;
        }

        Address(s, random, insn);
        if (insn.Op0Kind == OpKind.Memory && insn.Mnemonic is Mnemonic.Cmpxchg or Mnemonic.Cmpxchg8b or Mnemonic.Cmpxchg16b
            && random.Next(2) == 0 && insn.GetVirtualAddress(0, 0, (r, _, _) => Value(s, r)) + s.DataSegment - MachineState.ArenaBase is < 0x3000 and var at)
        {
            // Equal values are rare by chance.
            var span = s.Memory.AsSpan((int)at, 16);
            BinaryPrimitives.WriteUInt64LittleEndian(span, s.Gpr[Rax]);
            if (insn.Mnemonic == Mnemonic.Cmpxchg8b)
                BinaryPrimitives.WriteUInt32LittleEndian(span[4..], (uint)s.Gpr[2]);
            else if (insn.Mnemonic == Mnemonic.Cmpxchg16b)
                BinaryPrimitives.WriteUInt64LittleEndian(span[8..], s.Gpr[2]);
        }

        Branch(s, random, insn);
    }

    private static void Address(MachineState s, Random random, in Instruction insn)
    {
        var hasMemory = false;
        for (var i = 0; i < insn.OpCount; i++)
            hasMemory |= insn.GetOpKind(i) == OpKind.Memory;
        if (!hasMemory)
            return;
        if (insn.Mnemonic is Mnemonic.Bt or Mnemonic.Bts or Mnemonic.Btr or Mnemonic.Btc && insn.Op1Kind == OpKind.Register)
        {
            // The bit number reaches beyond the operand.
            var n = insn.Op1Register.GetFullRegister() - Register.RAX;
            s.Gpr[n] = (ulong)random.Next(-0x2000, 0x2000);
            if (random.Next(3) == 0)
                s.Gpr[n] &= 63;
        }

        if (insn.MemoryBase is Register.None or Register.RIP or Register.EIP)
            return;
        var target = InstructionForms.Target(random) - s.DataSegment;
        if (s.Bits == 16 && random.Next(20) == 0)
            target = (ulong)random.Next(0x3FE0, 0x4008); // across the limit
        var offset = insn.MemoryDisplacement64;
        var scale = (ulong)insn.MemoryIndexScale;
        if (insn.IsVsib)
        {
            var vector = (insn.MemoryIndex >= Register.YMM0 ? insn.MemoryIndex - Register.YMM0 : insn.MemoryIndex - Register.XMM0) * 32;
            var wide = insn.Code.ToString().Contains("vm64", StringComparison.Ordinal);
            for (var i = 0; i < 32; i += wide ? 8 : 4)
            {
                var index = random.Next(-0x100, 0x100);
                if (wide)
                    BinaryPrimitives.WriteInt64LittleEndian(s.Ymm.AsSpan(vector + i), index);
                else
                    BinaryPrimitives.WriteInt32LittleEndian(s.Ymm.AsSpan(vector + i), index);
            }
        }
        else if (insn.MemoryIndex != Register.None)
        {
            var index = insn.MemoryIndex.GetFullRegister() - Register.RAX;
            if (index != Rsp && !IsBitNumber(insn, insn.MemoryIndex))
                s.Gpr[index] = (ulong)random.Next(-0x100, 0x100);
            if (insn.MemoryIndex < Register.EAX)
                s.Gpr[index] = (ushort)s.Gpr[index] | Integer(random) << 16;
            offset += s.Gpr[index] * scale;
        }

        var number = insn.MemoryBase.GetFullRegister() - Register.RAX;
        if (number == Rsp)
            return; // the stack lies in the arena
        s.Gpr[number] = target - offset;
        if (insn.MemoryBase < Register.EAX)
        {
            s.Gpr[number] = (ushort)s.Gpr[number] | Integer(random) << 16;
            return;
        }

        if (insn.MemoryBase < Register.RAX && random.Next(2) == 0)
        {
            // 32-bit addresses: what the upper halves hold must not matter.
            s.Gpr[number] = (uint)s.Gpr[number] | Integer(random) << 32;
        }
    }

    private static bool IsBitNumber(in Instruction insn, Register register) =>
        insn.Mnemonic is Mnemonic.Bt or Mnemonic.Bts or Mnemonic.Btr or Mnemonic.Btc && insn.Op1Kind == OpKind.Register
        && insn.Op1Register.GetFullRegister() == register.GetFullRegister();

    /// <summary>Makes indirect branches and returns lead to a landing pad.</summary>
    private static void Branch(MachineState s, Random random, in Instruction insn)
    {
        var pad = MachineState.Pad(random.Next(MachineState.PadCount)) - s.CodeSegment;
        switch (insn.FlowControl)
        {
            case FlowControl.Return:
                BinaryPrimitives.WriteUInt64LittleEndian(s.Memory.AsSpan((int)(s.Gpr[Rsp] + s.DataSegment - MachineState.ArenaBase)), pad);
                break;
            case FlowControl.IndirectBranch or FlowControl.IndirectCall when insn.Op0Kind == OpKind.Register:
                s.Gpr[insn.Op0Register.GetFullRegister() - Register.RAX] = pad;
                break;
            case FlowControl.IndirectBranch or FlowControl.IndirectCall:
                var address = insn.GetVirtualAddress(0, 0, (r, _, _) => Value(s, r)) + s.DataSegment - MachineState.ArenaBase;
                if (address < MachineState.ArenaSize - 8)
                    BinaryPrimitives.WriteUInt64LittleEndian(s.Memory.AsSpan((int)address), pad);
                break;
        }
    }

    private static ulong Value(MachineState s, Register r)
    {
        if (r.IsSegmentRegister())
            return 0;
        var value = s.Gpr[r.GetFullRegister() - Register.RAX];
        return r >= Register.RAX ? value : r >= Register.EAX ? (uint)value : (ushort)value;
    }
}
