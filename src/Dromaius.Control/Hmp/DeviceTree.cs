using System.Globalization;
using System.Text;
using Dromaius.Boards;
using Dromaius.Core.Devices;

namespace Dromaius.Control.Hmp;

/// <summary>The text of <c>info qtree</c>: devices by the bus they sit on, with their properties.</summary>
internal static class DeviceTree
{
    public static string Show(IMachineControl machine)
    {
        var text = new StringBuilder("bus: main-system-bus\n  type System\n");
        var pci = machine.Description?.Pci() ?? [];
        foreach (var device in machine.Devices)
        {
            if (!IsPci(device, pci) && !IsIsa(device))
                Device(text, device, 2, null);
        }

        if (pci.Count == 0)
            return text.ToString();
        text.Append("  dev: pcihost, id \"\"\n    bus: pci.0\n      type PCI\n");
        foreach (var info in pci)
        {
            var device = machine.Devices.FirstOrDefault(d => d.TypeName == info.TypeName && d.Id == info.Id && (d.Arguments?.Place ?? -1) is var p && (p < 0 || p == (info.Slot << 3 | info.Function)));
            if (device != null)
                Device(text, device, 6, info);
            if (info.ClassCode == 0x0601)
            {
                text.Append("        bus: isa.0\n          type ISA\n");
                foreach (var isa in machine.Devices.Where(IsIsa))
                    Device(text, isa, 10, null);
            }
        }

        return text.ToString();
    }

    private static bool IsPci(Device device, IReadOnlyList<PciDeviceInfo> pci) =>
        device.Arguments?.Type.Bus == "PCI" || pci.Any(p => p.TypeName == device.TypeName);

    private static bool IsIsa(Device device) =>
        device.Arguments?.Type.Bus == "ISA" || device.TypeName.StartsWith("isa-", StringComparison.Ordinal) || device.TypeName is "i8042" or "i8257" or "mc146818rtc" or "port92";

    private static void Device(StringBuilder text, Device device, int indent, PciDeviceInfo? pci)
    {
        text.Append(' ', indent).Append($"dev: {device.TypeName}, id \"{device.Id}\"\n");
        foreach (var property in device.Arguments?.Type.Properties ?? [])
            text.Append(' ', indent + 2).Append($"{property.Name} = {Value(device, property)}\n");
        if (pci == null)
            return;
        text.Append(' ', indent + 2).Append($"class {PciClasses.Describe(pci.ClassCode) ?? $"Class {pci.ClassCode:x4}"}, addr {pci.Bus:x2}:{pci.Slot:x2}.{pci.Function:x}, "
            + $"pci id {pci.VendorId:x4}:{pci.DeviceId:x4} (sub {pci.SubsystemVendorId:x4}:{pci.SubsystemId:x4})\n");
        foreach (var region in pci.Regions)
        {
            var address = region.Address ?? ulong.MaxValue;
            text.Append(' ', indent + 2).Append(CultureInfo.InvariantCulture,
                $"bar {region.Bar}: {(region.IsIo ? "i/o" : "mem")} at 0x{address:x} [0x{address + region.Size - 1:x}]\n");
        }
    }

    private static string Value(Device device, DeviceProperty property)
    {
        var value = device.Arguments!.String(property.Name) ?? "";
        switch (property.Kind)
        {
            case PropertyKind.PciAddress:
                var place = device.Arguments.Place ?? -1;
                return place < 0 ? "-1" : $"{place >> 3:x2}.{place & 7:x}";
            case PropertyKind.Bool:
                return PropertyValues.TryParseBool(value, out var flag) && flag ? "true" : "false";
            case PropertyKind.UInt8 or PropertyKind.UInt16 or PropertyKind.UInt32 or PropertyKind.UInt64 or PropertyKind.Int32:
                return PropertyValues.TryParseInteger(value, out var number) ? $"{number} (0x{number:x})" : "0 (0x0)";
            default:
                return $"\"{value}\"";
        }
    }
}
