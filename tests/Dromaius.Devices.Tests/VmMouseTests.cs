using Dromaius.Consoles;
using Dromaius.Devices.Input;

namespace Dromaius.Devices.Tests;

/// <summary>The VMware backdoor and the mouse behind it.</summary>
public sealed class VmMouseTests
{
    private const uint Magic = 0x564D_5868;
    private readonly Registers _registers = new();
    private readonly InputRouter _router = new();
    private readonly Ps2Mouse _mouse = new();
    private readonly VmPort _port;

    public VmMouseTests()
    {
        _port = new VmPort(() => _registers, 1 << 30, Guid.Parse("00112233-4455-6677-8899-aabbccddeeff"));
        _router.Register(_mouse);
        new VmMouse(_port, _mouse, _router).Reset();
    }

    private uint Call(uint command, uint argument = 0, uint magic = Magic)
    {
        (_registers.Eax, _registers.Ebx, _registers.Ecx) = (magic, argument, command);
        return (uint)_port.Port.Read!(0, 4);
    }

    [Fact]
    public void Answers()
    {
        Assert.Equal(6u, Call(10));
        Assert.Equal((Magic, 2u), (_registers.Ebx, _registers.Ecx));
        Assert.Equal(1u << 30, Call(20));
        Assert.Equal(0x3322_1100u, Call(19));
        Assert.Equal(0xFFEE_DDCCu, _registers.Edx);
        Assert.Equal(uint.MaxValue, Call(10, magic: 1));
        Assert.Equal(uint.MaxValue, Call(999));
    }

    [Fact]
    public void TellsPositions()
    {
        Assert.Equal(0xFFFF_0000u, Call(40));
        _ = Call(41, 0x4541_4552);
        Assert.Equal(1u, Call(40));
        Assert.Equal(0x3442_554Au, Call(39, 1));
        Assert.False(_router.IsAbsolute);
        _ = Call(41, 0x5342_4152);
        Assert.True(_router.IsAbsolute);
        _router.MoveTo(PointerAxis.X, 0x7FFF);
        _router.MoveTo(PointerAxis.Y, 0x1234);
        _router.Button(PointerButton.Right, true);
        _router.Sync();
        Assert.Equal(4u, Call(40));
        Assert.Equal(0x10u, Call(39, 4));
        Assert.Equal((0xFFFEu, 0x2468u, 0u), (_registers.Ebx, _registers.Ecx, _registers.Edx));
        // More than there is: an error until the driver starts again.
        _ = Call(39, 4);
        Assert.Equal(0xFFFF_0000u, Call(40));
        Assert.False(_router.IsAbsolute);
    }

    [Theory]
    [InlineData(1)]
    public void NothingThrows(int seed)
    {
        var random = new Random(seed);
        for (var i = 0; i < 50_000; i++)
        {
            _ = Call((uint)random.Next(8, 45), random.Next(3) switch { 0 => 0x5342_4152u, 1 => 0x4541_4552, _ => (uint)random.Next(8) });
            _router.Move(PointerAxis.X, random.Next(int.MinValue, int.MaxValue));
            _router.MoveTo(PointerAxis.Y, random.Next());
            _router.Sync();
            _ = Call((uint)random.Next());
        }

        // At most the queue's worth waits, however much came.
        Assert.True((Call(40) & 0xFFFF) <= 1024, $"seed {seed}");
    }

    private sealed class Registers : IBackdoorRegisters
    {
        public uint Eax { get; set; }
        public uint Ebx { get; set; }
        public uint Ecx { get; set; }
        public uint Edx { get; set; }
        public uint Esi { get; set; }
        public uint Edi { get; set; }
    }
}
