namespace Dromaius.Boards.Pc.Chipsets;

/// <summary>What distinguishes the boards of the PC family before a chip set is made.</summary>
internal sealed record PcBoard
{
    /// <summary>The BIOS image when the user names none.</summary>
    public Func<PcProperties, string> Firmware { get; init; } = static _ => "bios-256k.bin";

    /// <summary>No chip set shadows the BIOS: it is loaded into RAM.</summary>
    public bool HasFirmwareInRam { get; init; }

    /// <summary>What <c>-machine</c> takes.</summary>
    public IReadOnlyList<MachineProperty> Properties { get; init; } = PcProperties.Known;

    public bool HasIoApic { get; init; } = true;

    /// <summary>DMA, keyboard controller and the other parts of every AT.</summary>
    public bool HasAtDevices { get; init; } = true;

    public bool HasHpet { get; init; } = true;

    /// <summary>The graphics adapter by default; null for none.</summary>
    public string? Display { get; init; } = "VGA";

    /// <summary>RAM from this size on leaves room below 4 GiB for devices...</summary>
    public ulong SplitFrom { get; init; } = 0xE000_0000;

    /// <summary>...and this much stays below.</summary>
    public ulong SplitTo { get; init; } = 0xC000_0000;

    /// <summary>Disks on an IDE bus.</summary>
    public int IdeUnits { get; init; } = 2;

    /// <summary>Interrupts of the I/O APIC that a timer of the HPET can be routed to, a bit each.</summary>
    public uint HpetRoutes { get; init; } = 4;

    /// <summary>The network adapter by default; null for none.</summary>
    public string? NicModel { get; init; } = "e1000";

    public required Func<PcMachine, PcChipset> CreateChipset { get; init; }

    public static PcBoard I440Fx { get; } = new() { CreateChipset = static machine => new I440FxChipset(machine) };

    public static PcBoard Q35 { get; } = new()
    {
        SplitFrom = 0xB000_0000, SplitTo = 0x8000_0000, IdeUnits = 1, NicModel = "e1000e", HpetRoutes = 0xFF_0104, CreateChipset = static machine => new Q35Chipset(machine),
    };

    public static PcBoard IsaPc { get; } = new()
    {
        Firmware = static _ => "bios.bin", HasFirmwareInRam = true, HasIoApic = false, HasHpet = false, Display = "isa-vga", NicModel = "ne2k_isa",
        CreateChipset = static machine => new IsaChipset(machine),
    };

    public static PcBoard Microvm { get; } = new()
    {
        Firmware = static p => p.Acpi ? "bios-microvm.bin" : "qboot.rom", HasFirmwareInRam = true, Properties = PcProperties.Microvm,
        HasAtDevices = false, HasHpet = false, Display = null, NicModel = null, CreateChipset = static machine => new MicrovmChipset(machine),
    };
}
