using System.Globalization;
using System.Text;
using Dromaius.Block;
using Dromaius.Block.Graph;

namespace Dromaius.Cli.DiskTools;

/// <summary><c>map</c></summary>
internal static class ImgMap
{
    private readonly record struct Entry(long Start, long Length, int Depth, bool Present, bool Zero, bool Data, long Offset, BlockNode? Node)
    {
        public bool Continues(Entry next) => Depth == next.Depth && Present == next.Present && Zero == next.Zero && Data == next.Data
            && (Offset < 0) == (next.Offset < 0) && (Offset < 0 || Offset + Length == next.Offset) && Node?.FileName == next.Node?.FileName;
    }

    public static int Run(string[] args)
    {
        var options = new GetOpt(args, "hf:s:l:U", "help/h", "format/f=", "output=", "object=", "image-opts", "force-share/U", "start-offset/s=", "max-length/l=");
        ImgTool.TakeObjects(options);
        if (options.Rest.Count != 1)
            throw new ToolException("Expecting one image file name", 1, true);
        var json = ImgTool.WantsJson(options);
        var start = options.Value("s") is { } s ? ImgTool.ParseSize(s, "start offset") : 0;
        var limit = options.Value("l") is { } l ? ImgTool.ParseSize(l, "max length") : long.MaxValue;
        var flags = OpenFlags.Tool with { ReadOnly = true, ForceShare = options.Has("U") };
        using var node = ImgTool.Open(options.Rest[0], options.Value("f"), flags, options.Has("image-opts"));
        if (start > node.Length)
            throw new ToolException("Start offset is beyond the end of the image");
        var end = limit > node.Length - start ? node.Length : start + limit;

        var text = new StringBuilder(json ? "[" : $"{"Offset",-16}{"Length",-16}{"Mapped to",-16}File\n");
        var first = true;
        Entry? current = null;
        for (var at = start; at < end;)
        {
            var status = ChainStatus.Get(node, null, at, Math.Min(end - at, 1 << 30));
            // Behind the end of a backing image the zeroes are those of the image above.
            if (status.Depth > 0 && status.Node is { } layer && at >= layer.Length)
                status = status with { Depth = status.Depth - 1, IsAllocated = false };
            var next = new Entry(at, status.Length, status.Depth, status.IsAllocated, status.IsZero,
                status.IsData, status.HostOffset, status.Node);
            if (current is { } last && last.Continues(next))
                current = last with { Length = last.Length + next.Length };
            else
            {
                Emit(text, current, json, ref first);
                current = next;
            }

            at += status.Length;
        }

        Emit(text, current, json, ref first);
        Host.Print(text.Append(json ? "]\n" : "").ToString());
        return 0;
    }

    /// <summary>The host file at the bottom of a layer, past the filters on it.</summary>
    private static string? FileOf(BlockNode? node)
    {
        while (node?.File is { } file)
            node = file;
        return node?.FileName;
    }

    private static void Emit(StringBuilder text, Entry? entry, bool json, ref bool first)
    {
        if (entry is not { } e)
            return;
        if (!json)
        {
            if (!e.Data || e.Zero)
                return;
            if (e.Offset < 0)
            {
                Host.Print(text.ToString());
                throw new ToolException("File contains external, encrypted or compressed clusters.");
            }

            text.Append($"{"0x" + e.Start.ToString("x", CultureInfo.InvariantCulture),-16}".Replace("0x0 ", "0   "))
                .Append(CultureInfo.InvariantCulture, $"{$"0x{e.Length:x}",-16}{(e.Offset == 0 ? "0" : $"0x{e.Offset:x}"),-16}{FileOf(e.Node)}\n");
            return;
        }

        static string Bool(bool b) => b ? "true" : "false";
        if (!first)
            text.Append(",\n");
        first = false;
        text.Append(CultureInfo.InvariantCulture, $"{{ \"start\": {e.Start}, \"length\": {e.Length}, \"depth\": {e.Depth}, \"present\": {Bool(e.Present)}, "
            + $"\"zero\": {Bool(e.Zero)}, \"data\": {Bool(e.Data)}");
        if (e.Offset >= 0)
            text.Append(CultureInfo.InvariantCulture, $", \"offset\": {e.Offset}");
        text.Append('}');
    }
}
