using System.Globalization;
using System.Text;
using Dromaius.Block.Formats;
using Dromaius.Block.Qcow2;

namespace Dromaius.Block.Graph;

/// <summary>What is known about an image: what <c>info</c> and <c>query-block</c> show.</summary>
public sealed record ImageInfo
{
    public required string FileName { get; init; }
    public required string Format { get; init; }
    public long VirtualSize { get; init; }

    /// <summary>Bytes of host storage, or -1.</summary>
    public long ActualSize { get; init; }
    public int ClusterSize { get; init; }

    /// <summary>It was not closed as it should be; null for drivers that never tell.</summary>
    public bool? DirtyFlag { get; init; }
    public string? BackingFile { get; init; }
    public string? FullBackingFile { get; init; }
    public string? BackingFormat { get; init; }
    public IReadOnlyList<Snapshot> Snapshots { get; init; } = [];
    public InfoTree? FormatSpecific { get; init; }

    public static ImageInfo Of(BlockNode node)
    {
        var (backing, format) = ImageFormats.Find(node.Driver)?.BackingOf(node) ?? default;
        var qcow = node as Qcow2Node;
        return new ImageInfo
        {
            FileName = node.FileName,
            Format = node.Driver,
            VirtualSize = node.Length,
            ActualSize = node.AllocatedSize,
            ClusterSize = node.ClusterSize,
            DirtyFlag = node is ParallelsNode or DmgNode or CloopNode ? null : qcow?.IsDirty ?? false,
            BackingFile = backing,
            FullBackingFile = backing == null ? null : ImageOpener.Combine(node.FileName, backing),
            BackingFormat = format,
            Snapshots = qcow?.Snapshots ?? [],
            FormatSpecific = node.FormatInfo,
        };
    }

    /// <summary>The object of the protocol's <c>ImageInfo</c>.</summary>
    public InfoTree ToTree()
    {
        var tree = new InfoTree().Add("backing-filename-format", BackingFormat);
        if (Snapshots.Count > 0)
            tree.Add("snapshots", Snapshots.Select(static s => (object)SnapshotTree(s)).ToArray());
        tree.Add("virtual-size", VirtualSize).Add("filename", FileName);
        if (ClusterSize > 0)
            tree.Add("cluster-size", ClusterSize);
        tree.Add("format", Format);
        if (ActualSize >= 0)
            tree.Add("actual-size", ActualSize);
        if (FormatSpecific != null)
            tree.Add("format-specific", new InfoTree().Add("type", Format).Add("data", FormatSpecific));
        return tree.Add("full-backing-filename", FullBackingFile).Add("backing-filename", BackingFile).Add("dirty-flag", DirtyFlag);
    }

    /// <summary>What <c>info</c> prints.</summary>
    public string ToText()
    {
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"image: {FileName}\nfile format: {Format}\n");
        text.Append(CultureInfo.InvariantCulture, $"virtual size: {Units.Short(VirtualSize)} ({VirtualSize} bytes)\n");
        text.Append(CultureInfo.InvariantCulture, $"disk size: {(ActualSize < 0 ? "unavailable" : Units.Short(ActualSize))}\n");
        if (ClusterSize > 0)
            text.Append(CultureInfo.InvariantCulture, $"cluster_size: {ClusterSize}\n");
        if (DirtyFlag == true)
            text.Append("cleanly shut down: no\n");
        if (BackingFile != null)
        {
            text.Append("backing file: ").Append(BackingFile);
            if (FullBackingFile != BackingFile)
                text.Append(" (actual path: ").Append(FullBackingFile).Append(')');
            text.Append('\n');
            if (BackingFormat != null)
                text.Append("backing file format: ").Append(BackingFormat).Append('\n');
        }

        if (Snapshots.Count > 0)
            text.Append("Snapshot list:\n").Append(SnapshotList(Snapshots));
        if (FormatSpecific != null)
            text.Append("Format specific information:\n").Append(FormatSpecific.ToText(1));
        return text.ToString();
    }

    /// <summary>The table of <c>snapshot -l</c>.</summary>
    public static string SnapshotList(IReadOnlyList<Snapshot> snapshots)
    {
        var text = new StringBuilder("ID        TAG               VM SIZE                DATE     VM CLOCK     ICOUNT\n");
        foreach (var s in snapshots)
        {
            var date = DateTimeOffset.FromUnixTimeSeconds(s.DateSeconds).LocalDateTime.ToString("yyyy-MM-dd HH:mm:ss", CultureInfo.InvariantCulture);
            var seconds = s.VmClock / 1_000_000_000;
            var clock = string.Create(CultureInfo.InvariantCulture,
                $"{seconds / 3600:00}:{seconds / 60 % 60:00}:{seconds % 60:00}.{s.VmClock / 1_000_000 % 1000:000}");
            var count = s.InstructionCount == ulong.MaxValue ? "" : s.InstructionCount.ToString(CultureInfo.InvariantCulture);
            var line = string.Create(CultureInfo.InvariantCulture, $"{s.Id,-9} {s.Name,-16} {Units.Short((long)s.VmStateSize),8} {date} {clock,12} {count,10}");
            text.Append(line.TrimEnd()).Append('\n');
        }

        return text.ToString();
    }

    private static InfoTree SnapshotTree(Snapshot s)
    {
        var tree = new InfoTree();
        if (s.InstructionCount != ulong.MaxValue)
            tree.Add("icount", s.InstructionCount);
        return tree.Add("vm-clock-nsec", s.VmClock % 1_000_000_000).Add("name", s.Name).Add("date-sec", s.DateSeconds).Add("date-nsec", s.DateNanoseconds)
            .Add("vm-clock-sec", s.VmClock / 1_000_000_000).Add("id", s.Id).Add("vm-state-size", s.VmStateSize);
    }
}

/// <summary>Sizes for people.</summary>
public static class Units
{
    private static readonly string[] Prefixes = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

    /// <summary>Three digits: <c>1.21 MiB</c>, <c>196 KiB</c>.</summary>
    public static string Short(long bytes)
    {
        var i = 0;
        var value = (double)bytes;
        while (value >= 1000 && i < Prefixes.Length - 1)
        {
            value /= 1024;
            i++;
        }

        return string.Create(CultureInfo.InvariantCulture, $"{value:G3} {Prefixes[i]}B");
    }

    /// <summary>Up to three decimals: <c>9.875 MiB</c>, <c>512 bytes</c>.</summary>
    public static string Exact(double bytes)
    {
        var i = 0;
        while (bytes >= 1024 && i < Prefixes.Length - 1)
        {
            bytes /= 1024;
            i++;
        }

        var text = bytes.ToString("F3", CultureInfo.InvariantCulture);
        if (text.EndsWith(".000", StringComparison.Ordinal))
            text = text[..^4];
        return i == 0 ? text + " bytes" : $"{text} {Prefixes[i]}B";
    }
}
