using Dromaius.Jit.Ir;

namespace Dromaius.Jit.Passes;

/// <summary>
/// Lets an operation write a pinned global directly: <c>t = op …; mov G, t</c> becomes <c>G = op …; mov t, G</c>, where the
/// second costs nothing. Only when nothing between looks at the global.
/// </summary>
public static class Coalesce
{
    private const int Window = 6;

    public static void Run(IrBuilder b)
    {
        var insns = b.Insns;
        var globals = b.GlobalCount;
        for (var j = 1; j < insns.Length; j++)
        {
            ref var move = ref insns[j];
            if (move.Op != IrOp.Mov || !move.Dst.IsValue || move.Dst.Id >= globals || !move.A.IsValue
                || move.A.Id < globals || !b.Layout.Globals[move.Dst.Id].Pinned)
                continue;
            for (var i = j - 1; i >= 0 && i >= j - Window; i--)
            {
                ref var def = ref insns[i];
                if (def.Dst == move.A)
                {
                    // A call reloads the globals after it returns, and a copy is free already.
                    if (def.Op == IrOp.Call || (def.Op == IrOp.Mov && !def.A.IsConst))
                        break;
                    var copy = move;
                    (copy.Dst, copy.A) = (move.A, move.Dst);
                    def.Dst = move.Dst;
                    insns[(i + 1)..j].CopyTo(insns[(i + 2)..]); // the copy comes first: what is between may use t
                    insns[i + 1] = copy;
                    break;
                }

                var traits = IrInfo.Of(def.Op);
                if (traits != OpTraits.Pure && def.Op is not (IrOp.Nop or IrOp.InsnStart))
                    break;
                if (def.Dst == move.Dst || def.A == move.Dst || def.B == move.Dst || def.C == move.Dst
                    || def.D == move.Dst)
                    break;
            }
        }
    }
}
