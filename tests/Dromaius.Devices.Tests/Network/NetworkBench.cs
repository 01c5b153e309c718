using Dromaius.Core.Memory;
using Dromaius.Core.Time;
using Dromaius.Devices.Network;
using Dromaius.Devices.Pci;
using Dromaius.Devices.Tests.Storage;
using Dromaius.Net;

namespace Dromaius.Devices.Tests.Network;

/// <summary>RAM, a PCI bus and the far end of an adapter's cable.</summary>
internal sealed class NetworkBench : IDisposable
{
    public const int Devfn = 24;
    public const uint Registers = 0xE000_0000, Ports = 0xC000;
    private readonly StorageBench _bench = new();

    public ManualClock Clock { get; } = new();
    public static MacAddress Mac { get; } = new(0x5254_0012_3456);
    public FarEnd Far { get; } = new();
    public AddressSpace Memory => _bench.Memory;
    public AddressSpace Io => _bench.IoSpace;
    public RamBlock Ram => _bench.Ram;
    public PciBus Bus => _bench.Bus;

    /// <summary>How often each message signalled interrupt came, by data.</summary>
    public int[] Messages => _bench.Messages;

    /// <summary>Plugs an adapter in, with its memory and ports where the constants say, 1 MiB and 256 ports apart.</summary>
    public T Plug<T>(T device)
        where T : PciFunction
    {
        Bus.Plug(device, Devfn);
        device.Reset();
        var (memory, port) = (Registers, Ports);
        for (var i = 0; i < 6; i++)
        {
            if (device.BarSize(i) == 0)
                continue;
            Bus.WriteConfig(Devfn, 0x10 + (4 * i), 4, device.BarIsIo(i) ? port : memory);
            (memory, port) = device.BarIsIo(i) ? (memory, port + 256) : (memory + 0x10_0000, port);
        }

        Bus.WriteConfig(Devfn, 4, 2, 7);
        return device;
    }

    public T Connect<T>(T device)
        where T : PciFunction, IPciNic
    {
        device.Nic = new Nic("nic", device.TypeName, Mac, device);
        NetEndpoint.Connect(device.Nic, Far);
        return Plug(device);
    }

    public uint Read(uint at) => (uint)Memory.Load(Registers + at, 4);

    public void Write(uint at, uint value) => Memory.Store(Registers + at, 4, value);

    public void Dispose() => _bench.Dispose();

    /// <summary>Takes frames, or not, as a test says.</summary>
    public sealed class FarEnd() : NetEndpoint("far")
    {
        public override string Kind => "far";
        public bool Refuses { get; set; }
        public OffloadFeatures Takes { get; set; }
        public int Wakes { get; private set; }
        public List<(byte[] Frame, FrameOffload Offload)> Frames { get; } = [];
        public Action? OnFrame { get; set; }
        public override OffloadFeatures Accepts => Takes;

        protected override bool Receive(ReadOnlySpan<byte> frame, in FrameOffload offload)
        {
            if (Refuses)
                return false;
            Frames.Add((frame.ToArray(), offload));
            OnFrame?.Invoke();
            return true;
        }

        protected override void OnPeerReady() => Wakes++;
    }
}
