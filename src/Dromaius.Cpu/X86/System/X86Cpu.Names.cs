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

        for (var i = 0; i < SegmentNames.Length; i++)
        {
            if (!name.StartsWith(SegmentNames[i], StringComparison.OrdinalIgnoreCase))
                continue;
            var segment = SegmentOf((Seg)i);
            switch (name.AsSpan(2))
            {
                case "":
                    value = segment->Selector;
                    return true;
                case ".base":
                    value = segment->Base;
                    return true;
                case ".limit":
                    value = segment->Limit;
                    return true;
            }
        }

        (value, var known) = name switch
        {
            "rip" or "eip" or "pc" or "ip" => (s->Rip, true),
            "eflags" or "rflags" => (ReadEflags(), true),
            "cr0" => (s->Cr0, true),
            "cr2" => (s->Cr2, true),
            "cr3" => (s->Cr3, true),
            "cr4" => (s->Cr4, true),
            "efer" => (s->Efer, true),
            _ => (0UL, false),
        };
        return known;
    }
}
