using Dromaius.Core.Cpus;
using Dromaius.Core.Memory;

namespace Dromaius.Devices.Interrupts;

/// <summary>
/// What connects the local APICs with each other, the I/O APICs, message-signalled interrupts and the 8259 pair.
/// Source: Intel SDM volume 3, chapter 11 (destination determination: 11.6.2).
/// </summary>
public sealed class ApicBus
{
    public const ulong DefaultBase = 0xFEE00000;

    /// <summary>The messages' address range: one page a destination.</summary>
    private const ulong MessageWindow = 0x100000;

    private readonly List<LocalApic> _apics = [];
    private readonly List<IoApic> _ioApics = [];
    private readonly Dictionary<ulong, MemoryRegion> _relocated = [];
    private MemoryRegion? _system;
    private int _rotation;
    private bool _lint0;

    /// <param name="machineLock">Guards all APIC state; processors take it when they come by themselves.</param>
    public ApicBus(Lock machineLock)
    {
        MachineLock = machineLock;
        Window = MemoryRegion.Device("apic-msi", MessageWindow, ReadWindow, WriteWindow);
    }

    public Lock MachineLock { get; }

    /// <summary>Interrupt acknowledge cycle of the 8259 pair: its vector. Set by the board.</summary>
    public Func<int>? AcknowledgePic { get; set; }

    /// <summary>
    /// The megabyte at <see cref="DefaultBase"/>: register page of the accessing processor's APIC, and target of message
    /// stores.
    /// </summary>
    public MemoryRegion Window { get; }

    /// <summary>The local APICs, by processor index.</summary>
    public IReadOnlyList<LocalApic> Apics => _apics;

    /// <summary>Maps the window in the processors' memory and lets relocated register pages (IA32_APIC_BASE) be mapped there.</summary>
    public void MapInto(MemoryRegion systemMemory, int priority = 1000)
    {
        _system = systemMemory;
        systemMemory.Add(DefaultBase, Window, priority);
    }

    /// <summary>Adds the next processor's APIC; they are added in the order of processor indexes.</summary>
    internal void Add(LocalApic apic) => _apics.Add(apic);

    internal void Add(IoApic ioApic) => _ioApics.Add(ioApic);

    /// <summary>The 8259's INTR output, wired to LINT0 of every processor.</summary>
    public void SetLint0(bool level)
    {
        _lint0 = level;
        foreach (var apic in _apics)
            apic.SetLint(0, level);
    }

    /// <summary>Level of the shared LINT0 wire, for an APIC that joins late.</summary>
    internal bool Lint0 => _lint0;

    /// <summary>The NMI wire, at LINT1 of every processor.</summary>
    public void SetLint1(bool level)
    {
        foreach (var apic in _apics)
            apic.SetLint(1, level);
    }

    /// <summary>A device's message store. Called under the machine lock.</summary>
    public void DeliverMsi(ulong address, uint data)
    {
        if (address - DefaultBase < MessageWindow)
            _ = Deliver(ApicMessage.FromMsi(address, data));
    }

    /// <summary>Delivers to every APIC the destination names, or to one of them for lowest priority.</summary>
    /// <returns>False if nobody accepted.</returns>
    public bool Deliver(in ApicMessage message)
    {
        if (message.Mode == DeliveryMode.LowestPriority)
            return DeliverLowest(message);
        var accepted = false;
        foreach (var apic in _apics)
        {
            if (apic.Matches(message))
                accepted |= apic.Accept(message.Mode, message.Vector, message.LevelTriggered);
        }

        return accepted;
    }

    /// <summary>To all processors, or all but one (ICR shorthands).</summary>
    internal void DeliverToAll(DeliveryMode mode, byte vector, bool levelTriggered, LocalApic? except)
    {
        if (mode == DeliveryMode.LowestPriority)
        {
            DeliverLowestOf(static (_, _) => true, default, mode, vector, levelTriggered, except);
            return;
        }

        foreach (var apic in _apics)
        {
            if (apic != except)
                apic.Accept(mode, vector, levelTriggered);
        }
    }

    private bool DeliverLowest(in ApicMessage message) => DeliverLowestOf(static (apic, m) => apic.Matches(m), message,
        message.Mode, message.Vector, message.LevelTriggered, null);

    /// <summary>Arbitration: the lowest processor priority wins; equal ones take turns.</summary>
    private bool DeliverLowestOf(Func<LocalApic, ApicMessage, bool> matches, in ApicMessage message, DeliveryMode mode,
        byte vector, bool levelTriggered, LocalApic? except)
    {
        LocalApic? best = null;
        var n = _apics.Count;
        for (var i = 0; i < n; i++)
        {
            var apic = _apics[(_rotation + i) % n];
            if (apic == except || !apic.IsSoftwareEnabled || !matches(apic, message))
                continue;
            if (best == null || apic.ProcessorPriority < best.ProcessorPriority)
                best = apic;
        }

        if (best == null)
            return false;
        _rotation = (best.Index + 1) % n;
        return best.Accept(mode, vector, levelTriggered);
    }

    /// <summary>A level-triggered interrupt ended at some processor.</summary>
    internal void BroadcastEoi(byte vector)
    {
        foreach (var ioApic in _ioApics)
            ioApic.EndOfInterrupt(vector);
    }

    /// <summary>A processor moved its register page: map the new place, unmap places that nobody uses.</summary>
    internal void BaseChanged()
    {
        if (_system is not { } system)
            return;
        using var change = MemoryTransaction.Begin();
        foreach (var (address, region) in _relocated.ToArray())
        {
            if (_apics.TrueForAll(a => a.BaseAddress != address))
            {
                system.Remove(region);
                _relocated.Remove(address);
            }
        }

        foreach (var apic in _apics)
        {
            var address = apic.BaseAddress;
            if (address == DefaultBase || _relocated.ContainsKey(address))
                continue;
            var region = MemoryRegion.Device("apic", 0x1000, (offset, size) => ReadPage(address, offset, size),
                (offset, size, value) => WritePage(address, offset, size, value));
            _relocated[address] = region;
            system.Add(address, region, Window.Priority + 1);
        }
    }

    private ulong ReadWindow(ulong offset, int size) =>
        offset < 0x1000 ? ReadPage(DefaultBase, offset, size) : ulong.MaxValue;

    private void WriteWindow(ulong offset, int size, ulong value)
    {
        // Messages and registers share the window: the registers' offsets 0 to 0xF are reserved, and messages use no others.
        if (offset >= 0x1000 || (offset & 0xFF0) == 0)
        {
            if (size == 4)
                DeliverMsi(DefaultBase + offset, (uint)value);
            return;
        }

        WritePage(DefaultBase, offset, size, value);
    }

    private LocalApic? Current(ulong address)
    {
        var index = CurrentVcpu.Index;
        if ((uint)index >= (uint)_apics.Count)
            return null;
        var apic = _apics[index];
        return apic.IsMemoryMapped && apic.BaseAddress == address ? apic : null;
    }

    private ulong ReadPage(ulong address, ulong offset, int size)
    {
        if (Current(address) is not { } apic)
            return ulong.MaxValue;
        // Registers are 32 bits wide at 16-byte steps; narrower loads give a part of one.
        var skew = (int)(offset & 0xF);
        return skew >= 4 ? 0 : apic.ReadMmio((int)(offset >> 4) & 0xFF) >> (8 * skew);
    }

    private void WritePage(ulong address, ulong offset, int size, ulong value)
    {
        // The architecture asks for aligned 32-bit stores; others are ignored.
        if (size == 4 && (offset & 0xF) == 0)
            Current(address)?.WriteMmio((int)(offset >> 4) & 0xFF, (uint)value);
    }
}
