using Dromaius.Core.Devices;
using Dromaius.Core.Errors;

namespace Dromaius.Boards.Pc;

/// <summary>The pairs of <c>-machine pc,...</c>.</summary>
internal sealed record PcProperties
{
    public bool Acpi { get; init; } = true;
    public bool FloppyBootCheck { get; init; } = true;
    public bool Graphics { get; init; } = true;
    public bool Hpet { get; init; } = true;
    public bool I8042 { get; init; } = true;
    public bool Pic { get; init; } = true;
    public bool Pit { get; init; } = true;
    public bool Sata { get; init; } = true;
    public bool SmBus { get; init; } = true;
    public bool Smm { get; init; } = true;
    public bool Vmport { get; init; } = true;
    public bool AutoKernelCommandLine { get; init; } = true;
    public bool IoApic2 { get; init; } = true;
    public bool IsaSerial { get; init; } = true;
    public bool OptionRoms { get; init; } = true;
    public bool Rtc { get; init; } = true;
    public bool DumpGuestCore { get; init; } = true;
    public ulong? MaxRamBelow4G { get; init; }
    public bool Smbios64 { get; init; }
    public string? OemId { get; init; }
    public string? OemTableId { get; init; }
    public string? Firmware { get; init; }

    public static IReadOnlyList<MachineProperty> Known { get; } =
    [
        new("acpi", "OnOffAuto", "Enable ACPI"),
        new("append", "string", "Linux kernel command line"),
        new("dump-guest-core", "bool", "Include guest memory in a core dump"),
        new("fd-bootchk", "bool"),
        new("firmware", "string", "Firmware image"),
        new("graphics", "bool", "Set on/off to enable/disable graphics emulation"),
        new("hpet", "bool", "Enable/disable high precision event timer emulation"),
        new("i8042", "bool"),
        new("initrd", "string", "Linux initial ramdisk file"),
        new("kernel", "string", "Linux kernel image file"),
        new("kernel-irqchip", "OnOffSplit", "Configure KVM in-kernel irqchip (no effect)"),
        new("max-ram-below-4g", "size", "Maximum ram below the 4G boundary (32bit boundary)"),
        new("mem-merge", "bool", "Enable/disable memory merge support"),
        new("memory-backend", "string", "Set RAM backend"),
        new("pcspk-audiodev", "string", "ID of an audiodev to use as a backend for the speaker (no effect)"),
        new("pic", "OnOffAuto", "Enable i8259 PIC"),
        new("pit", "OnOffAuto", "Enable i8254 PIT"),
        new("sata", "bool", "Enable/disable Serial ATA bus"),
        new("smbios-entry-point-type", "str", "SMBIOS Entry Point type [32, 64]"),
        new("smbus", "bool", "Enable/disable system management bus"),
        new("smm", "OnOffAuto", "Enable SMM"),
        new("suppress-vmdesc", "bool", "Set on to disable self-describing migration"),
        new("usb", "bool", "Set on/off to enable/disable usb"),
        new("vmport", "OnOffAuto", "Enable vmport (pc & q35)"),
        new("x-oem-id", "string", "Override the default value of field OEMID in ACPI table header.The string may be up to 6 bytes in size"),
        new("x-oem-table-id", "string",
            "Override the default value of field OEM Table ID in ACPI table header.The string may be up to 8 bytes in size"),
    ];

    /// <summary>The pairs of <c>-machine microvm,...</c>.</summary>
    public static IReadOnlyList<MachineProperty> Microvm { get; } =
    [
        .. Known.Where(static p => p.Name is "acpi" or "append" or "dump-guest-core" or "firmware" or "graphics" or "initrd" or "kernel"
            or "kernel-irqchip" or "mem-merge" or "memory-backend" or "pic" or "pit" or "smm" or "suppress-vmdesc" or "usb" or "x-oem-id" or "x-oem-table-id"),
        new("auto-kernel-cmdline", "bool", "Set off to disable adding virtio-mmio devices to the kernel cmdline"),
        new("ioapic2", "OnOffAuto", "Enable second IO-APIC"),
        new("isa-serial", "bool", "Set off to disable the instantiation an ISA serial port"),
        new("pcie", "OnOffAuto", "Enable PCIe (not available)"),
        new("rtc", "OnOffAuto", "Enable MC146818 RTC"),
        new("x-option-roms", "bool", "Set off to disable loading option ROMs"),
    ];

    public static PcProperties Parse(MachineOptions options, string typeName, IReadOnlyList<MachineProperty>? properties = null)
    {
        var allowed = properties ?? Known;
        var p = new PcProperties();
        foreach (var (key, value) in options.MachineProperties)
        {
            var known = allowed.FirstOrDefault(k => k.Name == key) ?? throw new UserErrorException(
                $"Property '{typeName}-machine.{key}' not found" + NearestNames.Hint(key, allowed.Select(static k => k.Name)));
            var on = known.Kind switch
            {
                "bool" => Bool(key, value),
                "OnOffAuto" => value == "auto" || OnOffAuto(key, value),
                _ => false,
            };
            p = key switch
            {
                "acpi" => p with { Acpi = on },
                "fd-bootchk" => p with { FloppyBootCheck = on },
                "graphics" => p with { Graphics = on },
                "hpet" => p with { Hpet = on },
                "i8042" => p with { I8042 = on },
                "pic" => p with { Pic = on },
                "pit" => p with { Pit = on },
                "sata" => p with { Sata = on },
                "smbus" => p with { SmBus = on },
                "smm" => p with { Smm = on },
                "auto-kernel-cmdline" => p with { AutoKernelCommandLine = on },
                "ioapic2" => p with { IoApic2 = on },
                "isa-serial" => p with { IsaSerial = on },
                "rtc" => p with { Rtc = on },
                "x-option-roms" => p with { OptionRoms = on },
                "pcie" when on && value != "auto" => throw new UserErrorException("pcie=on: PCI Express is not available on this machine"),
                "vmport" => p with { Vmport = on },
                "dump-guest-core" => p with { DumpGuestCore = on },
                "firmware" => p with { Firmware = value },
                "max-ram-below-4g" => p with { MaxRamBelow4G = Size(key, value) },
                "smbios-entry-point-type" => p with { Smbios64 = EntryPoint(value) },
                "x-oem-id" => p with { OemId = Short(key, value, 6) },
                "x-oem-table-id" => p with { OemTableId = Short(key, value, 8) },
                "usb" when on => throw new UserErrorException("usb=on: USB is not available on this machine"),
                _ => p,
            };
        }

        return p;
    }

    private static bool Bool(string key, string value) =>
        PropertyValues.TryParseBool(value, out var on) ? on : throw new UserErrorException($"Parameter '{key}' expects 'on' or 'off'");

    private static bool OnOffAuto(string key, string value) => value switch
    {
        "on" => true,
        "off" => false,
        _ => throw new UserErrorException($"Parameter '{key}' does not accept value '{value}'"),
    };

    private static ulong Size(string key, string value) => PropertyValues.TryParseSize(value, out var size)
        ? size
        : throw new UserErrorException($"Parameter '{key}' expects a non-negative number below 2^64");

    private static bool EntryPoint(string value) => value switch
    {
        "32" => false,
        "64" => true,
        _ => throw new UserErrorException($"Parameter 'smbios-entry-point-type' does not accept value '{value}'"),
    };

    private static string Short(string key, string value, int most) => value.Length <= most
        ? value
        : throw new UserErrorException($"User specified {key} value is bigger than {most} bytes in size");
}
