using Dromaius.Core.Errors;

namespace Dromaius.Cpu.X86;

/// <content>The register dump of <c>-d cpu</c>, <c>-d int</c> and the monitor's <c>info registers</c>.</content>
public sealed unsafe partial class X86Cpu
{
    private static readonly string[] Names32 = ["EAX", "ECX", "EDX", "EBX", "ESP", "EBP", "ESI", "EDI"];
    private static readonly string[] Names64 = ["RAX", "RCX", "RDX", "RBX", "RSP", "RBP", "RSI", "RDI"];
    private static readonly string[] SegmentNames = ["ES", "CS", "SS", "DS", "FS", "GS"];

    private int _eventCount;

    /// <summary>Writes the registers in the layout that QEMU users know.</summary>
    /// <param name="output">Where to.</param>
    /// <param name="withFpu">Adds x87 and SSE registers.</param>
    public void DumpState(TextWriter output, bool withFpu = false)
    {
        var s = State;
        var wide = Code64 || LongMode;
        DumpGeneral(output, Code64);
        for (var i = 0; i < 6; i++)
            DumpSegment(output, SegmentNames[i] + " ", *SegmentOf((Seg)i), wide);
        DumpSegment(output, "LDT", s->Ldt, wide);
        DumpSegment(output, "TR ", s->Tr, wide);
        var address = wide ? "x16" : "x8";
        output.WriteLine($"GDT=     {Hex(s->Gdt.Base, address)} {s->Gdt.Limit:x8}");
        output.WriteLine($"IDT=     {Hex(s->Idt.Base, address)} {s->Idt.Limit:x8}");
        output.WriteLine($"CR0={(uint)s->Cr0:x8} CR2={Hex(s->Cr2, address)} CR3={Hex(s->Cr3, address)} CR4={(uint)s->Cr4:x8}");
        output.WriteLine($"DR0={s->Dr[0]:x16} DR1={s->Dr[1]:x16} DR2={s->Dr[2]:x16} DR3={s->Dr[3]:x16} ");
        output.WriteLine($"DR6={s->Dr[6]:x16} DR7={s->Dr[7]:x16}");
        if (GuestLog.Has(LogItems.Cpu) || GuestLog.Has(LogItems.Int))
            output.WriteLine($"CCS={Hex(s->CcSrc, address)} CCD={Hex(s->CcDst, address)} CCO={(CcOp)(s->CcOp & ~3UL)}");
        output.WriteLine($"EFER={s->Efer:x16}");
        if (withFpu)
            DumpFpu(output);
    }

    private static string Hex(ulong value, string format) => format == "x16" ? $"{value:x16}" : $"{(uint)value:x8}";

    private void DumpGeneral(TextWriter output, bool wide)
    {
        var s = State;
        ReadOnlySpan<int> order = [0, 3, 1, 2, 6, 7, 5, 4];
        var line = "";
        for (var i = 0; i < 8; i++)
        {
            var r = order[i];
            line += wide ? $"{Names64[r]}={s->Gpr[r]:x16}" : $"{Names32[r]}={(uint)s->Gpr[r]:x8}";
            if (i is 3 or 7)
            {
                output.WriteLine(line);
                line = "";
            }
            else
                line += " ";
        }

        for (var r = 8; wide && r < 16; r++)
        {
            line += $"{"R" + r,-3}={s->Gpr[r]:x16}";
            if (r is 11 or 15)
            {
                output.WriteLine(line);
                line = "";
            }
            else
                line += " ";
        }

        var f = (uint)ReadEflags();
        var flags = string.Concat(
            (f & Eflags.Df) != 0 ? 'D' : '-', (f & Eflags.Of) != 0 ? 'O' : '-', (f & Eflags.Sf) != 0 ? 'S' : '-',
            (f & Eflags.Zf) != 0 ? 'Z' : '-') + string.Concat(
            (f & Eflags.Af) != 0 ? 'A' : '-', (f & Eflags.Pf) != 0 ? 'P' : '-', (f & Eflags.Cf) != 0 ? 'C' : '-');
        var rip = wide ? $"RIP={s->Rip:x16} RFL={f:x8}" : $"EIP={(uint)s->Rip:x8} EFL={f:x8}";
        output.WriteLine($"{rip} [{flags}] CPL={Cpl} II={(s->Shadow != 0 ? 1 : 0)} A20={(_a20 ? 1 : 0)} "
            + $"SMM={(s->InSmm != 0 ? 1 : 0)} HLT={s->Halted}");
    }

    private void DumpSegment(TextWriter output, string name, in Segment segment, bool wide)
    {

        // The descriptor's second doubleword, with the limit bits that it holds.
        var granular = (segment.Attributes & 0x8000) != 0;
        var flags = segment.Unusable != 0 ? 0
            : ((uint)segment.Attributes << 8) | ((granular ? segment.Limit >> 12 : segment.Limit) & 0xF0000);
        var text = $"{name}={segment.Selector:x4} {Hex(segment.Base, wide ? "x16" : "x8")} {segment.Limit:x8} {flags:x8}";
        if (ProtectedMode && segment.Present && segment.Unusable == 0)
            text += $" DPL={segment.Dpl} " + Describe(segment);
        output.WriteLine(text);
    }

    private string Describe(in Segment segment)
    {
        if (!segment.IsCodeOrData)
        {
            return segment.Type switch
            {
                Descriptor.Tss16 => "TSS16-avl",
                Descriptor.Ldt => "LDT",
                Descriptor.Tss16Busy => "TSS16-busy",
                Descriptor.Tss32 => LongMode ? "TSS64-avl" : "TSS32-avl",
                Descriptor.Tss32Busy => LongMode ? "TSS64-busy" : "TSS32-busy",
                _ => "Reserved",
            };
        }

        var bits = segment.IsCode
            ? $"{(segment.Long && LongMode ? "CS64" : segment.Big ? "CS32" : "CS16")} [{((segment.Type & 4) != 0 ? 'C' : '-')}"
                + ((segment.Type & 2) != 0 ? 'R' : '-')
            : $"{(segment.Big ? "DS  " : "DS16")} [{((segment.Type & 4) != 0 ? 'E' : '-')}"
                + ((segment.Type & 2) != 0 ? 'W' : '-');
        return bits + ((segment.Type & 1) != 0 ? 'A' : '-') + "]";
    }

    private void DumpFpu(TextWriter output)
    {
        var s = State;
        output.WriteLine($"FCW={s->FpControl:x4} FSW={s->FpStatus | (s->FpTop << 11):x4} [ST={s->FpTop}] "
            + $"FTW={(byte)~s->FpEmpty:x2} MXCSR={s->Mxcsr:x8}");
        for (var i = 0; i < 8; i++)
            output.Write($"FPR{i}={s->FpRegs[2 * i]:x16} {(ushort)s->FpRegs[(2 * i) + 1]:x4}{(i % 2 == 1 ? "\n" : " ")}");
        var count = Code64 ? 16 : 8;
        for (var i = 0; i < count; i++)
        {
            output.Write($"YMM{i:d2}={s->Ymm[(4 * i) + 3]:x16} {s->Ymm[(4 * i) + 2]:x16} ");
            output.WriteLine($"{s->Ymm[(4 * i) + 1]:x16} {s->Ymm[4 * i]:x16}");
        }
    }

    private void LogEvent(int vector, uint error, EventKind kind, ulong nextRip)
    {
        var software = kind is EventKind.Software or EventKind.SoftwareException ? 1 : 0;
        var text = new StringWriter();
        text.Write($"{_eventCount++,6}: v={vector:x2} e={error:x4} i={software} cpl={Cpl} "
            + $"IP={State->Cs.Selector:x4}:{nextRip:x16} pc={State->CodeBase + State->Rip:x16} SP={State->Ss.Selector:x4}:{State->Gpr[4]:x16}");
        text.WriteLine(vector == PageFaultVector ? $" CR2={State->Cr2:x16}" : $" env->regs[R_EAX]={State->Gpr[0]:x16}");
        DumpState(text);
        GuestLog.Write(text.ToString().TrimEnd());
    }
}
