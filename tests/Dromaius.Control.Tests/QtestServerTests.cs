using Dromaius.Core.Chardev;

namespace Dromaius.Control.Tests;

public sealed class QtestServerTests : IDisposable
{
    private readonly FakeMachine _machine = new();
    private readonly FakeTerminal _terminal = new();

    public QtestServerTests()
    {
        _ = new QtestServer(_terminal, _machine, null);
        _terminal.Sink!.OnEvent(CharEvent.Opened);
    }

    public void Dispose() => _machine.Dispose();

    [Theory]
    [InlineData("writel 0x100 0x11223344\nreadw 0x100", "OK\nOK 0x0000000000003344\n")]
    [InlineData("write 0x200 0x3 0xa1b2c3\nread 0x200 0x4", "OK\nOK 0xa1b2c300\n")]
    [InlineData("b64write 0x300 3 AQID\nb64read 0x300 3", "OK\nOK AQID\n")]
    [InlineData("memset 0x400 2 0x5a\nreadl 0x400", "OK\nOK 0x0000000000005a5a\n")]
    [InlineData("inb 0x80", "OK 0x00ff\n")]
    [InlineData("endianness", "OK little\n")]
    [InlineData("frob", "FAIL Unknown command 'frob'\n")]
    [InlineData("irq_intercept_in nobody", "FAIL Unknown device\n")]
    [InlineData("readb zero", "FAIL 'zero' is no number\n")]
    public void Commands(string lines, string replies) => Assert.Equal(replies, _terminal.Type(lines + "\n"));

    [Fact]
    public void AnythingIsAnsweredWithOneLine()
    {
        const int Seed = 7;
        var random = new Random(Seed);
        string[] words = ["read", "write", "memset", "clock_step", "outl", "b64write", "0xffffffffffffffff", "-1", "0x100000", "zz", "irq_intercept_in", "set_irq_in", "0x", ""];
        for (var i = 0; i < 2000; i++)
        {
            var line = string.Join(' ', Enumerable.Range(0, random.Next(6)).Select(_ => words[random.Next(words.Length)]));
            var reply = _terminal.Type(line + "\n");
            Assert.True((reply.StartsWith("OK", StringComparison.Ordinal) || reply.StartsWith("FAIL ", StringComparison.Ordinal)) && reply.EndsWith('\n'), $"seed {Seed}: '{line}' gave '{reply}'");
        }
    }
}
