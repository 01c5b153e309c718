namespace Dromaius.Devices.Firmware;

/// <summary>Numbers of the firmware configuration items.</summary>
public static class FwCfgKey
{
    public const ushort Signature = 0x00, Id = 0x01, Uuid = 0x02, RamSize = 0x03, NoGraphic = 0x04, CpuCount = 0x05,
        MachineId = 0x06, KernelAddress = 0x07, KernelSize = 0x08, KernelCommandLine = 0x09, InitrdAddress = 0x0A,
        InitrdSize = 0x0B, BootDevice = 0x0C, Numa = 0x0D, BootMenu = 0x0E, MaxCpus = 0x0F, KernelEntry = 0x10,
        KernelData = 0x11, InitrdData = 0x12, CommandLineAddress = 0x13, CommandLineSize = 0x14, CommandLineData = 0x15,
        SetupAddress = 0x16, SetupSize = 0x17, SetupData = 0x18, FileDirectory = 0x19, FileFirst = 0x20;

    /// <summary>Items of the x86 architecture.</summary>
    public const ushort AcpiTables = 0x8000, SmbiosEntries = 0x8001, Irq0Override = 0x8002, E820Table = 0x8003, HpetTable = 0x8004;
}
