using System.Globalization;
using System.Text;
using Iced.Intel;
using Xunit.Abstractions;

namespace Dromaius.Cpu.Tests.Oracle;

/// <summary>
/// Every user instruction form, compared with the host processor over random registers, flags and memory.
/// <c>DROMAIUS_X86_COUNT</c>: states an opcode (default 8); register and memory operands, LOCK and REP are forms of their own. <c>DROMAIUS_X86_FORMS</c>: only forms whose name contains this.
/// <c>DROMAIUS_X86_SEED</c>: another sequence of random numbers.
/// </summary>
public sealed class HostOracleTests(ITestOutputHelper output)
{
    private const int MaxReports = 60;
    private const int InvalidOpcode = 6, StackFault = 12, GeneralProtection = 13, PageFault = 14;
    private static readonly int Count = Setting("DROMAIUS_X86_COUNT", 8);
    private static readonly int Seed = Setting("DROMAIUS_X86_SEED", 1);
    private static readonly string Filter = Environment.GetEnvironmentVariable("DROMAIUS_X86_FORMS") ?? "";

    [Fact]
    public void InterpretedInstructionsDoWhatTheHostDoes() => CompareAll(native: false, 64);

    [Fact]
    public void CompiledInstructionsDoWhatTheHostDoes() => CompareAll(native: true, 64);

    [Fact]
    public void Interpreted32BitInstructionsDoWhatTheHostDoes() => CompareAll(native: false, 32);

    [Fact]
    public void Compiled32BitInstructionsDoWhatTheHostDoes() => CompareAll(native: true, 32);

    [Fact]
    public void Interpreted16BitInstructionsDoWhatTheHostDoes() => CompareAll(native: false, 16);

    [Fact]
    public void Compiled16BitInstructionsDoWhatTheHostDoes() => CompareAll(native: true, 16);

    private void CompareAll(bool native, int bits)
    {
        if (!HostProcessor.IsSupported || (bits == 16 && !HostProcessor.Instance.Supports16))
            return;
        using var guest = new GuestProcessor(native);
        var (runs, faults, skipped) = (0, 0, 0);
        var forms = new HashSet<(Code Code, bool Memory, int Prefix)>();
        var codes = 0;
        var reports = new List<string>();
        var failedForms = 0;
        foreach (var code in InstructionForms.All(bits))
        {
            if (!code.ToString().Contains(Filter, StringComparison.OrdinalIgnoreCase))
                continue;
            var failures = 0;
            var built = false;
            for (var n = 0; n < Count; n++)
            {
                var random = new Random(HashCode(code, n));
                if (InstructionForms.Build(code, MachineState.CodeBase & (bits == 16 ? 0xFFFFUL : ~0UL), random, out var instruction,
                    bits) is not { } bytes)
                    continue;
                built = true;
                _ = forms.Add(InstructionForms.Form(instruction));
                switch (Compare(guest, bytes, instruction, bits, random, out var difference))
                {
                    case Outcome.Skipped: skipped++; break;
                    case Outcome.Fault: faults++; break;
                }

                runs++;
                if (difference != null && failures++ == 0)
                    reports.Add(difference);
            }

            codes += built ? 1 : 0;
            failedForms += failures != 0 ? 1 : 0;
            if (failures != 0)
                reports[^1] = $"{code} ({failures} of {Count}): {reports[^1]}";
        }

        var summary = $"{forms.Count} forms of {codes} opcodes, {runs} runs, {faults} faults, {skipped} skipped, {failedForms} forms differ";
        output.WriteLine(summary);
        if (reports.Count == 0)
            return;
        var text = new StringBuilder(summary).Append('\n');
        foreach (var report in reports.Take(MaxReports))
            text.Append(report).Append('\n');
        text.Append("all: ").AppendJoin(' ', reports.Select(static r => r[..r.IndexOf(' ', StringComparison.Ordinal)]));
        if (Environment.GetEnvironmentVariable("DROMAIUS_X86_REPORT") is { } file)
            File.WriteAllLines(file, [summary, .. reports]);
        Assert.Fail(text.ToString());
    }

    private static bool IsLimitFault(MachineState state) => state.Trap is StackFault or GeneralProtection;

    /// <summary>
    /// What processors and this emulator take apart differently at the limit of a segment: misaligned vectors (either fault may come
    /// first), elements under a mask, the x87 and MMX state of a store that faults; and branches beyond the limit of CS, which fault
    /// here when they have arrived.
    /// </summary>
    private static bool IsPartial(in Instruction instruction) =>
        instruction.FlowControl != FlowControl.Next
        || instruction.Code.CpuidFeatures().Any(static f => f is >= CpuidFeature.AES and <= CpuidFeature.AVX2 or CpuidFeature.F16C
            or CpuidFeature.FMA or CpuidFeature.FPU or CpuidFeature.FPU287 or CpuidFeature.FPU387 or CpuidFeature.MMX
            or >= CpuidFeature.SSE and <= CpuidFeature.SSSE3);

    private enum Outcome
    {
        Ran, Fault, Skipped,
    }

    private static Outcome Compare(GuestProcessor guest, byte[] bytes, in Instruction instruction, int bits, Random random,
        out string? difference)
    {
        var before = new MachineState();
        var host = new MachineState();
        var actual = new MachineState();
        difference = null;
        before.Bits = bits;
        StateGenerator.Fill(before, random, instruction);
        before.CopyTo(host);
        before.CopyTo(actual);
        HostProcessor.Instance.Run(bytes, host);
        if (host.Trap == PageFault || Undefined(instruction, before))
            return Outcome.Skipped;
        string? trouble = null;
        try
        {
            guest.Run(bytes, actual, random.Next(2) == 0 ? 1 : 64);
        }
        catch (Exception e)
        {
            trouble = "  " + e + "\n";
        }

        // A selector taken from memory: the descriptor tables of the host and the guest are not the same.
        if (instruction.Mnemonic is Mnemonic.Lds or Mnemonic.Les && host.Trap != actual.Trap)
            return Outcome.Skipped;
        if (bits == 16 && (IsLimitFault(host) || IsLimitFault(actual)) && IsPartial(instruction))
            return Outcome.Skipped;
        if (IsMakersOwn(instruction, host, actual))
            return Outcome.Skipped;
        host.Narrow();
        actual.Narrow();
        Forget(instruction, host, actual);
        difference = trouble ?? MachineState.Difference(before, host, actual, UndefinedFlags(instruction, before));
        if (difference != null)
            difference = $"{instruction} [{Convert.ToHexString(bytes)}]\n{difference}{before.Describe()}{(trouble == null ? guest.PrintIr() : "")}";
        return host.Trap == MachineState.NoTrap ? Outcome.Ran : Outcome.Fault;
    }

    /// <summary>Results that the manual leaves undefined and that processors give differently.</summary>
    private static bool Undefined(in Instruction instruction, MachineState before)
    {
        if (instruction.Mnemonic is Mnemonic.Shld or Mnemonic.Shrd)
            return OperandSize(instruction) == 2 && (ShiftCount(instruction, before) & 31) > 16;
        if (instruction.Mnemonic is Mnemonic.F2xm1 or Mnemonic.Fyl2xp1)
        {
            // Arguments beyond the range that the manual gives: |x| up to 1, and up to 1 - sqrt(1/2).
            var exponent = BitConverter.ToUInt16(before.Fp, 8) & 0x7FFF;
            return exponent >= (instruction.Mnemonic == Mnemonic.F2xm1 ? 0x3FFF : 0x3FFD) && exponent != 0x7FFF;
        }

        return false;
    }

    private static ulong UndefinedFlags(in Instruction instruction, MachineState before)
    {
        var undefined = Flags(instruction.RflagsUndefined);
        switch (instruction.Mnemonic)
        {
            case Mnemonic.Shl or Mnemonic.Sal or Mnemonic.Shr or Mnemonic.Sar or Mnemonic.Rol or Mnemonic.Ror or Mnemonic.Rcl
                or Mnemonic.Rcr or Mnemonic.Shld or Mnemonic.Shrd:
                var count = ShiftCount(instruction, before) & (OperandSize(instruction) == 8 ? 63UL : 31UL);
                if (count == 0)
                    return 0;
                undefined = count == 1 ? undefined & ~0x800UL : undefined | 0x800;
                break;
        }

        return undefined;
    }

    private static ulong ShiftCount(in Instruction instruction, MachineState before)
    {
        var last = instruction.OpCount - 1;
        return instruction.GetOpKind(last) == OpKind.Register ? before.Gpr[1] : instruction.GetImmediate(last);
    }

    /// <summary>Of the first operand, in bytes.</summary>
    private static int OperandSize(in Instruction instruction) =>
        instruction.Op0Kind == OpKind.Register ? instruction.Op0Register.GetSize() : instruction.MemorySize.GetSize();

    /// <summary>Faults that AMD's processors raise and Intel's do not, or the other way round; the guest's is an Intel.</summary>
    private static bool IsMakersOwn(in Instruction instruction, MachineState host, MachineState actual)
    {
        if (IsReservedNop(instruction.Code))
            return host.Trap == InvalidOpcode;
        return IsSha(instruction) && actual.Trap == GeneralProtection && host.Trap == MachineState.NoTrap;
    }

    /// <summary>PREFETCHW of a register, a NOP to one maker and undefined to the other.</summary>
    internal static bool IsReservedNop(Code code) => code is >= Code.Reservednop_rm16_r16_0F0D and <= Code.Reservednop_rm64_r64_0F0D;

    /// <summary>SHA instructions, whose memory operand must be aligned on Intel's processors only.</summary>
    internal static bool IsSha(in Instruction instruction) => instruction.Code.CpuidFeatures().Contains(CpuidFeature.SHA);

    internal static bool IsDotProduct(Mnemonic mnemonic) =>
        mnemonic is Mnemonic.Dpps or Mnemonic.Vdpps or Mnemonic.Dppd or Mnemonic.Vdppd;

    internal static ulong Flags(RflagsBits bits)
    {
        var mask = 0UL;
        foreach (var (bit, flag) in ((RflagsBits, ulong)[])[(RflagsBits.CF, 1), (RflagsBits.PF, 4), (RflagsBits.AF, 0x10),
            (RflagsBits.ZF, 0x40), (RflagsBits.SF, 0x80), (RflagsBits.OF, 0x800)])
            mask |= (bits & bit) != 0 ? flag : 0;
        return mask;
    }

    /// <summary>Takes from the comparison what processors give differently from maker to maker and model to model.</summary>
    private static void Forget(in Instruction instruction, MachineState host, MachineState actual)
    {
        const ushort roundedUpOrUnderflow = 0x210;
        const uint precision = 0x20;

        // A dot product: which of its NaNs wins; when it stops at an unmasked exception, whether earlier steps count as inexact.
        if (IsDotProduct(instruction.Mnemonic))
        {
            ForgetNaNs(host.Ymm, actual.Ymm, instruction.Mnemonic is Mnemonic.Dppd or Mnemonic.Vdppd);
            if (host.Trap != MachineState.NoTrap)
                actual.Mxcsr = (actual.Mxcsr & ~precision) | (host.Mxcsr & precision);
        }

        if (!IsTranscendental(instruction.Mnemonic))
            return;

        // The last bits of the result, and with them which way it was rounded and whether it counts as tiny.
        actual.FpStatus = (ushort)((actual.FpStatus & ~roundedUpOrUnderflow) | (host.FpStatus & roundedUpOrUnderflow));
        for (var i = 0; i < 80; i += 10)
        {
            if (Magnitude(host.Fp, i) - Magnitude(actual.Fp, i) is var distance && distance >= -2 && distance <= 2)
                host.Fp.AsSpan(i, 10).CopyTo(actual.Fp.AsSpan(i));
        }
    }

    private static void ForgetNaNs(byte[] host, byte[] actual, bool isDouble)
    {
        var size = isDouble ? 8 : 4;
        for (var i = 0; i < host.Length; i += size)
        {
            if (IsNaN(host, i, isDouble) && IsNaN(actual, i, isDouble))
                host.AsSpan(i, size).CopyTo(actual.AsSpan(i));
        }
    }

    private static bool IsNaN(byte[] registers, int at, bool isDouble) =>
        isDouble ? double.IsNaN(BitConverter.ToDouble(registers, at)) : float.IsNaN(BitConverter.ToSingle(registers, at));

    /// <summary>Sign, exponent and fraction as one number, in which neighbours differ by one.</summary>
    private static Int128 Magnitude(byte[] registers, int at) =>
        ((Int128)BitConverter.ToUInt16(registers, at + 8) << 63) + (BitConverter.ToUInt64(registers, at) & long.MaxValue);

    internal static bool IsTranscendental(Mnemonic mnemonic) => mnemonic is Mnemonic.F2xm1 or Mnemonic.Fyl2x or Mnemonic.Fyl2xp1
        or Mnemonic.Fptan or Mnemonic.Fpatan or Mnemonic.Fsin or Mnemonic.Fcos or Mnemonic.Fsincos;

    private static int HashCode(Code code, int n) => (int)code * 7919 + n * 104729 + Seed * 1299721;

    internal static int Setting(string name, int otherwise) =>
        int.TryParse(Environment.GetEnvironmentVariable(name), CultureInfo.InvariantCulture, out var value) ? value : otherwise;
}
