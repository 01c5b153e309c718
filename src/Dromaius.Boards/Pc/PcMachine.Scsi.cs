using Dromaius.Core.Devices;
using Dromaius.Core.Errors;
using Dromaius.Devices.Pci;
using Dromaius.Devices.Storage.Scsi;
using Dromaius.Devices.Virtio;

namespace Dromaius.Boards.Pc;

/// <content>SCSI buses and the units that come and go on them.</content>
public sealed partial class PcMachine
{
    private readonly List<ScsiBus> _scsiBuses = [];
    private int _unnamedScsiBuses;

    /// <summary>A bus for a new host adapter: named after it, or numbered.</summary>
    internal ScsiBus AddScsiBus(string? adapter, int maxChannel, int maxTarget, int maxLun)
    {
        var bus = new ScsiBus(adapter != null ? $"{adapter}.0" : $"scsi.{_unnamedScsiBuses++}", maxChannel, maxTarget, maxLun);
        _scsiBuses.Add(bus);
        return bus;
    }

    /// <summary>The bus that a new unit names, or the first.</summary>
    internal ScsiBus FindScsiBus(DeviceArguments a)
    {
        if (a.BusName is { } name)
            return _scsiBuses.Find(b => b.Name == name) ?? throw new UserErrorException($"Bus '{name}' not found");
        return _scsiBuses.FirstOrDefault() ?? throw new UserErrorException($"No 'SCSI' bus found for device '{a.Type.Name}'");
    }

    /// <summary>The path of a bus's adapter as firmware spells it.</summary>
    internal string? ScsiPath(ScsiBus bus) => _chipset.Bus?.AllFunctions.FirstOrDefault(f => BusOf(f) == bus) is { } function ? PciPath(function, "scsi") : null;

    private static ScsiBus? BusOf(Device adapter) => adapter switch
    {
        VirtioPci { Device: VirtioScsi scsi } => scsi.Bus,
        Lsi53c895a lsi => lsi.ScsiBus,
        _ => null,
    };

    private void PlugScsi(DeviceOption option)
    {
        var unit = (ScsiTarget)Add(PcDeviceTypes.Registry.Create(option.Name, option.Properties, Options.Globals, this));
        unit.Reset();
        unit.Bus!.AnnouncePlugged(unit);
    }

    private void UnplugScsi(ScsiTarget unit)
    {
        unit.Bus?.Remove(unit);
        unit.LetGo();
        Remove(unit);
        Drives.Release(unit.Backend);
    }

    /// <summary>Takes the units of an adapter out before the adapter goes.</summary>
    private void UnplugScsiBusOf(Device adapter)
    {
        if (BusOf(adapter) is not { } bus)
            return;
        foreach (var unit in bus.Units.ToList())
            UnplugScsi(unit);
        _ = _scsiBuses.Remove(bus);
    }
}
