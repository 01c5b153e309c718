using Dromaius.Core.Memory;
using Dromaius.Devices.Pci;
using Dromaius.Net;

namespace Dromaius.Devices.Network;

/// <summary>The <see cref="Ne2000"/> as a PCI function: RTL8029AS. Source: RTL8029AS datasheet, section 6.</summary>
public sealed class Ne2000Pci : PciFunction, IPciNic
{
    private readonly Ne2000 _core;

    /// <param name="mac">The address in the PROM.</param>
    public Ne2000Pci(MacAddress mac)
        : base(0x10EC, 0x8029, 0x02, 0x00)
    {
        _core = new Ne2000(TypeName, mac);
        _core.Irq.Connect(SetIntx);
        UseInterruptPin(1);
        var ports = MemoryRegion.Container("ne2000-pci", 0x100);
        ports.Add(0, _core.Ports);
        AddIoBar(0, ports);
    }

    public override string TypeName => "ne2k_pci";

    public Nic? Nic
    {
        get => _core.Nic;
        set => _core.Nic = value;
    }

    public override void Reset()
    {
        base.Reset();
        _core.Reset();
    }

    public bool Receive(ReadOnlySpan<byte> frame, in FrameOffload offload) => _core.Receive(frame, offload);

    public void OnPeerReady() => _core.OnPeerReady();
}
