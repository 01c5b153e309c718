using Dromaius.Block.Formats;
using Dromaius.Block.Formats.Vmdk;
using Dromaius.Block.Qcow2;
using Dromaius.Block.Raw;

namespace Dromaius.Block.Graph;

/// <summary>All formats by name.</summary>
public static class ImageFormats
{
    private static readonly ImageFormat[] Formats = 
    [
        new RawFormat(), new Qcow2Format(), new VmdkFormat(), new VdiFormat(), new VpcFormat(), new VhdxFormat(), new QedFormat(), new ParallelsFormat(),
        new DmgFormat(), new CloopFormat(),
    ];

    /// <summary>Bytes that probing looks at.</summary>
    public const int ProbeLength = 2048;

    public static IReadOnlyList<ImageFormat> All => Formats;

    public static ImageFormat? Find(string name) => Array.Find(Formats, f => f.Name == name);

    /// <summary>The format that a file most looks like; raw when it looks like none.</summary>
    public static ImageFormat Probe(BlockNode file)
    {
        var head = new byte[ProbeLength];
        file.ReadPadded(0, head);
        return Probe(head.AsSpan(0, (int)Math.Clamp(file.Length, 0, head.Length)), file.FileName);
    }

    public static ImageFormat Probe(ReadOnlySpan<byte> head, string fileName)
    {
        var best = Formats[0];
        var score = 0;
        foreach (var format in Formats)
        {
            if (format.Probe(head, fileName) is var s && s > score)
                (best, score) = (format, s);
        }

        return best;
    }
}
