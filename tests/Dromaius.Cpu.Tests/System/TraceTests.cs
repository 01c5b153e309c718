using Dromaius.Cpu.X86;
using Dromaius.Jit;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Dromaius.Cpu.Tests.SystemTests;

/// <summary>
/// Programs with loops, run block by block in the interpreter and as host code, with and without traces: registers and memory must come out the
/// same. <c>DROMAIUS_TRACE_SEED</c>: of the lengths of traces and of what is forgotten between.
/// </summary>
public sealed unsafe class TraceTests
{
    private const ulong Code = 0x4000, Copy = 0x6000, Data = 0x10000;
    private static readonly int Seed =
        int.TryParse(Environment.GetEnvironmentVariable("DROMAIUS_TRACE_SEED"), out var seed) ? seed : 1;

    [Fact]
    public void AccessesCrossPagesThatLieApart() => Compare(a =>
    {
        var loop = a.CreateLabel();
        a.mov(rsi, Data + 0xFE0);
        a.mov(ecx, 64);
        a.xor(eax, eax);
        a.Label(ref loop);
        a.add(rax, __qword_ptr[rsi]);
        a.mov(__qword_ptr[rsi + 0x2000], rax);
        a.movdqu(xmm0, __xmmword_ptr[rsi + 3]);
        a.paddq(xmm1, xmm0);
        a.inc(rsi);
        a.dec(ecx);
        a.jnz(loop);
    });

    [Fact]
    public void RegistersGoAroundInLoops() => Compare(a =>
    {
        var (outer, inner, skip) = (a.CreateLabel(), a.CreateLabel(), a.CreateLabel());
        a.mov(r8, 1);
        a.mov(r9, 2);
        a.mov(r10, 3);
        a.mov(r11, 4);
        a.mov(r12, 5);
        a.mov(esi, 20);
        a.Label(ref outer);
        a.mov(ecx, 7);
        a.Label(ref inner);
        a.xchg(r8, r9);
        a.xchg(r9, r10);
        a.xchg(r11, r12);
        a.add(r8, r11);
        a.mov(r13, r10);
        a.cmp(r8, r12);
        a.jb(skip);
        a.add(r12, 77);
        a.Label(ref skip);
        a.adc(r9, 0);
        a.addsd(xmm2, xmm3);
        a.movaps(xmm3, xmm4);
        a.cvtsi2sd(xmm4, r8);
        a.sub(ecx, 1);
        a.jnz(inner);
        a.mov(__qword_ptr[(rsi * 8) + (long)Data], r8);
        a.dec(esi);
        a.jnz(outer);
    });

    /// <summary>The way out of JRCXZ reads the flags of a comparison that the trace itself needs for its next branch only.</summary>
    [Fact]
    public void BranchesThatReadNoFlagsLeaveThem() => Compare(a =>
    {
        var (loop, leave) = (a.CreateLabel(), a.CreateLabel());
        a.mov(ecx, 90);
        a.mov(edx, 1000);
        a.Label(ref loop);
        a.dec(ecx);
        a.cmp(edx, 913);
        a.jrcxz(leave);
        a.lea(edx, __[rdx - 1]);
        a.jne(loop);
        a.xor(edx, 0x111);
        a.jmp(loop);
        a.Label(ref leave);
        a.setc(r8b);
        a.sets(r9b);
        a.sbb(r10, r10);
    });

    [Fact]
    public void LoopsWriteTheirOwnCode() => Compare(a =>
    {
        var loop = a.CreateLabel();
        a.mov(ecx, 300);
        a.xor(eax, eax);
        a.nop();
        a.Label(ref loop);
        a.add(eax, 0x01010101);
        a.add(__dword_ptr[Code + 9], 3); // the constant above: MOV, XOR, NOP and an opcode come before it
        a.sub(ecx, 1);
        a.jnz(loop);
    });

    [Fact]
    public void LoopsCallAndReturnAndJumpThroughTables() => Compare(a =>
    {
        var (loop, even, odd, next, table) = (a.CreateLabel(), a.CreateLabel(), a.CreateLabel(), a.CreateLabel(), a.CreateLabel());
        var (one, two) = (a.CreateLabel(), a.CreateLabel());
        a.mov(ecx, 120);
        a.lea(rbx, __[table]);
        a.lea(rax, __[even]);
        a.mov(__qword_ptr[rbx], rax);
        a.lea(rax, __[odd]);
        a.mov(__qword_ptr[rbx + 8], rax);
        a.Label(ref loop);
        a.call(one);
        a.mov(edx, ecx);
        a.shr(edx, 4);
        a.and(edx, 1);
        a.jmp(__qword_ptr[rbx + (rdx * 8)]);
        a.Label(ref even);
        a.add(r9, rcx);
        a.jmp(next);
        a.Label(ref odd);
        a.sub(r10, rcx);
        a.call(two);
        a.Label(ref next);
        a.adc(r11, 1);
        a.dec(ecx);
        a.jnz(loop);
        a.hlt();
        a.Label(ref one);
        a.add(r8, 3);
        a.push(rcx);
        a.call(two);
        a.pop(rcx);
        a.ret();
        a.Label(ref two);
        a.xor(r12, r8);
        a.cmp(r12, r9);
        a.ret();
        a.Label(ref table);
        a.dq(0, 0);
    });

    /// <summary>Blocks come again on the way round: the operations of an interpreted program, 1, 2, 1, 3, 1, 1, 2, back.</summary>
    [Fact]
    public void LoopsComeByBlocksSeveralTimes() => Compare(a =>
    {
        var (program, end) = (a.CreateLabel(), a.CreateLabel());
        Label[] operations = [a.CreateLabel(), a.CreateLabel(), a.CreateLabel(), a.CreateLabel()];
        a.mov(ecx, 60);
        for (var i = 0; i < operations.Length; i++)
        {
            a.lea(rax, __[operations[i]]);
            a.mov(__qword_ptr[(long)Data + 0x100 + (i * 8)], rax);
        }

        a.lea(rsi, __[program]);
        Next(a);
        a.Label(ref operations[0]);
        a.add(r8, rcx);
        a.rol(r8, 7);
        Next(a);
        a.Label(ref operations[1]);
        a.xor(r9, r8);
        a.cmp(r9, r10);
        Next(a);
        a.Label(ref operations[2]);
        a.adc(r10, 5);
        a.movq(xmm0, r10);
        a.paddd(xmm1, xmm0);
        Next(a);
        a.Label(ref operations[3]);
        a.dec(ecx);
        a.jz(end);
        a.lea(rsi, __[program]);
        Next(a);
        a.Label(ref program);
        a.db(0, 1, 0, 2, 0, 0, 1, 3);
        a.Label(ref end);

        static void Next(Assembler a)
        {
            a.movzx(eax, __byte_ptr[rsi]);
            a.lea(rsi, __[rsi + 1]);
            a.jmp(__qword_ptr[(rax * 8) + (long)Data + 0x100]);
        }
    });

    [Fact]
    public void PagesMoveWhileALoopRuns() => Compare(a =>
    {
        var loop = a.CreateLabel();
        a.mov(ecx, 200);
        a.mov(esi, (uint)Data);
        a.Label(ref loop);
        a.add(rax, __qword_ptr[rsi]);
        a.add(__qword_ptr[rsi + 8], rcx);
        a.xor(__qword_ptr[SystemMachine.PageTables + 0x3000 + ((Data >> 12) * 8)], 0x10000);
        a.invlpg(__byte_ptr[rsi]);
        a.dec(ecx);
        a.jnz(loop);
    });

    [Fact]
    public void InstructionsGoOnInAPageThatMoves() => Compare(a =>
    {
        var (loop, crossing) = (a.CreateLabel(), a.CreateLabel());
        a.mov(ecx, 200);
        a.Label(ref loop);
        MovePage(a);
        a.jmp(crossing);
        a.db(new byte[0xFFD - Length(static a => a.mov(ecx, 200)) - Length(MovePage) - 5]);
        a.Label(ref crossing);
        a.mov(eax, 0x12345678); // two of its bytes differ between the second page and its copy
        a.add(rbx, rax);
        a.dec(ecx);
        a.jnz(loop);
    });

    /// <summary>A block or trace waits for memory to change, always leaving through the same side: a kick gets through.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void CirclesThroughSidesCanBeLeft(bool traces)
    {
        var a = new Assembler(64);
        var (head, below) = (a.CreateLabel(), a.CreateLabel());
        a.mov(esi, (uint)Data);
        a.mov(ecx, 10);
        a.Label(ref head);
        a.cmp(__dword_ptr[rsi], ecx);
        a.je(head);
        a.ja(below);
        a.dec(ecx);
        a.jnz(head);
        a.Label(ref below);
        a.jmp(head);
        using var engine = new Engine(X86Layout.Layout, 8 << 20) { TracesAlways = traces };
        using var machine = Prepare(Assemble(a), engine);
        machine.Write(0x40000, 4, 0);
        using var kick = new Timer(_ => machine.Cpu.Kick(), null, 100, 100);
        var late = false;
        using var rescue = new Timer(
            _ =>
            {
                late = true;
                machine.Write(0x40000, 4, 1);
                machine.Cpu.Kick();
            },
            null, 20_000, Timeout.Infinite);
        for (var n = 0; n < 3; n += machine.S->Gpr[1] == 0 ? 1 : 0)
            Assert.True(machine.Cpu.Run());
        Assert.False(late);
    }

    private static void MovePage(Assembler a)
    {
        a.add(rbx, rcx);
        a.xor(__qword_ptr[SystemMachine.PageTables + 0x3000 + (((Code >> 12) + 1) * 8)], (int)(Code + 0x1000) ^ (int)Copy);
        a.invlpg(__byte_ptr[Code + 0x1000]);
    }

    private static int Length(Action<Assembler> write)
    {
        var assembler = new Assembler(64);
        write(assembler);
        return Assemble(assembler).Length;
    }

    private static byte[] Assemble(Assembler assembler)
    {
        var stream = new MemoryStream();
        assembler.Assemble(new StreamCodeWriter(stream), Code);
        return stream.ToArray();
    }

    private static void Compare(Action<Assembler> write)
    {
        var assembler = new Assembler(64);
        write(assembler);
        assembler.hlt();
        var code = Assemble(assembler);
        var expected = Run(code, new Engine(X86Layout.Layout, interpreter: true), new Random(Seed));
        for (var n = 0; n < 20; n++)
        {
            var engine = new Engine(X86Layout.Layout, 8 << 20) { TracesAlways = n % 4 != 3 };
            var random = new Random(Seed + n);
            engine.TraceBlocks = n % 5 == 0 ? X86Translator.MaxLoopBlocks : random.Next(1, 6);
            Assert.Equal(expected, Run(code, engine, random));
        }
    }

    /// <summary>Registers and data after the program, which halts.</summary>
    private static string Run(byte[] code, Engine engine, Random random)
    {
        using var owned = engine;
        using var machine = Prepare(code, engine);
        using var kicks = new Timer(_ => machine.Cpu.Kick(), null, 1, 1);
        while (machine.Cpu.Run())
        {
            // A kick: something is forgotten.
            engine.InvalidateRange(machine.Ram, Code + (ulong)random.Next(code.Length), 1);
        }

        var text = new System.Text.StringBuilder();
        for (var i = 0; i < 16; i++)
            text.Append(machine.S->Gpr[i]).Append(' ');
        text.Append(machine.Cpu.ReadEflags()).Append(' ');
        text.AppendJoin(' ', new Span<ulong>(machine.S->Ymm, 64).ToArray()).Append(' ');
        var hash = new HashCode();
        hash.AddBytes(machine.Ram.Span(0x30000, 0x30000));
        hash.AddBytes(machine.Ram.Span(Code, 0x1000));
        return text.Append(hash.ToHashCode()).ToString();
    }

    /// <summary>A processor about to run the code in long mode, with memory set up.</summary>
    private static SystemMachine Prepare(byte[] code, Engine engine)
    {
        var machine = new SystemMachine();
        machine.EnterLong();
        // Neighbours in virtual memory are none in physical memory.
        for (var page = 0u; page < 4; page++)
            machine.Write(machine.Pte((uint)(Data >> 12) + page), 8, ((0x40 - (page * 2)) << 12) | 7);
        for (var i = 0u; i < 0x10000; i += 8)
            machine.Write(0x38000 + i, 8, i * 0x9E3779B97F4A7C15);
        for (var i = 0; i < code.Length; i++)
            machine.Write(Code + (ulong)i, 1, code[i]);
        for (var i = 0x1000; i < code.Length; i++)
            machine.Write(Copy + (ulong)i - 0x1000, 1, (byte)(code[i] + (i < 0x1002 ? 1 : 0)));
        machine.Cpu.FlushTlb(true);
        machine.S->Cr4 |= 0x600; // OSFXSR, OSXMMEXCPT
        machine.Cpu.UpdateMode();
        machine.S->Rip = Code;
        machine.Cpu.Attach(engine);
        return machine;
    }
}
