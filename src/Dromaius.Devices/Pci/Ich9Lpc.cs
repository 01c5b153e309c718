using Dromaius.Core.Interrupts;
using Dromaius.Core.Memory;
using Dromaius.Devices.Firmware;

namespace Dromaius.Devices.Pci;

/// <summary>
/// LPC bridge: 82801IB (ICH9), function 1F.0. Routes PIRQ A to H to ISA interrupts and I/O APIC pins 16 to 23, and places the power
/// management block and the chip set's memory-mapped registers. Source: Intel ICH9 datasheet (316972), sections 13.1 (LPC interface
/// registers), 10.1.40 to 10.1.48 (device interrupt routes).
/// </summary>
public sealed class Ich9Lpc : PciFunction
{
    private const int PmBaseRegister = 0x40, AcpiControl = 0x44, PirqA = 0x60, PirqE = 0x68, PowerConfig1 = 0xA0, RootComplexBase = 0xF0;
    private const byte RouteDisabled = 0x80, AcpiEnable = 0x80, SmiLock = 0x10;
    private const int Lines = 8, FirstPin = 16, RootComplexSize = 0x4000;

    /// <summary>Offset of the route register of a device behind the root complex, 16 bits with four PIRQ numbers.</summary>
    private static readonly (int Slot, int Offset)[] RouteRegisters =
        [(31, 0x3140), (29, 0x3144), (28, 0x3146), (27, 0x3148), (26, 0x314C), (25, 0x3150)];

    private const ushort DefaultRoute = 0x3210;

    private readonly PciBus _bus;
    private readonly IrqLine[] _gsi;
    private readonly Ich9Pm _pm;
    private readonly MemoryRegion _io, _memory, _rootComplexRegion;
    private readonly byte[] _rootComplex = new byte[RootComplexSize];
    private bool _pmMapped, _rootComplexMapped, _smiLocked;

    /// <param name="bus">The bus whose interrupt pins it routes.</param>
    /// <param name="gsi">24 lines to drive: ISA interrupts 0 to 15, I/O APIC pins 16 to 23.</param>
    /// <param name="pm">The power management registers it places.</param>
    /// <param name="io">The I/O space.</param>
    /// <param name="memory">The processors' memory.</param>
    public Ich9Lpc(PciBus bus, IrqLine[] gsi, Ich9Pm pm, MemoryRegion io, MemoryRegion memory)
        : base(PciConfig.VendorIntel, 0x2918, 0x06, 0x01, 0, 2)
    {
        IsHotPluggable = false;
        IsMultifunction = true;
        _bus = bus;
        _gsi = gsi;
        _pm = pm;
        _io = io;
        _memory = memory;
        _rootComplexRegion = MemoryRegion.Device("lpc-rcrb-mmio", RootComplexSize, ReadRootComplex, WriteRootComplex);
        // Registers without behaviour here are storage.
        for (var i = 0x44; i < 0x100; i += 4)
            SetWritable(i, 4, uint.MaxValue);
        SetDword(PmBaseRegister, 1);
        SetWritable(PmBaseRegister, 4, 0xFF80);
        SetWritable(AcpiControl, 1, 0x87);
        for (var i = 0; i < 4; i++)
        {
            SetByte(PirqA + i, RouteDisabled);
            SetByte(PirqE + i, RouteDisabled);
            SetWritable(PirqA + i, 1, 0x8F);
            SetWritable(PirqE + i, 1, 0x8F);
        }

        SetWritable(RootComplexBase, 4, 0xFFFF_C001);
        bus.SetRouting(Lines, PirqOf);
        bus.InterruptChanged = (_, _) => UpdateRoutes();
        ResetRootComplex();
    }

    public override string TypeName => "ICH9-LPC";

    /// <summary>Where the power management block is, or would be once enabled; 0 when not set.</summary>
    public uint PmBase => ConfigDword(PmBaseRegister) & 0xFF80;

    public override void WriteConfig(int offset, int size, uint value)
    {
        var power = ConfigByte(PowerConfig1);
        base.WriteConfig(offset, size, value);
        // The lock bit is set once and holds the global SMI enable until reset.
        if ((power & SmiLock) != 0)
            PokeConfig(PowerConfig1, (byte)(ConfigByte(PowerConfig1) | SmiLock));
        if (Overlaps(offset, size, PmBaseRegister, 5) || Overlaps(offset, size, RootComplexBase, 4) || Overlaps(offset, size, PowerConfig1, 1))
            UpdateBlocks();
        if (Overlaps(offset, size, PirqA, 4) || Overlaps(offset, size, PirqE, 4))
            UpdateRoutes();
    }

    public override void Reset()
    {
        base.Reset();
        ResetRootComplex();
        UpdateBlocks();
        _bus.Reroute();
        UpdateRoutes();
    }

    /// <summary>Which of PIRQ A to H (0 to 7) a slot's pin is wired to.</summary>
    private int PirqOf(int slot, int pin)
    {
        // The root ports' and the DMI bridge's slots below 25, and slot 30, rotate over E to H.
        foreach (var (device, offset) in RouteRegisters)
        {
            if (device == slot)
                return ((_rootComplex[offset] | _rootComplex[offset + 1] << 8) >> (4 * pin)) & 7;
        }

        return ((slot == 30 ? 0 : slot) + pin & 3) + 4;
    }

    private int RouteOf(int line)
    {
        var route = ConfigByte(line < 4 ? PirqA + line : PirqE + line - 4);
        return (route & RouteDisabled) != 0 ? -1 : route & 15;
    }

    private void UpdateRoutes()
    {
        Span<bool> levels = stackalloc bool[16];
        levels.Clear();
        for (var line = 0; line < Lines; line++)
        {
            var level = _bus.InterruptLevel(line);
            _gsi[FirstPin + line].Level = level;
            if (level && RouteOf(line) is >= 0 and var irq)
                levels[irq] = true;
        }

        for (var irq = 0; irq < levels.Length; irq++)
            _gsi[irq].Level = levels[irq];
    }

    private void UpdateBlocks()
    {
        using var transaction = MemoryTransaction.Begin();
        Place(_io, _pm.Registers, PmBase, PmBase != 0 && (ConfigByte(AcpiControl) & AcpiEnable) != 0, ref _pmMapped);
        var root = ConfigDword(RootComplexBase);
        Place(_memory, _rootComplexRegion, root & 0xFFFF_C000, (root & 1) != 0, ref _rootComplexMapped);
        _pm.SciPin = (ConfigByte(AcpiControl) & 7) switch
        {
            0 => 9,
            1 => 10,
            2 => 11,
            4 => 20,
            5 => 21,
            6 => 22,
            7 => 23,
            _ => -1,
        };
        var locked = (ConfigByte(PowerConfig1) & SmiLock) != 0;
        if (locked != _smiLocked)
            _pm.IsGlobalSmiLocked = _smiLocked = locked;
    }

    private static void Place(MemoryRegion space, MemoryRegion block, ulong address, bool wanted, ref bool mapped)
    {
        if (wanted && mapped && block.Address == address)
            return;
        if (mapped)
            space.Remove(block);
        mapped = wanted;
        if (wanted)
            space.Add(address, block, 1);
    }

    private void ResetRootComplex()
    {
        Array.Clear(_rootComplex);
        foreach (var (_, offset) in RouteRegisters)
        {
            _rootComplex[offset] = unchecked((byte)DefaultRoute);
            _rootComplex[offset + 1] = DefaultRoute >> 8;
        }
    }

    private ulong ReadRootComplex(ulong offset, int size)
    {
        var value = 0UL;
        for (var i = 0; i < size && (int)offset + i < RootComplexSize; i++)
            value |= (ulong)_rootComplex[(int)offset + i] << (8 * i);
        return value;
    }

    private void WriteRootComplex(ulong offset, int size, ulong value)
    {
        for (var i = 0; i < size && (int)offset + i < RootComplexSize; i++)
            _rootComplex[(int)offset + i] = (byte)(value >> (8 * i));
        _bus.Reroute();
    }
}
