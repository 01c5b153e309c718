using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;

namespace Dromaius.Guests;

/// <summary>Linux drives the network adapters: leases, transfers both ways, booting from the network, guests among themselves.</summary>
public sealed class NetworkTests : IDisposable
{
    private const int BootSeconds = 180;
    private readonly string _folder = Directory.CreateTempSubdirectory("dromaius-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    /// <summary>All adapters in one boot, each with a network of its own.</summary>
    [Fact]
    public async Task EveryAdapterTransfers()
    {
        string[] models = ["virtio-net-pci", "e1000", "e1000e", "rtl8139", "ne2k_pci", "pcnet", "vmxnet3"];
        string[] drivers = ["virtio_net", "e1000", "e1000e", "8139cp", "ne2k-pci", "pcnet32", "vmxnet3"];
        var body = new byte[8 << 20];
        new Random(1).NextBytes(body);
        using var server = new HttpServer(body);
        var forward = FreePort();
        List<string> nics = ["-nic", $"user,model={models[0]},hostfwd=tcp:127.0.0.1:{forward}-:80"];
        foreach (var model in models.AsSpan(1))
            nics.AddRange(["-nic", $"user,model={model}"]);
        using var guest = LinuxTests.Boot($"session=run port={server.Port} run=\"sh /bench/network\"", ["-initrd", Artifacts.Guest("initramfs-net.gz"), .. nics]);
        guest.WaitFor("serving", BootSeconds);
        var md5 = Convert.ToHexStringLower(MD5.HashData(body));
        Assert.All(drivers, d => Assert.Contains($"{d} got {md5}", guest.Output));
        Assert.Contains("lease 10.0.2.15 24 10.0.2.2 10.0.2.3", guest.Output);

        using var client = new HttpClient();
        var file = await client.GetByteArrayAsync(new Uri($"http://127.0.0.1:{forward}/file"));
        Assert.Equal("6a332577a9d74a94bb32dd570957ef30", Convert.ToHexStringLower(MD5.HashData(file)));
        guest.Send("\n");
        guest.ExpectExit(0, BootSeconds);
    }

    /// <summary>iPXE in the adapter's ROM gets a lease and a program by TFTP, and runs it; for an adapter without one it comes on a disc.</summary>
    [Theory]
    [InlineData("e1000")]
    [InlineData("virtio-net-pci")]
    [InlineData("ne2k_isa", "iobase=0x300,irq=10")]
    public void FirmwareBootsFromTheNetwork(string model, string? isa = null)
    {
        // Writes 31h to the debug exit port.
        var program = new byte[2048];
        byte[] code = [0xB0, 0x31, 0xBA, 0xF4, 0x00, 0xEE, 0xF4, 0xEB, 0xFD];
        code.CopyTo(program, 0);
        File.WriteAllBytes(Path.Combine(_folder, "boot.0"), program);
        string[] start = isa == null ? ["-boot", "n"] : ["-boot", "d", "-cdrom", Artifacts.Guest("ipxe.iso")];
        using var guest = new Emulator(["-nographic", "-netdev", $"user,id=n,tftp={_folder},bootfile=boot.0",
            "-device", $"{model},netdev=n{(isa == null ? "" : "," + isa)}", "-device", "isa-debug-exit,iobase=0xf4", .. start]);
        guest.ExpectExit((0x31 << 1) | 1, BootSeconds);
    }

    /// <summary>Two guests on one cable between two emulators.</summary>
    [Fact]
    public void GuestsReachEachOtherOverASocket()
    {
        var port = FreePort();
        using var first = Start("192.168.7.1", "192.168.7.2", $"socket,listen=127.0.0.1:{port},model=virtio-net-pci");
        using var second = Start("192.168.7.2", "192.168.7.1", $"socket,connect=127.0.0.1:{port},model=e1000");
        Emulator[] guests = [first, second];
        foreach (var guest in guests)
            guest.WaitFor("5 packets received, 0% packet loss", BootSeconds);
        foreach (var guest in guests)
        {
            guest.Send("\n");
            guest.ExpectExit(0, BootSeconds);
        }

        static Emulator Start(string address, string peer, string nic) => LinuxTests.Boot($"session=run address={address} peer={peer} run=\"sh /bench/network\"",
            "-initrd", Artifacts.Guest("initramfs-net.gz"), "-nic", nic);
    }

    private static int FreePort()
    {
        using var probe = new TcpListener(IPAddress.Loopback, 0);
        probe.Start();
        return ((IPEndPoint)probe.LocalEndpoint).Port;
    }

    /// <summary>Gives every client the same body.</summary>
    private sealed class HttpServer : IDisposable
    {
        private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
        private readonly byte[] _body;

        public HttpServer(byte[] body)
        {
            _body = body;
            _listener.Start();
            new Thread(Serve) { IsBackground = true }.Start();
        }

        public int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;

        public void Dispose() => _listener.Dispose();

        private void Serve()
        {
            try
            {
                while (true)
                {
                    using var client = _listener.AcceptTcpClient();
                    using var stream = client.GetStream();
                    _ = stream.Read(new byte[4096]);
                    stream.Write(Encoding.ASCII.GetBytes($"HTTP/1.0 200 OK\r\nContent-Length: {_body.Length}\r\n\r\n"));
                    stream.Write(_body);
                }
            }
            catch (Exception e) when (e is SocketException or IOException or ObjectDisposedException)
            {
                // The test is over.
            }
        }
    }
}
