using Dromaius.Boards.Pc.Loaders;
using Dromaius.Core.Chardev;
using Dromaius.Core.Devices;
using Dromaius.Core.Errors;
using Dromaius.Core.Interrupts;
using Dromaius.Core.Memory;
using Dromaius.Core.Time;
using Dromaius.Devices.Interrupts;
using Dromaius.Devices.Isa;
using Dromaius.Devices.Pci;
using Dromaius.Devices.Storage.Scsi;

namespace Dromaius.Boards.Pc;

/// <content>Devices from the command line, and what the firmware is told.</content>
public sealed partial class PcMachine : IDeviceHost
{
    MemoryRegion IDeviceHost.IoRoot => IoRoot;

    MemoryRegion IDeviceHost.MemoryRoot => MemoryRoot;

    AddressSpace IDeviceHost.Memory => Memory;

    Clock IDeviceHost.VirtualClock => VirtualClock;

    IrqLine IDeviceHost.IsaIrq(int number) => _interrupts.Driver(number);

    ICharBackend IDeviceHost.Chardev(string id)
    {
        var backend = Options.Chardevs[id];
        if (!_chardevsInUse.Add(id))
            throw new UserErrorException($"Device '{id}' is in use");
        return backend;
    }

    byte[] IDeviceHost.Firmware(string name) => _firmware.Read(name);

    T? IDeviceHost.Bus<T>()
        where T : class => _chipset.Bus as T ?? Displays as T ?? Input as T ?? _fwCfg as T ?? _networks as T;

    void IDeviceHost.Exit(int status) => RequestExit(status);

    void IDeviceHost.GuestPanicked() => ReportGuestPanic();

    void IDeviceHost.GuestCrashLoaded() => ReportGuestCrashLoaded();

    void IDeviceHost.RequestShutdown() => RequestShutdown(EventReason.GuestShutdown);

    void IDeviceHost.RequestReset() => RequestReset(EventReason.GuestReset);

    /// <summary>The first free serial port number, or -1.</summary>
    internal int NextSerial => Enumerable.Range(0, SerialPorts).FirstOrDefault(i => !_serialInUse.Contains(i), -1);

    internal int NextParallel => Enumerable.Range(0, ParallelPorts).FirstOrDefault(i => !_parallelInUse.Contains(i), -1);

    internal static (int Port, int Irq) SerialDefaults(int index) => (SerialBase[index], SerialIrq[index]);

    internal static int ParallelDefault(int index) => ParallelBase[index];

    /// <summary>The panic device tells the ACPI tables where it is.</summary>
    internal void NotePanicPort(int port) => _panicPort = port;

    private void AddDisplay()
    {
        var kind = Options.Vga ?? (Options.NoDefaults ? VgaKind.None : HasPci ? VgaKind.Standard : VgaKind.Cirrus);
        // An adapter that the user makes takes the place of the one by default.
        if (kind != VgaKind.None && _board.Display is { } display && !Options.Devices.Any(static d => d.Name is "VGA" or "cirrus-vga" or "isa-vga" or "isa-cirrus-vga"))
            Add(CreateDevice(kind != VgaKind.Cirrus ? display : HasPci ? "cirrus-vga" : "isa-cirrus-vga", [], userMade: false));
    }

    internal bool HasPci => _chipset.Bus != null;

    /// <summary>A PCI bus by name; without one the root bus.</summary>
    internal PciBus FindPciBus(string type, string? name)
    {
        var root = _chipset.Bus ?? throw new UserErrorException($"No 'PCI' bus found for device '{type}'");
        if (name == null)
            return root;
        if (root.AllBuses.FirstOrDefault(b => b.Name == name) is { } bus)
            return bus;
        if (name == "pci")
            return root;
        if (_ideBuses.Exists(b => b.Name == name))
            throw new UserErrorException($"Device '{type}' can't go on IDE bus");
        if (_scsiBuses.Exists(b => b.Name == name))
            throw new UserErrorException($"Device '{type}' can't go on SCSI bus");
        throw new UserErrorException($"Bus '{name}' not found");
    }

    /// <summary>The path of a device on the ISA bus as firmware spells it.</summary>
    internal string IsaPath(string device) => HasPci ? $"/pci@i0cf8/isa@{(_chipset.Bus!.IsExpress ? "1f" : "1")}/{device}" : $"/isa/{device}";

    private Device CreateDevice(string name, IEnumerable<KeyValuePair<string, string>> properties, bool userMade)
    {
        var type = PcDeviceTypes.Registry.Get(name);
        if (type.Bus == "PCI" && !HasPci)
            throw new UserErrorException($"No 'PCI' bus found for device '{type.Name}'");
        if (type.Bus == "ISA" && !_board.HasAtDevices && type.Name is not ("isa-debugcon" or "isa-debug-exit" or "isa-serial" or "pvpanic"))
            throw new UserErrorException($"device '{type.Name}' needs parts that this machine has not");
        return userMade
            ? PcDeviceTypes.Registry.Create(name, properties, Options.Globals, this)
            : DeviceRegistry.Create(type, properties, Options.Globals, this);
    }

    /// <summary>The adapters that the user named by what they connect to.</summary>
    private void AddNics()
    {
        foreach (var nic in Options.Nics)
        {
            if ((nic.Model ?? _board.NicModel) is not { } model)
                continue;
            var name = PcNetworkTypes.ModelOf(model) ?? throw new UserErrorException($"Unsupported NIC model: {model}");
            var type = PcDeviceTypes.Registry.Get(name);
            List<KeyValuePair<string, string>> properties = [];
            void Set(string key, string? value)
            {
                if (value != null && (key == "id" || type.FindProperty(key) != null))
                    properties.Add(new(key, value));
            }

            Set("id", nic.Id);
            Set("mac", nic.Mac?.ToString());
            Set("netdev", nic.Backend?.Name);
            Set("addr", nic.Address);
            Set("vectors", nic.Vectors?.ToString());
            Add(CreateDevice(name, properties, userMade: false));
        }
    }

    public override MachineDescription Describe() => new()
    {
        Type = _type, Topology = _topology, CpuModel = _processors.Model.Name, X86 = _processors.Model, DeviceTypes = PcDeviceTypes.Registry,
        Pci = () => [.. _chipset.Bus?.AllFunctions.Select(static f => PciDeviceInfo.Of(f)) ?? []],
        InterruptControllers = () => string.Concat(Devices.OfType<IoApic>().Select(static d => d.Describe())
            .Concat(Devices.OfType<I8259>().Select(static d => d.Describe()))),
        InterruptCounts = () => [.. Devices.OfType<IoApic>().Select(static d => ("ioapic", d.Counts)), .. Devices.OfType<I8259>().Select(static d => ("isa-i8259", d.Counts))],
        Roms = _memory.FirmwareBlock is { } rom ? [(0x1_0000_0000 - rom.Size, rom.Size, true, Path.GetFileName(rom.Name))] : [],
    };

    private void AddUserDevices()
    {
        foreach (var option in Options.Devices)
        {
            try
            {
                Add(CreateDevice(option.Name, option.Properties, userMade: true));
            }
            catch (UserErrorException e)
            {
                throw new UserErrorException($"{option.Text}: {e.Message}");
            }
        }
    }

    private void FillFirmwareConfig(KernelBoot? kernel)
    {
        PcFirmwareConfig.Fill(_fwCfg, Options, _properties, _topology, _layout, _properties.Hpet && _board.HasHpet);
        if (kernel != null && _chipset.KernelArguments is { Length: > 0 } arguments)
            kernel = KernelLoader.Load(Options with { Append = Options.Append + arguments }, _layout);
        if (kernel != null)
            PcFirmwareConfig.AddKernel(_fwCfg, kernel, BootOrder, _properties.OptionRoms);
        PcFirmwareConfig.AddBootOrder(_fwCfg, BootOrder, Options.Boot.Strict);
        if (_chipset.HasAcpi)
        {
            var facts = new PcAcpiFacts
            {
                Topology = _topology,
                Places = _chipset.Places,
                HasConfigWindow = _chipset.Bus is { IsExpress: true },
                AcpiEnable = _chipset.Acpi?.AcpiEnable ?? 0,
                AcpiDisable = _chipset.Acpi?.AcpiDisable ?? 0,
                PciHoleStart = (uint)_layout.BelowSize,
                RamEnd = _layout.RamEnd,
                Hpet = _properties.Hpet,
                SystemManagement = _properties.Smm,
                SerialPorts = [.. _serialInUse.Order()],
                ParallelPorts = _parallelInUse.Count,
                I8042 = _properties.I8042,
                PanicPort = _panicPort,
                OemId = _properties.OemId ?? "DROM",
                OemTableId = _properties.OemTableId ?? "DROMPC",
                ExtraTables = UserAcpiTables.Read(Options.AcpiTables),
            };
            PcFirmwareConfig.AddAcpi(_fwCfg, facts, _chipset);
        }

        var smbios = PcSmbios.Build(Options, _topology, _layout, _processors.Model.Signature, _type.Description, _type.Name);
        PcFirmwareConfig.AddSmbios(_fwCfg, smbios, _properties.Smbios64);
        PcFirmwareConfig.AddUserFiles(_fwCfg, Options);
    }
}
