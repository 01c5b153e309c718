using System.Globalization;
using System.Text;

namespace Dromaius.Devices.Interrupts;

/// <content>The registers as <c>info lapic</c> shows them.</content>
public sealed partial class LocalApic
{
    private static readonly string[] ModeNames = ["Fixed", "...", "SMI", "...", "NMI", "INIT", "...", "ExtINT"];

    public string Describe()
    {
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"dumping local APIC state for CPU {_cpu.Index} \n\n");
        ReadOnlySpan<(string Name, int Index)> entries =
        [
            ("LVT0", LvtLint0), ("LVT1", LvtLint1), ("LVTPC", LvtPerf), ("LVTERR", LvtError), ("LVTTHMR", LvtThermal), ("LVTT", LvtTimer),
        ];
        foreach (var (name, index) in entries)
        {
            var v = _lvt[index];
            var mode = ModeNames[(v >> 8) & 7];
            var timer = index != LvtTimer ? "" : ((v >> 17) & 3) switch
            {
                0 => "one-shot",
                1 => "periodic",
                _ => "tsc-deadline",
            };
            text.Append(CultureInfo.InvariantCulture, $"{name}\t 0x{v:x8} {((v & LvtActiveLow) != 0 ? "active-lo" : "active-hi")} {((v & LvtLevel) != 0 ? "level" : "edge ")} ")
                .Append($"{((v & (1 << 16)) != 0 ? "masked" : ""),-6} {"",7} {timer,-12} {mode,-6}");
            text.Append(mode is "Fixed" or "ExtINT" ? $" (vec {v & 0xFF})\n" : "\n");
        }

        text.Append(CultureInfo.InvariantCulture, $"Timer\t DCR=0x{_timer.DivideRegister:x} (divide by {_timer.Divisor}) initial_count = {_timer.InitialCount} current_count = {_timer.CurrentCount}\n");
        text.Append(CultureInfo.InvariantCulture, $"SPIV\t 0x{_svr:x8} APIC {((_svr & SvrEnable) != 0 ? "enabled" : "disabled")}, focus={((_svr & 0x200) != 0 ? "on" : "off")}, spurious vec {_svr & 0xFF}\n");
        text.Append(CultureInfo.InvariantCulture, $"ICR\t 0x{_icrLow:x8} {((_icrLow & 0x800) != 0 ? "logical" : "physical")} {((_icrLow & 0x8000) != 0 ? "level" : "edge")} ")
            .Append($"{((_icrLow & 0x4000) != 0 ? "assert" : "de-assert")} {((_icrLow >> 18) & 3) switch { 0 => "no-shorthand", 1 => "self", 2 => "all-self", _ => "all" }}\n");
        text.Append(CultureInfo.InvariantCulture, $"ICR2\t 0x{_icrHigh:x8}\nESR\t 0x{_errorsRead:x8}\n");
        text.Append($"ISR\t {Vectors(_isr)}\nIRR\t {Vectors(_irr)}\n\n");
        text.Append(CultureInfo.InvariantCulture, $"APR 0x00 TPR 0x{_tpr:x2} DFR 0x{_dfr >> 28:x2} LDR 0x{_ldr >> 24:x2} PPR 0x{_tpr:x2}\n");
        return text.ToString();
    }

    private static string Vectors(in VectorSet set)
    {
        var text = new StringBuilder();
        for (var vector = 0; vector < 256; vector++)
        {
            if (set[vector])
                text.Append(text.Length > 0 ? " " : "").Append(vector);
        }

        return text.Length > 0 ? text.ToString() : "(none)";
    }
}
