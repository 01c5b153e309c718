using Dromaius.Net;

namespace Dromaius.Boards;

/// <summary>An adapter that <c>-nic</c> or <c>-net nic</c> asks for, or the one by default.</summary>
public sealed record NicOption
{
    /// <summary>The device type, or null for the machine's usual one.</summary>
    public string? Model { get; init; }
    public MacAddress? Mac { get; init; }

    /// <summary>The device's id.</summary>
    public string? Id { get; init; }

    /// <summary>The backend; null for none.</summary>
    public NetEndpoint? Backend { get; init; }

    /// <summary>A PCI address.</summary>
    public string? Address { get; init; }
    public int? Vectors { get; init; }
}
