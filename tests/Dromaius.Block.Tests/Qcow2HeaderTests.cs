using System.Buffers.Binary;
using Dromaius.Block.Graph;
using Dromaius.Block.Qcow2;

namespace Dromaius.Block.Tests;

/// <summary>Headers of qcow2 images that other programs made or damaged.</summary>
public sealed class Qcow2HeaderTests : IDisposable
{
    private const int ClusterSize = 65536, Extensions = 112;
    private const uint FeatureNames = 0x6803F857, BackingFormat = 0xE2792ACA, Unknown = 0x12345678;
    private readonly ImageFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void NamesOfUnknownFeaturesMayBeCutShort()
    {
        var path = Make();
        Change(path, bytes =>
        {
            bytes[72] = 0x80; // incompatible feature 63
            Put(bytes, Extensions, FeatureNames, [0, 63, .. "Made up"u8]);
        });
        Assert.Equal("Unsupported qcow2 feature(s): Made up", Refusal(path));
    }

    [Fact]
    public void ExtensionsThatAreNotKnownComeLast()
    {
        var path = Make();
        Change(path, bytes => Put(bytes, Extensions, Unknown, "kept"u8.ToArray()));
        using (var node = (Qcow2Node)ImageOpener.Open(path, OpenFlags.Tool))
            node.ChangeBackingFile("below.raw", "raw");
        var head = File.ReadAllBytes(path);
        var types = new List<uint>();
        for (var at = Extensions; BinaryPrimitives.ReadUInt32BigEndian(head.AsSpan(at)) is var type and not 0; at += 8 + ((BinaryPrimitives.ReadInt32BigEndian(head.AsSpan(at + 4)) + 7) & ~7))
            types.Add(type);
        Assert.Equal([BackingFormat, FeatureNames, Unknown], types);
    }

    [Theory]
    [InlineData(OpenKind.Write)]
    [InlineData(OpenKind.Repair)]
    [InlineData(OpenKind.Read)]
    public void WhoWritesSaysThatUnknownPartsAreNotInStep(OpenKind kind)
    {
        var path = Make();
        Change(path, static bytes => bytes[88] = 0x80); // autoclear feature 63
        var options = kind == OpenKind.Repair ? new Qcow2Options { ForCheck = true } : new Qcow2Options { ReadOnly = kind == OpenKind.Read };
        using (var node = new Qcow2Node(ImageOpener.Open("json:{\"driver\":\"file\",\"filename\":\"" + path + "\"}", OpenFlags.Tool), options))
            _ = node.Length;
        Assert.Equal(kind == OpenKind.Read ? 0x80 : 0, File.ReadAllBytes(path)[88]);
    }

    public enum OpenKind
    {
        Read,
        Write,
        Repair,
    }

    [Theory]
    [InlineData(100, 0xFFFFFFFF, "qcow2 header exceeds cluster size")]
    [InlineData(100, 103, "qcow2 header too short")]
    [InlineData(24, 0x7FFFFFFF, "Image is too big")]
    public void NumbersOutOfRangeAreNamed(int at, uint value, string message)
    {
        var path = Make();
        Change(path, bytes => BinaryPrimitives.WriteUInt32BigEndian(bytes.AsSpan(at), value));
        Assert.Equal(message, Refusal(path));
    }

    [Fact]
    public void ASnapshotWhoseTablesAreMisplacedIsNotUsed()
    {
        var path = Make();
        using (var node = (Qcow2Node)ImageOpener.Open(path, OpenFlags.Tool))
            _ = node.CreateSnapshot("s", DateTimeOffset.UnixEpoch);
        Change(path, static bytes => bytes[BinaryPrimitives.ReadInt64BigEndian(bytes.AsSpan(64)) + 6] ^= 2);
        using (var node = (Qcow2Node)ImageOpener.Open(path, OpenFlags.Tool))
        {
            foreach (var use in (ReadOnlySpan<Action<Snapshot>>)[node.ApplySnapshot, node.DeleteSnapshot])
                Assert.Equal("Snapshot L1 table offset invalid", Assert.Throws<BlockException>(() => use(node.Snapshots[0])).Message);
        }

        using var read = (Qcow2Node)ImageOpener.Open(path, OpenFlags.Tool with { ReadOnly = true });
        Assert.Equal("Snapshot L1 table offset invalid", Assert.Throws<BlockException>(() => read.ShowSnapshot(read.Snapshots[0])).Message);
    }

    private string Make()
    {
        var path = _folder["a.qcow2"];
        ImageFormats.Find("qcow2")!.Create(new CreateRequest(path, 1 << 20, new BlockOptions(), OpenFlags.Tool));
        return path;
    }

    private static string Refusal(string path) =>
        Assert.Throws<BlockException>(() => ImageOpener.Open(path, OpenFlags.Tool with { ReadOnly = true }, "qcow2")).Message;

    private static void Change(string path, Action<byte[]> change)
    {
        var bytes = File.ReadAllBytes(path);
        change(bytes);
        File.WriteAllBytes(path, bytes);
    }

    /// <summary>The only extension of a header.</summary>
    private static void Put(byte[] bytes, int at, uint type, byte[] data)
    {
        bytes.AsSpan(at, ClusterSize - at).Clear();
        BinaryPrimitives.WriteUInt32BigEndian(bytes.AsSpan(at), type);
        BinaryPrimitives.WriteInt32BigEndian(bytes.AsSpan(at + 4), data.Length);
        data.CopyTo(bytes, at + 8);
    }
}
