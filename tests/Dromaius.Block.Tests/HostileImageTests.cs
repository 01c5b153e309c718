using System.Diagnostics;
using Dromaius.Block.Graph;
using Dromaius.Block.Qcow2;

namespace Dromaius.Block.Tests;

/// <summary>Images with random damage: they give errors or wrong data, never a crash, a hang, or memory without bound.</summary>
public sealed class HostileImageTests : IDisposable
{
    private const int Length = 4 << 20;
    private const long MaxMemory = 4L << 30;
    private readonly ImageFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    public static TheoryData<string, string, int> Images() => new()
    {
        { "qcow2", "", 2500 },
        { "qcow2", "cluster_size=512", 1200 },
        { "qcow2", "extended_l2=on", 800 },
        { "qcow2", "compat=0.10", 600 },
        { "vmdk", "", 900 },
        { "vmdk", "subformat=streamOptimized", 700 },
        { "vdi", "", 900 },
        { "vpc", "force_size=on", 900 },
        { "vhdx", "block_size=1M", 900 },
        { "qed", "", 900 },
        { "parallels", "", 900 },
    };

    [Theory]
    [MemberData(nameof(Images))]
    public void DamageGivesErrors(string format, string options, int cases)
    {
        var good = MakeImage(format, options);
        for (var i = 0; i < cases; i++)
            Try(format, good, i);
    }

    [Theory]
    [InlineData("cloop", 400)]
    [InlineData("dmg", 400)]
    public void DamagedReadOnlyFormatsGiveErrors(string format, int cases)
    {
        var good = format == "cloop" ? MakeCloop() : MakeDmg();
        using (var node = OpenBytes(format, good, readOnly: true))
        {
            var all = new byte[node.Length];
            node.Read(0, all);
            Assert.Equal(7, all[100]);
        }

        for (var i = 0; i < cases; i++)
            Try(format, good, i);
    }

    /// <summary>Tables that point far behind the end: a repair neither grows the file without bound, nor takes for ever.</summary>
    [Theory]
    [InlineData("refcount table", 0, 1L << 36)]
    [InlineData("refcount table", 0, 1L << 50)]
    [InlineData("refcount table", 1, 1L << 30)]
    [InlineData("refcount table", 1, 1L << 50)]
    [InlineData("refcount table", 1, 1L << 62)]
    [InlineData("refcount table", 1, long.MinValue)]
    [InlineData("refcount tables", 1, 1L << 34)]
    [InlineData("L1 table", 0, 1L << 50)]
    [InlineData("L1 table", 0, (1L << 55) | long.MinValue)]
    [InlineData("L2 table", 1, 1L << 50)]
    [InlineData("L2 table", 1, (1L << 50) | (1L << 62))]
    [InlineData("L2 table", 1, (1L << 50) | long.MinValue)]
    public void RepairsOfFarPointersAreBounded(string table, int index, long value)
    {
        var path = _folder["far.qcow2"];
        File.WriteAllBytes(path, MakeImage("qcow2", ""));
        using (var file = File.Open(path, FileMode.Open))
        {
            var at = ReadAt(file, table.StartsWith("refcount", StringComparison.Ordinal) ? 48 : 40);
            if (table == "L2 table")
                at = ReadAt(file, at) & 0x00FFFFFFFFFFFE00;
            // Several entries, each further away than the one before.
            for (var i = index; i < (table == "refcount tables" ? 8000 : index + 1); i++)
            {
                var bytes = new byte[8];
                System.Buffers.Binary.BinaryPrimitives.WriteInt64BigEndian(bytes, table == "refcount tables" ? i * value : value);
                file.Position = at + i * 8;
                file.Write(bytes);
            }
        }

        var clock = Stopwatch.StartNew();
        using (var node = ImageOpener.Open(path, OpenFlags.Tool with { ForCheck = true }, "qcow2"))
        {
            _ = ((ICheckable)node).Check(Qcow2Repair.All);
            var again = ((ICheckable)node).Check(Qcow2Repair.None);
            if (table.StartsWith("refcount", StringComparison.Ordinal))
                Assert.Equal((0, 0), (again.Corruptions, again.Leaks));
        }

        Assert.True(new FileInfo(path).Length < 1L << 41, "The file grew without bound");
        using (var node = ImageOpener.Open(path, OpenFlags.Tool with { ReadOnly = true }, "qcow2"))
            Assert.True(node.AllocatedSize < 64 << 20, "The file takes much storage");
        Assert.True(clock.Elapsed < TimeSpan.FromMinutes(5), "The repair did not end");
        if (QemuTools.Available && table.StartsWith("refcount", StringComparison.Ordinal))
            QemuTools.Check(path);
    }

    private static long ReadAt(Stream file, long at)
    {
        var bytes = new byte[8];
        file.Position = at;
        file.ReadExactly(bytes);
        return System.Buffers.Binary.BinaryPrimitives.ReadInt64BigEndian(bytes);
    }

    /// <summary>One case: the seed says what is damaged and what is done then.</summary>
    private void Try(string format, byte[] good, int seed)
    {
        var random = new Random(seed);
        var bytes = good.ToArray();
        Damage(bytes, random);
        var watch = Stopwatch.StartNew();
        var before = GC.GetAllocatedBytesForCurrentThread();
        try
        {
            using var node = OpenBytes(format, bytes, readOnly: format is "cloop" or "dmg" || random.Next(2) == 0);
            Use(node, random);
        }
        catch (BlockException)
        {
            // This is what is wanted.
        }
        catch (Exception e)
        {
            Assert.Fail($"{format} seed {seed}: {e}");
        }

        Assert.True(GC.GetAllocatedBytesForCurrentThread() - before < MaxMemory, $"{format} seed {seed}: memory");
        Assert.True(watch.Elapsed < TimeSpan.FromSeconds(60), $"{format} seed {seed}: {watch.Elapsed}");
    }

    private static void Use(BlockNode node, Random random)
    {
        _ = ImageInfo.Of(node).ToText();
        var buffer = new byte[65536];
        for (var i = 0; i < 6; i++)
        {
            var at = node.Length <= buffer.Length ? 0 : random.NextInt64(node.Length - buffer.Length);
            var n = (int)Math.Min(buffer.Length, node.Length);
            try
            {
                switch (random.Next(node.IsReadOnly ? 2 : 5))
                {
                    case 0:
                        node.Read(at, buffer.AsSpan(0, n));
                        break;
                    case 1 when node.Length > 0:
                        for (var (offset, steps) = (0L, 0); offset < node.Length && steps < 200; steps++)
                        {
                            var status = node.Status(offset, node.Length - offset);
                            Assert.True(status.Length > 0);
                            offset += status.Length;
                        }

                        break;
                    case 2:
                        node.Write(at, buffer.AsSpan(0, n));
                        break;
                    case 3:
                        node.WriteZeroes(at, n, true);
                        break;
                    case 4:
                        node.Flush();
                        break;
                }
            }
            catch (BlockException)
            {
                // Others may still work.
            }
        }

        if (node is ICheckable checkable)
            _ = checkable.Check(node.IsReadOnly || node is not Qcow2Node ? Qcow2Repair.None : (Qcow2Repair)random.Next(4));
    }

    private static void Damage(byte[] bytes, Random random)
    {
        var count = random.Next(1, 6);
        for (var i = 0; i < count; i++)
        {
            // Headers and tables are at the beginning of most formats.
            var limit = random.Next(4) switch { 0 => 64, 1 => 512, 2 => Math.Min(bytes.Length, 6 * 65536), _ => bytes.Length };
            var at = random.Next(Math.Min(limit, bytes.Length));
            var width = Math.Min(1 << random.Next(4), bytes.Length - at);
            var value = random.Next(5) switch { 0 => 0UL, 1 => ulong.MaxValue, 2 => 1UL << random.Next(64), _ => (ulong)random.NextInt64() };
            for (var j = 0; j < width; j++)
                bytes[at + j] = (byte)(value >> (8 * (width - 1 - j)));
        }

        if (random.Next(10) == 0)
            bytes.AsSpan(random.Next(bytes.Length)).Clear();
    }

    private BlockNode OpenBytes(string format, byte[] bytes, bool readOnly)
    {
        var path = _folder["hostile." + format];
        File.WriteAllBytes(path, bytes);
        return ImageOpener.Open(path, OpenFlags.Tool with { ReadOnly = readOnly, ForCheck = true }, format);
    }

    private byte[] MakeImage(string format, string options)
    {
        var path = _folder["good." + format];
        ImageFormats.Find(format)!.Create(new CreateRequest(path, Length, BlockOptions.Parse(options), OpenFlags.Tool));
        using (var node = ImageOpener.Open(path, OpenFlags.Tool, format))
        {
            var random = new Random(1);
            var data = new byte[65536];
            for (var i = 0; i < 8; i++)
            {
                random.NextBytes(data.AsSpan(0, 1000));
                node.Write(i * 5L * 65536, data);
            }

            if (node is Qcow2Node { Version: 3 } image)
            {
                node.WriteCompressed(3 << 20, data[..image.ClusterSize]);
                _ = image.CreateSnapshot("s", DateTimeOffset.UnixEpoch);
                _ = image.AddDirtyBitmap("b", persistent: true);
                node.Write(0, data);
            }
        }

        var bytes = File.ReadAllBytes(path);
        return bytes.Length > 8 << 20 ? bytes[..(8 << 20)] : bytes;
    }

    private static byte[] MakeCloop()
    {
        using var stream = new MemoryStream();
        stream.Write(new byte[128]);
        byte[] block = new byte[65536];
        block.AsSpan().Fill(7);
        using var packed = new MemoryStream();
        using (var zlib = new System.IO.Compression.ZLibStream(packed, System.IO.Compression.CompressionLevel.Fastest, true))
            zlib.Write(block);
        const int count = 8;
        stream.Write([0, 1, 0, 0, 0, 0, 0, count]);
        for (var i = 0; i <= count; i++)
        {
            var offset = new byte[8];
            System.Buffers.Binary.BinaryPrimitives.WriteInt64BigEndian(offset, 136 + (count + 1) * 8 + i * packed.Length);
            stream.Write(offset);
        }

        for (var i = 0; i < count; i++)
            stream.Write(packed.ToArray());
        return stream.ToArray();
    }

    private static byte[] MakeDmg()
    {
        var block = new byte[65536];
        block.AsSpan().Fill(7);
        using var packed = new MemoryStream();
        using (var zlib = new System.IO.Compression.ZLibStream(packed, System.IO.Compression.CompressionLevel.Fastest, true))
            zlib.Write(block);
        var table = new byte[204 + 3 * 40];
        void Put32(byte[] data, int at, uint value) => System.Buffers.Binary.BinaryPrimitives.WriteUInt32BigEndian(data.AsSpan(at), value);
        void Put64(byte[] data, int at, long value) => System.Buffers.Binary.BinaryPrimitives.WriteInt64BigEndian(data.AsSpan(at), value);
        Put32(table, 0, 0x6D697368);
        Put32(table, 200, 3);
        void Chunk(int index, uint type, long sector, long sectors, long offset, long length)
        {
            var at = 204 + index * 40;
            Put32(table, at, type);
            Put64(table, at + 8, sector);
            Put64(table, at + 16, sectors);
            Put64(table, at + 24, offset);
            Put64(table, at + 32, length);
        }

        Chunk(0, 0x80000005, 0, 128, 0, packed.Length);
        Chunk(1, 0, 128, 128, 0, 0);
        Chunk(2, 0xFFFFFFFF, 256, 0, 0, 0);
        var xml = System.Text.Encoding.UTF8.GetBytes($"<plist><dict><key>blkx</key><array><dict><data>{Convert.ToBase64String(table)}</data></dict></array></dict></plist>");
        var trailer = new byte[512];
        Put32(trailer, 0, 0x6B6F6C79);
        Put64(trailer, 216, packed.Length);
        Put64(trailer, 224, xml.Length);
        Put64(trailer, 492, 256);
        return [.. packed.ToArray(), .. xml, .. trailer];
    }
}
