using Dromaius.Block.Graph;
using Dromaius.Block.Jobs;

namespace Dromaius.Block.Tests;

/// <summary>Every format: made and written here and read by qemu-img, and the other way round.</summary>
public sealed class FormatTests : IDisposable
{
    private const int Length = 24 << 20;
    private readonly ImageFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    public static TheoryData<string, string> Formats() => new()
    {
        { "raw", "" },
        { "raw", "preallocation=full" },
        { "qcow2", "" },
        { "qcow2", "preallocation=metadata" },
        { "qcow2", "preallocation=falloc,extended_l2=on" },
        { "vmdk", "" },
        { "vmdk", "subformat=monolithicFlat" },
        { "vmdk", "subformat=twoGbMaxExtentSparse" },
        { "vmdk", "subformat=twoGbMaxExtentFlat" },
        { "vmdk", "zeroed_grain=on" },
        { "vdi", "" },
        { "vdi", "static=on" },
        { "vpc", "force_size=on" },
        { "vpc", "subformat=fixed,force_size=on" },
        { "vhdx", "" },
        { "vhdx", "subformat=fixed" },
        { "vhdx", "block_size=1M" },
        { "qed", "" },
        { "qed", "cluster_size=32k,table_size=2" },
        { "parallels", "" },
    };

    [Theory]
    [MemberData(nameof(Formats))]
    public void WrittenHereReadThere(string format, string options)
    {
        var path = _folder["image." + format];
        var create = BlockOptions.Parse(options);
        ImageFormats.Find(format)!.Create(new CreateRequest(path, Length, create, OpenFlags.Tool));
        var shadow = new byte[Length];
        var random = new Random(format.Length * 31 + options.Length);
        for (var round = 0; round < 3; round++)
        {
            var node = ImageOpener.Open(path, OpenFlags.Tool, format);
            Assert.Equal(Length, node.Length);
            for (var i = 0; i < 60; i++)
                Step(node, shadow, random);
            Compare(node, shadow);
            node.Release();
        }

        using (var again = ImageOpener.Open(path, OpenFlags.Tool with { ReadOnly = true }, format == "raw" || options.Contains("fixed") ? format : null))
        {
            Assert.Equal(format, again.Driver);
            Compare(again, shadow);
            if (again is ICheckable checkable)
                Assert.Equal((0, 0, 0), Summary(checkable));
        }

        if (!QemuTools.Available)
            return;
        File.WriteAllBytes(_folder["shadow"], shadow);
        var (status, output) = QemuTools.Run("qemu-img", "compare", "-f", "raw", "-F", format, _folder["shadow"], path);
        Assert.True(status == 0, output);
        (status, output) = QemuTools.Run("qemu-img", "check", "-f", format, path);
        Assert.True(status is 0 or 63, output);
    }

    [Theory]
    [MemberData(nameof(Formats))]
    public void WrittenThereReadHere(string format, string options)
    {
        if (!QemuTools.Available)
            return;
        var shadow = new byte[Length];
        var random = new Random(format.Length * 17 + options.Length);
        for (var i = 0; i < 20; i++)
            random.NextBytes(shadow.AsSpan(random.Next(Length - 300_000), random.Next(1, 300_000)));
        File.WriteAllBytes(_folder["shadow"], shadow);
        var path = _folder["image." + format];
        string[] o = options.Length == 0 ? [] : ["-o", options];
        var (status, output) = QemuTools.Run("qemu-img", ["convert", "-f", "raw", "-O", format, .. o, _folder["shadow"], path]);
        Assert.True(status == 0, output);
        var node = ImageOpener.Open(path, OpenFlags.Tool, format);
        Compare(node, shadow);
        for (var i = 0; i < 60; i++)
            Step(node, shadow, random);
        Compare(node, shadow);
        node.Release();
        File.WriteAllBytes(_folder["shadow"], shadow);
        (status, output) = QemuTools.Run("qemu-img", "compare", "-f", "raw", "-F", format, _folder["shadow"], path);
        Assert.True(status == 0, output);
        (status, output) = QemuTools.Run("qemu-img", "check", "-f", format, path);
        Assert.True(status is 0 or 63, output);
    }

    [Fact]
    public void StreamOptimizedDisksGoBothWays()
    {
        var shadow = Sample(7);
        File.WriteAllBytes(_folder["shadow"], shadow);
        ImageFormats.Find("vmdk")!.Create(new CreateRequest(_folder["s.vmdk"], Length, BlockOptions.Parse("subformat=streamOptimized"), OpenFlags.Tool));
        using (var source = ImageOpener.Open(_folder["shadow"], OpenFlags.Tool with { ReadOnly = true }, "raw"))
        using (var target = ImageOpener.Open(_folder["s.vmdk"], OpenFlags.Tool, "vmdk"))
            new ImageCopier([source], target) { Compress = true, TargetIsZero = true }.Run();
        using (var back = ImageOpener.Open(_folder["s.vmdk"], OpenFlags.Tool with { ReadOnly = true }))
            Compare(back, shadow);
        if (!QemuTools.Available)
            return;
        var (status, output) = QemuTools.Run("qemu-img", "compare", "-f", "raw", "-F", "vmdk", _folder["shadow"], _folder["s.vmdk"]);
        Assert.True(status == 0, output);
        (status, output) = QemuTools.Run("qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized", _folder["shadow"], _folder["q.vmdk"]);
        Assert.True(status == 0, output);
        using var theirs = ImageOpener.Open(_folder["q.vmdk"], OpenFlags.Tool with { ReadOnly = true });
        Compare(theirs, shadow);
    }

    [Theory]
    [InlineData("vmdk")]
    [InlineData("qed")]
    [InlineData("qcow2")]
    public void OverlaysReadWhatIsBelow(string format)
    {
        var shadow = Sample(9);
        var (below, above) = (_folder["base." + format], _folder["top." + format]);
        ImageFormats.Find(format)!.Create(new CreateRequest(below, Length, new BlockOptions(), OpenFlags.Tool));
        using (var node = ImageOpener.Open(below, OpenFlags.Tool))
            node.Write(0, shadow);
        ImageFormats.Find(format)!.Create(new CreateRequest(above, Length, BlockOptions.Parse($"backing_file=base.{format},backing_fmt={format}"), OpenFlags.Tool));
        var random = new Random(3);
        var top = ImageOpener.Open(above, OpenFlags.Tool);
        for (var i = 0; i < 40; i++)
            Step(top, shadow, random);
        Compare(top, shadow);
        top.Release();
        if (!QemuTools.Available)
            return;
        File.WriteAllBytes(_folder["shadow"], shadow);
        var (status, output) = QemuTools.Run("qemu-img", "compare", "-f", "raw", "-F", format, _folder["shadow"], above);
        Assert.True(status == 0, output);
    }

    /// <summary>The rest of a new block is a hole; what points behind a file that was cut off is found.</summary>
    [Theory]
    [InlineData("vdi", false)]
    [InlineData("vpc", false)]
    [InlineData("vhdx", true)]
    [InlineData("vmdk", true)]
    public void NewBlocksTakeWhatIsWritten(string format, bool findsTruncation)
    {
        var path = _folder["sparse." + format];
        ImageFormats.Find(format)!.Create(new CreateRequest(path, 1L << 30, new BlockOptions(), OpenFlags.Tool));
        using (var node = ImageOpener.Open(path, OpenFlags.Tool, format))
        {
            var before = node.AllocatedSize;
            for (var at = 0L; at < 8; at++)
                node.Write((at << 26) + 5000, [1, 2, 3]);
            node.Flush();
            Assert.True(node.AllocatedSize - before < 8 * 200_000, $"{node.AllocatedSize - before}");
            var back = new byte[8192];
            node.Read(0, back);
            Assert.Equal(5000, back.AsSpan().IndexOf(stackalloc byte[] { 1, 2, 3 }));
            Assert.Equal(3, back.Length - back.Count((byte)0));
        }

        if (!findsTruncation)
            return;
        using (var file = new FileStream(path, FileMode.Open))
            file.SetLength(file.Length - (file.Length / 4));
        using var cut = ImageOpener.Open(path, OpenFlags.Tool with { ReadOnly = true }, format);
        Assert.InRange(((ICheckable)cut).Check(Qcow2.Qcow2Repair.None).Corruptions, 1, 8);
    }

    private static byte[] Sample(int seed)
    {
        var data = new byte[Length];
        var random = new Random(seed);
        for (var i = 0; i < 30; i++)
        {
            var at = random.Next(Length - 200_000);
            if (random.Next(2) == 0)
                random.NextBytes(data.AsSpan(at, random.Next(1, 200_000)));
            else
                data.AsSpan(at, random.Next(1, 200_000)).Fill((byte)i);
        }

        return data;
    }

    private static (long, long, long) Summary(ICheckable image)
    {
        var result = image.Check(Qcow2.Qcow2Repair.None);
        return (result.Corruptions, result.Leaks, result.CheckErrors);
    }

    private static void Step(BlockNode node, byte[] shadow, Random random)
    {
        var offset = random.Next(Length);
        var n = Math.Min(Length - offset, random.Next(3) switch { 0 => 512, 1 => random.Next(1, 9000), _ => random.Next(1, 1 << 20) });
        switch (random.Next(8))
        {
            case < 4:
                random.NextBytes(shadow.AsSpan(offset, n));
                node.Write(offset, shadow.AsSpan(offset, n));
                break;
            case 4:
                shadow.AsSpan(offset, n).Clear();
                node.WriteZeroes(offset, n, random.Next(2) == 0);
                break;
            case 5:
                node.Flush();
                break;
            default:
                var back = new byte[n];
                node.Read(offset, back);
                Assert.True(back.AsSpan().SequenceEqual(shadow.AsSpan(offset, n)));
                break;
        }
    }

    private static void Compare(BlockNode node, byte[] shadow)
    {
        var all = new byte[shadow.Length];
        node.Read(0, all);
        var at = all.AsSpan().CommonPrefixLength(shadow);
        Assert.True(at == shadow.Length, $"differs at {at:#x}");
    }
}
