using System.Runtime.InteropServices;
using Dromaius.Jit.Ir;

namespace Dromaius.Jit.Tests;

/// <summary>A CPU state for tests: a few globals, plain state, vectors and the engine's part.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct TestState
{
    public const int GlobalCount = 16;
    public const int DataSize = 64;
    public const int VectorCount = 8;
    public static readonly int DataOffset = (int)Marshal.OffsetOf<TestState>(nameof(Data));
    public static readonly int VectorsOffset = (int)Marshal.OffsetOf<TestState>(nameof(Vectors));
    public static readonly int PcOffset = (int)Marshal.OffsetOf<TestState>(nameof(Pc));
    public static readonly int CodeBaseOffset = (int)Marshal.OffsetOf<TestState>(nameof(CodeBase));
    public static readonly int ModeOffset = (int)Marshal.OffsetOf<TestState>(nameof(Mode));
    public static readonly int MxcsrOffset = (int)Marshal.OffsetOf<TestState>(nameof(Mxcsr));
    public static readonly int EngineOffset = (int)Marshal.OffsetOf<TestState>(nameof(Engine));
    public fixed ulong Globals[GlobalCount];
    public fixed byte Data[DataSize];
    public fixed ulong Vectors[VectorCount * 4];
    public ulong Pc;
    public ulong CodeBase;
    public uint Mode;
    public uint Mxcsr;

    /// <summary>The address of a faulting access.</summary>
    public ulong FaultAddress;
    public ulong Memory;
    public EngineState Engine;
}

/// <summary>
/// A guest for tests: 64 KiB of memory whose pages are of different kinds, a 16-entry TLB, helpers with every kind of effect.
/// Pages 0 to 7 are in the TLB, 8 to 10 take the slow path, 11 and 12 are in the TLB for loads and fault on stores, the rest
/// fault.
/// </summary>
internal sealed unsafe class TestGuest : IDisposable
{
    public const int MemorySize = 0x10000;
    public const int TlbEntries = 16;
    private const ulong PageSize = 0x1000;
    private const ulong SlowPages = 8, ReadOnlyPages = 11, FaultPages = 13;

    public static readonly GuestLayout Layout = CreateLayout();
    public static readonly Helper Pure = new("pure", &PureHelper, HelperEffects.None);
    public static readonly Helper Reader = new("reader", &ReaderHelper, HelperEffects.Reads);
    public static readonly Helper Writer = new("writer", &WriterHelper, HelperEffects.Reads | HelperEffects.Writes);
    public static readonly Helper Leaver = new("leaver", &LeaverHelper, HelperEffects.All);

    private readonly byte* _block;

    public TestGuest()
    {
        _block = (byte*)NativeMemory.AlignedAlloc((nuint)(sizeof(TestState) + MemorySize + TlbEntries * sizeof(TlbEntry) + 4096), 4096);
        State = (TestState*)(_block + MemorySize);
        Tlb = (TlbEntry*)(_block + MemorySize + ((sizeof(TestState) + 63) & ~63));
    }

    public TestState* State { get; }
    public byte* Memory => _block;
    private TlbEntry* Tlb { get; }
    public Span<byte> MemoryBytes => new(_block, MemorySize);

    /// <summary>The architectural part of the state.</summary>
    public Span<byte> StateBytes => new(State, (int)((byte*)&State->Memory - (byte*)State));

    /// <summary>Fills state and memory from a seed.</summary>
    public void Initialise(Random random)
    {
        *State = default;
        random.NextBytes(MemoryBytes);
        random.NextBytes(new Span<byte>(State->Data, TestState.DataSize));
        for (var i = 0; i < TestState.GlobalCount; i++)
            State->Globals[i] = Values.Integer(random);
        for (var i = 0; i < TestState.VectorCount * 4; i++)
            State->Vectors[i] = Values.Lane(random);
        State->Mxcsr = 0x1F80 | (uint)random.Next(4) << 13;
        if (random.Next(8) == 0)
            State->Mxcsr |= 0x8000;
        if (random.Next(8) == 0)
            State->Mxcsr |= 0x40;
        State->Memory = (ulong)_block;
        for (var i = 0UL; i < TlbEntries; i++)
        {
            var fast = i is < SlowPages or >= ReadOnlyPages and < FaultPages;
            Tlb[i].Read = fast ? i * PageSize : TlbEntry.Invalid;
            Tlb[i].Write = i < SlowPages ? i * PageSize : TlbEntry.Invalid;
            Tlb[i].Addend = (nint)_block;
        }

        State->Engine.ForgetPages();
        State->Engine.Tlb0.Entries = State->Engine.Tlb1.Entries = Tlb;
        State->Engine.Tlb0.Mask = State->Engine.Tlb1.Mask = (TlbEntries - 1) * (ulong)sizeof(TlbEntry);
    }

    public void Dispose() => NativeMemory.AlignedFree(_block);

    private static GuestLayout CreateLayout()
    {
        var globals = new Global[TestState.GlobalCount];
        for (var i = 0; i < globals.Length; i++)
            globals[i] = new Global("g" + i, i * sizeof(ulong), i < 8);
        return new GuestLayout
        {
            Globals = globals,
            StackPointer = 4,
            PcOffset = TestState.PcOffset,
            ModeOffset = TestState.ModeOffset,
            CodeBaseOffset = TestState.CodeBaseOffset,
            FpControlOffset = TestState.MxcsrOffset,
            EngineOffset = TestState.EngineOffset,
            Memory = new GuestMemoryCallbacks
            {
                Load = &Load,
                Store = &Store,
                Rmw = &Rmw,
                Cas = &Cas,
                VecLoad = &VecLoad,
                VecStore = &VecStore,
            },
        };
    }

    private static bool Allowed(void* state, ulong address, PackedAccess access, bool write)
    {
        var s = (TestState*)state;
        var limit = (write ? ReadOnlyPages : FaultPages) * PageSize;
        if ((address & access.AlignMask) == 0 && address < limit && address + (ulong)access.Size <= limit)
            return true;
        s->FaultAddress = address;
        s->Engine.ExitReason = ExitReason.Exception;
        return false;
    }

    private static byte* Host(void* state, ulong address) => (byte*)((TestState*)state)->Memory + address;

    private static ulong Read(byte* host, int size)
    {
        var value = 0UL;
        for (var i = 0; i < size; i++)
            value |= (ulong)host[i] << (8 * i);
        return value;
    }

    private static void Write(byte* host, int size, ulong value)
    {
        for (var i = 0; i < size; i++)
            host[i] = (byte)(value >> (8 * i));
    }

    [UnmanagedCallersOnly]
    private static ulong Load(void* state, ulong address, ulong packed)
    {
        var access = new PackedAccess(packed);
        return Allowed(state, address, access, false) ? Read(Host(state, address), access.Size) : 0xDEAD;
    }

    [UnmanagedCallersOnly]
    private static void Store(void* state, ulong address, ulong value, ulong packed)
    {
        var access = new PackedAccess(packed);
        if (Allowed(state, address, access, true))
            Write(Host(state, address), access.Size, value);
    }

    [UnmanagedCallersOnly]
    private static ulong Rmw(void* state, ulong address, ulong operand, ulong packed)
    {
        var access = new PackedAccess(packed);
        if (!Allowed(state, address, access, true))
            return 0xDEAD;
        var old = Read(Host(state, address), access.Size);
        Write(Host(state, address), access.Size, IrFold.Rmw(access.Kind, old, operand));
        return old;
    }

    [UnmanagedCallersOnly]
    private static ulong Cas(void* state, ulong address, ulong expected, ulong desired, ulong packed)
    {
        var access = new PackedAccess(packed);
        if (!Allowed(state, address, access, true))
            return 0xDEAD;
        var old = Read(Host(state, address), access.Size);
        if (old == IrFold.Truncate(access.Width, expected))
            Write(Host(state, address), access.Size, desired);
        return old;
    }

    [UnmanagedCallersOnly]
    private static void VecLoad(void* state, ulong address, ulong packed)
    {
        var access = new PackedAccess(packed);
        if (Allowed(state, address, access, false))
            new Span<byte>(Host(state, address), access.Size).CopyTo(new Span<byte>(((TestState*)state)->Engine.Bounce, 64));
    }

    [UnmanagedCallersOnly]
    private static void VecStore(void* state, ulong address, ulong packed)
    {
        var access = new PackedAccess(packed);
        if (Allowed(state, address, access, true))
            new Span<byte>(((TestState*)state)->Engine.Bounce, access.Size).CopyTo(new Span<byte>(Host(state, address), access.Size));
    }

    [UnmanagedCallersOnly]
    private static ulong PureHelper(void* state, ulong a, ulong b, ulong c, ulong d) => Mix(a, b, c, d);

    [UnmanagedCallersOnly]
    private static ulong ReaderHelper(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var sum = Mix(a, b, c, d);
        for (var i = 0; i < TestState.GlobalCount; i++)
            sum = sum * 31 + ((TestState*)state)->Globals[i];
        return sum;
    }

    [UnmanagedCallersOnly]
    private static ulong WriterHelper(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var sum = Mix(a, b, c, d);
        for (var i = 0; i < TestState.GlobalCount - 1; i += 3) // the last one counts a loop
            ((TestState*)state)->Globals[i] = ((TestState*)state)->Globals[i] * 5 + sum;
        return sum;
    }

    [UnmanagedCallersOnly]
    private static ulong LeaverHelper(void* state, ulong a, ulong b, ulong c, ulong d)
    {
        var s = (TestState*)state;
        s->Globals[2] += a;
        var sum = Mix(a, b, c, d) + s->Pc;
        if (sum % 5 == 0)
            s->Engine.ExitReason = ExitReason.Reenter;
        return sum;
    }

    private static ulong Mix(ulong a, ulong b, ulong c, ulong d) =>
        a * 0x9E3779B97F4A7C15 + (b ^ 0x1234) * 3 + (c >> 7) * 0xC2B2AE3D27D4EB4F - d;
}
