namespace Dromaius.Jit.X64;

/// <summary>Byte offsets in <see cref="EngineState"/>, for generated code.</summary>
internal static unsafe class EngineOffsets
{
    /// <summary>Taken off a real instance: the runtime may touch an object to take a field's address.</summary>
    private static int Of(Func<nint, nint> field)
    {
        EngineState instance;
        return (int)(field((nint)(&instance)) - (nint)(&instance));
    }

    public static readonly int ExitRequest = Of(static p => (nint)(&((EngineState*)p)->ExitRequest));
    public static readonly int GroupsEnd = Of(static p => (nint)(&((EngineState*)p)->GroupsEnd));
    public static readonly int ExitReason = Of(static p => (nint)(&((EngineState*)p)->ExitReason));
    public static readonly int HostStack = Of(static p => (nint)(&((EngineState*)p)->HostStack));
    public static readonly int JumpCache = Of(static p => (nint)(&((EngineState*)p)->JumpCache));
    public static readonly int LastExit = Of(static p => (nint)(&((EngineState*)p)->LastExit));
    public static readonly int Tlb = Of(static p => (nint)(&((EngineState*)p)->Tlb0));
    public static readonly int Bounce = Of(static p => (nint)(&((EngineState*)p)->Bounce[0]));
    public static readonly int Spill = Of(static p => (nint)(&((EngineState*)p)->Spill[0]));
    public static readonly int Args = Of(static p => (nint)(&((EngineState*)p)->Args[0]));
    public static readonly int Result = Of(static p => (nint)(&((EngineState*)p)->Result));
    public static readonly int Vec = Of(static p => (nint)(&((EngineState*)p)->Vec));
    public static readonly int PageTags = Of(static p => (nint)(&((EngineState*)p)->PageTags[0]));
    public static readonly int PageAddends = Of(static p => (nint)(&((EngineState*)p)->PageAddends[0]));
    public static readonly int PageMisses = Of(static p => (nint)(&((EngineState*)p)->PageMisses));
    public static readonly int X87Environment = Of(static p => (nint)(&((EngineState*)p)->X87Environment[0]));
    public static readonly int X87StoreStatus = Of(static p => (nint)(&((EngineState*)p)->X87StoreStatus));
    public static readonly int Scratch0 = Of(static p => (nint)(&((EngineState*)p)->Scratch0));
}
