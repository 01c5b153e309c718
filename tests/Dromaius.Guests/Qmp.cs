using System.Net.Sockets;
using System.Text;

namespace Dromaius.Guests;

/// <summary>A client of the machine protocol: commands, keys, and what a text screen shows.</summary>
internal sealed class Qmp : IDisposable
{
    private const int Columns = 80, Rows = 25;

    private readonly Socket _socket;
    private readonly string _scratch;

    /// <param name="path">The socket.</param>
    public Qmp(string path)
    {
        _scratch = path + ".screen";
        for (var i = 0; ; i++)
        {
            _socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified) { ReceiveTimeout = 60_000 };
            try
            {
                _socket.Connect(new UnixDomainSocketEndPoint(path));
                break;
            }
            catch (SocketException) when (i < 500)
            {
                _socket.Dispose();
                Thread.Sleep(20);
            }
        }

        Ask("qmp_capabilities", "");
    }

    public void Dispose() => _socket.Dispose();

    /// <summary>Sends a command and waits until what comes back has a text in it.</summary>
    public void Ask(string command, string arguments, string answer = "\"return\"")
    {
        _socket.Send(Encoding.UTF8.GetBytes($"{{\"execute\":\"{command}\",\"arguments\":{{{arguments}}}}}\n"));
        var text = new StringBuilder();
        var buffer = new byte[4096];
        while (!text.ToString().Contains(answer, StringComparison.Ordinal))
        {
            var n = _socket.Receive(buffer);
            Assert.True(n > 0, $"the monitor hung up: {text}");
            text.Append(Encoding.UTF8.GetString(buffer, 0, n));
        }
    }

    /// <summary>Presses keys together, by their names.</summary>
    public void Press(params IEnumerable<string> keys) =>
        Ask("send-key", $"\"hold-time\":20,\"keys\":[{string.Join(',', keys.Select(static k => $"{{\"type\":\"qcode\",\"data\":\"{k}\"}}"))}]");

    /// <summary>Types lower-case letters, digits and spaces, and then Enter.</summary>
    public void TypeLine(string text)
    {
        foreach (var c in text)
            Press(c == ' ' ? "spc" : c.ToString());
        Press("ret");
    }

    /// <summary>The text screen of a colour adapter.</summary>
    public string TextScreen()
    {
        Ask("pmemsave", $"\"val\":{0xB8000},\"size\":{Columns * Rows * 2},\"filename\":\"{_scratch}\"");
        var cells = File.ReadAllBytes(_scratch);
        var text = new StringBuilder();
        for (var i = 0; i < cells.Length; i += 2)
        {
            text.Append((char)cells[i]);
            if (i / 2 % Columns == Columns - 1)
                text.Append('\n');
        }

        return text.ToString();
    }

    /// <summary>Waits until the text screen shows something.</summary>
    public void WaitForText(string text, int seconds)
    {
        var limit = DateTime.UtcNow.AddSeconds(seconds);
        while (TextScreen() is var screen && !screen.Contains(text, StringComparison.Ordinal))
        {
            if (DateTime.UtcNow > limit)
                Assert.Fail($"'{text}' did not appear within {seconds} s:\n{screen}");
            Thread.Sleep(50);
        }
    }
}
