using Dromaius.Block.Graph;
using Dromaius.Core.Time;

namespace Dromaius.Block.Tests;

/// <summary>Drivers between a drive and its image.</summary>
public sealed class FilterTests : IDisposable
{
    private readonly BlockGraph _graph = new(new EventLoop(new Lock()));
    private readonly ImageFolder _folder = new();

    public void Dispose()
    {
        _graph.Dispose();
        _folder.Dispose();
    }

    [Fact]
    public void InjectedErrorsComeWhereRulesSay()
    {
        var node = Add("driver=raw,node-name=b,file.driver=blkdebug,file.image.driver=null-co,file.image.size=1M,file.image.read-zeroes=on,"
            + "file.inject-error.0.event=read_aio,file.inject-error.0.errno=28,file.inject-error.0.sector=4,file.inject-error.0.once=on,"
            + "file.inject-error.1.event=none,file.inject-error.1.iotype=flush");
        node.Read(0, new byte[2048]);
        Assert.Equal(BlockError.NoSpace, Assert.Throws<BlockException>(() => node.Read(1024, new byte[2048])).Error);
        node.Read(1024, new byte[2048]);
        node.Write(2048, new byte[512]);
        Assert.Equal(BlockError.Io, Assert.Throws<BlockException>(node.Flush).Error);
    }

    [Fact]
    public void NamesStandForProtocols()
    {
        var rules = _folder["rules"];
        System.IO.File.WriteAllText(rules, "[inject-error]\nevent = \"flush_to_disk\"\nerrno = \"28\"\n");
        using (var zeroes = Open("null-co://"))
            Assert.Equal(1 << 30, zeroes.Length);
        using (var plain = Open($"blkdebug::{File("a")}"))
            plain.Node!.Flush();
        using (var failing = Open($"blkdebug:{rules}:{File("b")}"))
            Assert.Equal(BlockError.NoSpace, Assert.Throws<BlockException>(failing.Node!.Flush).Error);
        using (var pair = Open($"blkverify:{File("c")}:{File("d")}"))
            pair.Node!.Read(0, new byte[512]);
    }

    [Theory]
    [InlineData("null-co://x", "The only allowed filename for this driver is 'null-co://'")]
    [InlineData("blkdebug:x", "blkdebug requires both config file and image path")]
    [InlineData("blkverify:x", "blkverify requires raw copy and original image path")]
    [InlineData("blkdebug:/nonexistent:x", "Could not read blkdebug config file: No such file or directory")]
    [InlineData("frob:x", "Unknown protocol 'frob'")]
    public void WrongNamesAreExplained(string name, string message) =>
        Assert.Equal(message, Assert.Throws<BlockException>(() => Open(name)).Message);

    [Fact]
    public void NamesDoNotNestWithoutEnd() =>
        Assert.Throws<BlockException>(() => Open(string.Concat(Enumerable.Repeat("blkdebug::", 10_000)) + "null-co://"));

    [Fact]
    public void DrivesWithoutAMediumAreKnown()
    {
        var drive = _graph.AttachEmpty("cd");
        Assert.Contains(drive, _graph.AllBackends);
        _graph.Release(drive);
        Assert.Empty(_graph.AllBackends);
    }

    [Fact]
    public void RulesComeFromAFileAndFollowStates()
    {
        var (rules, image) = (File("rules"), File("image"));
        System.IO.File.WriteAllText(rules, """
            # two reads pass, the third fails once
            [set-state]
            event = "read_aio"
            state = "1"
            new_state = "2"
            [set-state]
            event = "read_aio"
            state = "2"
            new_state = "3"
            [inject-error]
            event = "read_aio"
            state = "3"
            errno = "28"
            once = "on"
            """);
        using var node = ImageOpener.Open($"blkdebug:{rules}:{image}", OpenFlags.Tool, "raw");
        node.Read(0, new byte[512]);
        node.Read(0, new byte[512]);
        Assert.Equal(BlockError.NoSpace, Assert.Throws<BlockException>(() => node.Read(0, new byte[512])).Error);
        node.Read(0, new byte[512]);
        System.IO.File.WriteAllText(rules, "[inject-error]\nevent = \"frob\"\n");
        Assert.Equal("Invalid event name \"frob\"", Assert.Throws<BlockException>(() => ImageOpener.Open($"blkdebug:{rules}:{image}", OpenFlags.Tool, "raw")).Message);
        Assert.Throws<BlockException>(() => ImageOpener.Open("blkdebug:image", OpenFlags.Tool, "raw"));
    }

    [Fact]
    public async Task ABreakpointHoldsARequest()
    {
        var node = Add("driver=raw,node-name=r,file.driver=blkdebug,file.image.driver=null-co,file.image.size=1M");
        var filter = (Filters.BlkdebugNode)node.File!;
        filter.AddBreakpoint("write_aio", "A");
        var writing = Task.Run(() => node.Write(0, new byte[512]));
        filter.WaitStopped("A");
        Assert.False(writing.IsCompleted);
        node.Write(512, new byte[512]);
        Assert.True(filter.Resume("A"));
        await writing.WaitAsync(TimeSpan.FromMinutes(1));
        Assert.False(filter.Resume("A"));
        Assert.Throws<BlockException>(() => filter.AddBreakpoint("frob", "B"));
    }

    [Theory]
    [InlineData("json:{'driver':'null-co','size':1048576,'read-zeroes':true,'node-name':'n'}", 1 << 20)]
    [InlineData("json:{\"driver\": \"raw\", 'file': {'driver': 'null-co', 'size': '64k'}}", 65536)]
    public void DescriptionsMayQuoteEitherWay(string name, long length)
    {
        using var node = ImageOpener.Open(name, OpenFlags.Tool);
        Assert.Equal(length, node.Length);
    }

    [Fact]
    public void DeepDescriptionsAreRefused()
    {
        var name = "json:" + string.Concat(Enumerable.Repeat("{'file':", 100_000)) + "1" + new string('}', 100_000);
        Assert.Contains("nesting", Assert.Throws<BlockException>(() => ImageOpener.Open(name, OpenFlags.Tool)).Message);
    }

    [Fact]
    public void DifferencesAreNoticed()
    {
        var (a, b) = (File("a"), File("b"));
        var node = Add($"driver=blkverify,node-name=v,test.driver=file,test.filename={a},raw.driver=file,raw.filename={b}");
        node.Write(100, [1, 2, 3]);
        node.Read(0, new byte[512]);
        node.Flush();
        using (var other = System.IO.File.OpenWrite(b))
        {
            other.Position = 101;
            other.WriteByte(9);
        }

        Assert.Throws<BlockException>(() => node.Read(0, new byte[512]));
    }

    [Fact]
    public void ReadingCopiesUp()
    {
        var below = File("base");
        System.IO.File.WriteAllBytes(below, [.. Enumerable.Repeat((byte)7, 1 << 20)]);
        var top = _folder["top.qcow2"];
        var options = new BlockOptions();
        options.Set("backing_file", below);
        options.Set("backing_fmt", "raw");
        _ = ImageCreator.Create(top, "qcow2", options, OpenFlags.Tool);
        ImageCreator.Write(top, "qcow2", options, OpenFlags.Tool);
        var node = Add($"driver=copy-on-read,node-name=c,file.driver=qcow2,file.file.driver=file,file.file.filename={top}");
        Assert.False(node.Status(0, 65536).IsAllocated);
        var bytes = new byte[10];
        node.Read(5, bytes);
        Assert.All(bytes, static b => Assert.Equal(7, b));
        Assert.True(node.Status(0, 65536).IsAllocated);
        Assert.False(node.Status(131072, 65536).IsAllocated);
    }

    [Fact]
    public void AGroupLimitsWhatNamesIt()
    {
        Assert.Throws<BlockException>(() => Add("driver=throttle,node-name=t,throttle-group=g,file.driver=null-co"));
        _graph.SetThrottleGroup("g", new ThrottleConfig { OperationsTotal = new ThrottleLimit(20, 0, 1) });
        var node = Add("driver=throttle,node-name=t,throttle-group=g,file.driver=null-co");
        var watch = System.Diagnostics.Stopwatch.StartNew();
        for (var i = 0; i < 6; i++)
            node.Read(0, new byte[512]);
        // Two at once, then one in 50 ms each: never faster, however slow the host.
        Assert.True(watch.ElapsedMilliseconds >= 150);
        Assert.Throws<BlockException>(() => _graph.RemoveThrottleGroup("g"));
        _graph.DeleteNode("t");
        _graph.RemoveThrottleGroup("g");
    }

    [Fact]
    public void NodesAreReopened()
    {
        var file = File("r");
        var node = Add($"driver=file,node-name=r,filename={file}");
        _graph.Reopen(BlockOptions.Parse("driver=file,node-name=r,read-only=on"));
        Assert.True(node.IsReadOnly);
        _graph.Reopen(BlockOptions.Parse("driver=file,node-name=r"));
        node.Write(0, [1]);
        Assert.Throws<BlockException>(() => _graph.Reopen(BlockOptions.Parse("driver=raw,node-name=r")));
        Assert.Throws<BlockException>(() => _graph.Reopen(BlockOptions.Parse("driver=file,node-name=none")));
        Assert.Throws<BlockException>(() => _graph.Reopen(BlockOptions.Parse("driver=file,node-name=r,frob=1")));
    }

    [Theory]
    [InlineData("driver=frob,node-name=x", "Parameter 'driver' does not accept value 'frob'")]
    [InlineData("driver=raw,node-name=x", "Parameter 'file' is missing")]
    [InlineData("driver=file,node-name=x", "Parameter 'filename' is missing")]
    [InlineData("driver=null-co,node-name=x,foo=1", "Parameter 'foo' is unexpected")]
    [InlineData("driver=blkdebug,node-name=x", "Parameter 'image' is missing")]
    public void WrongOptionsAreNamed(string options, string message) =>
        Assert.StartsWith(message, Assert.Throws<BlockException>(() => Add(options)).Message);

    private BlockBackend Open(string name) => new("d", new EventLoop(new Lock()), ImageOpener.Open(name, new OpenFlags(), "raw"));

    private BlockNode Add(string options) => _graph.AddNode(BlockOptions.Parse(options));

    private string File(string name)
    {
        var path = _folder[name];
        System.IO.File.WriteAllBytes(path, new byte[1 << 20]);
        return path;
    }
}
