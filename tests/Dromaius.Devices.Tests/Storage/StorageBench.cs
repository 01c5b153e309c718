using System.Buffers.Binary;
using Dromaius.Block;
using Dromaius.Core.Memory;
using Dromaius.Core.Time;
using Dromaius.Devices.Pci;

namespace Dromaius.Devices.Tests.Storage;

/// <summary>RAM, a PCI bus and an event loop that is turned by hand, for disk controllers.</summary>
internal sealed class StorageBench : IDisposable
{
    public const uint RamSize = 4 << 20;
    private readonly List<BlockBackend> _drives = [];
    private int _pending;

    public StorageBench()
    {
        Loop = new EventLoop(new Lock());
        Root = MemoryRegion.Container("system", 0);
        Root.Add(0, MemoryRegion.RamRegion("ram", Ram));
        Memory = new AddressSpace("memory", Root, Loop.MachineLock);
        Io = MemoryRegion.Container("io", 0x10000);
        IoSpace = new AddressSpace("io", Io, Loop.MachineLock);
        Bus = new PciBus("pci.0", Root, Io, Memory);
        for (var i = 0; i < 4; i++)
            Messages[i] = 0;
        Root.Add(0xFEE0_0000, MemoryRegion.Device("msi", 0x1000, static (_, _) => 0, (offset, _, value) =>
        {
            if (value < (ulong)Messages.Length)
                Messages[value]++;
        }));
    }

    public EventLoop Loop { get; }
    public RamBlock Ram { get; } = new("ram", RamSize);
    public MemoryRegion Root { get; }
    public MemoryRegion Io { get; }
    public AddressSpace Memory { get; }
    public AddressSpace IoSpace { get; }
    public PciBus Bus { get; }

    /// <summary>How often each message signalled interrupt came, by data.</summary>
    public int[] Messages { get; } = new int[256];

    public static byte[] Pattern(int length, int seed = 1)
    {
        var bytes = new byte[length];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }

    public BlockBackend Drive(byte[]? bytes, bool readOnly = false, string id = "drive0")
    {
        var drive = new BlockBackend(id, Loop, bytes == null ? null : new MemoryNode(bytes, readOnly));
        _drives.Add(drive);
        return drive;
    }

    /// <summary>Turns the loop until something holds.</summary>
    public void Until(Func<bool> condition, string what = "condition")
    {
        for (var i = 0; i < 20000; i++)
        {
            Loop.RunDue();
            if (condition())
                return;
            if (i > 100)
                Thread.Sleep(i > 1000 ? 1 : 0);
        }

        Assert.Fail($"{what} did not come");
    }

    /// <summary>Waits for everything that was posted to the thread pool before.</summary>
    public void Settle()
    {
        for (var i = 0; i < 3; i++)
        {
            Interlocked.Exchange(ref _pending, 1);
            ThreadPool.QueueUserWorkItem(_ => Loop.Post(() => _pending = 0));
            Until(() => _pending == 0, "idle");
        }
    }

    public byte In8(int port) => (byte)IoSpace.Load((ulong)port, 1);

    public ushort In16(int port) => (ushort)IoSpace.Load((ulong)port, 2);

    public uint In32(int port) => (uint)IoSpace.Load((ulong)port, 4);

    public void Out8(int port, int value) => IoSpace.Store((ulong)port, 1, (byte)value);

    public void Out16(int port, int value) => IoSpace.Store((ulong)port, 2, (ushort)value);

    public void Out32(int port, uint value) => IoSpace.Store((ulong)port, 4, value);

    public void Poke32(uint address, uint value) => BinaryPrimitives.WriteUInt32LittleEndian(Ram.Span(address, 4), value);

    public void Poke64(uint address, ulong value) => BinaryPrimitives.WriteUInt64LittleEndian(Ram.Span(address, 8), value);

    public uint Peek32(uint address) => BinaryPrimitives.ReadUInt32LittleEndian(Ram.Span(address, 4));

    /// <summary>Takes the memory away once no transfer touches it.</summary>
    public void Dispose()
    {
        foreach (var drive in _drives)
            drive.Drain();
        Ram.Dispose();
    }
}
