using System.Runtime.InteropServices;
using Dromaius.Jit.Ir.SoftFloat;
using NativeMemory = Dromaius.Core.Memory.NativeMemory;

namespace Dromaius.Cpu.X86;

/// <summary>
/// The host's x87, where it has one: each operation is a few bytes of machine code that load the operands, compute under the
/// guest's precision and rounding with all exceptions masked, and store result and status. Whenever the guest would see an
/// unmasked exception the caller computes in software instead.
/// </summary>
internal static unsafe class FpuHost
{
    public enum Operation : byte
    {
        // ST(1) op ST(0), popping.
        Add, Multiply, Subtract, SubtractReverse, Divide, DivideReverse, ArcTangent, YLog2X, YLog2XPlusOne,

        // ST(0) with ST(1) left.
        Scale,

        // ST(0) alone.
        Sqrt, RoundToInteger, PowerMinusOne, Sin, Cos,

        // ST(0) to two results.
        SinCos, Tangent,
    }

    private const int CodeSize = 4096, SlotSize = 128;

    private static readonly byte* Code = Build();

    /// <summary>Off: everything is computed in software.</summary>
    public static bool Enabled { get; set; } = Code != null;

    /// <param name="operation">What to compute.</param>
    /// <param name="st0">ST(0).</param>
    /// <param name="st1">ST(1), where there is one.</param>
    /// <param name="control">The guest's control word.</param>
    /// <param name="flags">Exception flags that the guest has already: the status may hold them too.</param>
    /// <param name="results">One or two, the new ST(0) first; may be where the operands are.</param>
    /// <returns>The status word: flags and C1.</returns>
    public static uint Run(Operation operation, Float80* st0, Float80* st1, uint control, uint flags, Float80* results)
    {
        var code = (delegate* unmanaged[SuppressGCTransition]<Float80*, Float80*, Float80*, uint, uint, uint>)(Code
            + (int)operation * SlotSize);
        return code(results, st0, st1, control | FpFlags.All, flags & FpFlags.All);
    }

    private static byte* Build()
    {
        if (RuntimeInformation.ProcessArchitecture != Architecture.X64 || OperatingSystem.IsWindows()
            || !NativeMemory.TryMapDual(CodeSize, out var writable, out var executable))
            return null;
        for (var operation = Operation.Add; operation <= Operation.Tangent; operation++)
            Emit(operation, new Span<byte>(writable + (int)operation * SlotSize, SlotSize));
        return executable;
    }

    /// <summary>System V: rdi results, rsi ST(0), rdx ST(1), ecx control word, r8d flags the guest has; eax status word.</summary>
    /// <remarks>
    /// Flags stay in the host's x87 from call to call and are cleared only when the guest has not got them. In generated code the
    /// control word is the guest's already.
    /// </remarks>
    private static void Emit(Operation operation, Span<byte> code)
    {
        var at = 0;
        Put(code, ref at, 0x41, 0xF7, 0xD0); // not r8d
        Put(code, ref at, 0xDF, 0xE0); // fnstsw ax
        Put(code, ref at, 0x83, 0xE0, 0x3F); // and eax, 3Fh
        Put(code, ref at, 0x44, 0x85, 0xC0); // test eax, r8d
        Put(code, ref at, 0x74, 0x02, 0xDB, 0xE2); // jz over; fnclex
        Put(code, ref at, 0xD9, 0x7C, 0x24, 0xF8); // fnstcw [rsp-8]
        Put(code, ref at, 0x0F, 0xB7, 0x44, 0x24, 0xF8); // movzx eax, word [rsp-8]
        Put(code, ref at, 0x39, 0xC8); // cmp eax, ecx
        Put(code, ref at, 0x75, 0); // jne other
        var other = at;
        EmitCompute(operation, code, ref at);
        Put(code, ref at, 0xC3); // ret
        code[other - 1] = (byte)(at - other);
        Put(code, ref at, 0x89, 0x4C, 0x24, 0xF0); // mov [rsp-16], ecx
        Put(code, ref at, 0xD9, 0x6C, 0x24, 0xF0); // fldcw [rsp-16]
        EmitCompute(operation, code, ref at);
        Put(code, ref at, 0xD9, 0x6C, 0x24, 0xF8, 0xC3); // fldcw [rsp-8]; ret
    }

    private static void EmitCompute(Operation operation, Span<byte> code, ref int at)
    {
        if (operation <= Operation.Scale)
            Put(code, ref at, 0xDB, 0x2A); // fld tbyte [rdx]
        Put(code, ref at, 0xDB, 0x2E); // fld tbyte [rsi]
        Put(code, ref at, operation switch
        {
            Operation.Add => [0xDE, 0xC1],
            Operation.Multiply => [0xDE, 0xC9],
            Operation.Subtract => [0xDE, 0xE9],
            Operation.SubtractReverse => [0xDE, 0xE1],
            Operation.Divide => [0xDE, 0xF9],
            Operation.DivideReverse => [0xDE, 0xF1],
            Operation.ArcTangent => [0xD9, 0xF3],
            Operation.YLog2X => [0xD9, 0xF1],
            Operation.YLog2XPlusOne => [0xD9, 0xF9],
            Operation.Scale => [0xD9, 0xFD],
            Operation.Sqrt => [0xD9, 0xFA],
            Operation.RoundToInteger => [0xD9, 0xFC],
            Operation.PowerMinusOne => [0xD9, 0xF0],
            Operation.Sin => [0xD9, 0xFE],
            Operation.Cos => [0xD9, 0xFF],
            Operation.SinCos => [0xD9, 0xFB],
            _ => (ReadOnlySpan<byte>)[0xD9, 0xF2],
        });
        Put(code, ref at, 0xDF, 0xE0); // fnstsw ax
        Put(code, ref at, 0xDB, 0x3F); // fstp tbyte [rdi]
        if (operation == Operation.Scale)
            Put(code, ref at, 0xDD, 0xD8); // fstp st(0)
        if (operation >= Operation.SinCos)
            Put(code, ref at, 0xDB, 0x7F, 0x10); // fstp tbyte [rdi+16]
    }

    private static void Put(Span<byte> code, ref int at, params ReadOnlySpan<byte> bytes)
    {
        bytes.CopyTo(code[at..]);
        at += bytes.Length;
    }
}
