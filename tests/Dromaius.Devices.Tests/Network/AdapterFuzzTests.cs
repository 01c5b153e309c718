using Dromaius.Devices.Network;
using Dromaius.Devices.Pci;
using Dromaius.Devices.Virtio;
using Dromaius.Net;
using Xunit.Abstractions;

namespace Dromaius.Devices.Tests.Network;

/// <summary>Hostile drivers: random registers, rings anywhere, frames at any time. Nothing may throw, hang or grow. FUZZ_CASES sets how many.</summary>
public sealed class AdapterFuzzTests(ITestOutputHelper output)
{
    private static readonly int Operations = int.TryParse(Environment.GetEnvironmentVariable("FUZZ_CASES"), out var n) ? n : 20_000;

    [Theory]
    [InlineData("e1000")]
    [InlineData("e1000e")]
    [InlineData("rtl8139")]
    [InlineData("ne2k_pci")]
    [InlineData("pcnet")]
    [InlineData("vmxnet3")]
    [InlineData("virtio-net")]
    public void SurvivesHostileDrivers(string model)
    {
        var seed = Random.Shared.Next();
        output.WriteLine($"seed {seed}");
        var random = new Random(seed);
        using var bench = new NetworkBench();
        var (device, nic) = Make(bench, model);
        // Values that look like what a driver would write lead further in.
        random.NextBytes(bench.Ram.Span(0, (int)NetworkBenchRam));
        var frame = new byte[9000];
        random.NextBytes(frame);
        for (var i = 0; i < Operations; i++)
        {
            switch (random.Next(12))
            {
                case 0:
                    NetworkBench.Mac.Write(frame);
                    frame[0] = random.Next(3) == 0 ? (byte)0xFF : frame[0];
                    _ = bench.Far.Send(frame.AsSpan(0, random.Next(random.Next(4) == 0 ? frame.Length : 1515)), new FrameOffload { DataValid = random.Next(2) == 0 });
                    break;
                case 1:
                    bench.Far.Refuses = random.Next(3) == 0;
                    if (!bench.Far.Refuses)
                        nic.Peer!.ReadyForMore();
                    break;
                case 2:
                    bench.Clock.Advance(random.Next(1_000_000));
                    break;
                case 3:
                    bench.Bus.WriteConfig(NetworkBench.Devfn, 4, 2, 7);
                    break;
                case 4 when random.Next(50) == 0:
                    device.Reset();
                    Map(bench, device);
                    break;
                case 5 when model == "vmxnet3" && random.Next(20) == 0:
                    StartVmxnet3(bench, random);
                    break;
                case 5 when model == "virtio-net" && random.Next(20) == 0:
                    StartVirtio(bench, random);
                    break;
                default:
                    Access(bench, device, random);
                    break;
            }

            bench.Far.Frames.Clear();
        }
    }

    private const uint NetworkBenchRam = 4 << 20;

    private static (PciFunction Device, Nic Nic) Make(NetworkBench bench, string model)
    {
        switch (model)
        {
            case "e1000":
                return With(bench.Connect(new E1000("e1000", bench.Clock, NetworkBench.Mac)));
            case "e1000e":
                return With(bench.Connect(new E1000e(bench.Clock, NetworkBench.Mac, express: false)));
            case "rtl8139":
                return With(bench.Connect(new Rtl8139(bench.Clock, NetworkBench.Mac)));
            case "ne2k_pci":
                return With(bench.Connect(new Ne2000Pci(NetworkBench.Mac)));
            case "pcnet":
                return With(bench.Connect(new Pcnet(bench.Clock, NetworkBench.Mac)));
            case "vmxnet3":
                return With(bench.Connect(new Vmxnet3(bench.Clock, NetworkBench.Mac, express: false)));
            default:
                var net = new VirtioNet(bench.Memory, bench.Clock, NetworkBench.Mac, pairs: 2) { DisabledFeatures = 0 };
                net.Nic = new Nic("nic", "virtio-net-pci", NetworkBench.Mac, net);
                NetEndpoint.Connect(net.Nic, bench.Far);
                return (bench.Plug(new VirtioPci(net, "virtio-net-pci", vectors: 6)), net.Nic);
        }

        static (PciFunction, Nic) With<T>(T device)
            where T : PciFunction, IPciNic => (device, device.Nic!);
    }

    private static void Map(NetworkBench bench, PciFunction device)
    {
        bench.Bus.Unplug(device);
        bench.Plug(device);
    }

    /// <summary>Mostly RAM; sometimes the adapter's own registers, or nowhere.</summary>
    private static uint Place(Random random) => random.Next(8) switch
    {
        0 => NetworkBench.Registers + (uint)random.Next(0x20_0000),
        1 => (uint)random.Next(),
        _ => (uint)random.Next(0x3F0) << 12,
    };

    /// <summary>A shared area and queues that are sound enough to be taken, with rings anywhere.</summary>
    private static void StartVmxnet3(NetworkBench bench, Random random)
    {
        const uint Shared = 0x1000, Queues = 0x2000, Control = NetworkBench.Registers + 0x10_0000;
        random.NextBytes(bench.Ram.Span(Shared, 720));
        bench.Memory.StoreU32(Shared, 0xBABE_FEE1);
        bench.Memory.StoreU32(Shared + 24, (uint)random.Next(16));
        bench.Memory.Store(Shared + 40, 8, Queues);
        bench.Memory.StoreU32(Shared + 52, 0x1000);
        bench.Memory.Store(Shared + 62, 2, (ulong)(random.Next(1, 3) + (random.Next(1, 4) << 8)));
        bench.Memory.StoreU32(Shared + 120, (uint)random.Next(32));
        bench.Memory.Store(Shared + 656, 8, 0x3000);
        bench.Memory.StoreU32(Shared + 652, 176);
        for (var at = Queues; at < Queues + 0x600; at += 256)
        {
            for (var i = 0u; i < 3; i++)
                bench.Memory.Store(at + 16 + (8 * i), 8, Place(random));
            for (var i = 0u; i < 3; i++)
                bench.Memory.StoreU32(at + 16 + 40 + (4 * i), (uint)random.Next(1, 64));
        }

        bench.Memory.StoreU32(Control, (uint)random.Next(4));
        bench.Memory.StoreU32(Control + 0x10, random.Next(10) == 0 ? Place(random) : Shared);
        bench.Memory.StoreU32(Control + 0x18, 0);
        bench.Memory.StoreU32(Control + 0x20, 0xCAFE_0000);
    }

    /// <summary>Features, and queues anywhere with a few chains to take.</summary>
    private static void StartVirtio(NetworkBench bench, Random random)
    {
        const uint Common = NetworkBench.Registers + 0x10_0000;
        bench.Memory.Store(Common + 20, 1, 0);
        bench.Memory.Store(Common + 20, 1, 3);
        for (var i = 0u; i < 2; i++)
        {
            bench.Memory.StoreU32(Common + 8, i);
            bench.Memory.StoreU32(Common + 12, unchecked((uint)random.NextInt64()) | i);
        }

        bench.Memory.Store(Common + 20, 1, 11);
        for (var queue = 0u; queue < 5; queue++)
        {
            bench.Memory.Store(Common + 22, 2, queue);
            bench.Memory.Store(Common + 24, 2, 16);
            for (var i = 0u; i < 3; i++)
            {
                var place = Place(random);
                bench.Memory.Store(Common + 32 + (8 * i), 8, place);
                if (i == 1 && place < NetworkBenchRam)
                    bench.Memory.Store(place + 2, 2, (ulong)random.Next(17));
            }

            bench.Memory.Store(Common + 28, 2, 1);
        }

        bench.Memory.Store(Common + 20, 1, 15);
    }

    private static void Access(NetworkBench bench, PciFunction device, Random random)
    {
        var bar = random.Next(6);
        if (device.BarAddress(bar) is not { } address)
            return;
        var size = 1 << random.Next(3);
        var reach = (int)Math.Min(device.BarSize(bar), random.Next(2) == 0 ? 0x8000u : 0x400u);
        var offset = (ulong)random.Next(reach) & ~(ulong)(size - 1);
        // A few registers are the doors to the rings.
        if (bar == 0 && random.Next(2) == 0)
            offset = (ulong)(((int[])[0x100, 0x400, 0x2800, 0x2808, 0x2810, 0x2818, 0x3800, 0x3808, 0x3810, 0x3818, 0x37, 0x10, 0xE0, 0xD9, 0x14, 0x12, 0x16])[random.Next(17)])
                % device.BarSize(bar);
        var value = random.Next(6) switch
        {
            0 => (uint)random.Next(),
            1 => (uint)random.Next(256),
            2 => uint.MaxValue,
            3 => (uint)random.Next(0x40) << 12,
            4 => 1u << random.Next(32),
            _ => (uint)random.Next(16),
        };
        var space = device.BarIsIo(bar) ? bench.Io : bench.Memory;
        if (random.Next(3) == 0)
            _ = space.Load(address + offset, size);
        else
            space.Store(address + offset, size, value);
    }
}
