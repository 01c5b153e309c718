using Dromaius.Core.Devices;
using Dromaius.Core.Interrupts;
using Dromaius.Core.Memory;

namespace Dromaius.Devices.Interrupts;

/// <summary>
/// I/O APIC with 24 pins. Sources: Intel 82093AA datasheet, chapter 3; ICH9 datasheet, section 13.5 for version 0x20 with the
/// EOI register.
/// </summary>
public sealed class IoApic : Device, IInterruptInputs
{
    public const int PinCount = 24;
    public const ulong DefaultBase = 0xFEC00000;

    // Directly mapped registers.
    private const int Select = 0x00, Window = 0x10, Eoi = 0x40;

    // Indirect registers; two of 32 bits from RegTable on for every pin.
    private const int RegId = 0, RegVersion = 1, RegArbitration = 2, RegTable = 0x10;

    private const uint Version = (PinCount - 1) << 16 | 0x20;

    // Redirection entry.
    private const ulong EntryLogical = 1 << 11, EntryPending = 1 << 12, EntryRemoteIrr = 1 << 14, EntryLevel = 1 << 15,
        EntryMasked = 1 << 16;

    private const ulong EntryReadOnly = EntryPending | EntryRemoteIrr;
    private const ulong EntryWritable = 0xFF00_0000_0001_AFFF;

    private readonly ApicBus _bus;
    private readonly ulong[] _entries = new ulong[PinCount];
    private readonly bool[] _levels = new bool[PinCount];
    private readonly long[] _counts = new long[PinCount];
    private byte _select;
    private uint _id;

    public IoApic(ApicBus bus)
    {
        _bus = bus;
        bus.Add(this);
        Registers = MemoryRegion.Device("ioapic", 0x1000, Read, Write);
        Reset();
    }

    public override string TypeName => "ioapic";

    public event Action<int, bool>? InputChanged;

    /// <summary>The 4 KiB register page.</summary>
    public MemoryRegion Registers { get; }

    public override void Reset()
    {
        _select = 0;
        _id = 0;
        Array.Fill(_entries, EntryMasked);
    }

    /// <summary>How often each input was raised.</summary>
    public IReadOnlyList<long> Counts => _counts;

    /// <summary>The state as <c>info pic</c> shows it.</summary>
    public string Describe()
    {
        string[] modes = ["fixed ", "lowest", "SMI   ", "...   ", "NMI   ", "INIT  ", "...   ", "ExtINT"];
        var text = new System.Text.StringBuilder($"ioapic0: ver=0x{Version & 0xFF:x} id=0x{_id:x2} sel=0x{_select:x2}\n");
        for (var pin = 0; pin < PinCount; pin++)
        {
            var e = _entries[pin];
            var remote = (e & EntryLevel) == 0 ? "" : (e & EntryRemoteIrr) != 0 ? " rirr" : "     ";
            text.Append($"  pin {pin,-2} 0x{e:x16} dest={e >> 56:X} vec={(byte)e,-3} {((e & 0x2000) != 0 ? "active-lo" : "active-hi")} ")
                .Append($"{((e & EntryLevel) != 0 ? "level" : "edge ")} {((e & EntryMasked) != 0 ? "masked" : "      ")} ")
                .Append($"{modes[(e >> 8) & 7]} {((e & EntryLogical) != 0 ? "logical " : "physical")}{remote}\n");
        }

        AppendPins(text, "IRR", pin => _levels[pin]);
        AppendPins(text, "Remote IRR", pin => (_entries[pin] & EntryRemoteIrr) != 0);
        return text.ToString();
    }

    private static void AppendPins(System.Text.StringBuilder text, string name, Func<int, bool> isSet)
    {
        var pins = string.Join(' ', Enumerable.Range(0, PinCount).Where(isSet));
        text.Append($"  {name} {(pins.Length > 0 ? pins : "(none)")}\n");
    }

    /// <summary>An interrupt input.</summary>
    public void SetIrq(int pin, bool level)
    {
        if ((uint)pin >= PinCount)
            return;
        var rising = level && !_levels[pin];
        if (rising)
            _counts[pin]++;
        if (_levels[pin] != level)
            InputChanged?.Invoke(pin, level);
        _levels[pin] = level;
        var entry = _entries[pin];
        if ((entry & EntryMasked) != 0)
            return; // an edge while masked is lost (82093AA, 3.2.4)
        if ((entry & EntryLevel) != 0)
            ServiceLevel(pin);
        else if (rising)
            Send(entry);
    }

    /// <summary>An APIC's EOI message, or a write of the EOI register.</summary>
    internal void EndOfInterrupt(byte vector)
    {
        for (var pin = 0; pin < PinCount; pin++)
        {
            if ((byte)_entries[pin] != vector || (_entries[pin] & (EntryRemoteIrr | EntryLevel)) != (EntryRemoteIrr | EntryLevel))
                continue;
            _entries[pin] &= ~EntryRemoteIrr;
            ServiceLevel(pin);
        }
    }

    /// <summary>Sends a level-triggered interrupt if its input asks for it and none is under way.</summary>
    private void ServiceLevel(int pin)
    {
        var entry = _entries[pin];
        if (!_levels[pin] || (entry & (EntryMasked | EntryRemoteIrr)) != 0)
            return;
        // Set first: an APIC's EOI could come while sending.
        if (IsRemoteMode(entry))
            _entries[pin] |= EntryRemoteIrr;
        if (!Send(entry))
            _entries[pin] &= ~EntryRemoteIrr;
    }

    private static bool IsRemoteMode(ulong entry) =>
        (DeliveryMode)((entry >> 8) & 7) is DeliveryMode.Fixed or DeliveryMode.LowestPriority;

    private bool Send(ulong entry) => _bus.Deliver(new ApicMessage(
        (uint)(entry >> 56),
        (entry & EntryLogical) != 0,
        (DeliveryMode)((entry >> 8) & 7),
        (byte)entry,
        (entry & EntryLevel) != 0 && IsRemoteMode(entry)));

    private ulong Read(ulong offset, int size) => (offset & ~3UL) switch
    {
        Select => _select,
        Window => ReadRegister() >> (int)(8 * (offset & 3)),
        _ => 0,
    };

    private void Write(ulong offset, int size, ulong value)
    {
        switch (offset)
        {
            case Select:
                _select = (byte)value;
                break;
            case Window:
                WriteRegister((uint)value);
                break;
            case Eoi:
                EndOfInterrupt((byte)value);
                break;
        }
    }

    private uint ReadRegister()
    {
        switch (_select)
        {
            case RegId:
            case RegArbitration:
                return _id;
            case RegVersion:
                return Version;
        }

        var pin = (_select - RegTable) >> 1;
        if (_select < RegTable || pin >= PinCount)
            return 0;
        return (uint)(_entries[pin] >> (32 * (_select & 1)));
    }

    private void WriteRegister(uint value)
    {
        if (_select == RegId)
        {
            _id = value & 0x0F000000;
            return;
        }

        var pin = (_select - RegTable) >> 1;
        if (_select < RegTable || pin >= PinCount)
            return;
        var entry = _entries[pin];
        entry = (_select & 1) == 0
            ? (entry & 0xFFFFFFFF_00000000) | value
            : (entry & 0xFFFFFFFF) | (ulong)value << 32;
        entry = (entry & EntryWritable) | (_entries[pin] & EntryReadOnly);
        // Edge mode has no remote IRR; software clears a stuck one by switching the mode back and forth.
        if ((entry & EntryLevel) == 0)
            entry &= ~EntryRemoteIrr;
        _entries[pin] = entry;
        if ((entry & EntryLevel) != 0)
            ServiceLevel(pin);
    }
}
