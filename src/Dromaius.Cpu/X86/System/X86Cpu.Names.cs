namespace Dromaius.Cpu.X86;

/// <content>Registers by name, for monitors and debuggers.</content>
public sealed unsafe partial class X86Cpu
{
    /// <summary>16-, 32- or 64-bit code runs now.</summary>
    public int CodeBits => Code64 ? 64 : (State->Mode & (uint)Mode.Code32) != 0 ? 32 : 16;

    /// <summary>The value of a register by its name in lower case; read while the processor may run, so perhaps a little old.</summary>
    public bool TryGetRegister(string name, out ulong value)
    {
        var s = State;
        for (var i = 0; i < 8; i++)
        {
            if (name == Names64[i].ToLowerInvariant() || name == Names32[i].ToLowerInvariant() || name == Names32[i][1..].ToLowerInvariant())
            {
                value = name[0] == 'r' ? s->Gpr[i] : name[0] == 'e' ? (uint)s->Gpr[i] : (ushort)s->Gpr[i];
                return true;
            }
        }

        if (name.Length is 2 or 3 && name[0] == 'r' && int.TryParse(name.AsSpan(1), out var number) && number is >= 8 and < 16)
        {
            value = s->Gpr[number];
            return true;
        }

        var dot = name.IndexOf('.');
        var (whole, part) = dot < 0 ? (name, "") : (name[..dot], name[dot..]);
        for (var i = 0; i < SegmentNames.Length; i++)
        {
            if (whole.Equals(SegmentNames[i], StringComparison.OrdinalIgnoreCase) && TryGetPart(SegmentOf((Seg)i), part, out value))
                return true;
        }

        if ((whole is "ldt" && TryGetPart(&s->Ldt, part, out value)) || (whole is "tr" && TryGetPart(&s->Tr, part, out value)))
            return true;

        (value, var known) = name switch
        {
            "rip" or "eip" or "pc" or "ip" => (s->Rip, true),
            "eflags" or "rflags" => (ReadEflags(), true),
            "cr0" => (s->Cr0, true),
            "cr2" => (s->Cr2, true),
            "cr3" => (s->Cr3, true),
            "cr4" => (s->Cr4, true),
            "efer" => (s->Efer, true),
            "gdt.base" => (s->Gdt.Base, true),
            "gdt.limit" => (s->Gdt.Limit, true),
            "idt.base" => (s->Idt.Base, true),
            "idt.limit" => (s->Idt.Limit, true),
            "kernelgsbase" => (s->KernelGsBase, true),
            _ => (0UL, false),
        };
        return known;
    }

    /// <summary>A part of a segment register: its selector, <c>.base</c>, <c>.limit</c> or <c>.flags</c>, as descriptors have them.</summary>
    private static bool TryGetPart(Segment* segment, string part, out ulong value)
    {
        (value, var known) = part switch
        {
            "" => (segment->Selector, true),
            ".base" => (segment->Base, true),
            ".limit" => (segment->Limit, true),
            ".flags" => ((ulong)segment->Attributes << 8, true),
            _ => (0UL, false),
        };
        return known;
    }
}
