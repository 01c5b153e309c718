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
