using Dromaius.Core.Memory;

namespace Dromaius.Devices.Pci;

/// <summary>
/// Programmable attribute maps: the thirteen segments between 768 KiB and 1 MiB, each routed to RAM or PCI. Source: Intel 440FX
/// datasheet (290549), section 3.2.18; Intel 3 Series Express Chipset datasheet (316966), section 5.1.22: the same seven registers.
/// </summary>
internal sealed class PamWindows
{
    public const int Registers = 7;

    private readonly MemoryRegion[] _readWrite = new MemoryRegion[13];
    private readonly MemoryRegion[] _readOnly = new MemoryRegion[13];
    private readonly MemoryRegion[] _pci = new MemoryRegion[13];

    /// <param name="system">The processors' memory, to put the windows in.</param>
    /// <param name="ram">RAM from address 0 up.</param>
    /// <param name="pci">What answers where RAM does not.</param>
    public PamWindows(MemoryRegion system, MemoryRegion ram, MemoryRegion pci)
    {
        // Segment 0 is the 64 KiB at F0000; the others are 16 KiB each from C0000.
        for (var i = 0; i < _readWrite.Length; i++)
        {
            var (start, size) = i == 0 ? (0xF0000UL, 0x10000UL) : (0xC0000UL + (ulong)((i - 1) * 0x4000), 0x4000UL);
            _readWrite[i] = MemoryRegion.Alias("pam-ram", ram, start, size);
            _readOnly[i] = MemoryRegion.Alias("pam-rom", ram, start, size);
            _readOnly[i].ReadOnly = true;
            _pci[i] = MemoryRegion.Alias("pam-pci", pci, start, size);
            _readWrite[i].Enabled = _readOnly[i].Enabled = _pci[i].Enabled = false;
            system.Add(start, _readWrite[i], 1);
            system.Add(start, _readOnly[i], 1);
            system.Add(start, _pci[i], 1);
        }
    }

    /// <summary>Routes as the seven registers say.</summary>
    public void Update(ReadOnlySpan<byte> registers)
    {
        using var transaction = MemoryTransaction.Begin();
        for (var i = 0; i < _readWrite.Length; i++)
        {
            // The first register holds segment F0000 in its high half; the others two segments each, low half first.
            var pam = i == 0 ? registers[0] >> 4 : registers[1 + ((i - 1) / 2)] >> (((i - 1) & 1) * 4);
            var mode = pam & 3;
            _readWrite[i].Enabled = mode == 3;
            _readOnly[i].Enabled = mode == 1;
            // Write-only shadowing (reads to PCI, writes to RAM) is treated as all PCI.
            _pci[i].Enabled = mode is 0 or 2;
        }
    }
}
