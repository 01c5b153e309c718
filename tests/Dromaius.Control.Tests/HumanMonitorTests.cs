using Dromaius.Boards;
using Dromaius.Core.Chardev;

namespace Dromaius.Control.Tests;

public sealed class HumanMonitorTests : IDisposable
{
    private readonly FakeMachine _machine = new();
    private readonly FakeTerminal _terminal = new();

    public HumanMonitorTests()
    {
        _ = new HumanMonitor(_terminal, _machine);
        _terminal.Sink!.OnEvent(CharEvent.Opened);
    }

    public void Dispose() => _machine.Dispose();

    [Fact]
    public void GreetsAndPrompts()
    {
        var text = _terminal.Take();
        Assert.Contains("monitor - type 'help' for more information", text);
        Assert.EndsWith("(qemu) ", text);
    }

    [Theory]
    [InlineData("stop", "stop")]
    [InlineData("c", "continue")]
    [InlineData("system_reset", "reset")]
    [InlineData("system_powerdown", "powerdown")]
    [InlineData("q", "quit")]
    [InlineData("nmi", "nmi")]
    [InlineData("sendkey ctrl-alt-delete 50", "keys ctrl+alt+delete 50")]
    public void CommandsReachTheMachine(string line, string call)
    {
        _terminal.Type(line + "\r");
        Assert.Equal([call], _machine.Calls);
    }

    [Theory]
    [InlineData("watchdog_action foo", "Error: invalid parameter value: foo\r\n")]
    [InlineData("mouse_set 77", "Mouse at index '77' not found\r\n")]
    [InlineData("drive_add 0 if=scsi,file=x", "Can't hot-add drive to type 2\r\n")]
    [InlineData("drive_add 0 if=blah,file=x", "unsupported bus type 'blah'\r\n")]
    public void MistakesInTheUsualWords(string line, string answer) => Assert.Contains(answer, _terminal.Type(line + "\n"));

    [Fact]
    public void StatusInTheUsualWords()
    {
        Assert.Contains("VM status: running\r\n", _terminal.Type("info status\n"));
        _machine.State = RunState.PreLaunch;
        Assert.Contains("VM status: paused (prelaunch)\r\n", _terminal.Type("info status\n"));
    }

    [Fact]
    public void CpusAndRegisters()
    {
        Assert.Contains("* CPU #0: thread_id=11\r\n  CPU #1: thread_id=12\r\n", _terminal.Type("info cpus\r\n"));
        Assert.Contains("registers of 0", _terminal.Type("info registers\n"));
        _terminal.Type("cpu 1\n");
        Assert.Contains("registers of 1", _terminal.Type("info registers\n"));
        Assert.Contains("CPU#0\r\nregisters of 0", _terminal.Type("info registers -a\n"));
    }

    [Fact]
    public void MemoryDumps()
    {
        _machine.Memory.Store(0x1000, 8, 0x1122334455667788);
        Assert.Contains("0000000000001000: 0x55667788 0x11223344\r\n", _terminal.Type("xp /2xw 0x1000\n"));
        Assert.Contains("0000000000001000: 0x1122334455667788\r\n", _terminal.Type("x/1gx 0x1000\n"));
        Assert.Contains("0000000000001000: 0x88 0x77", _terminal.Type("xp/2xb 0x800+0x800\n"));
        Assert.Contains("0000000000001000: '\\x88' 'w' 'f' 'U' 'D' '3' '\"' '\\x11'\r\n0000000000001008: '\\x00'", _terminal.Type("xp /9bc 0x1000\n"));
        Assert.Contains("0000000000001000: 012531473610 02110431504\r\n", _terminal.Type("xp /2wo 0x1000\n"));
        Assert.Contains("Cannot access memory", _terminal.Type("xp 0x10000000\n"));
    }

    [Fact]
    public void LineEditing()
    {
        _terminal.Type("info statux\u007fs\u0001\u0005\n");
        Assert.Contains("VM status", _terminal.Type("\u001b[A\n"));
        Assert.Contains("info status  -- ", _terminal.Type("help inf\t\u0015help info\n"));
        Assert.Contains("stop", _terminal.Type("sto\t"));
    }

    [Fact]
    public void UnknownCommandsAreNamed() =>
        Assert.Contains("unknown command: 'frob'\r\n", _terminal.Type("frob\n"));

    [Fact]
    public void MemoryTreeShowsRegions() => Assert.Contains("(prio 0, ram): ram", _terminal.Type("info mtree\n"));
}
