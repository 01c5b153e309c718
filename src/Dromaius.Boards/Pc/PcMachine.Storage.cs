using Dromaius.Core.Devices;
using Dromaius.Core.Errors;
using Dromaius.Core.Memory;
using Dromaius.Devices.Pci;
using Dromaius.Devices.Storage;
using Dromaius.Devices.Storage.Ata;

namespace Dromaius.Boards.Pc;

/// <content>Disk controllers: the board's own, and the places that drives and devices take on them.</content>
public sealed partial class PcMachine
{
    private const int IdeFunction = 8 + 1;
    private static readonly int[] IdeIrq = [14, 15];
    private static readonly (ulong Command, ulong Control)[] IdePorts = [(0x1F0, 0x3F6), (0x170, 0x376)];

    private readonly List<IdeChannel> _ideChannels = [];
    private readonly List<Ahci> _ahci = [];
    private Fdc82078? _floppy;

    internal PcDrives Drives { get; }

    internal BootOrder BootOrder { get; } = new();

    internal IReadOnlyList<IdeChannel> IdeChannels => _ideChannels;

    internal Fdc82078? FloppyController => _floppy;

    /// <summary>The path of a PCI function as firmware spells it.</summary>
    internal static string PciPath(PciFunction function, string kind) =>
        $"/pci@i0cf8/{kind}@{function.Slot:x}{(function.Function != 0 ? $",{function.Function:x}" : "")}";

    /// <summary>Takes a channel's interrupt and its place as the next bus.</summary>
    internal void AddIdeChannel(IdeChannel channel, int irq)
    {
        channel.Irq.Connect(Follow(irq));
        _ideChannels.Add(channel);
    }

    /// <summary>An ISA channel at ports and an interrupt of the user's choice.</summary>
    internal Device AddIsaIde(ulong command, ulong control, int irq, string? id)
    {
        if (command + 8 > 0x10000 || control >= 0x10000)
            throw new UserErrorException("the ports lie beyond the I/O ports");
        var channel = new IdeChannel(_ideChannels.Count) { Id = id };
        IoRoot.Add(command, channel.CommandPorts);
        IoRoot.Add(control, channel.ControlPort);
        AddIdeChannel(channel, irq);
        return channel;
    }

    internal void AddAhci(Ahci controller) => _ahci.Add(controller);

    /// <summary>A port by its bus name: the controller's id and the port's number.</summary>
    internal (Ahci Controller, AhciPort Port)? FindAhciPort(string name)
    {
        foreach (var controller in _ahci)
        {
            foreach (var port in controller.Ports)
            {
                if (controller.Id is { } id && name == $"{id}.{port.Number}")
                    return (controller, port);
            }
        }

        return null;
    }

    internal (Ahci Controller, AhciPort Port)? FreeAhciPort()
    {
        foreach (var controller in _ahci)
        {
            if (Array.Find(controller.Ports, static p => p.Device == null) is { } port)
                return (controller, port);
        }

        return null;
    }

    internal Fdc82078 AddFloppyController(string? id)
    {
        if (_floppy != null)
            throw new UserErrorException("only one floppy controller fits");
        _floppy = new Fdc82078(_dma, VirtualClock) { Id = id };
        IoRoot.Add(0x3F0, _floppy.Ports);
        IoRoot.Add(0x3F7, _floppy.InputPort);
        _floppy.Irq.Connect(Follow(6));
        return _floppy;
    }

    private bool HasFlash => Drives.Find(DriveInterface.Pflash, 0, 0) is { Backend.HasMedium: true };

    /// <summary>Flash for the firmware and its variables: unit 0 is at the top.</summary>
    private void AddFlash()
    {
        var chips = new List<CfiFlash>();
        foreach (var drive in Drives.Of(DriveInterface.Pflash).ToList())
        {
            if (drive.Unit != chips.Count)
                throw new UserErrorException($"{drive.Option.Text}: pflash{drive.Unit} requires pflash{chips.Count}");
            if (drive.Unit > 1)
                throw new UserErrorException($"{drive.Option.Text}: machine type does not support if=pflash,bus=0,unit={drive.Unit}");
            var size = drive.Backend.Length;
            if (size == 0 || size % CfiFlash.EraseBlock != 0)
                throw new UserErrorException($"{drive.Option.Text}: system firmware block device {drive.Backend.Id} has invalid size {size}");
            if (size > 8 << 20)
                throw new UserErrorException($"{drive.Option.Text}: system firmware block device {drive.Backend.Id} is larger than 8 MiB");
            _ = Drives.Take("cfi.pflash01", drive.Backend.Id);
            chips.Add(Add(new CfiFlash(drive.Backend, $"system.flash{drive.Unit}")));
        }

        if (chips.Count > 0)
            _memory.AddFlash(chips);
    }

    private void AddStorage()
    {
        var ide = Add(new PiixIde());
        PciBus.Plug(ide, IdeFunction);
        ide.MapLegacy(IoRoot);
        for (var i = 0; i < ide.Channels.Count; i++)
            AddIdeChannel(ide.Channels[i], IdeIrq[i]);
        Add(AddFloppyController(null));
    }

    /// <summary>Devices for the drives that name an interface, after those the user made; then what is there by default.</summary>
    private void AddDefaultDrives()
    {
        foreach (var drive in Drives.Of(DriveInterface.Ide).ToList())
        {
            if (drive.Bus >= _ideChannels.Count)
                throw new UserErrorException($"{drive.Option.Text}: machine type does not support if=ide,bus={drive.Bus},unit={drive.Unit}");
            Make(drive, drive.Option.IsCdrom ? "ide-cd" : "ide-hd", ("bus", $"ide.{drive.Bus}"), ("unit", $"{drive.Unit}"));
        }

        foreach (var drive in Drives.Of(DriveInterface.Virtio).ToList())
            Make(drive, "virtio-blk-pci");
        foreach (var drive in Drives.Of(DriveInterface.Floppy).ToList())
        {
            if (drive.Unit > 1)
                throw new UserErrorException($"{drive.Option.Text}: machine type does not support if=floppy,bus=0,unit={drive.Unit}");
            Make(drive, "floppy", ("unit", $"{drive.Unit}"));
        }

        if (!Options.NoDefaults)
        {
            if (Drives.Find(DriveInterface.Ide, 1, 0) == null && _ideChannels[1][0] == null && !HasUserCdrom)
                Make(Drives.Add(new DriveOption { Id = "ide1-cd0", Bus = 1, Unit = 0, IsCdrom = true }), "ide-cd", ("bus", "ide.1"), ("unit", "0"));
            if (_floppy is { } controller && controller[0] == null && Drives.Find("floppy0") == null)
                Make(Drives.Add(new DriveOption { Id = "floppy0", Interface = DriveInterface.Floppy, Unit = 0 }), "floppy", ("unit", "0"));
        }

        var unclaimed = Drives.All.FirstOrDefault(d => !Drives.IsInUse(d.Backend.Id)
            && d.Option.Interface is DriveInterface.Scsi or DriveInterface.Sd or DriveInterface.Mtd);
        if (unclaimed != null)
            throw new UserErrorException($"{unclaimed.Option.Text}: machine type does not support if={unclaimed.Option.Interface.ToString().ToLowerInvariant()},"
                + $"bus={unclaimed.Bus},unit={unclaimed.Unit}");
        PcCmos.SetFloppies(_rtc, _floppy?[0]?.Type ?? FloppyDriveType.None, _floppy?[1]?.Type ?? FloppyDriveType.None);
        PcCmos.SetDisks(_rtc, [.. Enumerable.Range(0, 4).Select(i => i / 2 < _ideChannels.Count && _ideChannels[i / 2][i % 2] is AtaDisk disk
            ? disk.Geometry
            : (DiskGeometry?)null)]);
    }

    /// <summary>A CD-ROM made by <c>-device</c> takes the place of the one by default.</summary>
    private bool HasUserCdrom => Options.Devices.Any(static d => d.Name is "ide-cd" or "scsi-cd");

    private void Make(PcDrive drive, string type, params (string Key, string Value)[] properties)
    {
        if (Drives.IsInUse(drive.Backend.Id))
            return;
        var pairs = properties.Append(("drive", drive.Backend.Id)).Select(static p => KeyValuePair.Create(p.Item1, p.Item2));
        try
        {
            Add(DeviceRegistry.Create(PcDeviceTypes.Registry.Get(type), pairs, Options.Globals, this));
        }
        catch (UserErrorException e) when (!e.Message.StartsWith('-'))
        {
            throw new UserErrorException($"{drive.Option.Text}: {e.Message}");
        }
    }
}
