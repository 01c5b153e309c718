using System.Diagnostics;
using Dromaius.Block.Graph;
using Dromaius.Block.Nbd;

namespace Dromaius.Block.Tests;

/// <summary>Our server with our client and QEMU's, our client with QEMU's server.</summary>
public sealed class NbdTests : IDisposable
{
    private const int Length = 8 << 20;
    private readonly ImageFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void ServerAndClientAgree()
    {
        using var server = Serve(out var node, out var path);
        using (var client = new NbdNode(NbdAddress.Parse($"nbd+unix:///disk?socket={path}"), false, false))
            Exercise(client);
        node.Release();
    }

    [Fact]
    public void QemuReadsAndWritesOurServer()
    {
        if (!QemuTools.Available)
            return;
        using var server = Serve(out var node, out var path);
        var url = $"nbd+unix:///disk?socket={path}";
        var (status, output) = QemuTools.Run("qemu-io", "-f", "raw", "-c", "write -P 3 1M 2M", "-c", "read -P 3 1M 2M", "-c", "write -z 1M 64k", "-c", "read -P 0 1M 64k",
            "-c", "discard 2M 1M", "-c", "flush", url);
        Assert.True(status == 0 && !output.Contains("failed", StringComparison.Ordinal), output);
        (status, output) = QemuTools.Run("qemu-img", "map", "--output=json", "-f", "raw", url);
        Assert.True(status == 0 && output.Contains("\"zero\": true", StringComparison.Ordinal), output);
        (status, output) = QemuTools.Run("qemu-nbd", "-L", "-k", path);
        Assert.True(status == 0 && output.Contains("base:allocation", StringComparison.Ordinal), output);
        (status, _) = QemuTools.Run("qemu-img", "info", $"nbd+unix:///other?socket={path}");
        Assert.Equal(1, status);
        node.Release();
    }

    [Fact]
    public void OurClientUsesQemusServer()
    {
        if (!QemuTools.Available)
            return;
        var image = _folder["q.qcow2"];
        Assert.Equal(0, QemuTools.Run("qemu-img", "create", "-q", "-f", "qcow2", image, $"{Length}").Status);
        var socket = _folder["q.sock"];
        using var process = Process.Start("qemu-nbd", ["-k", socket, "-f", "qcow2", "-x", "disk", "--discard=unmap", image]);
        Assert.True(SpinWait.SpinUntil(() => File.Exists(socket), TimeSpan.FromSeconds(20)));
        using (var client = new NbdNode(NbdAddress.Parse($"nbd+unix:///disk?socket={socket}"), false, false))
            Exercise(client);
        Assert.True(process.WaitForExit(20_000));
        QemuTools.Check(image);
    }

    [Fact]
    public void GarbageDoesNotBringTheServerDown()
    {
        using var server = Serve(out var node, out var path);
        var random = new Random(11);
        for (var i = 0; i < 300; i++)
        {
            using var socket = new NbdAddress { SocketPath = path }.Connect();
            var data = new byte[random.Next(20, 600)];
            random.NextBytes(data);
            // Often enough the first bytes are right, so that the later ones are looked at.
            byte[] option = [0, 0, 0, 3, 0x49, 0x48, 0x41, 0x56, 0x45, 0x4F, 0x50, 0x54, 0, 0, 0, (byte)random.Next(12), 0, 0, 0, (byte)random.Next(64)];
            if (i % 3 > 0)
                option.CopyTo(data, 0);
            _ = socket.Send(data);
        }

        using (var client = new NbdNode(NbdAddress.Parse($"nbd+unix:///disk?socket={path}"), false, false))
            Exercise(client);
        node.Release();
    }

    private NbdServer Serve(out BlockNode node, out string path)
    {
        var image = _folder["s.qcow2"];
        ImageFormats.Find("qcow2")!.Create(new CreateRequest(image, Length, new BlockOptions(), OpenFlags.Tool));
        node = ImageOpener.Open(image, OpenFlags.Tool);
        path = _folder["s.sock"];
        var server = new NbdServer(new NbdAddress { SocketPath = path }, 0);
        server.Add(new NbdExport("disk", node, true, "a disk"));
        server.Start();
        return server;
    }

    private static void Exercise(NbdNode client)
    {
        Assert.Equal(Length, client.Length);
        var shadow = new byte[Length];
        client.Read(0, shadow);
        Parallel.For(0, 4, worker =>
        {
            var random = new Random(worker);
            for (var i = 0; i < 40; i++)
            {
                var at = worker * (Length / 4) + random.Next(Length / 4 - 70_000);
                var n = random.Next(1, 70_000);
                if (i % 8 == 7)
                {
                    shadow.AsSpan(at, n).Clear();
                    client.WriteZeroes(at, n, true);
                    continue;
                }

                random.NextBytes(shadow.AsSpan(at, n));
                client.Write(at, shadow.AsSpan(at, n));
                if (i % 10 == 0)
                    client.Flush();
            }
        });
        var all = new byte[Length];
        client.Read(0, all);
        Assert.True(all.AsSpan().SequenceEqual(shadow));
        Assert.True(client.Status(0, Length).Length > 0);
        Assert.Throws<BlockException>(() => client.Read(Length, new byte[1]));
    }
}
