using Dromaius.Net;

namespace Dromaius.Devices.Network;

/// <summary>A network adapter as a PCI function: a board gives it the end of its cable.</summary>
public interface IPciNic : INetworkAdapter
{
    /// <summary>The adapter's end of the cable; set before it is used.</summary>
    Nic? Nic { get; set; }
}
