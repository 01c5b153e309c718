using Dromaius.Core.Memory;

namespace Dromaius.Devices.Pci;

/// <summary>
/// A downstream port of PCI Express: a root port, or a port of a switch. Behind it is a link to one slot, with hot-plug control.
/// Source: PCI Express Base Specification 3.0, sections 6.7 (hot-plug), 7.8 (capability).
/// </summary>
public class PciExpressPort : PciBridge
{
    private const int SlotCapabilities = 20, SlotControl = 24, SlotStatus = 26, RootControl = 28;

    // Attention button, power controller, both indicators, hot-plug with surprise, electromechanical interlock.
    private const uint SlotFeatures = 0x0002_007B;
    private const ushort AttentionPressed = 1, PresenceChanged = 8, CommandCompleted = 0x10, PresenceDetected = 0x40, AllEvents = 0x11F;
    private const ushort HotPlugInterrupt = 0x20, PowerIndicator = 0x300, PowerIndicatorOff = 0x300, PowerIndicatorOn = 0x100,
        PowerOff = 0x400, Interlock = 0x800, AttentionIndicator = 0xC0;
    private const ushort DefaultControl = AttentionIndicator | PowerIndicatorOff | PowerOff;

    private readonly bool _hotPlug;
    private bool _event;

    /// <param name="model">Which chip it is.</param>
    /// <param name="name">Of the bus behind it.</param>
    /// <param name="port">Its number.</param>
    /// <param name="chassis">Number of the chassis the slot is in.</param>
    /// <param name="slot">Number of the slot in it.</param>
    /// <param name="hotPlug">The slot takes devices while the machine runs.</param>
    public PciExpressPort(PciExpressPortModel model, string name, byte port, byte chassis, ushort slot, bool hotPlug = true)
        : base(model.Vendor, model.Device, model.Revision, name, isExpressBus: true)
    {
        TypeName = model.TypeName;
        IsHotPluggable = false;
        _hotPlug = hotPlug;
        Secondary.IsHotPluggable = hotPlug;
        UseInterruptPin(1);
        SetByte(PciConfig.IoBase, 0xF0);
        SetDword(PciConfig.MemoryBase, 0x0000_FFF0);
        SetDword(PciConfig.PrefetchBase, 0x0001_FFF1);
        // Subsystem identity of a bridge.
        var identity = AddCapability(0x0D, 8, 0x40);
        SetWord(identity + 4, model.Vendor);
        if (model.HasMsiX)
        {
            var window = MemoryRegion.Container("pcie-port-msix", 0x1000);
            var table = new MsiX(this, 1, 0, 0, 0x800, 0x48);
            window.Add(0, table.Table);
            window.Add(0x800, table.Pending);
            AddMemoryBar(0, window);
        }
        else
        {
            _ = new Msi(this, 2, 0x60);
        }

        var express = AddExpress(PciExpressType.RootPort, port, model.ExpressAt);
        // The capability says that the port has a slot.
        SetWord(express.At + 2, (ushort)(ConfigWord(express.At + 2) | 0x100));
        SetDword(express.At + SlotCapabilities, (SlotFeatures & ~(hotPlug ? 0 : 0x60u)) | (uint)slot << 19);
        SetWord(express.At + SlotControl, DefaultControl);
        SetWritable(express.At + SlotControl, 2, 0x17F9 & ~(uint)Interlock);
        SetWriteOneClear(express.At + SlotStatus, 2, AllEvents);
        SetWritable(express.At + RootControl, 2, 7);
        AdvancedErrors.Add(this, 0x100, multiple: true);
        if (model.HasMsiX)
            AddAccessControl(0x148);
        Chassis = chassis;
        SlotNumber = slot;
    }

    public override string TypeName { get; }

    /// <summary>The system gave a function in the slot away.</summary>
    public Action<PciFunction>? Ejected { get; init; }

    public byte Chassis { get; }

    public ushort SlotNumber { get; }

    private int SlotAt => Express!.At;

    public override void WriteConfig(int offset, int size, uint value)
    {
        var before = Express == null ? 0 : ConfigWord(SlotAt + SlotControl);
        base.WriteConfig(offset, size, value);
        if (!Overlaps(offset, size, SlotAt + SlotControl, 4))
            return;
        if (Overlaps(offset, size, SlotAt + SlotControl, 2))
        {
            if (!IsOff(before) && IsOff(ConfigWord(SlotAt + SlotControl)))
                Eject();
            // Commands are carried out at once.
            SetStatus(SlotStatusBits | CommandCompleted);
        }

        UpdateEvent();
    }

    /// <summary>A device came into the slot while the machine runs: it is there, and somebody pressed the button.</summary>
    public void NotePlugged()
    {
        Express!.SetLinkActive(true);
        SetStatus(SlotStatusBits | PresenceDetected | PresenceChanged | AttentionPressed);
        UpdateEvent();
    }

    /// <summary>Presses the button, so that the system gives the device away; a slot that is off gives it away at once.</summary>
    /// <returns>False, and why, while an earlier press is being dealt with.</returns>
    public bool TryRequestUnplug(out string busy)
    {
        const ushort Blinking = 0x200;
        busy = "Hot-unplug failed: guest is busy (power indicator blinking)";
        var control = ConfigWord(SlotAt + SlotControl);
        if ((control & PowerIndicator) == Blinking)
            return false;
        if (IsOff(control))
            Eject();
        else
            SetStatus(SlotStatusBits | AttentionPressed);
        UpdateEvent();
        return true;
    }

    /// <summary>Power and its indicator are off.</summary>
    private static bool IsOff(int control) => (control & PowerOff) != 0 && (control & PowerIndicator) == PowerIndicatorOff;

    private void Eject()
    {
        if ((SlotStatusBits & PresenceDetected) == 0)
            return;
        foreach (var function in Secondary.Functions.Where(static f => f.IsHotPluggable).ToList())
            Ejected?.Invoke(function);
        if (Secondary.Functions.Any())
            return;
        Express!.SetLinkActive(false);
        SetStatus((SlotStatusBits & ~PresenceDetected) | PresenceChanged);
    }

    public override void Reset()
    {
        base.Reset();
        var present = Secondary[0] != null;
        SetStatus(present ? PresenceDetected : 0);
        Express!.SetLinkActive(present);
        // A slot that holds a device at power-on is on.
        var control = present ? (ushort)(AttentionIndicator | PowerIndicatorOn) : DefaultControl;
        PokeWord(SlotAt + SlotControl, control);
        _event = false;
    }

    private int SlotStatusBits => ConfigWord(SlotAt + SlotStatus);

    private void SetStatus(int value) => PokeWord(SlotAt + SlotStatus, (ushort)value);

    private void PokeWord(int offset, ushort value)
    {
        PokeConfig(offset, (byte)value);
        PokeConfig(offset + 1, (byte)(value >> 8));
    }

    private void AddAccessControl(int offset)
    {
        const ushort Id = 0x0D;
        const uint Features = 0x5F;
        AddExtendedCapability(Id, 1, offset);
        SetWord(offset + 4, (ushort)Features);
        SetWritable(offset + 6, 2, Features);
    }

    /// <summary>Interrupts when an enabled event appears.</summary>
    private void UpdateEvent()
    {
        var control = ConfigWord(SlotAt + SlotControl);
        var due = (control & HotPlugInterrupt) != 0 && (SlotStatusBits & control & AllEvents) != 0;
        if (due == _event)
            return;
        _event = due;
        if (MsiX is { IsEnabled: true } msix)
        {
            if (due)
                msix.Notify(0);
        }
        else if (Msi is { IsEnabled: true } msi)
        {
            if (due)
                msi.Notify(0);
        }
        else
        {
            SetIntx(due);
        }
    }
}

/// <summary>What distinguishes one port chip from another.</summary>
public sealed record PciExpressPortModel(string TypeName, ushort Vendor, ushort Device, byte Revision, int ExpressAt, bool HasMsiX)
{
    /// <summary>A root port of no real chip.</summary>
    public static PciExpressPortModel Generic { get; } = new("pcie-root-port", PciConfig.VendorRedHat, 0x000C, 0, 0x54, true);

    /// <summary>Root port of the Intel X58 I/O hub (datasheet 320838).</summary>
    public static PciExpressPortModel Ioh3420 { get; } = new("ioh3420", PciConfig.VendorIntel, 0x3420, 2, 0x90, false);
}
