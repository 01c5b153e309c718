using System.Runtime.CompilerServices;
using Dromaius.Jit.Ir;

namespace Dromaius.Jit.Interpreter;

/// <summary>The TLB look-up and the host memory accesses of the interpreter.</summary>
internal static unsafe class GuestAccess
{
    private const int PageShift = 12;
    private const ulong PageMask = (1UL << PageShift) - 1;

    /// <summary>
    /// Host address of an access that the TLB translates, or null when the slow path must be taken. An access that crosses a
    /// page has its last byte compared with the tag, which then cannot match.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static byte* Find(EngineState* engine, PackedAccess access, ulong address, bool write)
    {
        var table = &engine->Tlb0 + access.MmuIndex;
        if (table->Entries == null || (address & access.AlignMask) != 0)
            return null;
        var offset = (address >> PageShift) * (ulong)sizeof(TlbEntry) & table->Mask;
        var entry = (TlbEntry*)((byte*)table->Entries + offset);
        var page = (address + (ulong)access.Size - 1) & ~PageMask;
        return (write ? entry->Write : entry->Read) == page ? (byte*)((nint)address + entry->Addend) : null;
    }

    /// <summary>As <see cref="Find"/> for a store, for naturally aligned accesses only: others are not atomic on every host.</summary>
    public static byte* FindAligned(EngineState* engine, PackedAccess access, ulong address) =>
        (address & (ulong)(access.Size - 1)) != 0 ? null : Find(engine, access, address, true);

    public static ulong Read(byte* host, W w) => w switch
    {
        W.B => *host,
        W.W => Unsafe.ReadUnaligned<ushort>(host),
        W.D => Unsafe.ReadUnaligned<uint>(host),
        _ => Unsafe.ReadUnaligned<ulong>(host),
    };

    public static void Write(byte* host, W w, ulong value)
    {
        switch (w)
        {
            case W.B: *host = (byte)value; break;
            case W.W: Unsafe.WriteUnaligned(host, (ushort)value); break;
            case W.D: Unsafe.WriteUnaligned(host, (uint)value); break;
            default: Unsafe.WriteUnaligned(host, value); break;
        }
    }

    public static ulong Rmw(byte* host, W w, RmwKind kind, ulong operand)
    {
        var old = Read(host, w);
        while (true)
        {
            var seen = Cas(host, w, old, IrFold.Rmw(kind, old, operand));
            if (seen == old)
                return old;
            old = seen;
        }
    }

    public static ulong Cas(byte* host, W w, ulong expected, ulong desired) => w switch
    {
        W.B => Interlocked.CompareExchange(ref *host, (byte)desired, (byte)expected),
        W.W => Interlocked.CompareExchange(ref *(ushort*)host, (ushort)desired, (ushort)expected),
        W.D => Interlocked.CompareExchange(ref *(uint*)host, (uint)desired, (uint)expected),
        _ => Interlocked.CompareExchange(ref *(ulong*)host, desired, expected),
    };

    /// <summary>Copies 4, 8, 16 or 32 bytes.</summary>
    public static void Copy(byte* to, byte* from, int size) => Buffer.MemoryCopy(from, to, size, size);

    /// <summary>Copies 4, 8, 16 or 32 bytes to a vector register whose other bytes become zero.</summary>
    public static void CopyClearing(byte* to, byte* from, int size)
    {
        Copy(to, from, size);
        Unsafe.InitBlockUnaligned(to + size, 0, (uint)(32 - size));
    }
}
