namespace Dromaius.Boards.Pc.Chipsets;

/// <summary>What distinguishes the boards of the PC family before a chip set is made.</summary>
internal sealed record PcBoard
{
    /// <summary>The BIOS image when the user names none.</summary>
    public string Firmware { get; init; } = "bios-256k.bin";

    /// <summary>RAM from this size on leaves room below 4 GiB for devices...</summary>
    public ulong SplitFrom { get; init; } = 0xE000_0000;

    /// <summary>...and this much stays below.</summary>
    public ulong SplitTo { get; init; } = 0xC000_0000;

    /// <summary>Disks on an IDE bus.</summary>
    public int IdeUnits { get; init; } = 2;

    /// <summary>Interrupts of the I/O APIC that a timer of the HPET can be routed to, a bit each.</summary>
    public uint HpetRoutes { get; init; } = 4;

    public required Func<PcMachine, PcChipset> CreateChipset { get; init; }

    public static PcBoard I440Fx { get; } = new() { CreateChipset = static machine => new I440FxChipset(machine) };

    public static PcBoard Q35 { get; } = new()
    {
        SplitFrom = 0xB000_0000, SplitTo = 0x8000_0000, IdeUnits = 1, HpetRoutes = 0xFF_0104, CreateChipset = static machine => new Q35Chipset(machine),
    };
}
