using System.Text;
using Dromaius.Core.Sockets;
using Dromaius.Net.User;

namespace Dromaius.Net.Tests;

/// <summary>Programs of the host that answer connections of the guest's.</summary>
public sealed class GuestForwardTests
{
    [Theory]
    [InlineData("nc 10.0.0.1 80", "nc|10.0.0.1|80")]
    [InlineData("  a   b\t", "a|b")]
    [InlineData("sh -c 'echo \"$HOME\"' x\\ y", "sh|-c|echo \"$HOME\"|x y")]
    [InlineData("a \"b \\\" \\n\" '' c\"d\"e", "a|b \" \\n||cde")]
    [InlineData("", "")]
    [InlineData("a 'b", null)]
    [InlineData("a \"b", null)]
    public void SplitsCommandsAsAShell(string text, string? words) =>
        Assert.Equal(words, ShellWords.Split(text) is { } split ? string.Join('|', split) : null);

    [Fact]
    public void RunsAProgramOnASocket()
    {
        var fd = GuestForward.StartProgram(["sh", "-c", "read -r line; echo \"got $line\"; cat; [ -t 0 ] || echo end"]);
        Assert.True(fd >= 0);
        Assert.Equal(8, HostSocket.Send(fd, "one\ntwo\n"u8));
        HostSocket.ShutdownSend(fd);
        Assert.Equal("got one\ntwo\nend\n", ReadAll(fd));
        HostSocket.Close(fd);
    }

    [Fact]
    public void RefusesWhereThereIsNoProgram() => Assert.Equal(-HostSocket.Econnrefused, GuestForward.StartProgram(["/nonexistent/program"]));

    private static string ReadAll(int fd)
    {
        using var poller = new Poller();
        Assert.True(poller.Watch(fd, 0));
        var text = new StringBuilder();
        var buffer = new byte[256];
        for (var waits = 0; waits < 600;)
        {
            var n = HostSocket.Receive(fd, buffer);
            if (n == 0)
                return text.ToString();
            if (n > 0)
                text.Append(Encoding.ASCII.GetString(buffer, 0, n));
            else
            {
                _ = poller.Wait(100);
                waits++;
            }
        }

        throw new TimeoutException(text.ToString());
    }
}
