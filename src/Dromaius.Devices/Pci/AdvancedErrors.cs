namespace Dromaius.Devices.Pci;

/// <summary>
/// The advanced error reporting capability: registers that software sets up; no error ever happens. Source: PCI Express Base
/// Specification 3.0, section 7.10.
/// </summary>
internal static class AdvancedErrors
{
    private const ushort Id = 1;
    private const int UncorrectableStatus = 4, UncorrectableMask = 8, UncorrectableSeverity = 12, CorrectableStatus = 16, CorrectableMask = 20,
        Control = 24, RootCommand = 44;

    private const uint Uncorrectable = 0x03FF_F030, DefaultSeverity = 0x0046_2030, Correctable = 0xF1C1, DefaultMask = 0xE000;

    /// <param name="function">The function that gets the capability.</param>
    /// <param name="offset">Where.</param>
    /// <param name="multiple">Records more than one header.</param>
    public static void Add(PciFunction function, int offset, bool multiple)
    {
        function.AddExtendedCapability(Id, 2, offset);
        function.SetWriteOneClear(offset + UncorrectableStatus, 4, Uncorrectable);
        function.SetWritable(offset + UncorrectableMask, 4, Uncorrectable);
        function.SetResetDword(offset + UncorrectableSeverity, DefaultSeverity);
        function.SetWritable(offset + UncorrectableSeverity, 4, Uncorrectable);
        function.SetWriteOneClear(offset + CorrectableStatus, 4, Correctable);
        function.SetResetDword(offset + CorrectableMask, DefaultMask);
        function.SetWritable(offset + CorrectableMask, 4, Correctable);
        function.SetResetDword(offset + Control, multiple ? 0x2A0u : 0xA0u);
        function.SetWritable(offset + Control, 4, multiple ? 0x540u : 0x140u);
        if (function.Express!.Type == PciExpressType.RootPort)
            function.SetWritable(offset + RootCommand, 4, 7);
    }
}
