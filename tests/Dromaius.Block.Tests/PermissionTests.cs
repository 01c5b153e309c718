using Dromaius.Block.Graph;
using Dromaius.Core.Time;

namespace Dromaius.Block.Tests;

/// <summary>Who may use an image at the same time, inside one machine and between it and another program.</summary>
public sealed class PermissionTests : IDisposable
{
    private readonly ImageFolder _folder = new();
    private readonly BlockGraph _graph = new(new EventLoop(new Lock()));
    private readonly BlockGraph _other = new(new EventLoop(new Lock()));

    public PermissionTests()
    {
        Make("a.raw", "raw", "");
        Make("a.qcow2", "qcow2", "");
        Make("o1.qcow2", "qcow2", "backing_file=a.raw,backing_fmt=raw");
        Make("o2.qcow2", "qcow2", "backing_file=a.raw,backing_fmt=raw");
    }

    public void Dispose()
    {
        _graph.Dispose();
        _other.Dispose();
        _folder.Dispose();
    }

    [Fact]
    public void AReadOnlyDiskThatForgetsTakesNothing()
    {
        var node = _graph.AddNode(BlockOptions.Parse("driver=null-co,node-name=z,read-only=on"));
        Assert.True(node.IsReadOnly);
        Assert.Equal(BlockError.ReadOnly, Assert.Throws<BlockException>(() => node.Write(0, new byte[512])).Error);
        // Two devices may read it.
        for (var i = 0; i < 2; i++)
            _graph.AddBackend($"z{i}", node.Retain()).Claim(shareWrite: false, isResizable: true);
        _graph.ApplyPermissions();
    }

    [Fact]
    public void ARawFileIsFreeUntilADeviceUsesIt()
    {
        var drive = Drive(_graph, "a", "a.raw");
        _ = Drive(_other, "b", "a.raw");
        drive.Claim(shareWrite: false, isResizable: true);
        _graph.ApplyPermissions();
        Use(_other, "b", false, "Failed to get \"write\" lock");
        Use(_other, "b", true, "Failed to get \"write\" lock");
        drive.Unclaim();
        _graph.Forget();
        Use(_other, "b", false, null);
        Assert.Equal("Is another process using the image [" + _folder["a.raw"] + "]?", Fails(() =>
        {
            drive.Claim(shareWrite: true, isResizable: true);
            _graph.ApplyPermissions();
        }).Hint);
    }

    [Fact]
    public void DevicesThatShareWritesMayAllWrite()
    {
        Drive(_graph, "a", "a.raw");
        Drive(_other, "b", "a.raw");
        Use(_graph, "a", true, null);
        Use(_other, "b", true, null);
        _ = Drive(_graph, "c", "a.raw");
        Use(_graph, "c", false, "Failed to get shared \"write\" lock");
        // What failed took nothing.
        Use(_other, "b", true, null);
    }

    [Fact]
    public void AFormatHoldsItsFileWithoutADevice()
    {
        _ = Drive(_graph, "a", "a.qcow2");
        Assert.Equal("Failed to get \"write\" lock", Fails(() => Drive(_other, "b", "a.qcow2")).Message);
        Assert.Equal("Failed to get shared \"write\" lock", Fails(() => Drive(_other, "b", "a.qcow2", readOnly: true)).Message);
        _graph.RemoveBackend("a");
        _ = Drive(_other, "b", "a.qcow2", readOnly: true);
        _ = Drive(_graph, "c", "a.qcow2", readOnly: true);
        Assert.Equal("Failed to get \"write\" lock", Fails(() => Drive(_graph, "d", "a.qcow2")).Message);
    }

    [Fact]
    public void AGuessedFormatHoldsItsFileAndLeavesNoClosedNode()
    {
        _ = _graph.AddBackend("a", _graph.Open(_folder["a.qcow2"], new BlockOptions(), new OpenFlags()));
        Assert.Equal(2, _graph.Nodes.Count);
        Assert.All(_graph.Nodes.Values, static n => Assert.True(n.AllocatedSize > 0));
        Assert.Equal("Failed to get \"write\" lock", Fails(() => Drive(_other, "b", "a.qcow2")).Message);
    }

    [Fact]
    public void OverlaysShareTheirBackingFile()
    {
        Drive(_graph, "a", "o1.qcow2");
        Drive(_other, "b", "o2.qcow2");
        Use(_graph, "a", false, null);
        Use(_other, "b", false, null);
        Drive(_other, "c", "a.raw");
        Use(_other, "c", false, "Failed to get \"write\" lock");
    }

    [Fact]
    public void UsersOfANodeAreNamedWhenTheyConflict()
    {
        var options = new BlockOptions();
        options.Set("driver", "file");
        options.Set("filename", _folder["a.raw"]);
        options.Set("node-name", "n");
        _ = _graph.AddNode(options);
        var (first, second) = (_graph.Attach("n")!, _graph.Attach("n")!);
        // Two of the same kind are two.
        first.Claim(shareWrite: false, isResizable: true);
        second.Claim(shareWrite: false, isResizable: true);
        _ = Fails(_graph.ApplyPermissions);
        second.Unclaim();
        first.DeviceName = "v1";
        first.Claim(shareWrite: false, isResizable: true);
        _graph.ApplyPermissions();
        second.Claim(shareWrite: true, isResizable: true);
        Assert.Equal("Permission conflict on node 'n': permissions 'write' are both required by an unnamed block device (uses node 'n' as 'root' child) "
            + "and unshared by block device 'v1' (uses node 'n' as 'root' child).", Fails(_graph.ApplyPermissions).Message);
        first.Claim(shareWrite: true, isResizable: true);
        _graph.ApplyPermissions();
    }

    /// <summary>A file that may be written, as management tools name it, under nodes that must not be.</summary>
    [Theory]
    [InlineData("raw")]
    [InlineData("throttle")]
    [InlineData("copy-on-read")]
    public void ReadOnlyNodesStaySoOverAWritableFile(string driver)
    {
        _graph.SetThrottleGroup("t", new ThrottleConfig());
        _ = _graph.AddNode(BlockOptions.Parse($"driver=file,filename={_folder["a.raw"]},node-name=f,auto-read-only=on"));
        var node = _graph.AddNode(BlockOptions.Parse($"driver={driver},file=f,node-name=n,read-only=on"
            + (driver == "throttle" ? ",throttle-group=t" : "")));
        var held = Drive(_other, "b", "a.raw");
        held.Claim(shareWrite: false, isResizable: true);
        _other.ApplyPermissions();
        var drive = _graph.Attach("n")!;
        drive.Claim(shareWrite: true, isResizable: true);
        Assert.True(node.IsReadOnly);
        Assert.False(_graph.Nodes["f"].IsReadOnly);
        held.Unclaim();
        _other.ApplyPermissions();
        _graph.ApplyPermissions();
        if (driver == "raw")
            Assert.Equal(BlockError.ReadOnly, Fails(() => node.Write(0, [1])).Error);
        node.Reopen(false);
        node.Write(0, [1]);
    }

    /// <summary>Filters lead to what is behind their image, and so do the images: each way is gone once.</summary>
    [Fact]
    public void WhoReadsIsFoundInALongChainOfFilters()
    {
        const int depth = 60;
        _graph.SetThrottleGroup("t", new ThrottleConfig());
        for (var i = 0; i < depth; i++)
        {
            Make($"c{i}.qcow2", "qcow2", "");
            _ = _graph.AddNode(BlockOptions.Parse($"driver=qcow2,node-name=c{i},file.driver=file,file.filename={_folder[$"c{i}.qcow2"]},read-only=on,"
                + $"backing={(i == 0 ? "" : $"t{i - 1}")}"));
            _ = _graph.AddNode(BlockOptions.Parse($"driver=throttle,node-name=t{i},throttle-group=t,file=c{i},read-only=on"));
        }

        _ = _graph.AddBackend("d", _graph.Nodes[$"t{depth - 2}"].Retain());
        Assert.True(_graph.IsRead(_graph.Nodes["c0"]));
        Assert.False(_graph.IsRead(_graph.Nodes[$"c{depth - 1}"]));
    }

    [Fact]
    public void QemuSeesTheLocks()
    {
        if (!QemuTools.Available)
            return;
        Drive(_graph, "a", "a.raw");
        Assert.Equal(0, Write("a.raw"));
        Use(_graph, "a", false, null);
        Assert.NotEqual(0, Write("a.raw"));
        Use(_graph, "a", true, null);
        Assert.Equal(0, Write("a.raw"));
    }

    private int Write(string name) => QemuTools.Run("qemu-io", "-f", "raw", "-c", "write 0 512", _folder[name]).Status;

    private static BlockException Fails(Action action) => Assert.Throws<BlockException>(action);

    private static void Use(BlockGraph graph, string id, bool shareWrite, string? error)
    {
        var drive = graph.Backends[id];
        drive.Claim(shareWrite, isResizable: true);
        if (error == null)
        {
            graph.ApplyPermissions();
            return;
        }

        Assert.Equal(error, Fails(graph.ApplyPermissions).Message);
        drive.Unclaim();
        graph.ApplyPermissions();
    }

    private BlockBackend Drive(BlockGraph graph, string id, string name, bool readOnly = false)
    {
        var options = new BlockOptions();
        options.Set("driver", Path.GetExtension(name)[1..]);
        return graph.AddBackend(id, graph.Open(_folder[name], options, new OpenFlags { ReadOnly = readOnly }));
    }

    private void Make(string name, string format, string options) =>
        ImageFormats.Find(format)!.Create(new CreateRequest(_folder[name], 1 << 20, BlockOptions.Parse(options), OpenFlags.Tool));
}
