using Dromaius.Block;
using Dromaius.Block.Graph;
using Dromaius.Core.Errors;
using Dromaius.Core.Time;

namespace Dromaius.Boards.Pc;

/// <summary>A drive of the machine and the place it asked for.</summary>
/// <param name="Option">What the user said.</param>
/// <param name="Backend">The device's end.</param>
/// <param name="Bus">Which bus of its interface.</param>
/// <param name="Unit">Where on the bus.</param>
internal sealed record PcDrive(DriveOption Option, BlockBackend Backend, int Bus, int Unit);

/// <summary>The drives of a machine: placed by index, bus and unit, found by id, each used by one device.</summary>
internal sealed class PcDrives
{
    private readonly EventLoop _loop;
    private readonly BlockGraph? _blocks;
    private readonly int _ideUnits;
    private readonly Dictionary<string, PcDrive> _drives = new(StringComparer.Ordinal);
    private readonly HashSet<string> _inUse = [];

    /// <param name="options">The machine's.</param>
    /// <param name="loop">Where transfers complete.</param>
    /// <param name="ideUnits">Disks on an IDE bus.</param>
    public PcDrives(MachineOptions options, EventLoop loop, int ideUnits = 2)
    {
        _ideUnits = ideUnits;
        _loop = loop;
        _blocks = options.Blocks;
        foreach (var option in options.Drives)
            Add(option);
    }

    public IEnumerable<PcDrive> All => _drives.Values;

    /// <summary>Drives of an interface, in the order of their places.</summary>
    public IEnumerable<PcDrive> Of(DriveInterface kind) =>
        _drives.Values.Where(d => d.Option.Interface == kind).OrderBy(static d => d.Bus).ThenBy(static d => d.Unit);

    public bool IsInUse(string id) => _inUse.Contains(id);

    public PcDrive Add(DriveOption option)
    {
        var perBus = UnitsPerBus(option.Interface);
        var (bus, unit) = (option.Bus ?? 0, option.Unit ?? -1);
        if (option.Index is { } index)
        {
            if (option.Bus != null || option.Unit != null)
                throw new UserErrorException($"{option.Text}: index cannot be used with bus and unit");
            (bus, unit) = perBus == 0 ? (0, index) : (index / perBus, index % perBus);
        }

        if (option.Interface == DriveInterface.None)
            unit = Math.Max(unit, 0);
        for (var next = Math.Max(unit, 0); unit < 0; next++)
        {
            if (perBus != 0 && next >= perBus)
                (bus, next) = (bus + 1, 0);
            if (Find(option.Interface, bus, next) == null)
                unit = next;
        }

        if (perBus != 0 && unit >= perBus)
            throw new UserErrorException($"{option.Text}: unit {unit} too big (max is {perBus - 1})");
        if (option.Interface != DriveInterface.None && Find(option.Interface, bus, unit) != null)
            throw new UserErrorException($"{option.Text}: drive with bus={bus}, unit={unit} (index={option.Index ?? ((bus * perBus) + unit)}) exists");
        var id = option.Id ?? UsualId(option, bus, unit);
        var backend = option.Backend ?? Make(id, option);
        var drive = new PcDrive(option, backend, bus, unit);
        if (!_drives.TryAdd(id, drive))
            throw new UserErrorException($"{option.Text}: Duplicate ID '{id}' for drive");
        return drive;
    }

    private BlockBackend Make(string id, DriveOption option)
    {
        var backend = _blocks == null ? new BlockBackend(id, _loop, option.Node) : _blocks.AddBackend(id, option.Node);
        backend.WriteCache = option.WriteCache;
        backend.IsRemovable = option.IsCdrom || option.Interface == DriveInterface.Floppy;
        if (option.IsReadOnly)
            backend.SetMedium(option.Node, readOnly: true);
        return backend;
    }

    public PcDrive? Find(DriveInterface kind, int bus, int unit) =>
        kind == DriveInterface.None ? null : Of(kind).FirstOrDefault(d => d.Bus == bus && d.Unit == unit);

    public PcDrive? Find(string id) => _drives.GetValueOrDefault(id);

    /// <summary>Waits until no transfer of any drive is under way.</summary>
    public void Drain()
    {
        foreach (var backend in _drives.Values.Select(static d => d.Backend).Concat(_blocks?.AllBackends ?? []))
            backend.Drain();
    }

    /// <summary>The drive for a device.</summary>
    public PcDrive Take(string deviceType, string id)
    {
        var drive = Find(id) ?? FromNode(id) ?? throw new UserErrorException($"Property '{deviceType}.drive' can't find value '{id}'");
        // A node may serve several devices, if they let each other.
        if (!_inUse.Add(id) && drive.Backend.Name.Length > 0)
            throw new UserErrorException($"Drive '{id}' is already in use by another block device");
        return drive;
    }

    /// <summary>A device begins to use a drive; a user error when others that use the medium mind.</summary>
    public void Claim(BlockBackend backend, bool shareWrite, bool isResizable)
    {
        backend.Claim(shareWrite, isResizable);
        try
        {
            _blocks?.ApplyPermissions();
        }
        catch (BlockException e)
        {
            if (backend.Name.Length > 0)
                backend.Unclaim();
            else
                _blocks!.Release(backend);
            throw new UserErrorException(e.Hint == null ? e.Message : $"{e.Message}\n{e.Hint}");
        }
    }

    /// <summary>The device that took a drive could not be made after all: an image of <c>-blockdev</c> is free again.</summary>
    public void GiveBack(string? id)
    {
        if (id == null || !_inUse.Remove(id))
            return;
        if (_drives.TryGetValue(id, out var drive))
            drive.Backend.Unclaim();
        else
            _blocks?.Detach(id);
    }

    /// <summary>The device of a drive is gone: a drive of <c>-drive</c> goes with it, an image of <c>-blockdev</c> is free again.</summary>
    public void Release(BlockBackend backend)
    {
        backend.Unclaim();
        _ = _drives.Remove(backend.Id);
        if (_blocks != null)
            _blocks.Release(backend);
        else
            backend.Dispose();
        if (_blocks?.AllBackends.Any(b => b.Id == backend.Id) != true)
            _ = _inUse.Remove(backend.Id);
    }

    /// <summary>An image of <c>-blockdev</c>, for the device that names it.</summary>
    private PcDrive? FromNode(string name) =>
        _blocks?.Attach(name) is { } backend ? new PcDrive(new DriveOption { Id = name, Interface = DriveInterface.None }, backend, 0, 0) : null;

    /// <summary>A drive without a medium, for a device that was given none.</summary>
    /// <param name="id">What messages call it.</param>
    /// <param name="device">The device's id, by which monitors find the drive.</param>
    public BlockBackend Empty(string id, string? device)
    {
        var backend = _blocks?.AttachEmpty(id) ?? new BlockBackend(id, _loop) { Name = "" };
        backend.DeviceName = device;
        backend.Claim(shareWrite: false, isResizable: false);
        return backend;
    }

    private int UnitsPerBus(DriveInterface kind) => kind switch
    {
        DriveInterface.Ide => _ideUnits,
        DriveInterface.Scsi => 7,
        _ => 0,
    };

    private static string UsualId(DriveOption option, int bus, int unit)
    {
        var kind = option.Interface switch
        {
            DriveInterface.None => "none",
            DriveInterface.Ide => "ide",
            DriveInterface.Scsi => "scsi",
            DriveInterface.Floppy => "floppy",
            DriveInterface.Pflash => "pflash",
            DriveInterface.Sd => "sd",
            DriveInterface.Mtd => "mtd",
            _ => "virtio",
        };
        if (option.Interface is DriveInterface.Ide or DriveInterface.Scsi)
            return $"{kind}{bus}-{(option.IsCdrom ? "cd" : "hd")}{unit}";
        return option.IsCdrom ? $"{kind}{unit}-cd{unit}" : $"{kind}{unit}";
    }
}
