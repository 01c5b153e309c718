namespace Dromaius.Devices.Pci;

/// <summary>The device/port type field of the PCI Express capabilities register.</summary>
public enum PciExpressType
{
    Endpoint = 0,
    RootPort = 4,
    UpstreamPort = 5,
    DownstreamPort = 6,

    /// <summary>A bridge from PCI Express to conventional PCI.</summary>
    PciBridge = 7,
    IntegratedEndpoint = 9,
}

/// <summary>The PCI Express capability, version 2. Source: PCI Express Base Specification 3.0, section 7.8.</summary>
public sealed class PciExpressCapability
{
    private const byte Id = 0x10;
    private const int Length = 0x3C, Version = 2;
    private const int DeviceCapabilities = 4, DeviceControl = 8, DeviceStatus = 10, LinkCapabilities = 12, LinkControl = 16, LinkStatus = 18,
        DeviceCapabilities2 = 36, DeviceControl2 = 40, LinkCapabilities2 = 44, LinkControl2 = 48;

    // One lane at 2.5 GT/s; L0s; reports that its data link layer is active.
    private const uint LinkX1 = 0x11, LinkL0s = 0x400, LinkReportsActive = 1 << 20;
    private const ushort LinkDisable = 0x10, LinkActive = 1 << 13;

    private readonly PciFunction _function;

    internal PciExpressCapability(PciFunction function, PciExpressType type, byte port, int at)
    {
        _function = function;
        Type = type;
        At = function.AddCapability(Id, Length, at);
        function.SetResetWord(At + 2, (ushort)(Version | (int)type << 4));
        // Role-based error reporting; endpoints are reset by themselves.
        function.SetResetDword(At + DeviceCapabilities, 0x8000 | (type is PciExpressType.Endpoint or PciExpressType.UpstreamPort ? 1u << 28 : 0));
        // The four error reporting enables, and what endpoints may ask of memory.
        function.SetWritable(At + DeviceControl, 2, IsPort ? 0x0Fu : 0xC0Fu);
        function.SetWriteOneClear(At + DeviceStatus, 2, 0xF);
        if (type != PciExpressType.IntegratedEndpoint)
        {
            var reports = type is PciExpressType.RootPort or PciExpressType.DownstreamPort;
            function.SetResetDword(At + LinkCapabilities, LinkX1 | LinkL0s | (reports ? LinkReportsActive : 0) | (uint)port << 24);
            function.SetWritable(At + LinkControl, 2, type == PciExpressType.Endpoint ? 0xC0u : reports ? 0xD0u : 0);
            function.SetResetWord(At + LinkStatus, (ushort)LinkX1);
            function.SetResetDword(At + LinkCapabilities2, 2);
            function.SetResetWord(At + LinkControl2, 1);
        }

        // End-to-end TLP prefixes and extended formats.
        function.SetResetDword(At + DeviceCapabilities2, 0x30_0000u | (IsPort ? 0x20u : 0));
        function.SetWritable(At + DeviceControl2, 2, 0x8000u | (IsPort ? 0x20u : 0));
    }

    public PciExpressType Type { get; }

    /// <summary>Offset in configuration space.</summary>
    public int At { get; }

    public bool IsLinkDisabled => (_function.ConfigWord(At + LinkControl) & LinkDisable) != 0;

    private bool IsPort => Type is PciExpressType.RootPort or PciExpressType.DownstreamPort or PciExpressType.PciBridge;

    /// <summary>A downstream port's link came up, or went.</summary>
    internal void SetLinkActive(bool active)
    {
        var status = _function.ConfigWord(At + LinkStatus);
        status = (ushort)(active ? status | LinkActive : status & ~LinkActive);
        _function.PokeConfig(At + LinkStatus, (byte)status);
        _function.PokeConfig(At + LinkStatus + 1, (byte)(status >> 8));
    }
}
