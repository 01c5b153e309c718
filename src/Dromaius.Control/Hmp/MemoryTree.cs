using System.Globalization;
using System.Text;
using Dromaius.Core.Memory;

namespace Dromaius.Control;

/// <summary>The text of <c>info mtree</c>.</summary>
internal static class MemoryTree
{
    public static string Show(IMachineControl machine, bool flat)
    {
        var text = new StringBuilder();
        foreach (var (name, space) in new[] { ("memory", machine.Memory), ("I/O", machine.Io) })
        {
            text.Append(CultureInfo.InvariantCulture, $"address-space: {name}\n");
            if (flat)
                Flat(text, space);
            else
                Tree(text, space.Root, 0, 1);
            text.Append('\n');
        }

        return text.ToString();
    }

    private static void Tree(StringBuilder text, MemoryRegion region, ulong parent, int depth)
    {
        var start = parent + region.Address;
        text.Append(' ', 2 * depth);
        text.Append(CultureInfo.InvariantCulture, $"{start:x16}-{start + region.Size - 1:x16} (prio {region.Priority}, {KindName(region)}): ");
        text.Append(region.AliasOf is { } target
            ? string.Create(CultureInfo.InvariantCulture,
                $"alias {region.Name} @{target.Name} {region.AliasOffset:x16}-{region.AliasOffset + region.Size - 1:x16}")
            : region.Name);
        text.Append(region.Enabled ? "\n" : " [disabled]\n");
        foreach (var child in region.Children.OrderBy(static c => c.Address).ThenByDescending(static c => c.Priority))
            Tree(text, child, start, depth + 1);
    }

    private static void Flat(StringBuilder text, AddressSpace space)
    {
        foreach (ref readonly var range in space.View.Ranges)
        {
            text.Append(CultureInfo.InvariantCulture,
                $"  {range.Start:x16}-{range.Last:x16} ({KindName(range.Region)}): {range.Region.Name}");
            text.Append(range.Offset != 0 ? string.Create(CultureInfo.InvariantCulture, $" @{range.Offset:x16}\n") : "\n");
        }
    }

    private static string KindName(MemoryRegion region) => region.Kind switch
    {
        RegionKind.Ram => "ram",
        RegionKind.Rom => "rom",
        _ => "i/o",
    };
}
