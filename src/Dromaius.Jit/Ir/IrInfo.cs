namespace Dromaius.Jit.Ir;

/// <summary>What passes must know of an operation.</summary>
[Flags]
internal enum OpTraits : byte
{
    None = 0,

    /// <summary>Only computes its result: may be removed when that is unused.</summary>
    Pure = 1,

    /// <summary>May leave the unit (fault) or joins paths: every global must be right here.</summary>
    NeedsGlobals = 2,

    /// <summary>Nothing after it is reached by falling through.</summary>
    EndsPath = 4,
    Label = 8,
}

internal static class IrInfo
{
    public static OpTraits Of(IrOp op) => op switch
    {
        <= IrOp.Select => OpTraits.Pure,
        IrOp.LdState or IrOp.VLdState or IrOp.VFromInt or IrOp.VToInt or IrOp.VMov => OpTraits.Pure,
        IrOp.GuestLd or IrOp.GuestSt or IrOp.GuestRmw or IrOp.GuestCas or IrOp.VGuestLd or IrOp.VGuestSt
            or IrOp.X87Mem or IrOp.BrCond or IrOp.ExitIf => OpTraits.NeedsGlobals,
        IrOp.LoopHead => OpTraits.Label,
        IrOp.Label => OpTraits.NeedsGlobals | OpTraits.Label,
        IrOp.Br or IrOp.LoopBack or IrOp.ExitDirect or IrOp.ExitIndirect or IrOp.ExitLookup or IrOp.ExitLoop =>
            OpTraits.NeedsGlobals | OpTraits.EndsPath,
        _ => OpTraits.None, // X87, StState, Call (its helper says), InsnStart, VecOp (sticky FP flags), FpSync, FpLoad
    };
}
