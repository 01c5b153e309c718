using Dromaius.Devices.Firmware.Acpi;
using Dromaius.Devices.Pci;

namespace Dromaius.Boards.Pc.Chipsets;

/// <summary>
/// The name space of hot-pluggable PCI slots: a device for each slot with its eject method, and methods that pass on the slots that
/// <see cref="AcpiPciHotplug"/> reports. Source: ACPI Specification 6.4, sections 5.6.6 (Notify values 1 and 3) and 6.3.3 (_EJ0).
/// </summary>
internal static class HotplugAml
{
    /// <summary>The general purpose event that says that slots changed.</summary>
    public const int Event = 1;

    private const ulong DeviceCheck = 1, EjectRequest = 3;
    private const string Lock = @"\_SB.PCI0.BLCK";

    /// <param name="ports">Where the registers are.</param>
    /// <param name="root">The root bus.</param>
    /// <param name="buses">The buses with hot-pluggable slots, by number.</param>
    /// <param name="taken">Slots of the root bus that the name space describes elsewhere.</param>
    public static byte[] Build(uint ports, PciBus root, IReadOnlyList<PciBus> buses, IReadOnlyList<int> taken) => Aml.Join(
        Aml.Scope(@"\_SB.PCI0",
            Aml.OperationRegion("PCST", Aml.Space.SystemIo, ports, 8),
            Aml.Field("PCST", 3, ("PCIU", 32), ("PCID", 32)),
            Aml.OperationRegion("SEJ", Aml.Space.SystemIo, ports + 8, 4),
            Aml.Field("SEJ", 3, ("B0EJ", 32)),
            Aml.OperationRegion("BNMR", Aml.Space.SystemIo, ports + 16, 4),
            Aml.Field("BNMR", 3, ("BNUM", 32)),
            Aml.Mutex("BLCK"),
            Aml.Method("PCEJ", 2, false,
                Aml.Acquire(Lock),
                Aml.Store(Aml.Arg(0), Aml.Path("BNUM")),
                Aml.ShiftLeft(Aml.One, Aml.Arg(1), Aml.Path("B0EJ")),
                Aml.Release(Lock),
                Aml.Return(Aml.Zero)),
            Bus(root, buses, taken)),
        Aml.Scope(@"\_GPE",
            Aml.Method($"_E{Event:X2}", 0, false,
                Aml.Acquire(Lock),
                Aml.Path(@"\_SB.PCI0.PCNT"),
                Aml.Release(Lock))));

    private static byte[] Bus(PciBus bus, IReadOnlyList<PciBus> buses, IReadOnlyList<int> taken)
    {
        var number = (ulong)buses.ToList().IndexOf(bus);
        var parts = new List<byte[]> { Aml.Name("BSEL", Aml.Integer(number)) };
        var notifications = new List<byte[]>();
        var below = new List<byte[]>();
        for (var slot = 0; slot < PciBus.Slots; slot++)
        {
            if (taken.Contains(slot))
                continue;
            var name = $"S{slot << 3:X2}";
            var fixedFunction = bus.Functions.FirstOrDefault(f => f.Slot == slot && !f.IsHotPluggable);
            var body = new List<byte[]> { Aml.Name("_ADR", Aml.Integer((ulong)slot << 16)) };
            if (fixedFunction is PciBridge bridge && buses.Contains(bridge.Secondary))
            {
                body.Add(Bus(bridge.Secondary, buses, []));
                below.Add(Aml.Path($"^{name}.PCNT"));
            }
            else if (fixedFunction == null)
            {
                body.Add(Aml.Name("_SUN", Aml.Integer((ulong)slot)));
                body.Add(Aml.Method("_EJ0", 1, false, Aml.Call("PCEJ", Aml.Path("BSEL"), Aml.Path("_SUN"))));
                notifications.Add(Aml.If(Aml.And(Aml.Arg(0), Aml.Integer(1UL << slot)), Aml.Notify(name, Aml.Arg(1))));
            }

            parts.Add(Aml.Device(name, [.. body]));
        }

        parts.Add(Aml.Method("DVNT", 2, false, [.. notifications]));
        parts.Add(Aml.Method("PCNT", 0, false,
        [
            Aml.Store(Aml.Integer(number), Aml.Path("BNUM")),
            Aml.Call("DVNT", Aml.Path("PCIU"), Aml.Integer(DeviceCheck)),
            Aml.Call("DVNT", Aml.Path("PCID"), Aml.Integer(EjectRequest)),
            .. below,
        ]));
        return Aml.Join([.. parts]);
    }
}
