using System.Text.Json.Nodes;
using Dromaius.Boards;
using Dromaius.Core.Chardev;

using Dromaius.Control.Qmp;

namespace Dromaius.Control.Tests;

public sealed class QmpMonitorTests : IDisposable
{
    private readonly FakeMachine _machine = new();
    private readonly FakeTerminal _terminal = new();

    public QmpMonitorTests()
    {
        _ = new QmpMonitor(_terminal, _machine, pretty: false);
        _terminal.Sink!.OnEvent(CharEvent.Opened);
    }

    public void Dispose() => _machine.Dispose();

    [Fact]
    public void GreetsAndNegotiates()
    {
        var greeting = JsonNode.Parse(_terminal.Take())!["QMP"]!;
        Assert.Equal(7, (int)greeting["version"]!["qemu"]!["major"]!);
        Assert.Equal("CommandNotFound", (string)Ask("{\"execute\":\"query-status\"}")["error"]!["class"]!);
        Negotiate();
        Assert.Equal("running", (string)Ask("{\"execute\":\"query-status\",\"id\":7}")["return"]!["status"]!);
    }

    [Fact]
    public void CommandsInPiecesAndTogether()
    {
        Negotiate();
        Assert.Equal("", _terminal.Type("{\"execute\":\"st"));
        var replies = _terminal.Type("op\",\"id\":\"a\"}{ \"execute\" : \"system_reset\" }\r\n").Split("\r\n", StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(["{\"return\": {}, \"id\": \"a\"}", "{\"return\": {}}"], replies);
        Assert.Equal(["stop", "reset"], _machine.Calls);
    }

    [Fact]
    public void WhatIsWrongIsAnError()
    {
        Negotiate();
        Assert.Equal("CommandNotFound", (string)Ask("{\"execute\":\"frob\"}")["error"]!["class"]!);
        Assert.Equal("GenericError", (string)Ask("{\"exec\":1}")["error"]!["class"]!);
        Assert.Equal("GenericError", (string)Ask("{\"execute\":\"cont\",}")["error"]!["class"]!);
        Assert.Equal("GenericError", (string)Ask("{\"execute\":\"send-key\",\"arguments\":{}}")["error"]!["class"]!);
        Assert.NotNull(Ask("nonsense\n")["error"]);
        Assert.NotNull(Ask("{\"execute\":\"query-version\"}")["return"]);
    }

    /// <summary>Whatever half a command a client sent, a byte that cannot belong to JSON brings both ends back into step.</summary>
    [Theory]
    [InlineData("{]\n", "expecting value")]
    [InlineData("{\u0001", "stray '\u0001'")]
    [InlineData("{'execute': 'x\n", "stray ''x\n'")]
    [InlineData("{'execute': 'x\0", "stray ''x'")]
    [InlineData("{'execute': %s", "stray '%'")]
    [InlineData("@@@ %%\n", "stray '@'")]
    [InlineData("01\n", "stray '01'")]
    [InlineData("1.\n", "stray '1.\n'")]
    [InlineData("-x", "stray '-x'")]
    [InlineData("1e+\n", "stray '1e+\n'")]
    public void GarbageIsOneErrorAndForgotten(string text, string message)
    {
        Negotiate();
        Assert.Equal("JSON parse error, " + message, (string)Ask(text)["error"]!["desc"]!);
        Assert.Equal(5, (int)Ask("{\"execute\":\"stop\",\"id\":5}")["id"]!);
    }

    [Fact]
    public void AnyBytesLeaveTheMonitorUsable()
    {
        Negotiate();
        const int Seed = 11;
        var random = new Random(Seed);
        var bytes = "{}[],:\"'\\ \n\t0123.eE+-tfn%x\u0001\0"u8.ToArray().Append((byte)0xFF).ToArray();
        for (var i = 0; i < 2000; i++)
        {
            _terminal.Sink!.Receive(Enumerable.Range(0, random.Next(40)).Select(_ => bytes[random.Next(bytes.Length)]).ToArray());
            _ = _terminal.Type("\u0001");
            Assert.True(Ask("{\"execute\":\"stop\"}")["return"] != null, $"seed {Seed}, round {i}");
        }
    }

    /// <summary>Management tools put the schema into a table by name.</summary>
    [Fact]
    public void TheSchemaNamesEverythingOnce()
    {
        Negotiate();
        var names = ((JsonArray)Ask("{\"execute\":\"query-qmp-schema\"}")["return"]!).Select(static e => (string)e!["name"]!).ToList();
        Assert.Equal(names.Count, names.Distinct().Count());
        Assert.Contains("[int]", names);
    }

    [Fact]
    public void ObjectsComeAndGo()
    {
        Negotiate();
        Assert.NotNull(Ask("{\"execute\":\"object-add\",\"arguments\":{\"qom-type\":\"iothread\",\"id\":\"t0\",\"poll-max-ns\":7}}")["return"]);
        Assert.Equal(7, (int)Ask("{\"execute\":\"query-iothreads\"}")["return"]![0]!["poll-max-ns"]!);
        Assert.NotNull(Ask("{\"execute\":\"object-add\",\"arguments\":{\"qom-type\":\"iothread\",\"id\":\"t0\"}}")["error"]);
        Assert.NotNull(Ask("{\"execute\":\"object-add\",\"arguments\":{\"qom-type\":\"iothread\",\"id\":\"t1\",\"frob\":1}}")["error"]);
        Assert.NotNull(Ask("{\"execute\":\"object-add\",\"arguments\":{\"qom-type\":\"memory-backend-ram\",\"id\":\"m\",\"size\":0}}")["error"]);
        Assert.NotNull(Ask("{\"execute\":\"object-del\",\"arguments\":{\"id\":\"t0\"}}")["return"]);
        Assert.NotNull(Ask("{\"execute\":\"qom-list-properties\",\"arguments\":{\"typename\":\"memory-backend-file\"}}")["return"]);
        Assert.NotNull(Ask("{\"execute\":\"object-del\",\"arguments\":{\"id\":\"t0\"}}")["error"]);
    }

    [Fact]
    public void EventsAreToldAfterNegotiation()
    {
        _terminal.Take();
        _machine.Tell(new MachineEvent(MachineEventKind.Stopped, EventReason.HostRequest));
        Assert.Equal("", _terminal.Take());
        Negotiate();
        _machine.Tell(new MachineEvent(MachineEventKind.Shutdown, EventReason.GuestShutdown));
        var message = JsonNode.Parse(_terminal.Take())!;
        Assert.Equal("SHUTDOWN", (string)message["event"]!);
        Assert.True((bool)message["data"]!["guest"]!);
        Assert.Equal("guest-shutdown", (string)message["data"]!["reason"]!);
    }

    [Fact]
    public void HumanCommandsInside()
    {
        Negotiate();
        var reply = Ask("{\"execute\":\"human-monitor-command\",\"arguments\":{\"command-line\":\"info status\"}}");
        Assert.Equal("VM status: running\r\n", (string)reply["return"]!);
    }

    private void Negotiate() => _terminal.Type("{\"execute\":\"qmp_capabilities\"}");

    private JsonNode Ask(string text) => JsonNode.Parse(_terminal.Type(text))!;
}
