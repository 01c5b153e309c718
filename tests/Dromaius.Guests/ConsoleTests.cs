using System.Net.Sockets;
using System.Text;

namespace Dromaius.Guests;

/// <summary>Monitors, the multiplexed terminal, background runs, signals: with a machine that runs firmware only.</summary>
public sealed class ConsoleTests
{
    [Fact]
    public void MonitorBehindTheEscapeCharacter()
    {
        using var guest = new Emulator("-nographic", "-net", "none", "-S");
        guest.Send("\x01" + "c");
        guest.WaitFor("(qemu) ", 10);
        guest.Send("info status\n");
        guest.WaitFor("VM status: paused (prelaunch)", 10);
        guest.Send("cont\n");
        guest.Send("info status\n");
        guest.WaitFor("VM status: running", 10);
        guest.Send("info registers\n");
        guest.WaitFor("CR0=", 10);
        guest.Send("quit\n");
        guest.ExpectExit(0, 10);
    }

    [Fact]
    public void EscapeXEndsTheEmulator()
    {
        using var guest = new Emulator("-nographic", "-net", "none");
        Thread.Sleep(500);
        guest.Send("\x01h\x01x");
        guest.ExpectExit(0, 10);
        Assert.Contains("C-a x    exit emulator", guest.Output);
    }

    [Fact]
    public void MachineProtocolOverASocket()
    {
        var path = Path.Combine(Path.GetTempPath(), $"dromaius-{Guid.NewGuid():N}");
        using var guest = new Emulator("-display", "none", "-net", "none", "-qmp", $"unix:{path},server=on,wait=off");
        using var client = Connect(path);
        using var stream = new NetworkStream(client);
        using var reader = new StreamReader(stream);
        Assert.Contains("\"QMP\"", reader.ReadLine());
        stream.Write(Encoding.ASCII.GetBytes("{\"execute\":\"qmp_capabilities\"}{\"execute\":\"query-status\"}"));
        Assert.Equal("{\"return\": {}}", reader.ReadLine());
        Assert.Contains("\"running\": true", reader.ReadLine());
        stream.Write(Encoding.ASCII.GetBytes("{\"execute\":\"stop\"}"));
        var replies = reader.ReadLine() + reader.ReadLine();
        Assert.Contains("\"event\": \"STOP\"", replies);
        stream.Write(Encoding.ASCII.GetBytes("{\"execute\":\"quit\"}"));
        guest.ExpectExit(0, 10);
    }

    [Theory]
    [InlineData("TERM", 15)]
    [InlineData("INT", 2)]
    public void SignalsEndItInOrder(string name, int number)
    {
        using var guest = new Emulator("-display", "none", "-net", "none");
        Thread.Sleep(1000);
        System.Diagnostics.Process.Start("sh", ["-c", $"kill -{name} {guest.ProcessId}"]).WaitForExit();
        guest.ExpectExit(0, 10);
        Assert.Contains($"terminating on signal {number}", guest.Output);
    }

    [Fact]
    public void DaemonWritesItsPidAndStays()
    {
        var path = Path.Combine(Path.GetTempPath(), $"dromaius-{Guid.NewGuid():N}");
        using (var launcher = new Emulator("-display", "none", "-net", "none", "-daemonize", "-pidfile", path, "-monitor", $"unix:{path}.m,server,nowait"))
            launcher.ExpectExit(0, 20);
        Assert.True(int.TryParse(File.ReadAllText(path), out _));
        using var client = Connect(path + ".m");
        client.Send("quit\n"u8);
        for (var i = 0; i < 500 && File.Exists(path); i++)
            Thread.Sleep(10);
        Assert.False(File.Exists(path));
    }

    private static Socket Connect(string path)
    {
        for (var i = 0; ; i++)
        {
            var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified) { ReceiveTimeout = 10_000 };
            try
            {
                socket.Connect(new UnixDomainSocketEndPoint(path));
                return socket;
            }
            catch (SocketException) when (i < 500)
            {
                socket.Dispose();
                Thread.Sleep(20);
            }
        }
    }
}
