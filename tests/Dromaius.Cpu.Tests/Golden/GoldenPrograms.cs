using Dromaius.Cpu.Tests.Oracle;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;
using Guest = Iced.Intel.Assembler;

namespace Dromaius.Cpu.Tests.Golden;

/// <summary>Guest code whose translation is kept: one form after another, and short runs as compilers write them.</summary>
internal static class GoldenPrograms
{
    private static readonly Mnemonic[] Common =
    [
        Mnemonic.Adc, Mnemonic.Add, Mnemonic.And, Mnemonic.Andn, Mnemonic.Bextr, Mnemonic.Blsr, Mnemonic.Bsf, Mnemonic.Bsr,
        Mnemonic.Bswap, Mnemonic.Bt, Mnemonic.Bts, Mnemonic.Call, Mnemonic.Cdqe, Mnemonic.Cmova, Mnemonic.Cmove, Mnemonic.Cmovl,
        Mnemonic.Cmp, Mnemonic.Cmpxchg, Mnemonic.Cqo, Mnemonic.Dec, Mnemonic.Div, Mnemonic.Idiv, Mnemonic.Imul, Mnemonic.Inc,
        Mnemonic.Ja, Mnemonic.Je, Mnemonic.Jl, Mnemonic.Jmp, Mnemonic.Js, Mnemonic.Lea, Mnemonic.Leave, Mnemonic.Lodsb,
        Mnemonic.Lzcnt, Mnemonic.Mov, Mnemonic.Movsb, Mnemonic.Movsx, Mnemonic.Movsxd, Mnemonic.Movzx, Mnemonic.Mul,
        Mnemonic.Neg, Mnemonic.Not, Mnemonic.Or, Mnemonic.Pop, Mnemonic.Popcnt, Mnemonic.Push, Mnemonic.Ret, Mnemonic.Rol,
        Mnemonic.Ror, Mnemonic.Sar, Mnemonic.Sbb, Mnemonic.Seta, Mnemonic.Sete, Mnemonic.Shl, Mnemonic.Shld, Mnemonic.Shlx,
        Mnemonic.Shr, Mnemonic.Stosb, Mnemonic.Sub, Mnemonic.Test, Mnemonic.Tzcnt, Mnemonic.Xadd, Mnemonic.Xchg, Mnemonic.Xor,
        Mnemonic.Addps, Mnemonic.Addsd, Mnemonic.Andps, Mnemonic.Comisd, Mnemonic.Cvtsi2sd, Mnemonic.Cvttsd2si, Mnemonic.Divsd,
        Mnemonic.Movaps, Mnemonic.Movd, Mnemonic.Movdqu, Mnemonic.Movhps, Mnemonic.Movq, Mnemonic.Movsd, Mnemonic.Movss,
        Mnemonic.Mulsd, Mnemonic.Paddd, Mnemonic.Pand, Mnemonic.Pcmpeqb, Mnemonic.Pmovmskb, Mnemonic.Pshufb, Mnemonic.Pshufd,
        Mnemonic.Psrldq, Mnemonic.Punpcklbw, Mnemonic.Pxor, Mnemonic.Shufps, Mnemonic.Sqrtsd, Mnemonic.Ucomiss,
        Mnemonic.Vaddpd, Mnemonic.Vbroadcastss, Mnemonic.Vfmadd231pd, Mnemonic.Vfmadd231sd, Mnemonic.Vmovaps, Mnemonic.Vmovdqu,
        Mnemonic.Vpaddd, Mnemonic.Vpcmpeqb, Mnemonic.Vperm2i128, Mnemonic.Vpmovmskb, Mnemonic.Vpshufb, Mnemonic.Vxorps,
        Mnemonic.Fld, Mnemonic.Fadd, Mnemonic.Fmulp, Mnemonic.Fstp, Mnemonic.Fcomi,
    ];

    /// <summary>Every form of common instructions, with register and with memory operands as chance has it.</summary>
    public static IEnumerable<(string Title, byte[] Code)> Instructions()
    {
        foreach (var code in InstructionForms.All())
        {
            if (Common.Contains(code.Mnemonic())
                && InstructionForms.Build(code, MachineState.CodeBase, new Random((int)code), out _) is { } bytes)
                yield return (code.ToString(), bytes);
        }
    }

    public static IEnumerable<(string Title, byte[] Code)> Sequences()
    {
        yield return Build("a function's start and end", c =>
        {
            c.push(rbp);
            c.mov(rbp, rsp);
            c.push(r12);
            c.push(rbx);
            c.sub(rsp, 0x20);
            c.mov(rbx, rdi);
            c.add(rsp, 0x20);
            c.pop(rbx);
            c.pop(r12);
            c.pop(rbp);
            c.ret();
        });
        yield return Build("fields of a structure", c =>
        {
            c.mov(rax, __qword_ptr[rdi]);
            c.mov(rdx, __qword_ptr[rdi + 8]);
            c.add(rax, rdx);
            c.mov(__qword_ptr[rdi + 16], rax);
            c.mov(__dword_ptr[rdi + 24], 1);
            c.inc(__dword_ptr[rdi + 28]);
        });
        yield return Build("walking a list", c =>
        {
            var again = c.CreateLabel();
            c.Label(ref again);
            c.add(eax, __dword_ptr[rdi + 8]);
            c.mov(rdi, __qword_ptr[rdi]);
            c.test(rdi, rdi);
            c.jne(again);
        });
        yield return Build("copying bytes", c =>
        {
            var again = c.CreateLabel();
            c.Label(ref again);
            c.movzx(eax, __byte_ptr[rsi + rcx]);
            c.mov(__byte_ptr[rdi + rcx], al);
            c.inc(rcx);
            c.cmp(rcx, rdx);
            c.jb(again);
        });
        yield return Build("a length by bytes", c =>
        {
            var again = c.CreateLabel();
            c.Label(ref again);
            c.cmp(__byte_ptr[rdi + rax], 0);
            c.lea(rax, __[rax + 1]);
            c.jne(again);
        });
        yield return Build("a length by vectors", c =>
        {
            c.pxor(xmm0, xmm0);
            c.movdqu(xmm1, __[rdi]);
            c.pcmpeqb(xmm0, xmm1);
            c.pmovmskb(eax, xmm0);
            c.test(eax, eax);
            c.je(MachineState.CodeBase + 0x40);
        });
        yield return Build("a dot product", c =>
        {
            var again = c.CreateLabel();
            c.Label(ref again);
            c.movsd(xmm1, __qword_ptr[rdi + rax * 8]);
            c.mulsd(xmm1, __qword_ptr[rsi + rax * 8]);
            c.addsd(xmm0, xmm1);
            c.inc(rax);
            c.cmp(rax, rdx);
            c.jl(again);
        });
        yield return Build("a fused dot product, 256 bits", c =>
        {
            var again = c.CreateLabel();
            c.Label(ref again);
            c.vmovups(ymm1, __[rdi + rax]);
            c.vfmadd231ps(ymm0, ymm1, __[rsi + rax]);
            c.add(rax, 32);
            c.cmp(rax, rdx);
            c.jne(again);
        });
        yield return Build("an escape-time step", c =>
        {
            c.movapd(xmm4, xmm2);
            c.mulsd(xmm4, xmm2);
            c.movapd(xmm5, xmm3);
            c.mulsd(xmm5, xmm3);
            c.mulsd(xmm3, xmm2);
            c.addsd(xmm3, xmm3);
            c.addsd(xmm3, xmm1);
            c.movapd(xmm2, xmm4);
            c.subsd(xmm2, xmm5);
            c.addsd(xmm2, xmm0);
            c.addsd(xmm4, xmm5);
            c.comisd(xmm4, xmm6);
            c.jbe(MachineState.CodeBase);
        });
        yield return Build("scalar code in VEX form", c =>
        {
            c.vmovsd(xmm0, __qword_ptr[rdi]);
            c.vmulsd(xmm0, xmm0, xmm1);
            c.vaddsd(xmm0, xmm0, __qword_ptr[rdi + 8]);
            c.vmovsd(__qword_ptr[rdi], xmm0);
        });
        yield return Build("compare and branch", c =>
        {
            c.cmp(edi, esi);
            c.jge(MachineState.CodeBase + 0x20);
        });
        yield return Build("test and branch on a field", c =>
        {
            c.test(__byte_ptr[rdi + 4], 1);
            c.je(MachineState.CodeBase + 0x20);
        });
        yield return Build("a loop's end", c =>
        {
            c.dec(ecx);
            c.jne(MachineState.CodeBase);
        });
        yield return Build("a wide addition", c =>
        {
            c.add(rax, rsi);
            c.adc(rdx, rdi);
        });
        yield return Build("a wide multiplication", c =>
        {
            c.mov(rax, rdi);
            c.mul(rsi);
            c.add(rax, rcx);
            c.adc(rdx, 0);
        });
        yield return Build("a row of a long multiplication", c =>
        {
            c.xor(r10d, r10d);
            c.mulx(r11, rax, __qword_ptr[rsi]);
            c.adcx(rax, rcx);
            c.adox(rax, __qword_ptr[rdi]);
            c.mov(__qword_ptr[rdi], rax);
            c.mulx(rcx, rax, __qword_ptr[rsi + 8]);
            c.adcx(rax, r11);
            c.adox(rax, __qword_ptr[rdi + 8]);
            c.mov(__qword_ptr[rdi + 8], rax);
            c.adcx(rcx, r10);
            c.adox(rcx, r10);
        });
        yield return Build("a sum of four words", c =>
        {
            c.add(rax, __qword_ptr[rsi]);
            c.adc(rbx, __qword_ptr[rsi + 8]);
            c.adc(rcx, __qword_ptr[rsi + 16]);
            c.adc(rdx, 0);
            c.sbb(r8, r8);
        });
        yield return Build("division by a constant", c =>
        {
            c.mov(eax, edi);
            c.imul(rax, rax, 0x66666667);
            c.shr(rax, 34);
        });
        yield return Build("a round of SHA-256", c =>
        {
            c.mov(eax, r8d);
            c.ror(eax, 6);
            c.mov(edx, r8d);
            c.ror(edx, 11);
            c.xor(eax, edx);
            c.ror(edx, 14);
            c.xor(eax, edx);
            c.add(r11d, eax);
        });
        yield return Build("a step of xorshift", c =>
        {
            c.mov(rax, rdi);
            c.shl(rax, 13);
            c.xor(rdi, rax);
            c.mov(rax, rdi);
            c.shr(rax, 7);
            c.xor(rdi, rax);
        });
        yield return Build("flags as a value", c =>
        {
            c.cmp(rdi, rsi);
            c.setb(al);
            c.movzx(eax, al);
        });
        yield return Build("a choice", c =>
        {
            c.cmp(edi, esi);
            c.mov(eax, esi);
            c.cmovg(eax, edi);
        });
        yield return Build("a jump through a table", c =>
        {
            c.movzx(eax, __byte_ptr[rsi]);
            c.inc(rsi);
            c.jmp(__qword_ptr[rdi + rax * 8]);
        });
        yield return Build("a call through a pointer", c => c.call(__qword_ptr[rdi + 0x18]));
        yield return Build("a direct call", c =>
        {
            c.mov(edi, 1);
            c.call(MachineState.CodeBase + 0x40);
        });
        yield return Build("a lock", c =>
        {
            c.xor(eax, eax);
            c.mov(edx, 1);
            c.@lock.cmpxchg(__dword_ptr[rdi], edx);
            c.jne(MachineState.CodeBase + 0x20);
        });
        yield return Build("a reference count", c =>
        {
            c.@lock.dec(__dword_ptr[rdi + 8]);
            c.je(MachineState.CodeBase + 0x20);
        });
        yield return Build("filling memory", c =>
        {
            c.xor(eax, eax);
            c.mov(ecx, 32);
            c.rep.stosq();
        });
        yield return Build("globals by RIP", c =>
        {
            var counter = c.CreateLabel();
            c.mov(eax, __dword_ptr[counter]);
            c.add(eax, __dword_ptr[counter]);
            c.mov(__dword_ptr[counter], eax);
            c.ret();
            c.Label(ref counter);
            c.dd(0);
        });
        yield return Build("thread-local storage", c =>
        {
            c.mov(rax, __qword_ptr.fs[0x28]);
            c.mov(__qword_ptr[rsp + 8], rax);
        });
        yield return Build("registers that are not pinned", c =>
        {
            c.mov(r12, __qword_ptr[r13]);
            c.add(r14, r12);
            c.xor(r15, r14);
            c.mov(__qword_ptr[r13 + 8], r15);
        });
        yield return Build("bytes of one register", c =>
        {
            c.mov(al, __byte_ptr[rdi]);
            c.mov(ah, __byte_ptr[rdi + 1]);
            c.add(al, ah);
        });
    }

    private static (string Title, byte[] Code) Build(string title, Action<Guest> write)
    {
        var assembler = new Guest(64);
        write(assembler);
        using var stream = new MemoryStream();
        _ = assembler.Assemble(new StreamCodeWriter(stream), MachineState.CodeBase);
        return (title, stream.ToArray());
    }
}
