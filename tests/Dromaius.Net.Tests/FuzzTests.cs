using System.Buffers.Binary;
using Dromaius.Net.User;
using Xunit.Abstractions;

namespace Dromaius.Net.Tests;

/// <summary>Malformed frames from the guest: no exception, no growth. FUZZ_CASES sets how many.</summary>
public sealed class FuzzTests(ITestOutputHelper output)
{
    [Fact]
    public void StackSurvivesMalformedFrames()
    {
        var cases = int.TryParse(Environment.GetEnvironmentVariable("FUZZ_CASES"), out var n) ? n : 40_000;
        var seed = int.TryParse(Environment.GetEnvironmentVariable("FUZZ_SEED"), out var s) ? s : Random.Shared.Next();
        output.WriteLine($"seed {seed}, {cases} cases");
        var folder = Directory.CreateTempSubdirectory("dromaius-tftp-").FullName;
        File.WriteAllBytes(Path.Combine(folder, "file"), new byte[5000]);
        // Nothing leaves the machine: all that is not answered here goes to the host's loopback.
        var settings = new UserNetSettings { Network = 0, Mask = 0, TftpFolder = folder, Prefix6 = 0, PrefixLength6 = 0 };
        using (var guest = new TestGuest(settings))
        {
            var random = new Random(seed);
            for (var i = 0; i < cases; i++)
            {
                var frame = Make(random);
                var offload = random.Next(4) == 0
                    ? new FrameOffload { NeedsChecksum = true, Kind = (SegmentKind)random.Next(5), SegmentSize = (ushort)random.Next(2000) }
                    : new FrameOffload { DataValid = random.Next(3) != 0 };
                guest.Send(frame, offload);
                if (random.Next(16) == 0)
                {
                    guest.Turn();
                    guest.Clock.Advance(random.Next(200) * 1_000_000L);
                    guest.Received.Clear();
                }
            }

            guest.Turn();
            Assert.True(guest.Stack.Tcp.Connections.Count() <= 2048);
            Assert.True(guest.Stack.Udp.Flows.Count() <= 1024);
        }

        Directory.Delete(folder, recursive: true);
    }

    [Fact]
    public void SegmenterSurvivesMalformedFrames()
    {
        var seed = Random.Shared.Next();
        output.WriteLine($"seed {seed}");
        var random = new Random(seed);
        var hub = new Hub(0);
        using var from = hub.AddPort();
        using var to = new Sink();
        NetEndpoint.Connect(from, to);
        for (var i = 0; i < 20_000; i++)
        {
            var header = new byte[FrameOffload.HeaderSize];
            random.NextBytes(header);
            header[1] &= 7;
            _ = ((NetEndpoint)from).Send(Make(random), FrameOffload.Parse(header));
        }

        Assert.True(to.Largest <= NetEndpoint.MaxFrame);
    }

    private static byte[] Make(Random random)
    {
        var kind = random.Next(10);
        if (kind == 0)
        {
            var noise = new byte[random.Next(200)];
            random.NextBytes(noise);
            return noise;
        }

        var payload = new byte[random.Next(4) == 0 ? random.Next(1400) : random.Next(80)];
        random.NextBytes(payload);
        byte protocol = 17;
        ushort[] ports = [53, 67, 69, 546, 547, 9, 1, (ushort)random.Next(65536)];
        var port = ports[random.Next(ports.Length)];
        switch (kind)
        {
            case < 4:
                protocol = 6;
                payload = new byte[20 + (random.Next(3) * 4) + random.Next(40)];
                random.NextBytes(payload);
                BinaryPrimitives.WriteUInt16BigEndian(payload, (ushort)random.Next(1000, 1040));
                BinaryPrimitives.WriteUInt16BigEndian(payload.AsSpan(2), 9);
                BinaryPrimitives.WriteUInt32BigEndian(payload.AsSpan(4), (uint)random.Next(3000));
                payload[12] = (byte)(random.Next(5, 9) << 4);
                payload[13] = (byte)random.Next(random.Next(2) == 0 ? 3 : 64);
                break;
            case < 8:
                if (port == 67 && payload.Length > 240)
                    BinaryPrimitives.WriteUInt64BigEndian(payload, 0x0101_0600_0000_0000);
                if (port == 69)
                    payload = random.Next(2) == 0 ? [0, 1, .. "file\0octet\0blksize\0512\0tsize\0"u8] : [0, 4, 0, (byte)random.Next(4), .. payload.AsSpan(0, Math.Min(payload.Length, 4))];
                payload = TestGuest.Udp((ushort)random.Next(1000, 1040), port, payload);
                if (random.Next(8) == 0)
                    BinaryPrimitives.WriteUInt16BigEndian(payload.AsSpan(4), (ushort)random.Next(65536));
                break;
            default:
                protocol = random.Next(2) == 0 ? (byte)1 : (byte)58;
                if (payload.Length > 0)
                    payload[0] = (byte)(random.Next(2) == 0 ? 8 : 128 + random.Next(10));
                break;
        }

        byte[] frame;
        if (random.Next(3) == 0)
        {
            var ip = new byte[40 + payload.Length];
            ip[0] = 0x60;
            BinaryPrimitives.WriteUInt16BigEndian(ip.AsSpan(4), (ushort)payload.Length);
            ip[6] = random.Next(12) == 0 ? (byte)(random.Next(2) * 44) : protocol;
            ip[7] = 255;
            BinaryPrimitives.WriteUInt128BigEndian(ip.AsSpan(8), ((UInt128)0xFE80 << 112) | (uint)random.Next(20));
            BinaryPrimitives.WriteUInt128BigEndian(ip.AsSpan(24), ((UInt128)0xFEC0 << 112) | (uint)random.Next(4));
            payload.CopyTo(ip, 40);
            frame = TestGuest.Ethernet(0x86DD, ip, 0x5256_0000_0002);
        }
        else
        {
            frame = TestGuest.Ipv4(protocol, 0x0A00_0200 | (uint)random.Next(5), payload, fragment: random.Next(10) == 0 ? (ushort)random.Next(65536) : (ushort)0,
                id: (ushort)random.Next(20));
        }

        // Then a few bytes wrong, or the end missing.
        for (var i = random.Next(8) - 4; i > 0; i--)
            frame[random.Next(12, frame.Length)] = (byte)random.Next(256);
        return random.Next(20) == 0 ? frame[..random.Next(frame.Length)] : frame;
    }

    private sealed class Sink() : NetEndpoint("sink")
    {
        public override string Kind => "sink";
        public int Largest { get; private set; }

        protected internal override bool Receive(ReadOnlySpan<byte> frame, in FrameOffload offload)
        {
            Largest = Math.Max(Largest, frame.Length);
            return true;
        }
    }
}
