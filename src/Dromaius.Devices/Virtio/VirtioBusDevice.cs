using Dromaius.Core.Devices;

namespace Dromaius.Devices.Virtio;

/// <summary>A virtio device that the user put on a virtio bus; its transport belongs to the board and resets it.</summary>
public sealed class VirtioBusDevice(VirtioDevice device, string typeName) : Device
{
    public override string TypeName => typeName;

    public VirtioDevice Device => device;
}
