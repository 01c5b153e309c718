using Dromaius.Core.Memory;
using Dromaius.Cpu.X86;

namespace Dromaius.Cpu.Tests.Fpu;

/// <summary>
/// Runs one x87 instruction on the host between FRSTOR and FNSAVE. Neither waits, so that even unmasked exceptions are seen in
/// the saved status instead of being delivered.
/// </summary>
internal sealed unsafe class HostFpu
{
    private const int CodeSize = 1 << 16;
    private readonly byte* _writable, _executable;
    private int _used;

    public HostFpu()
    {
        if (!NativeMemory.TryMapDual(CodeSize, out _writable, out _executable))
            throw new InvalidOperationException("no executable memory");
    }

    /// <summary>rdi: image to load; rsi: memory operand; rdx: image to save. Gives RFLAGS after the instruction.</summary>
    public delegate* unmanaged<byte*, byte*, byte*, ulong> Compile(params ReadOnlySpan<byte> instruction)
    {
        var start = _used;
        // frstor [rdi]; xor eax, eax
        Emit(0xDD, 0x27, 0x31, 0xC0);
        Emit(instruction);
        // pushfq; pop rax; fnsave [rdx]; ret
        Emit(0x9C, 0x58, 0xDD, 0x32, 0xC3);
        return (delegate* unmanaged<byte*, byte*, byte*, ulong>)(_executable + start);
    }

    private void Emit(params ReadOnlySpan<byte> bytes)
    {
        bytes.CopyTo(new Span<byte>(_writable + _used, bytes.Length));
        _used += bytes.Length;
    }
}

/// <summary>The part of the x87 state that instructions are compared by, and its FSAVE image (32-bit layout).</summary>
internal unsafe struct FpuImage
{
    public const int Size = 108, Registers = 28;

    public static void Write(byte* image, X86State* s)
    {
        new Span<byte>(image, Size).Clear();
        *(ushort*)image = s->FpControl;
        *(ushort*)(image + 4) = FpuState.StatusWord(s);
        *(ushort*)(image + 8) = FpuState.TagWord(s);
        for (var i = 0; i < 8; i++)
        {
            var r = *FpuState.Register(s, i);
            *(ulong*)(image + Registers + 10 * i) = r.Significand;
            *(ushort*)(image + Registers + 10 * i + 8) = r.SignExponent;
        }
    }

    public static ushort Status(byte* image) => *(ushort*)(image + 4);

    public static ushort Tags(byte* image) => *(ushort*)(image + 8);

    public static Float80 Register(byte* image, int i) =>
        new(*(ushort*)(image + Registers + 10 * i + 8), *(ulong*)(image + Registers + 10 * i));
}
