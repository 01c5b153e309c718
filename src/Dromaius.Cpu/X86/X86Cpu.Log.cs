using System.Globalization;
using System.Text;
using Dromaius.Core.Errors;
using Dromaius.Jit;
using Dromaius.Jit.Ir;
using Iced.Intel;

namespace Dromaius.Cpu.X86;

/// <content>What <c>-d</c> shows of translation and execution.</content>
public sealed unsafe partial class X86Cpu
{
    private const LogItems TranslationItems = LogItems.InAsm | LogItems.Op | LogItems.OpOpt | LogItems.OutAsm;

    private void LogExec(Unit unit)
    {
        if (GuestLog.Has(LogItems.Exec))
            GuestLog.Write($"Trace {Index}: 0x{(nint)unit.Code:x} [{State->CodeBase:x8}/{State->Rip:x16}/{State->Mode:x8}]");
        if (GuestLog.Has(LogItems.Cpu))
        {
            using var text = new StringWriter();
            DumpState(text);
            GuestLog.Write(text.ToString());
        }
    }

    /// <summary>The guest code of a unit, and the IR as the translator wrote it.</summary>
    private void LogTranslated(int length)
    {
        if (GuestLog.Has(LogItems.InAsm))
        {
            var bytes = new byte[length];
            var have = ((ICodeFetcher)this).Fetch(CodeAddress(State->Rip), bytes);
            var bitness = (State->Mode & (uint)Mode.Code64) != 0 ? 64 : (State->Mode & (uint)Mode.Code32) != 0 ? 32 : 16;
            GuestLog.Write("----------------\nIN:\n" + Disassemble(bytes.AsSpan(0, have), State->Rip, bitness));
        }

        if (GuestLog.Has(LogItems.Op))
            GuestLog.Write("OP:\n" + IrPrinter.Print(_builder));
    }

    private void LogTrace(ReadOnlySpan<ulong> path, bool loops)
    {
        if (GuestLog.Has(LogItems.InAsm))
        {
            var text = new StringBuilder("----------------\nTRACE:");
            foreach (var pc in path)
                text.Append(CultureInfo.InvariantCulture, $" 0x{pc:x8}");
            GuestLog.Write(text.Append(loops ? " and again\n" : "\n").ToString());
        }

        if (GuestLog.Has(LogItems.Op))
            GuestLog.Write("OP:\n" + IrPrinter.Print(_builder));
    }

    /// <summary>The IR after the passes, and the host code.</summary>
    private void LogCompiled(Unit unit)
    {
        if (GuestLog.Has(LogItems.OpOpt))
            GuestLog.Write("OP after optimization and liveness analysis:\n" + IrPrinter.Print(_builder));
        if (GuestLog.Has(LogItems.OutAsm) && unit.Code != null)
        {
            GuestLog.Write($"OUT: [size={unit.CodeLength}]\n"
                + Disassemble(new ReadOnlySpan<byte>(unit.Code, unit.CodeLength), (ulong)unit.Code, 64));
        }
    }

    private static string Disassemble(ReadOnlySpan<byte> code, ulong address, int bitness)
    {
        var bytes = code.ToArray();
        var decoder = Iced.Intel.Decoder.Create(bitness, bytes, address);
        var formatter = new GasFormatter();
        var output = new StringOutput();
        var text = new StringBuilder();
        var at = 0;
        while (at < bytes.Length)
        {
            decoder.Decode(out var instruction);
            if (instruction.Length == 0)
                break;
            formatter.Format(instruction, output);
            var hex = Convert.ToHexString(bytes, at, instruction.Length).ToLowerInvariant();
            text.Append(CultureInfo.InvariantCulture, $"0x{address + (ulong)at:x8}:  {hex,-24} {output.ToStringAndReset()}\n");
            at += instruction.Length;
        }

        return text.ToString();
    }
}
