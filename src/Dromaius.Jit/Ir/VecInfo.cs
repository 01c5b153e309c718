using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace Dromaius.Jit.Ir;

/// <summary>Which operands a vector operation takes and where its host instruction encodes them.</summary>
public enum VecForm : byte
{
    None,

    /// <summary>Dst = op(A, B). Legacy: reg = A = Dst, rm = B. VEX: reg = Dst, vvvv = A, rm = B.</summary>
    Binary,

    /// <summary>As <see cref="Binary"/> with an imm8.</summary>
    BinaryImm,

    /// <summary>Dst = op(A). reg = Dst, rm = A, VEX.vvvv unused (1111).</summary>
    Unary,

    /// <summary>As <see cref="Unary"/> with an imm8.</summary>
    UnaryImm,

    /// <summary>Dst = op(A), imm8, encoded as a store: reg = A, rm = Dst.</summary>
    UnaryImmStore,

    /// <summary>Dst = op(A, imm8), opcode group in reg (<see cref="VecInfo.Group"/>). Legacy: rm = A = Dst. VEX: vvvv = Dst,
    /// rm = A.</summary>
    ShiftImm,

    /// <summary>Dst = op(A, B, C). VEX only: reg = A = Dst, vvvv = B, rm = C (the FMA operand order).</summary>
    Ternary,

    /// <summary>Dst = op(A, B, mask C). Legacy: reg = A = Dst, rm = B, C in XMM0. VEX: reg = Dst, vvvv = A, rm = B, is4 = C with
    /// <see cref="VecInfo.VexOpcode"/> in map 0F3A (no VEX form when that is 0).</summary>
    Blendv,

    /// <summary>As <see cref="Binary"/>, but the low 32 bits (<see cref="VecInfo.W"/>: 64) of B go through a general register,
    /// which is rm.</summary>
    FromGpr,

    /// <summary>As <see cref="FromGpr"/> with an imm8.</summary>
    FromGprImm,

    // Integer results.

    /// <summary>Int = op(A): reg = general register, rm = A.</summary>
    ToGpr,

    /// <summary>Int = op(A), imm8: reg = general register, rm = A.</summary>
    ToGprImm,

    /// <summary>Int = op(A), imm8, encoded as a store: reg = A, rm = general register.</summary>
    ToGprImmStore,

    /// <summary>Int = EFLAGS &amp; 0x45 after op(A, B): reg = A, rm = B, VEX.vvvv unused.</summary>
    ToFlags,
}

/// <summary>What the host must have. Zero: SSE2, which every host has.</summary>
[Flags]
public enum VecFeatures : ushort
{
    Sse2 = 0, Sse3 = 1, Ssse3 = 2, Sse41 = 4, Sse42 = 8, Aes = 0x10, Pclmul = 0x20, Sha = 0x40, Avx = 0x80, Avx2 = 0x100,
    Fma = 0x200, F16c = 0x400,
}

/// <summary>Lanes of a 256-bit value.</summary>
[StructLayout(LayoutKind.Sequential, Size = 32)]
public unsafe struct V256
{
    public fixed ulong Q[4];
}

/// <summary>
/// Operands and results of a reference implementation. By value, so that results never overlap operands. With
/// <see cref="Bytes"/> 16 the upper halves of the operands are ignored and that of the result is undefined.
/// </summary>
[StructLayout(LayoutKind.Sequential, Size = 160)]
public unsafe struct VecArgs
{
    public V256 Dst, A, B, C;

    /// <summary>Result of the operations that have an integer one.</summary>
    public ulong Int;

    /// <summary>In: the guest's control bits. Out: with the sticky flags raised.</summary>
    public uint Mxcsr;

    /// <summary>16 or 32.</summary>
    public int Bytes;
    public byte Imm;

    internal readonly Vector256<T> Av<T>() where T : struct => Unsafe.BitCast<V256, Vector256<byte>>(A).As<byte, T>();

    internal readonly Vector256<T> Bv<T>() where T : struct => Unsafe.BitCast<V256, Vector256<byte>>(B).As<byte, T>();

    internal readonly Vector256<T> Cv<T>() where T : struct => Unsafe.BitCast<V256, Vector256<byte>>(C).As<byte, T>();

    internal void Set<T>(Vector256<T> value) where T : struct => Dst = Unsafe.BitCast<Vector256<byte>, V256>(value.AsByte());
}

/// <summary>A row of the table of vector operations.</summary>
public sealed unsafe class VecInfo
{
    public required VecKind Kind { get; init; }
    public string Name => Kind.ToString().ToLowerInvariant();
    public required VecForm Form { get; init; }

    /// <summary>Mandatory prefix: 0, 0x66, 0xF3 or 0xF2.</summary>
    public required byte Prefix { get; init; }

    /// <summary>Opcode map as VEX.mmmmm has it: 1 = 0F, 2 = 0F38, 3 = 0F3A.</summary>
    public required byte Map { get; init; }
    public required byte Opcode { get; init; }

    /// <summary>REX.W / VEX.W.</summary>
    public bool W { get; init; }

    /// <summary>The reg field of <see cref="VecForm.ShiftImm"/>.</summary>
    public byte Group { get; init; }

    /// <summary>Opcode of the VEX form of <see cref="VecForm.Blendv"/>, in map 0F3A with prefix 66.</summary>
    public byte VexOpcode { get; init; }

    /// <summary>There is no legacy encoding.</summary>
    public bool VexOnly { get; init; }

    /// <summary>There is no VEX encoding.</summary>
    public bool LegacyOnly { get; init; }

    /// <summary>Needed for the 128-bit form, with legacy encoding or (and AVX) with VEX.</summary>
    public required VecFeatures Feature { get; init; }

    /// <summary>Needed for the 256-bit form.</summary>
    public required VecFeatures Feature256 { get; init; }

    /// <summary>There is no 256-bit form.</summary>
    public bool No256 { get; init; }

    /// <summary>Rounds or raises exceptions according to MXCSR.</summary>
    public required bool UsesMxcsr { get; init; }

    /// <summary>An immediate above this exists in the VEX encoding only.</summary>
    public byte MaxLegacyImm { get; init; } = 255;

    /// <summary>C# semantics.</summary>
    public required delegate*<VecArgs*, void> Run { get; init; }

    public bool HasIntResult => Form >= VecForm.ToGpr;

    public bool HasImm => Form is VecForm.BinaryImm or VecForm.UnaryImm or VecForm.UnaryImmStore or VecForm.ShiftImm
        or VecForm.FromGprImm or VecForm.ToGprImm or VecForm.ToGprImmStore;
}
