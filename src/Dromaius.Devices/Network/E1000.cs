using Dromaius.Core.Time;
using Dromaius.Net;

namespace Dromaius.Devices.Network;

/// <summary>
/// Gigabit Ethernet controllers on PCI: 82540EM, 82544GC and 82545EM. Source: PCI/PCI-X Family of Gigabit Ethernet Controllers Software
/// Developer's Manual (317453), chapter 4.
/// </summary>
public sealed class E1000 : IntelEthernet
{
    /// <param name="typeName">As <c>-device</c> spells it; chooses the model.</param>
    /// <param name="clock">For the interrupt throttle.</param>
    /// <param name="mac">The address in the EEPROM.</param>
    public E1000(string typeName, Clock clock, MacAddress mac)
        : base(DeviceIdOf(typeName), 3, clock, mac)
    {
        TypeName = typeName;
        AddMemoryBar(0, RegisterRegion);
        AddIoBar(1, IoWindow(64));
        ResetController();
    }

    public override string TypeName { get; }

    protected override uint PhyId => TypeName == "e1000-82544gc" ? 0x0141_0C30u : 0x0141_0C20;

    private static ushort DeviceIdOf(string typeName) => typeName switch
    {
        "e1000-82544gc" => 0x1008,
        "e1000-82545em" => 0x100F,
        _ => 0x100E,
    };
}
