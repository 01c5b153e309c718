using Dromaius.Devices.Storage;
using Dromaius.Devices.Storage.Ata;

namespace Dromaius.Devices.Tests.Storage;

/// <summary>AHCI and NVMe: one command of each kind through guest memory, and random register and memory contents.</summary>
public sealed class AhciNvmeTests : IDisposable
{
    private const uint Bar = 0xE000_0000;
    private const int Devfn = 24;
    private readonly StorageBench _bench = new();
    private readonly byte[] _disk = StorageBench.Pattern(4 << 20);

    public void Dispose() => _bench.Dispose();

    private void Write(uint at, uint value) => _bench.Memory.Store(Bar + at, 4, value);

    private uint Read(uint at) => (uint)_bench.Memory.Load(Bar + at, 4);

    private Ahci StartAhci()
    {
        var ahci = new Ahci();
        ahci.Ports[0].Attach(new AtaDisk(_bench.Drive(_disk), DiskGeometry.ForSize(8192)) { IsSerial = true });
        _bench.Bus.Plug(ahci, Devfn);
        ahci.Reset();
        _bench.Bus.WriteConfig(Devfn, 0x24, 4, Bar);
        _bench.Bus.WriteConfig(Devfn, 4, 2, 6);
        Write(0x04, 0x8000_0002);
        Write(0x100, 0x1000);
        Write(0x108, 0x2000);
        Write(0x114, 0xFFFF_FFFF);
        Write(0x118, 0x17);
        return ahci;
    }

    /// <summary>A command in a slot: header, frame and one region of memory.</summary>
    private void AhciCommand(uint slot, byte command, long lba, int count, uint data, bool write = false)
    {
        var header = 0x1000 + (32 * slot);
        var table = 0x3000 + (0x100 * slot);
        _bench.Poke32(header, 5u | (write ? 0x40u : 0) | 1 << 16);
        _bench.Poke64(header + 8, table);
        var queued = command is 0x60 or 0x61;
        var fis = _bench.Ram.Span(table, 20);
        fis.Clear();
        (fis[0], fis[1], fis[2], fis[7]) = (0x27, 0x80, command, 0x40);
        (fis[4], fis[5], fis[6]) = ((byte)lba, (byte)(lba >> 8), (byte)(lba >> 16));
        if (queued)
            (fis[3], fis[12]) = ((byte)count, (byte)(slot << 3));
        else
            fis[12] = (byte)count;
        _bench.Poke64(table + 0x80, data);
        _bench.Poke32(table + 0x8C, (uint)(Math.Max(count, 1) * 512) - 1);
        if (queued)
            Write(0x134, 1u << (int)slot);
        Write(0x138, 1u << (int)slot);
    }

    [Fact]
    public void AhciReadsByDmaAndQueued()
    {
        _ = StartAhci();
        Assert.Equal(0x113u, Read(0x128));
        AhciCommand(0, 0xEC, 0, 1, 0x20000);
        _bench.Until(() => Read(0x138) == 0, "identify");
        Assert.Equal(8192u, _bench.Peek32(0x20000 + 120));
        AhciCommand(1, 0x25, 7, 16, 0x20000);
        _bench.Until(() => Read(0x138) == 0, "read");
        Assert.True(_disk.AsSpan(7 * 512, 8192).SequenceEqual(_bench.Ram.Span(0x20000, 8192)));
        Assert.Equal(8192u, _bench.Peek32(0x1000 + 32 + 4));
        for (var i = 0u; i < 8; i++)
            AhciCommand(i, 0x60, 100 * i, 8, 0x30000 + (0x1000 * i));
        _bench.Until(() => Read(0x134) == 0, "queue");
        for (var i = 0; i < 8; i++)
            Assert.True(_disk.AsSpan(100 * i * 512, 4096).SequenceEqual(_bench.Ram.Span((ulong)(0x30000 + (0x1000 * i)), 4096)));
        Assert.NotEqual(0u, Read(0x08));
        Write(0x110, 0xFFFF_FFFF);
        Write(0x08, 1);
        Assert.Equal(0u, Read(0x08));
    }

    [Fact]
    public void AhciWritesAndFails()
    {
        _ = StartAhci();
        var data = StorageBench.Pattern(4096, 5);
        data.CopyTo(_bench.Ram.Span(0x20000, 4096));
        AhciCommand(0, 0x35, 50, 8, 0x20000, true);
        _bench.Until(() => Read(0x138) == 0, "write");
        Assert.True(_disk.AsSpan(50 * 512, 4096).SequenceEqual(data));
        AhciCommand(0, 0x25, 8192, 1, 0x20000);
        _bench.Until(() => (Read(0x110) & 0x4000_0000) != 0, "error");
        Assert.Equal(1u, Read(0x120) & 1);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void AhciNothingThrows(int seed)
    {
        _ = StartAhci();
        var random = new Random(seed);
        byte[] commands = [0x60, 0x61, 0x25, 0x35, 0x20, 0x30, 0xEC, 0xA0, 0xE7, 0x06, 0x2F];
        for (var i = 0; i < 20_000; i++)
        {
            switch (random.Next(6))
            {
                case 0:
                    random.NextBytes(_bench.Ram.Span(0x1000 + (ulong)random.Next(0x4000), 16));
                    break;
                case 1 or 2:
                    AhciCommand((uint)random.Next(32), commands[random.Next(commands.Length)], random.Next(9000), random.Next(64), (uint)random.Next(0x500000));
                    break;
                case 3:
                    Write((uint)(0x100 + (4 * random.Next(32))), random.Next(2) == 0 ? 0x17u : (uint)random.Next());
                    break;
                case 4:
                    _ = Read((uint)random.Next(0x400) * 4);
                    break;
                default:
                    _bench.Loop.RunDue();
                    break;
            }

            if (i % 500 == 0)
            {
                Write(0x118, 0);
                Write(0x100, 0x1000);
                Write(0x104, 0);
                Write(0x108, 0x2000);
                Write(0x10C, 0);
                Write(0x118, 0x17);
            }
        }

        _bench.Settle();
    }

    private int _adminTail, _ioTail;

    private void StartNvme()
    {
        var nvme = new Nvme(_bench.Drive(_disk)) { Serial = "abc" };
        _bench.Bus.Plug(nvme, Devfn);
        nvme.Reset();
        _bench.Bus.WriteConfig(Devfn, 0x10, 4, Bar);
        _bench.Bus.WriteConfig(Devfn, 4, 2, 6);
        EnableNvme();
    }

    private void EnableNvme()
    {
        Write(0x14, 0);
        (_adminTail, _ioTail) = (0, 0);
        _bench.Ram.Span(0x10000, 0x4000).Clear();
        Write(0x24, 0x000F_000F);
        Write(0x28, 0x10000);
        Write(0x2C, 0);
        Write(0x30, 0x11000);
        Write(0x34, 0);
        Write(0x14, 0x0046_0001);
        Assert.Equal(1u, Read(0x1C));
    }

    private ushort Nvme(bool admin, byte opcode, uint data, uint d10 = 0, uint d11 = 0, uint d12 = 0)
    {
        ref var tail = ref admin ? ref _adminTail : ref _ioTail;
        var at = (admin ? 0x10000u : 0x12000u) + (64 * (uint)tail);
        _bench.Ram.Span(at, 64).Clear();
        _bench.Poke32(at, opcode | 0x7u << 16);
        _bench.Poke32(at + 4, 1);
        _bench.Poke64(at + 24, data);
        _bench.Poke64(at + 32, data + 0x1000);
        _bench.Poke32(at + 40, d10);
        _bench.Poke32(at + 44, d11);
        _bench.Poke32(at + 48, d12);
        var entry = (admin ? 0x11000u : 0x13000u) + (16 * (uint)tail);
        tail = (tail + 1) % 16;
        var before = _bench.Peek32(entry + 12) >> 16 & 1;
        Write(admin ? 0x1000u : 0x1008u, (uint)tail);
        _bench.Until(() => (_bench.Peek32(entry + 12) >> 16 & 1) != before, "completion");
        Write(admin ? 0x1004u : 0x100Cu, (uint)tail);
        return (ushort)(_bench.Peek32(entry + 12) >> 17);
    }

    [Fact]
    public void NvmeReadsAndWrites()
    {
        StartNvme();
        Assert.Equal(0, Nvme(true, 6, 0x20000, 1));
        Assert.Equal((byte)'a', _bench.Ram.Span(0x20004, 1)[0]);
        Assert.Equal(0, Nvme(true, 6, 0x20000, 0));
        Assert.Equal(8192u, _bench.Peek32(0x20000));
        Assert.Equal(0, Nvme(true, 5, 0x13000, 0x000F_0001, 1));
        Assert.Equal(0, Nvme(true, 1, 0x12000, 0x000F_0001, 0x0001_0001));
        Assert.Equal(0, Nvme(false, 2, 0x20000, 9, 0, 15));
        Assert.True(_disk.AsSpan(9 * 512, 8192).SequenceEqual(_bench.Ram.Span(0x20000, 8192)));
        var data = StorageBench.Pattern(4096, 6);
        data.CopyTo(_bench.Ram.Span(0x20000, 4096));
        Assert.Equal(0, Nvme(false, 1, 0x20000, 30, 0, 7));
        Assert.True(_disk.AsSpan(30 * 512, 4096).SequenceEqual(data));
        Assert.Equal(0, Nvme(false, 0, 0));
        Assert.Equal(0, Nvme(false, 8, 0, 30, 0, 0));
        Assert.Equal(0, _disk[30 * 512]);
        Assert.Equal(0x4080, Nvme(false, 2, 0x20000, 8192, 0, 0));
        Assert.NotEqual(0, Nvme(false, 0x7F, 0));
        Assert.NotEqual(0, Nvme(true, 4, 0, 1));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void NvmeNothingThrows(int seed)
    {
        StartNvme();
        var random = new Random(seed);
        byte[] opcodes = [0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 0x7F];
        for (var i = 0; i < 20_000; i++)
        {
            switch (random.Next(5))
            {
                case 0:
                    var at = (ulong)(0x10000 + (random.Next(2) * 0x2000) + (64 * random.Next(16)));
                    random.NextBytes(_bench.Ram.Span(at, 64));
                    _bench.Ram.Span(at, 1)[0] = opcodes[random.Next(opcodes.Length)];
                    _bench.Poke32((uint)at + 4, 1);
                    if (random.Next(2) == 0)
                        _bench.Poke64((uint)at + 24, (ulong)random.Next(0x400) << 12);
                    _bench.Poke32((uint)at + 40, (uint)(random.Next(4) | random.Next(20) << 16));
                    break;
                case 1 or 2:
                    Write(0x1000 + (4 * (uint)random.Next(8)), (uint)random.Next(20));
                    break;
                case 3:
                    _ = Read((uint)random.Next(0x800) * 4);
                    break;
                default:
                    _bench.Loop.RunDue();
                    break;
            }

            if (i % 1000 == 0)
            {
                _bench.Settle();
                EnableNvme();
            }
        }

        _bench.Settle();
    }
}
