using System.Net.Sockets;
using System.Text;
using Dromaius.Core.Chardev;
using Dromaius.Core.Errors;
using Dromaius.Core.Options;
using Dromaius.Core.Storage;

namespace Dromaius.Core.Tests.Chardev;

public sealed class BackendTests
{
    private static string TempPath => Path.Combine(Path.GetTempPath(), $"dromaius-{Guid.NewGuid():N}");

    [Fact]
    public void FileKeepsEveryByte()
    {
        var path = TempPath;
        using (var loop = new Loop())
        {
            var backend = loop.Open($"file:{path}");
            for (var i = 0; i < 100_000; i++)
                backend.Write("x"u8);
        }

        Assert.Equal(100_000, new FileInfo(path).Length);
        File.Delete(path);
    }

    /// <summary>A client hands over the file and its log, opened: both are added to.</summary>
    [Fact]
    public void FilesComeFromDescriptorSets()
    {
        var (path, log) = (TempPath, TempPath);
        File.WriteAllText(path, "before ");
        File.WriteAllText(log, "before ");
        using (var file = File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite))
        using (var second = File.OpenHandle(log, FileMode.Open, FileAccess.Write))
        {
            var sets = new[] { file, second }.Select(static h =>
            {
                Assert.True(DescriptorSets.TryDuplicate((int)h.DangerousGetHandle(), out var copy));
                return DescriptorSets.Add(null, copy, null);
            }).ToArray();
            using (var loop = new Loop())
            {
                loop.Factory.Create(OptionList.Parse(
                    $"file,id=f,path=/dev/fdset/{sets[0]},append=on,logfile=/dev/fdset/{sets[1]},logappend=on", "backend"));
                loop.Factory.Get("f").Write("after"u8);
            }

            foreach (var set in sets)
                Assert.True(DescriptorSets.Remove(set, null));
        }

        Assert.Equal("before after", File.ReadAllText(path));
        Assert.Equal("before after", File.ReadAllText(log));
        File.Delete(path);
        File.Delete(log);
    }

    [Fact]
    public void PipeOfASlowReaderKeepsEveryByte()
    {
        // 300 kB do not fit the pipe; the rest waits in the queue and still comes out in order.
        var path = TempPath;
        using var mkfifo = System.Diagnostics.Process.Start("mkfifo", [path + ".in", path + ".out"])!;
        mkfifo.WaitForExit();
        using var loop = new Loop();
        var backend = loop.Open($"pipe:{path}");
        var expected = new StringBuilder();
        for (var i = 0; i < 50_000; i++)
        {
            var text = $"{i % 100_000:00000}\n";
            expected.Append(text);
            backend.Write(Encoding.ASCII.GetBytes(text));
        }

        using var reader = new FileStream(path + ".out", FileMode.Open, FileAccess.Read);
        var bytes = new byte[expected.Length];
        reader.ReadExactly(bytes);
        Assert.Equal(expected.ToString(), Encoding.ASCII.GetString(bytes));
        File.Delete(path + ".in");
        File.Delete(path + ".out");
    }

    [Fact]
    public void SocketServerTakesOneClientAfterTheOther()
    {
        var path = TempPath;
        using var loop = new Loop();
        var backend = loop.Open($"unix:{path},server=on,wait=off");
        var sink = new Sink();
        backend.Sink = sink;
        backend.Write("nobody hears this"u8);
        for (var round = 1; round <= 2; round++)
        {
            using var client = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            client.Connect(new UnixDomainSocketEndPoint(path));
            client.Send(Encoding.ASCII.GetBytes($"in{round}"));
            Loop.Until(() => sink.Text.EndsWith($"in{round}", StringComparison.Ordinal));
            backend.Write(Encoding.ASCII.GetBytes($"out{round}"));
            var buffer = new byte[100];
            Assert.Equal($"out{round}", Encoding.ASCII.GetString(buffer, 0, client.Receive(buffer)));
        }

        Loop.Until(() => sink.Saw(CharEvent.Closed));
    }

    /// <summary>A peer that does not read loses later writes, but never the end of one that was begun.</summary>
    [Fact]
    public void LongAnswersReachTheirEnd()
    {
        var path = TempPath;
        using var loop = new Loop();
        var backend = loop.Open($"unix:{path},server=on,wait=off");
        var sink = new Sink();
        backend.Sink = sink;
        using var client = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified) { ReceiveTimeout = 30_000 };
        client.Connect(new UnixDomainSocketEndPoint(path));
        Loop.Until(() => sink.Saw(CharEvent.Opened));
        var answer = new byte[5 << 20];
        new Random(1).NextBytes(answer);
        backend.Write([1, 2, 3]);
        backend.Write(answer);
        backend.Write(new byte[100]);
        using var stream = new NetworkStream(client);
        var bytes = new byte[3 + answer.Length];
        stream.ReadExactly(bytes);
        Assert.Equal([1, 2, 3], bytes[..3]);
        Assert.True(bytes.AsSpan(3).SequenceEqual(answer));
        backend.Write([7]);
        Assert.Equal(7, stream.ReadByte());
        File.Delete(path);
    }

    [Fact]
    public void InputWaitsForTheSink()
    {
        var path = TempPath;
        using var loop = new Loop();
        var backend = loop.Open($"unix:{path},server=on,wait=off");
        var sink = new Sink { Room = 3 };
        backend.Sink = sink;
        using var client = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        client.Connect(new UnixDomainSocketEndPoint(path));
        client.Send("abcdef"u8);
        Loop.Until(() => sink.Text == "abc");
        Thread.Sleep(30);
        Assert.Equal("abc", sink.Text);
        sink.Room = 10;
        backend.AcceptInput();
        Loop.Until(() => sink.Text == "abcdef");
    }

    [Fact]
    public void TelnetCommandsAreNotInput()
    {
        using var loop = new Loop();
        var probe = new TcpListener(System.Net.IPAddress.Loopback, 0);
        probe.Start();
        var port = ((System.Net.IPEndPoint)probe.LocalEndpoint).Port;
        probe.Stop();
        var backend = loop.Open($"telnet:127.0.0.1:{port},server,nowait");
        var sink = new Sink();
        backend.Sink = sink;
        using var client = new TcpClient("127.0.0.1", port);
        client.Client.Send([255, 253, 3, (byte)'a', 255, 255, (byte)'b', 255, 250, 24, 0, 255, 240, (byte)'c', 255, 243]);
        Loop.Until(() => sink.Text == "a\u00ffbc" && sink.Saw(CharEvent.Break));
        backend.Write([1, 255, 2]);
        var buffer = new byte[100];
        var n = 0;
        while (n < 16)
            n += client.Client.Receive(buffer, n, 100 - n, SocketFlags.None);
        Assert.Equal([1, 255, 255, 2], buffer[12..16]);
    }

    [Fact]
    public void PtyConnectsBothWays()
    {
        if (!File.Exists("/dev/pts/ptmx"))
            return; // a host without pseudo-terminals
        using var loop = new Loop();
        var backend = loop.Open("pty");
        var sink = new Sink();
        backend.Sink = sink;
        var path = loop.Prints[0].Split(' ')[4];
        using var terminal = new FileStream(path, new FileStreamOptions { Mode = FileMode.Open, Access = FileAccess.ReadWrite, BufferSize = 0 });
        terminal.Write("typed"u8);
        Loop.Until(() => sink.Text == "typed");
        backend.Write("shown"u8);
        var buffer = new byte[5];
        terminal.ReadExactly(buffer);
        Assert.Equal("shown", Encoding.ASCII.GetString(buffer));
    }

    [Fact]
    public void RingBufferKeepsTheLastBytes()
    {
        using var loop = new Loop();
        loop.Factory.Create(OptionList.Parse("ringbuf,id=r,size=4", "backend"));
        var ring = (RingBufferBackend)loop.Factory.Backends["r"];
        loop.Factory.Get("r").Write("abcdef"u8);
        Assert.Equal("cdef", Encoding.ASCII.GetString(ring.Snapshot()));
    }

    [Fact]
    public void AUserGoesOnWithAnotherDevice()
    {
        using var loop = new Loop();
        loop.Factory.Create(OptionList.Parse("null,id=c", "backend"));
        var port = loop.Factory.Get("c");
        port.Sink = new Sink();
        Assert.Throws<UserErrorException>(() => loop.Factory.Remove("c"));
        _ = loop.Factory.Change("c", "ringbuf", OptionList.Parse(""));
        port.Write("now"u8);
        Assert.Equal("now", Encoding.ASCII.GetString(((RingBufferBackend)loop.Factory.Backends["c"]).Snapshot()));
        port.Sink = null;
        loop.Factory.Remove("c");
        Assert.Throws<UserErrorException>(() => loop.Factory.Remove("c"));
    }

    [Theory]
    [InlineData("foo", "'foo' is not a valid char driver")]
    [InlineData("file:/no/such/folder/x", "Could not open '/no/such/folder/x': No such file or directory")]
    [InlineData("chardev:nope", "chardev \"nope\" not found")]
    [InlineData("tcp:nohost", "expected host:port")]
    [InlineData("unix:/tmp/x,frobnicate=on,server=on,wait=off", "Invalid parameter 'frobnicate'")]
    [InlineData("tcp:127.0.0.1:1", "Failed to connect to '127.0.0.1:1'")]
    public void WhatIsWrongIsSaid(string spec, string message)
    {
        using var loop = new Loop();
        var error = Assert.Throws<UserErrorException>(() => loop.Open(spec));
        Assert.Contains(message, error.Message);
    }
}
