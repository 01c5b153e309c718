using System.Text.Json.Nodes;
using Dromaius.Block;
using Dromaius.Block.Graph;
using Dromaius.Control.Qmp;
using Dromaius.Core.Chardev;
using Dromaius.Core.Time;

namespace Dromaius.Control.Tests;

/// <summary>Commands on nodes, bitmaps, exports, character devices and memory, as clients send them.</summary>
public sealed class QmpBlockTests : IDisposable
{
    private readonly EventLoop _loop = new(new Lock());
    private readonly FakeMachine _machine = new();
    private readonly FakeTerminal _terminal = new();
    private readonly string _folder = Directory.CreateTempSubdirectory("qmp").FullName;

    public QmpBlockTests()
    {
        _machine.Blocks = new BlockGraph(_loop);
        _machine.ChardevFactory = new CharBackendFactory(_loop, static () => { }, static _ => { }, static _ => { });
        _ = new QmpMonitor(_terminal, _machine, pretty: false);
        _terminal.Sink!.OnEvent(CharEvent.Opened);
        _ = _terminal.Take();
        _ = _terminal.Type("{\"execute\":\"qmp_capabilities\"}");
    }

    public void Dispose()
    {
        _machine.ChardevFactory!.Dispose();
        _machine.Blocks!.Dispose();
        _machine.Dispose();
        Directory.Delete(_folder, true);
    }

    [Fact]
    public void BitmapsAreMadeMergedAndTakenBack()
    {
        Good("blockdev-add", "'driver':'null-co','node-name':'n','size':1048576");
        Good("block-dirty-bitmap-add", "'node':'n','name':'a','granularity':4096");
        Good("block-dirty-bitmap-add", "'node':'n','name':'b','granularity':4096,'disabled':true");
        Assert.Equal("Bitmap already exists: a", Bad("block-dirty-bitmap-add", "'node':'n','name':'a'"));
        Assert.Equal("Granularity must be power of 2 and at least 512", Bad("block-dirty-bitmap-add", "'node':'n','name':'c','granularity':1000"));
        Assert.Equal("Cannot find device='x' nor node-name='x'", Bad("block-dirty-bitmap-add", "'node':'x','name':'a'"));
        Assert.Equal("Dirty bitmap 'z' not found", Bad("block-dirty-bitmap-clear", "'node':'n','name':'z'"));
        var node = _machine.Blocks!.FindNode("n")!;
        node.Write(0, new byte[5000]);
        Good("block-dirty-bitmap-merge", "'node':'n','target':'b','bitmaps':['a',{'node':'n','name':'a'}]");
        Assert.Equal(8192, node.FindDirtyBitmap("b").DirtyBytes);
        Assert.Equal("Transaction aborted using Abort action", Bad("transaction",
            "'actions':[{'type':'block-dirty-bitmap-clear','data':{'node':'n','name':'a'}},{'type':'block-dirty-bitmap-add','data':{'node':'n','name':'c'}},{'type':'abort','data':{}}]"));
        Assert.Equal(8192, node.FindDirtyBitmap("a").DirtyBytes);
        Assert.Equal(2, node.DirtyBitmaps.Count);
        Good("block-dirty-bitmap-remove", "'node':'n','name':'b'");
        Assert.Equal("a", (string)Good("query-named-block-nodes", "")[0]!["dirty-bitmaps"]![0]!["name"]!);
    }

    [Fact]
    public void ExportsNeedAServer()
    {
        Good("blockdev-add", "'driver':'null-co','node-name':'n'");
        Assert.Equal("NBD server not running", Bad("nbd-server-add", "'device':'n'"));
        Good("nbd-server-start", $"'addr':{{'type':'unix','data':{{'path':'{_folder}/s'}}}}");
        Assert.Equal("NBD server already running", Bad("nbd-server-start", $"'addr':{{'type':'unix','data':{{'path':'{_folder}/s'}}}}"));
        Good("block-export-add", "'type':'nbd','id':'e','node-name':'n','writable':true");
        Assert.Equal("Block export id 'e' is already in use", Bad("block-export-add", "'type':'nbd','id':'e','node-name':'n'"));
        Assert.Equal("e", (string)Good("query-block-exports", "")[0]!["id"]!);
        Assert.Equal("Export 'x' is not found", Bad("block-export-del", "'id':'x'"));
        Good("block-export-del", "'id':'e'");
        Good("nbd-server-stop", "");
        Assert.Equal("NBD server not running", Bad("nbd-server-stop", ""));
    }

    /// <summary>A management tool names images, not drives: those of devices are listed by them.</summary>
    [Fact]
    public void DrivesOfDevicesAreListed()
    {
        Good("blockdev-add", "'driver':'null-co','node-name':'n','size':1048576");
        Good("blockdev-add", "'driver':'null-co','node-name':'idle'");
        var disk = _machine.Blocks!.Attach("n")!;
        disk.DeviceName = "disk0";
        _machine.Blocks.AttachEmpty("cd0").DeviceName = "cd0";
        const string image = "n: null-co:// (null-co)\r\n    Attached to:      disk0\r\n    Cache mode:       writeback\r\n";
        Assert.Equal(image + "\r\ncd0: [not inserted]\r\n    Attached to:      cd0\r\n", Human("info block"));
        Assert.Equal("idle: null-co:// (null-co)\r\n    Cache mode:       writeback\r\n", Human("info block idle"));
        Assert.StartsWith(": rd_bytes=0 wr_bytes=0 ", Human("info blockstats"));
        Assert.Equal("", (string)Good("query-block", "")[0]!["device"]!);

        string Human(string command) => (string)Good("human-monitor-command", $"'command-line':'{command}'")!;
    }

    [Fact]
    public void WhatAnExportAsksForMustBeThere()
    {
        var file = Path.Combine(_folder, "disk");
        File.WriteAllBytes(file, new byte[65536]);
        Good("blockdev-add", $"'driver':'file','node-name':'f','filename':'{file}'");
        Good("blockdev-add", "'driver':'raw','node-name':'ro','file':'f','read-only':true");
        Good("nbd-server-start", $"'addr':{{'type':'unix','data':{{'path':'{_folder}/s'}}}}");
        Assert.Equal("Invalid block export id", Bad("block-export-add", "'type':'nbd','id':'#e','node-name':'ro'"));
        Assert.Equal("Cannot export read-only node as writable", Bad("block-export-add", "'type':'nbd','id':'e','node-name':'ro','writable':true"));
        Good("block-export-add", "'type':'nbd','id':'e','node-name':'ro'");
        Good("block-dirty-bitmap-add", "'node':'f','name':'b'");
        Assert.Equal("Enabled bitmap 'b' incompatible with readonly export",
            Bad("block-export-add", "'type':'nbd','id':'g','node-name':'f','name':'g','bitmaps':['b']"));
        Good("block-export-add", "'type':'nbd','id':'g','node-name':'f','name':'g','writable':true,'bitmaps':['b']");
        // The newest is first.
        Assert.Equal("g", (string)Good("query-block-exports", "")[0]!["id"]!);
        Good("nbd-server-stop", "");
        Assert.Equal(64, ((string)Good("x-debug-block-dirty-bitmap-sha256", "'node':'f','name':'b'")["sha256"]!).Length);
    }

    [Fact]
    public void AnExportGoesWithTheMediumOfItsDrive()
    {
        var blocks = _machine.Blocks!;
        var gone = new List<string>();
        blocks.Exports.Deleted += gone.Add;
        var backend = blocks.AddBackend("cd", blocks.AddNode(BlockOptions.Parse("driver=null-co,node-name=n")).Retain());
        Good("nbd-server-start", $"'addr':{{'type':'unix','data':{{'path':'{_folder}/s'}}}}");
        Good("nbd-server-add", "'device':'cd'");
        Good("block-export-add", "'type':'nbd','id':'stays','node-name':'n'");
        blocks.Exports.MediumGone(backend);
        Assert.Equal(["cd"], gone);
        Assert.Equal("stays", (string)Assert.Single((JsonArray)Good("query-block-exports", ""))!["id"]!);
    }

    [Fact]
    public void WhatASnapshotCoversIsNotWrittenAnyMore()
    {
        foreach (var name in (ReadOnlySpan<string>)["base", "over", "third"])
            ImageFormats.Find("qcow2")!.Create(new CreateRequest(Path.Combine(_folder, name), 1 << 20, new BlockOptions(), OpenFlags.Tool));
        var blocks = _machine.Blocks!;
        _ = blocks.AddBackend("d", blocks.Open(Path.Combine(_folder, "base"), BlockOptions.Parse("node-name=base"), new OpenFlags()));
        foreach (var name in (ReadOnlySpan<string>)["over", "third"])
            Good("blockdev-add", $"'driver':'qcow2','node-name':'{name}','file':{{'driver':'file','filename':'{Path.Combine(_folder, name)}'}}");
        Assert.Equal("The overlay is already in use", Bad("blockdev-snapshot", "'node':'over','overlay':'base'"));
        Good("blockdev-snapshot", "'node':'base','overlay':'over'");
        Assert.True(blocks.FindNode("base")!.IsReadOnly);
        using (ImageOpener.Open(Path.Combine(_folder, "base"), OpenFlags.Tool with { ReadOnly = true }))
        {
            // Others read it while the machine runs.
        }

        // All of a transaction sees the images as they were.
        Good("transaction", "'actions':[{'type':'blockdev-snapshot','data':{'node':'over','overlay':'third'}},"
            + "{'type':'block-dirty-bitmap-add','data':{'node':'over','name':'b','persistent':true}}]");
        Assert.True(blocks.FindNode("over")!.IsReadOnly);
        Assert.False(blocks.FindNode("third")!.IsReadOnly);
    }

    [Fact]
    public void SnapshotsInsideImagesAreTakenBackWithATransaction()
    {
        var file = Path.Combine(_folder, "disk.qcow2");
        ImageFormats.Find("qcow2")!.Create(new CreateRequest(file, 1 << 20, new BlockOptions(), OpenFlags.Tool));
        var blocks = _machine.Blocks!;
        _ = blocks.AddBackend("d", blocks.Open(file, BlockOptions.Parse("node-name=n"), new OpenFlags()));
        Assert.Equal("Transaction aborted using Abort action", Bad("transaction",
            "'actions':[{'type':'blockdev-snapshot-internal-sync','data':{'device':'d','name':'s'}},{'type':'abort','data':{}}]"));
        Assert.Equal("Parameter 'actions[0].data.name' is missing", Bad("transaction", "'actions':[{'type':'blockdev-snapshot-internal-sync','data':{'device':'d'}}]"));
        Good("transaction", "'actions':[{'type':'blockdev-snapshot-internal-sync','data':{'device':'d','name':'s'}}]");
        Assert.Equal("s", (string)Good("blockdev-snapshot-delete-internal-sync", "'device':'d','name':'s'")["name"]!);
    }

    [Fact]
    public void ModelsAreMadeFromWhatTheyExpandTo()
    {
        var props = Good("query-cpu-model-expansion", "'type':'static','model':{'name':'EPYC'}")["model"]!["props"]!.AsObject();
        Assert.Equal("AuthenticAMD", (string)props["vendor"]!);
        Assert.Equal((23, 1, 2), ((int)props["family"]!, (int)props["model"]!, (int)props["stepping"]!));
        Assert.True((bool)props["sse2"]!);
        Assert.False(props.ContainsKey("phys-bits"));
        var host = Good("query-cpu-model-expansion", "'type':'full','model':{'name':'host','props':{'migratable':false,'hv-passthrough':true}}");
        Assert.True((bool)host["model"]!["props"]!["avx2"]!);
    }

    [Fact]
    public void CharacterDevicesComeAndGo()
    {
        Good("chardev-add", "'id':'r','backend':{'type':'ringbuf','data':{'size':1024}}");
        Assert.Equal("Chardev with id 'r' already exists", Bad("chardev-add", "'id':'r','backend':{'type':'null','data':{}}"));
        Assert.Equal("Parameter 'type' does not accept value 'frob'", Bad("chardev-add", "'id':'x','backend':{'type':'frob','data':{}}"));
        Assert.StartsWith("Failed to add chardev 'x': Could not open", Bad("chardev-add", "'id':'x','backend':{'type':'file','data':{'out':'/no/such/file'}}"));
        Good("ringbuf-write", "'device':'r','data':'hello'");
        Assert.Equal("hello", (string)Good("ringbuf-read", "'device':'r','size':100")!);
        Good("chardev-change", "'id':'r','backend':{'type':'null','data':{}}");
        Assert.Equal("null", (string)Good("query-chardev", "")[0]!["filename"]!);
        Good("chardev-remove", "'id':'r'");
        Assert.Equal("Chardev 'r' not found", Bad("chardev-remove", "'id':'r'"));
        Assert.Equal("Chardev 'r' does not exist", Bad("chardev-change", "'id':'r','backend':{'type':'null','data':{}}"));
    }

    [Fact]
    public void MemoryGoesIntoACoreFile()
    {
        var file = Path.Combine(_folder, "core");
        _machine.State = Boards.RunState.Paused;
        Good("dump-guest-memory", $"'paging':false,'protocol':'file:{file}'");
        var bytes = File.ReadAllBytes(file);
        Assert.Equal([0x7F, (byte)'E', (byte)'L', (byte)'F', 1, 1, 1], bytes[..7]);
        Assert.Equal(4, bytes[16]);
        Assert.True(bytes.Length > 1 << 20);
        Assert.Equal("completed", (string)Good("query-dump", "")["status"]!);
        Assert.Equal("Invalid parameter 'protocol'", Bad("dump-guest-memory", "'paging':false,'protocol':'x'"));
        Assert.Equal("Parameter 'length' is missing", Bad("dump-guest-memory", $"'paging':false,'protocol':'file:{file}','begin':0"));
    }

    [Fact]
    public void DescriptorsMustComeAlong()
    {
        Assert.Equal("No file descriptor supplied via SCM_RIGHTS", Bad("getfd", "'fdname':'f'"));
        Assert.Equal("File descriptor named 'f' not found", Bad("closefd", "'fdname':'f'"));
        Assert.Equal("File descriptor named 'fdset-id:77, fd:5' not found", Bad("remove-fd", "'fdset-id':77,'fd':5"));
        Assert.Equal("saving and loading the state of the machine is not available in this version", Bad("snapshot-save", "'job-id':'j','tag':'t','vmstate':'v','devices':[]"));
    }

    private JsonNode Ask(string command, string arguments) =>
        JsonNode.Parse(_terminal.Type($"{{'execute':'{command}','arguments':{{{arguments}}}}}").Split("\r\n").Last(static l => l.Contains("\"return\"") || l.Contains("\"error\"")))!;

    private JsonNode Good(string command, string arguments)
    {
        var reply = Ask(command, arguments);
        Assert.True(reply["error"] == null, reply.ToJsonString());
        return reply["return"]!;
    }

    private string Bad(string command, string arguments) => (string)Ask(command, arguments)["error"]!["desc"]!;
}
