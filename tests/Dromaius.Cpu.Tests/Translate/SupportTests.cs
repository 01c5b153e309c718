using Dromaius.Cpu.X86;
using Iced.Intel;

namespace Dromaius.Cpu.Tests.Translate;

/// <summary>Which instructions a processor model has.</summary>
public class SupportTests
{
    [Theory]
    [InlineData("486", Code.Rdtsc, true)] // as QEMU's, though CPUID does not tell of it
    [InlineData("486", Code.Rdmsr, true)]
    [InlineData("486", Code.Cmovne_r32_rm32, false)]
    [InlineData("486", Code.Cmpxchg8b_m64, false)]
    [InlineData("486", Code.Bswap_r32, true)]
    [InlineData("pentium", Code.Cmpxchg8b_m64, true)]
    [InlineData("pentium", Code.Cmovne_r32_rm32, false)]
    [InlineData("qemu32", Code.Cmovne_r32_rm32, true)]
    [InlineData("qemu64", Code.Rdtscp, false)]
    public void ModelsHaveTheirInstructions(string model, Code code, bool has)
    {
        var facts = new InstructionFacts(X86Model.Find(model)!);
        Instruction insn = default;
        insn.Code = code;
        Assert.Equal(has, facts.Supports(insn));
    }
}
