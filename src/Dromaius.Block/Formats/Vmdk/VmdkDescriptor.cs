using System.Globalization;
using System.Text;

namespace Dromaius.Block.Formats.Vmdk;

/// <summary>One line of a descriptor's extent description.</summary>
/// <param name="Access">RW, RDONLY or NOACCESS.</param>
/// <param name="Sectors">Its size.</param>
/// <param name="Type">SPARSE, FLAT, ZERO, VMFS...</param>
/// <param name="FileName">Relative to the descriptor.</param>
/// <param name="Offset">First sector in the file, for flat ones.</param>
internal sealed record VmdkExtentLine(string Access, long Sectors, string Type, string FileName, long Offset);

/// <summary>The text that describes a disk. Source: VMware's Virtual Disk Format 5.0, "The Descriptor File".</summary>
internal sealed class VmdkDescriptor
{
    public uint Cid { get; private set; } = uint.MaxValue;
    public uint ParentCid { get; private set; } = uint.MaxValue;
    public string CreateType { get; private set; } = "";
    public string? ParentFileName { get; private set; }
    public List<VmdkExtentLine> Extents { get; } = [];
    public string Text { get; private set; } = "";

    public static VmdkDescriptor Parse(byte[] bytes)
    {
        var end = Array.IndexOf(bytes, (byte)0);
        var descriptor = new VmdkDescriptor { Text = Encoding.UTF8.GetString(bytes, 0, end < 0 ? bytes.Length : end) };
        foreach (var raw in descriptor.Text.Split('\n'))
        {
            var line = raw.Trim();
            if (line.Length == 0 || line[0] == '#')
                continue;
            var equals = line.IndexOf('=');
            var key = equals < 0 ? "" : line[..equals].Trim();
            var value = equals < 0 ? "" : line[(equals + 1)..].Trim().Trim('"');
            switch (key)
            {
                case "CID":
                    descriptor.Cid = Hex(value);
                    break;
                case "parentCID":
                    descriptor.ParentCid = Hex(value);
                    break;
                case "createType":
                    descriptor.CreateType = value;
                    break;
                case "parentFileNameHint":
                    descriptor.ParentFileName = value;
                    break;
                default:
                    if (line.StartsWith("RW ", StringComparison.Ordinal) || line.StartsWith("RDONLY ", StringComparison.Ordinal)
                        || line.StartsWith("NOACCESS ", StringComparison.Ordinal))
                        descriptor.Extents.Add(ParseExtent(line));
                    break;
            }
        }

        return descriptor;
    }

    /// <summary>The text with another content identifier.</summary>
    public string WithCid(uint cid)
    {
        Cid = cid;
        var lines = Text.Split('\n');
        for (var i = 0; i < lines.Length; i++)
        {
            if (lines[i].TrimStart().StartsWith("CID=", StringComparison.Ordinal))
                lines[i] = $"CID={cid:x8}";
        }

        return Text = string.Join('\n', lines);
    }

    public static string Compose(string createType, IEnumerable<string> extents, long sectors, string adapter, string version, string tools, uint parentCid, string? parent)
    {
        var text = new StringBuilder("# Disk DescriptorFile\nversion=1\n");
        text.Append(CultureInfo.InvariantCulture, $"CID={Random.Shared.Next(1, int.MaxValue):x8}\nparentCID={parentCid:x8}\ncreateType=\"{createType}\"\n");
        if (parent != null)
            text.Append(CultureInfo.InvariantCulture, $"parentFileNameHint=\"{parent}\"\n");
        text.Append("\n# Extent description\n");
        foreach (var extent in extents)
            text.Append(extent).Append('\n');
        var (heads, perTrack) = adapter == "ide" ? (16, 63) : (255, 63);
        text.Append(CultureInfo.InvariantCulture, $"""

            # The Disk Data Base
            #DDB

            ddb.virtualHWVersion = "{version}"
            ddb.geometry.cylinders = "{sectors / (heads * perTrack)}"
            ddb.geometry.heads = "{heads}"
            ddb.geometry.sectors = "63"
            ddb.adapterType = "{adapter}"
            ddb.toolsVersion = "{tools}"

            """);
        return text.ToString();
    }

    /// <summary>Comments and blank lines, then a version.</summary>
    public static bool Looks(ReadOnlySpan<byte> head)
    {
        while (!head.IsEmpty)
        {
            var end = head.IndexOf((byte)'\n');
            var line = end < 0 ? head : head[..end];
            head = end < 0 ? [] : head[(end + 1)..];
            if (line.EndsWith("\r"u8))
                line = line[..^1];
            if (line.IsEmpty || line[0] == '#' || !line.ContainsAnyExcept((byte)' '))
                continue;
            return line.SequenceEqual("version=1"u8) || line.SequenceEqual("version=2"u8) || line.SequenceEqual("version=3"u8);
        }

        return false;
    }

    private static VmdkExtentLine ParseExtent(string line)
    {
        var open = line.IndexOf('"');
        var close = open < 0 ? -1 : line.IndexOf('"', open + 1);
        var words = (open < 0 ? line : line[..open]).Split(' ', StringSplitOptions.RemoveEmptyEntries);
        var name = close < 0 ? "" : line[(open + 1)..close];
        var rest = close < 0 ? [] : line[(close + 1)..].Split(' ', StringSplitOptions.RemoveEmptyEntries);
        var offset = 0L;
        if (words.Length < 3 || !long.TryParse(words[1], NumberStyles.None, CultureInfo.InvariantCulture, out var sectors) || sectors <= 0
            || sectors > long.MaxValue / 1024 || (rest.Length > 0 && !long.TryParse(rest[0], NumberStyles.None, CultureInfo.InvariantCulture, out offset))
            || offset > long.MaxValue / 1024)
            throw new BlockException(BlockError.Invalid, $"Invalid extent line: {line}");
        return new VmdkExtentLine(words[0], sectors, words[2], name, offset);
    }

    private static uint Hex(string text) =>
        uint.TryParse(text, NumberStyles.HexNumber, CultureInfo.InvariantCulture, out var value) ? value : uint.MaxValue;
}
