using System.Runtime.InteropServices;
using Dromaius.Jit.Ir;
using Dromaius.Jit.Ir.SoftFloat;

namespace Dromaius.Cpu.X86;

/// <summary>A gather as one argument of its helper.</summary>
internal readonly record struct GatherOperation(int Dst, int Mask, int Indices, int ElementSize, int IndexSize, int Count,
    int Scale, Seg Segment, bool Address64)
{
    public ulong Pack() => (uint)Dst | (uint)Mask << 4 | (uint)Indices << 8 | (uint)ElementSize << 12
        | (uint)IndexSize << 16 | (uint)Count << 20 | (uint)Scale << 24 | (uint)Segment << 28
        | (Address64 ? 1ul << 32 : 0);

    public static GatherOperation Unpack(ulong v) => new((int)v & 15, (int)(v >> 4) & 15, (int)(v >> 8) & 15,
        (int)(v >> 12) & 15, (int)(v >> 16) & 15, (int)(v >> 20) & 15, (int)(v >> 24) & 15,
        (Seg)((v >> 28) & 7), (v >> 32 & 1) != 0);
}

/// <summary>
/// What generated code calls for vector instructions that are not inline. Operands and results pass through
/// <see cref="X86State.Vector"/>.
/// </summary>
internal static unsafe class VectorHelpers
{
    /// <summary>Bits of MXCSR that exist (DAZ among them).</summary>
    public const int MxcsrMask = 0xFFFF;

    public static readonly int AOffset = X86Layout.VectorOffset + (int)Marshal.OffsetOf<VecArgs>(nameof(VecArgs.A));
    public static readonly int BOffset = X86Layout.VectorOffset + (int)Marshal.OffsetOf<VecArgs>(nameof(VecArgs.B));
    public static readonly int COffset = X86Layout.VectorOffset + (int)Marshal.OffsetOf<VecArgs>(nameof(VecArgs.C));
    public static readonly int DstOffset = X86Layout.VectorOffset + (int)Marshal.OffsetOf<VecArgs>(nameof(VecArgs.Dst));
    public static readonly int IntOffset = X86Layout.VectorOffset + (int)Marshal.OffsetOf<VecArgs>(nameof(VecArgs.Int));

    private const HelperEffects MayFault = HelperEffects.Reads | HelperEffects.MayExit;

    /// <summary>Row a of the table with immediate b on c bytes, raising #XM for unmasked exceptions.</summary>
    public static readonly Helper Arithmetic = new("vectorArithmetic", &ArithmeticImpl, MayFault);

    /// <summary>LDMXCSR of a.</summary>
    public static readonly Helper LoadMxcsr = new("loadMxcsr", &LoadMxcsrImpl, HelperEffects.Reads);

    /// <summary>Bytes of A under the mask B to linear address a.</summary>
    public static readonly Helper StoreBytes = new("maskStoreBytes", &StoreBytesImpl, MayFault);

    /// <summary>Elements of b bytes, c bytes in all, from linear address a under the mask B.</summary>
    public static readonly Helper MaskLoad = new("maskLoad", &MaskLoadImpl, MayFault);
    public static readonly Helper MaskStore = new("maskStore", &MaskStoreImpl, MayFault);

    /// <summary>A <see cref="GatherOperation"/>; b: offset of its base in the segment.</summary>
    public static readonly Helper Gather = new("gather", &GatherImpl, MayFault);

    /// <summary>See <see cref="StringCompare.Run"/>.</summary>
    public static readonly Helper CompareStrings = new("compareStrings", &CompareStringsImpl, HelperEffects.None);

    [UnmanagedCallersOnly]
    private static ulong ArithmeticImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var s = (X86State*)state;
        var v = &s->Vector;
        v->Imm = (byte)b;
        v->Bytes = (int)c;
        v->Mxcsr = s->Mxcsr & ~FpFlags.All;
        VecOps.Run((VecKind)a, v);
        var raised = v->Mxcsr & FpFlags.All;
        var unmasked = raised & ~(s->Mxcsr >> 7);
        if (unmasked == 0)
        {
            s->Mxcsr |= raised;
            return 0;
        }

        // Nothing was computed when an operand was refused: no flags of a result.
        if ((unmasked & FpFlags.PreComputation) != 0)
            raised &= FpFlags.PreComputation;
        s->Mxcsr |= raised;
        const int invalidOpcode = 6, simdException = 19;
        X86Cpu.Of(state).QueueException((s->Cr4 & Cr.OsXmmExcpt) != 0 ? simdException : invalidOpcode, 0, false);
        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong LoadMxcsrImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        ((X86State*)state)->Mxcsr = (uint)a;
        X86Cpu.Of(state).UpdateMode();
        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong StoreBytesImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        var s = (X86State*)state;
        try
        {
            byte* data = (byte*)&s->Vector.A, mask = (byte*)&s->Vector.B;
            var linear = new LinearRange(a, cpu.Code64);
            // No byte is written when another faults.
            for (var i = 0; i < 16; i++)
            {
                if ((mask[i] & 0x80) != 0)
                    cpu.Probe(linear[i], 1, AccessKind.Write, Privilege.Current);
            }

            for (var i = 0; i < 16; i++)
            {
                if ((mask[i] & 0x80) != 0)
                    cpu.Store(linear[i], 1, data[i], Privilege.Current);
            }
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong MaskLoadImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        var v = &((X86State*)state)->Vector;
        try
        {
            v->Dst = default;
            var linear = new LinearRange(a, cpu.Code64);
            var size = (int)b;
            for (var at = 0; at < (int)c; at += size)
            {
                if (MaskSet((byte*)&v->B + at, size))
                    StoreElement((byte*)&v->Dst + at, size, cpu.Load(linear[at], size, Privilege.Current));
            }
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong MaskStoreImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        var v = &((X86State*)state)->Vector;
        try
        {
            var linear = new LinearRange(a, cpu.Code64);
            var size = (int)b;
            for (var at = 0; at < (int)c; at += size)
            {
                if (MaskSet((byte*)&v->B + at, size))
                    cpu.Probe(linear[at], size, AccessKind.Write, Privilege.Current);
            }

            for (var at = 0; at < (int)c; at += size)
            {
                var element = (byte*)&v->A + at;
                if (MaskSet((byte*)&v->B + at, size))
                    cpu.Store(linear[at], size, size == 4 ? *(uint*)element : *(ulong*)element, Privilege.Current);
            }
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    /// <summary>A fault leaves the elements before it loaded and their masks cleared: the instruction goes on from there.</summary>
    [UnmanagedCallersOnly]
    private static ulong GatherImpl(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var cpu = X86Cpu.Of(state);
        var s = (X86State*)state;
        try
        {
            var op = GatherOperation.Unpack(a);
            byte* dst = (byte*)&s->Ymm[4 * op.Dst], mask = (byte*)&s->Ymm[4 * op.Mask], indices = (byte*)&s->Ymm[4 * op.Indices];
            var segmentBase = cpu.Code64 && op.Segment < Seg.Fs ? 0 : cpu.SegmentOf(op.Segment)->Base;
            for (var i = 0; i < op.Count; i++)
            {
                var at = i * op.ElementSize;
                if (MaskSet(mask + at, op.ElementSize))
                {
                    var index = op.IndexSize == 4 ? ((int*)indices)[i] : ((long*)indices)[i];
                    var offset = b + (ulong)(index * op.Scale);
                    if (!op.Address64)
                        offset = (uint)offset;
                    var linear = segmentBase + offset;
                    if (!cpu.Code64)
                        linear = (uint)linear;
                    StoreElement(dst + at, op.ElementSize, cpu.Load(linear, op.ElementSize, Privilege.Current));
                }

                StoreElement(mask + at, op.ElementSize, 0);
            }

            new Span<byte>(dst + op.Count * op.ElementSize, 32 - op.Count * op.ElementSize).Clear();
            new Span<byte>(mask, 32).Clear();
        }
        catch (GuestFaultException fault)
        {
            cpu.QueueFault(fault);
        }

        return 0;
    }

    [UnmanagedCallersOnly]
    private static ulong CompareStringsImpl(void* state, ulong a, ulong b, ulong c, ulong d) =>
        StringCompare.Run(&((X86State*)state)->Vector, (uint)a, (long)b, (long)c);

    private static bool MaskSet(byte* element, int size) => (element[size - 1] & 0x80) != 0;

    private static void StoreElement(byte* element, int size, ulong value)
    {
        if (size == 4)
            *(uint*)element = (uint)value;
        else
            *(ulong*)element = value;
    }
}

/// <summary>Linear addresses from one on, wrapping at 4 GiB outside 64-bit code.</summary>
internal readonly struct LinearRange(ulong start, bool wide)
{
    public ulong this[int offset] => wide ? start + (ulong)offset : (uint)(start + (ulong)offset);
}
