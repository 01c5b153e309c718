using System.Buffers.Binary;
using Dromaius.Core.Time;
using Dromaius.Devices.Storage;
using Dromaius.Devices.Storage.Scsi;

namespace Dromaius.Devices.Tests.Storage;

/// <summary>The 53C895A, driven by SCRIPTS in memory.</summary>
public sealed class LsiTests : IDisposable
{
    private const uint Ports = 0xC000, Mmio = 0xE000_0000, ScriptRam = 0xE001_0000, Script = 0x1000, Command = 0x2000, Status = 0x2100, Data = 0x10000, Table = 0x3000;
    private const int Devfn = 24;
    private readonly StorageBench _bench = new();
    private readonly ManualClock _clock = new();
    private readonly byte[] _bytes = StorageBench.Pattern(4 << 20);
    private readonly Lsi53c895a _lsi;

    public LsiTests()
    {
        var bus = new ScsiBus("scsi.0", 0, Lsi53c895a.MaxTarget, Lsi53c895a.MaxLun);
        _lsi = new Lsi53c895a(bus, _clock);
        _bench.Bus.Plug(_lsi, Devfn);
        bus.Add(new ScsiDisk(_bench.Drive(_bytes), DiskGeometry.ForSize(8192)), 0, 2, 0);
        _lsi.Reset();
        _bench.Bus.WriteConfig(Devfn, 0x10, 4, Ports | 1);
        _bench.Bus.WriteConfig(Devfn, 0x14, 4, Mmio);
        _bench.Bus.WriteConfig(Devfn, 0x18, 4, ScriptRam);
        _bench.Bus.WriteConfig(Devfn, 4, 2, 7);
        Write(0x39, 0x7D);
        Write(0x40, 0x8E);
        Write(0x41, 0x04);
    }

    public void Dispose() => _bench.Dispose();

    private byte Read(uint at) => (byte)_bench.Memory.Load(Mmio + at, 1);

    private uint Read32(uint at) => (uint)_bench.Memory.Load(Mmio + at, 4);

    private void Write(uint at, uint value, int size = 1) => _bench.Memory.Store(Mmio + at, size, value);

    private void Start(params uint[] script)
    {
        for (var i = 0; i < script.Length; i++)
            _bench.Poke32(Script + (4 * (uint)i), script[i]);
        Write(0x2C, Script, 4);
    }

    private bool HasInterrupt => (Read(0x14) & 3) != 0;

    private static uint[] Transfer(uint move, uint length, uint id = 2) =>
    [
        0x4100_0000 | id << 16, 0,      // SELECT with ATN
        0x0E00_0001, Status,            // MOVE 1, WITH MSG_OUT
        0x0A00_000A, Command,           // MOVE 10, WITH COMMAND
        move | length, Data,
        0x0B00_0001, Status + 1,        // MOVE 1, WITH STATUS
        0x0F00_0001, Status + 2,        // MOVE 1, WITH MSG_IN
        0x6000_0040, 0,                 // CLEAR ACK
        0x4800_0000, 0,                 // WAIT DISCONNECT
        0x9808_0000, 0x1234,            // INT
    ];

    private void SetCommand(params byte[] cdb)
    {
        cdb.CopyTo(_bench.Ram.Span(Command, cdb.Length));
        _bench.Ram.Span(Status, 3).Fill(0x80);
    }

    /// <summary>Takes the unit attention of the reset.</summary>
    private void Warm()
    {
        SetCommand(0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
        Start(0x4100_0000 | 2 << 16, 0, 0x0E00_0001, Status, 0x0A00_0006, Command, 0x0B00_0001, Status + 1, 0x0F00_0001, Status + 2, 0x9808_0000, 0);
        _bench.Until(() => HasInterrupt, "interrupt");
        Assert.Equal(0x84, Read(0x0C));
        Assert.Equal(2, _bench.Ram.Span(Status + 1, 1)[0]);
    }

    [Fact]
    public void ReadsAndWrites()
    {
        Warm();
        SetCommand(0x28, 0, 0, 0, 0, 5, 0, 4, 0, 0);
        Start(Transfer(0x0900_0000, 1024 * 512));
        _bench.Until(() => HasInterrupt, "interrupt");
        Assert.Equal(0x84, Read(0x0C));
        Assert.Equal(0x1234u, Read32(0x30));
        Assert.Equal([0, 0], _bench.Ram.Span(Status + 1, 2).ToArray());
        Assert.True(_bytes.AsSpan(5 * 512, 1024 * 512).SequenceEqual(_bench.Ram.Span(Data, 1024 * 512)));
        SetCommand(0x2A, 0, 0, 0, 0, 0, 0, 4, 0, 0);
        Start(Transfer(0x0800_0000, 1024 * 512));
        _bench.Until(() => HasInterrupt, "interrupt");
        Assert.Equal(0x84, Read(0x0C));
        Assert.True(_bytes.AsSpan(0, 1024 * 512).SequenceEqual(_bench.Ram.Span(Data, 1024 * 512)));
    }

    [Fact]
    public void ShortDataIsAPhaseMismatch()
    {
        Warm();
        SetCommand(0x12, 0, 0, 0, 20, 0, 0, 0, 0, 0);
        var script = Transfer(0x0900_0000, 100);
        script[4] = 0x0A00_0006;
        Start(script);
        _bench.Until(() => HasInterrupt, "interrupt");
        Assert.Equal(0x80, Read(0x42));
        Assert.Equal(80u, Read32(0x24) & 0xFF_FFFF);
        Assert.Equal(Data + 20, Read32(0x28));
        Assert.Equal(Script + 32, Read32(0x2C));
        Assert.Equal(3, Read(0x0E) & 7);

        // With the jump enabled the script itself goes on; PMJAD2 is for transfers to memory here.
        Write(0x4, 7);
        Write(0x1, 8);
        Write(0x1, 0);
        _ = Read32(0x42);
        Write(0x56, 0xC0);
        Write(0xC4, Script + 64, 4);
        Warm();
        SetCommand(0x12, 0, 0, 0, 20, 0, 0, 0, 0, 0);
        Start(script);
        _bench.Until(() => HasInterrupt, "interrupt");
        Assert.Equal(0x84, Read(0x0C));
        Assert.Equal((80u | 0x0900_0000, Data + 20, 20u), (Read32(0xC8), Read32(0xCC), Read32(0xD8)));
    }

    [Fact]
    public void NobodyAnswersASelection()
    {
        Start(0x4100_0000 | 5 << 16, 0, 0x878B_0000, 0, 0x9808_0000, 1);
        Assert.True(HasInterrupt);
        Assert.Equal(0x04, Read(0x43));
        Assert.Equal(Script + 16, Read32(0x2C));
    }

    [Fact]
    public void Computes()
    {
        _bench.Poke32(Table, 0xCAFE_F00D);
        Start(
            0x7834_0500, 0,             // SCRATCHA0 = 5
            0x7E34_FF00, 0,             // SCRATCHA0 += FF: 4, carry
            0x7835_0000, 0,
            0x7F35_0100, 0,             // SCRATCHA1 += 1 + carry: 2
            0xE136_0002, Table,         // LOAD SCRATCHA2, 2
            0xE034_0004, Table + 8,     // STORE SCRATCHA0, 4
            0xC000_0004, Table, Table + 16,
            0x8808_0000, Script + 76,   // CALL over the next one
            0x9808_0000, 7,
            0x9808_0000, 8);
        Assert.Equal(8u, Read32(0x30));
        Assert.Equal(0xF00D_0204u, _bench.Peek32(Table + 8));
        Assert.Equal(0xCAFE_F00Du, _bench.Peek32(Table + 16));
        Assert.Equal(Script + 68, Read32(0x1C));
    }

    [Fact]
    public void SignalEndsAWait()
    {
        Start(0x5000_0000, Script + 16, 0x9808_0000, 1, 0x9808_0000, 2);
        Assert.False(HasInterrupt);
        Write(0x14, 0x20);
        Assert.Equal(2u, Read32(0x30));
        Assert.Equal(0x40, Read(0x1A) & 0x40);
        Assert.Equal(0, Read(0x1A) & 0x40);
    }

    [Fact]
    public void AnEndlessScriptHoldsNobodyUp()
    {
        Start(0x8008_0000, Script);
        Assert.False(HasInterrupt);
        for (var i = 0; i < 100; i++)
            _clock.Advance(1_000_000);
        Assert.Equal(2, Read(0x15));
        _bench.Poke32(Script, 0x9808_0000);
        _clock.Advance(1_000_000);
        Assert.Equal(0x84, Read(0x0C));
        Start(0x8008_0000, Script);
        Write(0x14, 0x80);
        Assert.Equal(0x90, Read(0x0C));
        Assert.Equal(0, Read(0x15));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void NothingThrows(int seed)
    {
        var random = new Random(seed);
        uint[] usual = [0x4100_0000, 0x0E00_0000, 0x0A00_0000, 0x0900_0000, 0x0800_0000, 0x0B00_0000, 0x0F00_0000, 0x4800_0000, 0x5000_0000, 0x8000_0000,
            0x7800_0000, 0xC000_0000, 0xE000_0000, 0x1900_0000, 0x2900_0000];
        for (var i = 0; i < 5000; i++)
        {
            for (var j = 0u; j < 16; j++)
            {
                var target = random.Next(3) switch { 0 => (uint)random.Next(0x3F_0000), 1 => Mmio + (uint)random.Next(0x100), _ => Script + (uint)random.Next(64) };
                _bench.Poke32(Script + (8 * j), usual[random.Next(usual.Length)] | (uint)random.Next(random.Next(2) == 0 ? 1 << 28 : 1 << 11));
                _bench.Poke32(Script + (8 * j) + 4, target);
            }

            // What transfers may overwrite.
            BinaryPrimitives.WriteUInt32LittleEndian(_bench.Ram.Span(Command, 4), random.Next(2) == 0 ? 0x28u : (uint)random.Next());
            Write(0x2C, Script, 4);
            for (var j = 0; j < 3; j++)
            {
                Write((uint)random.Next(0x100), (uint)random.Next(256));
                _ = Read((uint)random.Next(0x100));
            }

            _clock.Advance(100_000);
            _bench.Loop.RunDue();
            if (i % 200 == 0)
            {
                Write(0x14, 0x40);
                Write(0x14, 0);
            }
        }

        Write(0x14, 0x40);
        _bench.Settle();
    }
}
