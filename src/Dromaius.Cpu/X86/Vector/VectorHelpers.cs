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

    /// <summary>Bytes of A under the mask B to offset a of segment b.</summary>
    public static readonly Helper StoreBytes = new("maskStoreBytes", &StoreBytesImpl, MayFault);

    /// <summary>Elements of b bytes, c bytes in all, at offset a of segment d under the mask B.</summary>
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
            StoreUnderMask(cpu, data, mask, 1, 16, (Seg)b, a);
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
            var size = (int)b;
            for (var at = 0; at < (int)c; at += size)
            {
                if (!MaskSet((byte*)&v->B + at, size))
                    continue;
                var linear = cpu.CheckSegmentAccess((Seg)d, a + (uint)at, (uint)size, AccessKind.Read);
                StoreElement((byte*)&v->Dst + at, size, cpu.Load(linear, size, Privilege.Current));
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
            StoreUnderMask(cpu, (byte*)&v->A, (byte*)&v->B, (int)b, (int)c, (Seg)d, a);
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
            // The mask is reduced to its sign bits first, so that it shows what is left to do after a fault.
            var width = op.Count * Math.Max(op.ElementSize, op.IndexSize);
            for (var at = 0; at < width; at += op.ElementSize)
                StoreElement(mask + at, op.ElementSize, MaskSet(mask + at, op.ElementSize) ? ulong.MaxValue : 0);
            new Span<byte>(mask + width, 32 - width).Clear();
            for (var i = 0; i < op.Count; i++)
            {
                var at = i * op.ElementSize;
                if (MaskSet(mask + at, op.ElementSize))
                {
                    var index = op.IndexSize == 4 ? ((int*)indices)[i] : ((long*)indices)[i];
                    var offset = b + (ulong)(index * op.Scale);
                    if (!op.Address64)
                        offset = (uint)offset;
                    var linear = cpu.CheckSegmentAccess(op.Segment, offset, (uint)op.ElementSize, AccessKind.Read);
                    StoreElement(dst + at, op.ElementSize, cpu.Load(linear, op.ElementSize, Privilege.Current));
                    new Span<byte>(dst + width, 32 - width).Clear();
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

    /// <summary>Nothing is written when one element faults.</summary>
    private static void StoreUnderMask(X86Cpu cpu, byte* data, byte* mask, int size, int bytes, Seg segment, ulong offset)
    {
        var linear = stackalloc ulong[16];
        for (var at = 0; at < bytes; at += size)
        {
            if (!MaskSet(mask + at, size))
                continue;
            linear[at / size] = cpu.CheckSegmentAccess(segment, offset + (uint)at, (uint)size, AccessKind.Write);
            cpu.Probe(linear[at / size], size, AccessKind.Write, Privilege.Current);
        }

        for (var at = 0; at < bytes; at += size)
        {
            if (!MaskSet(mask + at, size))
                continue;
            var value = size switch
            {
                1 => data[at],
                4 => *(uint*)(data + at),
                _ => *(ulong*)(data + at),
            };
            cpu.Store(linear[at / size], size, value, Privilege.Current);
        }
    }

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
