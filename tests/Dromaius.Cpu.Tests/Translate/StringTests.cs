using System.Globalization;
using System.Text;
using Dromaius.Cpu.X86;

namespace Dromaius.Cpu.Tests.Translate;

/// <summary>Repeated string instructions against one element at a time, over ranges that overlap and cross pages.</summary>
public sealed unsafe class StringTests
{
    private const ulong CodeBase = 0x5000, DataBase = 0x40000;
    private const int DataSize = 0x4000, Rounds = 120;

    [Fact]
    public void RepeatedFormsDoWhatSingleElementsDo()
    {
        using var machine = new ProgramMachine();
        machine.System.EnterLong();
        for (var n = 0; n < Rounds; n++)
        {
            var random = new Random(n);
            var opcode = (byte[])[0xA4, 0xAA, 0xAC, 0xA6, 0xAE];
            var op = opcode[random.Next(5)];
            var size = 1 << random.Next(4);
            var prefix = op is 0xA6 or 0xAE && random.Next(2) == 0 ? (byte)0xF2 : (byte)0xF3;
            byte[] element = size switch
            {
                1 => [op],
                2 => [0x66, (byte)(op + 1)],
                4 => [(byte)(op + 1)],
                _ => [0x48, (byte)(op + 1)],
            };
            // With a REX prefix the repetition comes first.
            byte[] repeated = [prefix, .. element];
            var count = (ulong)random.Next(random.Next(3) == 0 ? 3000 : 40);
            var source = DataBase + (ulong)random.Next(DataSize / 4, DataSize / 2);
            var target = random.Next(2) == 0 ? source + (ulong)random.Next(-40, 40) : DataBase + (ulong)random.Next(DataSize / 4, DataSize / 2);
            var down = random.Next(3) == 0;
            count = Math.Min(count, (ulong)(DataSize / 4 / size));
            var value = (ulong)random.Next(2) * 0x0101010101010101;

            var expected = Run(machine, n, element, count, source, target, value, down, op is 0xA6 or 0xAE ? prefix : (byte)0);
            var actual = Run(machine, n, repeated, count, source, target, value, down, null);
            Assert.True(expected == actual,
                $"{n}: {Convert.ToHexString(repeated)} count {count} from {source:x} to {target:x} down {down}\n{expected}\n{actual}");
        }
    }

    /// <summary>Runs the instruction once, or (with a condition: 0 for none) as often as its repeated form would.</summary>
    private static string Run(ProgramMachine machine, int seed, byte[] code, ulong count, ulong source, ulong target, ulong value,
        bool down, byte? condition)
    {
        var random = new Random(seed);
        var data = machine.System;
        for (var i = 0; i < DataSize; i += 8)
            data.Write(DataBase + (ulong)i, 8, random.Next(3) == 0 ? (ulong)random.NextInt64() : 0);
        machine.Load(CodeBase, [.. code, 0xEB, 0xFE]);
        var s = machine.S;
        s->Gpr[X86Layout.Rax] = value;
        s->Gpr[X86Layout.Rcx] = count;
        s->Gpr[X86Layout.Rsi] = source;
        s->Gpr[X86Layout.Rdi] = target;
        s->CcOp = (ulong)CcOp.Eflags;
        s->CcSrc = Eflags.Cf;
        s->Eflags = down ? 2 | Eflags.Df : 2u;
        var left = count;
        for (var once = true; condition != null ? left != 0 : once; once = false, left--)
        {
            s->Rip = CodeBase;
            machine.Run(CodeBase + (ulong)code.Length);
            if (condition == null)
                break;
            s->Gpr[X86Layout.Rcx]--;
            var equal = (data.Cpu.ReadEflags() & Eflags.Zf) != 0;
            if (condition != 0 && equal != (condition == 0xF3))
                break;
        }

        var text = new StringBuilder();
        foreach (var register in (ReadOnlySpan<int>)[X86Layout.Rax, X86Layout.Rcx, X86Layout.Rsi, X86Layout.Rdi])
            text.Append(CultureInfo.InvariantCulture, $"{s->Gpr[register]:x} ");
        text.Append(CultureInfo.InvariantCulture, $"flags {data.Cpu.ReadEflags():x} ");
        ulong sum = 0;
        for (var i = 0; i < DataSize; i += 8)
            sum = (sum * 31) + data.Read(DataBase + (ulong)i, 8);
        return text.Append(CultureInfo.InvariantCulture, $"memory {sum:x}").ToString();
    }
}
