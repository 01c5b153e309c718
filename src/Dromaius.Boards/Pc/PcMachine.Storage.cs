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
    private readonly List<IdeBus> _ideBuses = [];
    private int _unnamedIdeBuses;
    private Fdc82078? _floppy;

    internal PcDrives Drives { get; }

    internal BootOrder BootOrder { get; } = new();

    /// <summary>The buses that IDE and SATA drives go on, in the order made.</summary>
    internal IReadOnlyList<IdeBus> IdeBuses => _ideBuses;

    internal Fdc82078? FloppyController => _floppy;

    /// <summary>The path of a PCI function as firmware spells it.</summary>
    internal static string PciPath(PciFunction function, string kind)
    {
        var parent = function.Bus?.Parent is { } bridge ? PciPath(bridge, "pci-bridge") : "/pci@i0cf8";
        return $"{parent}/{kind}@{function.Slot:x}{(function.Function != 0 ? $",{function.Function:x}" : "")}";
    }

    /// <summary>Takes a channel's interrupt and its place as the next bus.</summary>
    /// <param name="channel">The channel.</param>
    /// <param name="irq">The ISA interrupt.</param>
    /// <param name="controller">The id of the controller that it is a channel of.</param>
    /// <param name="number">Which of its channels.</param>
    internal void AddIdeChannel(IdeChannel channel, int irq, string? controller = null, int number = 0)
    {
        channel.Irq.Connect(Follow(irq));
        _ideBuses.Add(new IdeBus(IdeBusName(controller, number), channel, null, null));
    }

    /// <summary>Buses of a controller with an id are named after it, all others are counted.</summary>
    private string IdeBusName(string? controller, int number) => controller != null ? $"{controller}.{number}" : $"ide.{_unnamedIdeBuses++}";

    /// <summary>An ISA channel at ports and an interrupt of the user's choice.</summary>
    internal Device AddIsaIde(ulong command, ulong control, int irq, string? id)
    {
        if (command + 8 > 0x10000 || control >= 0x10000)
            throw new UserErrorException("the ports lie beyond the I/O ports");
        var channel = new IdeChannel(_ideBuses.Count) { Id = id };
        IoRoot.Add(command, channel.CommandPorts);
        IoRoot.Add(control, channel.ControlPort);
        AddIdeChannel(channel, irq, id);
        return channel;
    }

    /// <summary>The ports of a controller are buses of one drive.</summary>
    internal void AddAhci(Ahci controller)
    {
        foreach (var port in controller.Ports)
            _ideBuses.Add(new IdeBus(IdeBusName(controller.Id, port.Number), null, controller, port));
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

    /// <summary>Devices for the drives that name an interface, after those the user made; then what is there by default.</summary>
    private void AddDefaultDrives()
    {
        foreach (var drive in Drives.Of(DriveInterface.Ide).ToList())
        {
            if (drive.Bus >= _ideBuses.Count)
                throw new UserErrorException($"{drive.Option.Text}: machine type does not support if=ide,bus={drive.Bus},unit={drive.Unit}");
            Make(drive, drive.Option.IsCdrom ? "ide-cd" : "ide-hd", ("bus", _ideBuses[drive.Bus].Name), ("unit", $"{drive.Unit}"));
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
            // The default CD-ROM is the third IDE drive.
            var cdrom = 2 / _board.IdeUnits;
            if (cdrom < _ideBuses.Count && Drives.Find(DriveInterface.Ide, cdrom, 0) == null && _ideBuses[cdrom][0] == null && !HasUserCdrom)
            {
                Make(Drives.Add(new DriveOption { Id = $"ide{cdrom}-cd0", Bus = cdrom, Unit = 0, IsCdrom = true }), "ide-cd",
                    ("bus", _ideBuses[cdrom].Name), ("unit", "0"));
            }

            if (_floppy is { } controller && controller[0] == null && Drives.Find("floppy0") == null)
                Make(Drives.Add(new DriveOption { Id = "floppy0", Interface = DriveInterface.Floppy, Unit = 0 }), "floppy", ("unit", "0"));
        }

        var unclaimed = Drives.All.FirstOrDefault(d => !Drives.IsInUse(d.Backend.Id)
            && d.Option.Interface is DriveInterface.Scsi or DriveInterface.Sd or DriveInterface.Mtd);
        if (unclaimed != null)
            throw new UserErrorException($"{unclaimed.Option.Text}: machine type does not support if={unclaimed.Option.Interface.ToString().ToLowerInvariant()},"
                + $"bus={unclaimed.Bus},unit={unclaimed.Unit}");
        PcCmos.SetFloppies(_rtc, _floppy?[0]?.Type ?? FloppyDriveType.None, _floppy?[1]?.Type ?? FloppyDriveType.None);
        PcCmos.SetDisks(_rtc, [.. Enumerable.Range(0, 4).Select(i => i / 2 < _ideBuses.Count && _ideBuses[i / 2][i % 2] is AtaDisk disk
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
            Add(CreateDevice(type, pairs, userMade: false));
        }
        catch (UserErrorException e) when (!e.Message.StartsWith('-'))
        {
            throw new UserErrorException($"{drive.Option.Text}: {e.Message}");
        }
    }
}
