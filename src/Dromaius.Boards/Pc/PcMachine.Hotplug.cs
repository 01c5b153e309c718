using Dromaius.Core.Devices;
using Dromaius.Core.Errors;
using Dromaius.Devices.Network;
using Dromaius.Devices.Pci;
using Dromaius.Devices.Storage;
using Dromaius.Devices.Storage.Scsi;
using Dromaius.Devices.Virtio;

namespace Dromaius.Boards.Pc;

/// <content>Devices that come and go while the machine runs: PCI functions with the guest's consent, SCSI units at once.</content>
public sealed partial class PcMachine
{
    /// <summary>How long a request to give a function away is not repeated, in milliseconds: guests may not listen yet.</summary>
    private const int UnplugPatience = 5000;
    private readonly Dictionary<PciFunction, long> _unplugging = [];

    internal Chipsets.PcChipset Chipset => _chipset;

    public override void PlugDevice(DeviceOption option)
    {
        var type = PcDeviceTypes.Registry.Get(option.Name);
        if (type.Category == DeviceCategory.Display || !type.UserCreatable)
            throw new UserErrorException("Parameter 'driver' expects a pluggable device type");
        if (type.Bus is not ("PCI" or "SCSI"))
            throw new UserErrorException($"Bus '{type.Bus?.ToLowerInvariant()}.0' does not support hotplugging");
        var id = option.Properties.FirstOrDefault(static p => p.Key == "id").Value;
        if (id != null && Devices.Any(d => d.Id == id))
            throw new UserErrorException($"Duplicate device ID '{id}'");
        var drive = option.Properties.FirstOrDefault(static p => p.Key == "drive").Value;
        var wasTaken = drive != null && Drives.IsInUse(drive);
        try
        {
            if (type.Bus == "SCSI")
                PlugScsi(option);
            else
                PlugPci(option, type);
        }
        catch (UserErrorException)
        {
            if (!wasTaken)
                Drives.GiveBack(drive);
            throw;
        }
    }

    private void PlugPci(DeviceOption option, DeviceType type)
    {
        var bus = FindPciBus(type.Name, option.Properties.FirstOrDefault(static p => p.Key == "bus").Value);
        if (!bus.IsHotPluggable || type.Category == DeviceCategory.Bridge)
            throw new UserErrorException($"Bus '{bus.Name}' does not support hotplugging");
        var buses = _scsiBuses.Count;
        PciFunction function;
        try
        {
            function = (PciFunction)Add(CreateDevice(option.Name, option.Properties, userMade: true));
        }
        catch (UserErrorException)
        {
            _scsiBuses.RemoveRange(buses, _scsiBuses.Count - buses);
            throw;
        }

        function.Reset();
        // Functions of a slot come together: number 0 is plugged last.
        if (function.Function != 0)
            return;
        if (bus.Parent is PciExpressPort port)
            port.NotePlugged();
        else
            _chipset.Hotplug?.NotePlugged(function);
    }

    public override void UnplugDevice(Device device)
    {
        if (device is ScsiTarget unit)
        {
            UnplugScsi(unit);
            NoteDeleted(unit);
            return;
        }

        if (device is not PciFunction { Bus: { } bus } function)
            throw new UserErrorException($"Bus '{device.Arguments?.Type.Bus?.ToLowerInvariant()}.0' does not support hotplugging");
        if (!bus.IsHotPluggable)
            throw new UserErrorException($"Bus '{bus.Name}' does not support hotplugging");
        if (!function.IsHotPluggable)
            throw new UserErrorException($"Device '{function.TypeName}' does not support hotplugging");
        if (_unplugging.TryGetValue(function, out var asked) && Environment.TickCount64 - asked < UnplugPatience)
            throw new UserErrorException($"Device {device.Id} is already in the process of unplug");
        _unplugging[function] = Environment.TickCount64;
        if (bus.Parent is PciExpressPort port)
        {
            if (port.TryRequestUnplug(out var busy))
                return;
            _ = _unplugging.Remove(function);
            throw new UserErrorException(busy);
        }

        _chipset.Hotplug?.RequestUnplug(function);
    }

    /// <summary>The guest gave a function away.</summary>
    internal void FinishUnplug(PciFunction function)
    {
        function.Reset();
        UnplugScsiBusOf(function);
        if (((function as IPciNic)?.Nic ?? ((function as VirtioPci)?.Device as VirtioNet)?.Nic) is { } nic)
            _networks.RemoveNic(nic);
        function.Bus?.Unplug(function);
        _ = _unplugging.Remove(function);
        Remove(function);
        if (function is VirtioPci { Device: VirtioBlock disk })
            Drives.Release(disk.Backend);
        else if (function is Nvme nvme)
            Drives.Release(nvme.Backend);
        NoteDeleted(function);
    }
}
