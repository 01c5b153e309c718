using System.Text;
using Dromaius.Cpu.X86;
using Iced.Intel;

namespace Dromaius.Cpu.Tests.Translate;

/// <summary>
/// Random sequences give the same registers, flags and memory whether they run as blocks or one instruction at a time: what a block
/// knows of the flags, and what it drops as dead, must not show.
/// </summary>
public sealed unsafe class SequenceTests
{
    private const ulong CodeBase = 0x5000, DataBase = 0x6000;
    private const int Sequences = 150;

    private static readonly Register[] Registers64 =
        [Register.RAX, Register.RCX, Register.RDX, Register.RBX, Register.RBP, Register.RDI, Register.R8, Register.R13];

    private static readonly Register[] Registers32 =
        [Register.EAX, Register.ECX, Register.EDX, Register.EBX, Register.EBP, Register.EDI, Register.R8D, Register.R13D];

    private static readonly Register[] Registers16 =
        [Register.AX, Register.CX, Register.DX, Register.BX, Register.BP, Register.DI, Register.R8W, Register.R13W];

    private static readonly Register[] Registers8 =
        [Register.AL, Register.CL, Register.DL, Register.BL, Register.AH, Register.CH, Register.DH, Register.BH];

    private static readonly string[] Binary = ["Add", "Adc", "Sub", "Sbb", "Cmp", "And", "Or", "Xor", "Test"];
    private static readonly string[] Unary = ["Inc", "Dec", "Neg", "Not", "Mul", "Imul"];
    private static readonly string[] Shifts = ["Shl", "Shr", "Sar", "Rol", "Ror", "Rcl", "Rcr"];

    private static readonly string[] Conditions =
        ["o", "no", "b", "ae", "e", "ne", "be", "a", "s", "ns", "p", "np", "l", "ge", "le", "g"];

    [Fact]
    public void BlocksDoWhatSingleInstructionsDo()
    {
        for (var n = 0; n < Sequences; n++)
        {
            var random = new Random(n);
            var (code, text) = Generate(random);
            var values = Enumerable.Range(0, 16).Select(_ => Value(random)).ToArray();
            var flags = (ulong)random.Next() & 0x8D5;
            var single = Execute(code, values, flags, 1, out _);
            var block = Execute(code, values, flags, 64, out var ir);
            Assert.True(single == block, $"sequence {n}:\n{text}\nby instruction:\n{single}\nby block:\n{block}\n{ir}");
        }
    }

    private static string Execute(byte[] code, ulong[] values, ulong flags, int maxInsns, out string ir)
    {
        using var machine = new ProgramMachine();
        machine.System.EnterLong();
        machine.Load(CodeBase, [.. code, 0xEB, 0xFE]); // a jump to itself, so that blocks end where the sequence does
        var s = machine.S;
        for (var i = 0; i < 16; i++)
        {
            s->Gpr[i] = values[i];
            machine.System.Write(DataBase + (8 * (ulong)i), 8, values[15 - i]);
        }

        s->Gpr[X86Layout.Rsi] = DataBase;
        s->Gpr[X86Layout.Rsp] = 0x7000;
        s->CcOp = (ulong)CcOp.Eflags;
        s->CcSrc = flags;
        s->Rip = CodeBase;
        machine.Run(CodeBase + (ulong)code.Length, maxInsns);
        ir = machine.PrintIr();
        var text = new StringBuilder();
        for (var i = 0; i < 16; i++)
            text.Append(System.Globalization.CultureInfo.InvariantCulture, $"{s->Gpr[i]:x} ");
        text.Append(System.Globalization.CultureInfo.InvariantCulture, $"flags {machine.System.Cpu.ReadEflags():x}\n");
        for (var i = 0; i < 16; i++)
        {
            text.Append(System.Globalization.CultureInfo.InvariantCulture,
                $"{machine.System.Read(DataBase + (8 * (ulong)i), 8):x} ");
        }

        return text.ToString();
    }

    private static (byte[] Code, string Text) Generate(Random random)
    {
        var writer = new ListWriter();
        var encoder = Iced.Intel.Encoder.Create(64, writer);
        var text = new StringBuilder();
        var count = random.Next(2, 14);
        for (var i = 0; i < count; i++)
        {
            var insn = Next(random);
            // Branches go over one instruction.
            if (random.Next(6) == 0)
            {
                var condition = Conditions[random.Next(16)];
                var rip = CodeBase + (ulong)writer.Bytes.Count;
                var length = encoder.Encode(insn, rip);
                writer.Bytes.RemoveRange((int)(rip - CodeBase), (int)length);
                var branch = Instruction.CreateBranch(CodeOf("J" + condition + "_rel8_64"), rip + 2 + length);
                encoder.Encode(branch, rip);
                text.AppendLine(branch.ToString());
            }

            encoder.Encode(insn, CodeBase + (ulong)writer.Bytes.Count);
            text.AppendLine(insn.ToString());
        }

        return (writer.Bytes.ToArray(), text.ToString());
    }

    private static Instruction Next(Random random)
    {
        var size = 8 << random.Next(4);
        var first = Pick(random, size);
        var second = Pick(random, size);
        var memory = new MemoryOperand(Register.RSI, 8 * random.Next(15) + random.Next(3));
        var useMemory = random.Next(4) == 0;
        switch (random.Next(12))
        {
            case 0 or 1 or 2 or 3:
                var name = $"{Binary[random.Next(Binary.Length)]}_rm{size}_";
                if (random.Next(3) == 0)
                {
                    var code = CodeOf(name + (size is 8 or 16 ? $"imm{size}" : "imm32"));
                    var immediate = size == 8 ? random.Next(256) : size == 16 ? random.Next(65536) : random.Next(-200, 200);
                    return useMemory ? Instruction.Create(code, memory, immediate) : Instruction.Create(code, first, immediate);
                }

                return useMemory
                    ? Instruction.Create(CodeOf($"{name}r{size}"), memory, second)
                    : Instruction.Create(CodeOf($"{name}r{size}"), first, second);
            case 4 or 5:
                var unary = CodeOf($"{Unary[random.Next(Unary.Length)]}_rm{size}");
                return useMemory ? Instruction.Create(unary, memory) : Instruction.Create(unary, first);
            case 6:
                var shift = CodeOf($"{Shifts[random.Next(Shifts.Length)]}_rm{size}_imm8");
                return Instruction.Create(shift, first, random.Next(size + 2));
            case 7:
                return Instruction.Create(CodeOf($"{Shifts[random.Next(Shifts.Length)]}_rm{size}_CL"), first, Register.CL);
            case 8 or 9:
                var set = CodeOf($"Set{Conditions[random.Next(16)]}_rm8");
                return useMemory ? Instruction.Create(set, memory) : Instruction.Create(set, Pick(random, 8));
            case 10:
                size = Math.Max(16, size);
                return Instruction.Create(CodeOf($"Cmov{Conditions[random.Next(16)]}_r{size}_rm{size}"),
                    Pick(random, size), Pick(random, size));
            default:
                size = Math.Max(16, size);
                // Not the bit tests: OF behind them is undefined and depends on what was known before.
                return random.Next(2) switch
                {
                    0 => Instruction.Create(CodeOf($"Mov_r{size}_rm{size}"), Pick(random, size), Pick(random, size)),
                    _ => Instruction.Create(CodeOf($"Shld_rm{size}_r{size}_imm8"), Pick(random, size), Pick(random, size),
                        random.Next(16)),
                };
        }
    }

    private static Register Pick(Random random, int size) => (size switch
    {
        8 => Registers8,
        16 => Registers16,
        32 => Registers32,
        _ => Registers64,
    })[random.Next(8)];

    private static Code CodeOf(string name) => Enum.Parse<Code>(name);

    private static ulong Value(Random random) => random.Next(5) switch
    {
        0 => (ulong)random.Next(4),
        1 => 1UL << random.Next(64),
        2 => ulong.MaxValue >> random.Next(64),
        _ => (ulong)random.NextInt64(),
    };

    private sealed class ListWriter : CodeWriter
    {
        public List<byte> Bytes { get; } = [];

        public override void WriteByte(byte value) => Bytes.Add(value);
    }
}
