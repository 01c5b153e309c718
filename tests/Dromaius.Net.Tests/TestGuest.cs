using System.Buffers.Binary;
using System.Diagnostics;
using Dromaius.Core.Sockets;
using Dromaius.Core.Time;
using Dromaius.Net.User;

namespace Dromaius.Net.Tests;

/// <summary>A stack with a clock moved by hand, and the guest at its cable: makes frames and takes them.</summary>
internal sealed class TestGuest : IDisposable
{
    public const uint Address = 0x0A00_020F, Gateway = 0x0A00_0202, NameServer = 0x0A00_0203;
    public const ulong Mac = 0x5254_0012_3456, GatewayMac = 0x5255_0A00_0202;
    private readonly Poller _poller = new();

    public TestGuest(UserNetSettings? settings = null, OffloadFeatures accepts = OffloadFeatures.None)
    {
        Stack = new UserStack(settings ?? new UserNetSettings(), Clock, _poller, () => accepts);
    }

    public ManualClock Clock { get; } = new();
    public UserStack Stack { get; }
    public Queue<(byte[] Frame, FrameOffload Offload)> Received { get; } = new();

    /// <summary>Lets the stack and the host's sockets work for a moment.</summary>
    public void Turn(int milliseconds = 0)
    {
        var ready = _poller.Wait(milliseconds);
        for (var i = 0; i < ready; i++)
        {
            var (tag, events) = _poller[i];
            Stack.OnEvents(tag, events);
        }

        Stack.RunTimers();
        do
        {
            Stack.Flush();
            while (Stack.Out.TryPeek(out var frame, out var offload))
            {
                Received.Enqueue((frame.ToArray(), offload));
                Stack.Out.Remove();
            }
        }
        while (Stack.HasPending);
    }

    public void Send(ReadOnlySpan<byte> frame, in FrameOffload offload = default) => Stack.Input(frame, offload);

    /// <summary>Works until something has come about.</summary>
    public void Until(Func<bool> condition)
    {
        var watch = Stopwatch.StartNew();
        while (!condition())
        {
            Assert.True(watch.Elapsed < TimeSpan.FromSeconds(60), "did not come about");
            Turn(5);
        }
    }

    /// <summary>The next frame that a test is interested in; others are dropped.</summary>
    public byte[] Next(Func<byte[], bool> wanted)
    {
        byte[]? found = null;
        Until(() =>
        {
            while (found == null && Received.TryDequeue(out var entry))
            {
                if (wanted(entry.Frame))
                    found = entry.Frame;
            }

            return found != null;
        });
        return found!;
    }

    public static byte[] Ethernet(ushort type, ReadOnlySpan<byte> payload, ulong to = GatewayMac)
    {
        var frame = new byte[14 + payload.Length];
        Protocol.WriteMac(frame, to);
        Protocol.WriteMac(frame.AsSpan(6), Mac);
        BinaryPrimitives.WriteUInt16BigEndian(frame.AsSpan(12), type);
        payload.CopyTo(frame.AsSpan(14));
        return frame;
    }

    public static byte[] Ipv4(byte protocol, uint to, ReadOnlySpan<byte> payload, uint from = Address, ushort fragment = 0, ushort id = 1)
    {
        var ip = new byte[20 + payload.Length];
        ip[0] = 0x45;
        BinaryPrimitives.WriteUInt16BigEndian(ip.AsSpan(2), (ushort)ip.Length);
        BinaryPrimitives.WriteUInt16BigEndian(ip.AsSpan(4), id);
        BinaryPrimitives.WriteUInt16BigEndian(ip.AsSpan(6), fragment);
        ip[8] = 64;
        ip[9] = protocol;
        BinaryPrimitives.WriteUInt32BigEndian(ip.AsSpan(12), from);
        BinaryPrimitives.WriteUInt32BigEndian(ip.AsSpan(16), to);
        BinaryPrimitives.WriteUInt16BigEndian(ip.AsSpan(10), Checksum.Of(ip.AsSpan(0, 20)));
        payload.CopyTo(ip.AsSpan(20));
        return Ethernet(0x0800, ip);
    }

    public static byte[] Udp(ushort from, ushort to, ReadOnlySpan<byte> data)
    {
        var udp = new byte[8 + data.Length];
        BinaryPrimitives.WriteUInt16BigEndian(udp, from);
        BinaryPrimitives.WriteUInt16BigEndian(udp.AsSpan(2), to);
        BinaryPrimitives.WriteUInt16BigEndian(udp.AsSpan(4), (ushort)udp.Length);
        data.CopyTo(udp.AsSpan(8));
        return udp;
    }

    public static ushort Word(ReadOnlySpan<byte> frame, int at) => BinaryPrimitives.ReadUInt16BigEndian(frame[at..]);

    public static uint Dword(ReadOnlySpan<byte> frame, int at) => BinaryPrimitives.ReadUInt32BigEndian(frame[at..]);

    public static bool IsIpv4(byte[] frame, byte protocol) => frame.Length >= 34 && Word(frame, 12) == 0x0800 && frame[23] == protocol;

    /// <summary>The data of a UDP frame.</summary>
    public static byte[] UdpData(byte[] frame) => frame.AsSpan(42, Word(frame, 38) - 8).ToArray();

    /// <summary>Both checksums of an IPv4 frame are right.</summary>
    public static void CheckSums(byte[] frame)
    {
        Assert.Equal(0, Checksum.Of(frame.AsSpan(14, 20)));
        var length = Word(frame, 16) - 20;
        var sum = Checksum.PseudoHeader(frame.AsSpan(26, 8), frame[23], length);
        if (frame[23] != 1)
            Assert.Equal(0xFFFF, Checksum.Fold(Checksum.Add(sum, frame.AsSpan(34, length))));
    }

    public void Dispose()
    {
        Stack.Dispose();
        _poller.Dispose();
    }
}
