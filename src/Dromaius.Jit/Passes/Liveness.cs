using Dromaius.Jit.Ir;

namespace Dromaius.Jit.Passes;

/// <summary>
/// One backward walk: removes operations whose result nobody needs, and notes for each definition the last operation that
/// needs it (<see cref="IrInsn.LastNeed"/>). An operation that may leave the unit needs every global.
/// </summary>
public sealed class Liveness
{
    /// <summary>Nobody needs the value before it is overwritten.</summary>
    public const int Never = -1;

    private int[] _need = [];
    private int[] _globalsAtEntry = [];

    /// <summary>For each global, the last operation that needs the value it had on entry, or <see cref="Never"/>.</summary>
    public ReadOnlySpan<int> GlobalsAtEntry => _globalsAtEntry;

    public void Run(IrBuilder b)
    {
        if (_need.Length < b.ValueCount)
            _need = new int[b.ValueCount * 2];
        var need = _need.AsSpan(0, b.ValueCount);
        need.Fill(Never);
        var globals = b.GlobalCount;
        var insns = b.Insns;
        for (var i = insns.Length - 1; i >= 0; i--)
        {
            ref var insn = ref insns[i];
            var info = IrInfo.Of(insn.Op);
            if (insn.Op == IrOp.LoopHead)
                ForgetAllBut(b, need);
            else if ((info & (OpTraits.EndsPath | OpTraits.Label)) != 0)
                need[globals..].Fill(Never);
            if (insn.Op == IrOp.LoopBack)
            {
                foreach (var c in b.Carried)
                    need[c.Value.Id] = i;
            }

            if (insn.Dst.IsValue)
            {
                var d = insn.Dst.Id;
                if (need[d] == Never && (info & OpTraits.Pure) != 0)
                {
                    insn.Op = IrOp.Nop;
                    insn.Dst = insn.A = insn.B = insn.C = insn.D = Val.None;
                    continue;
                }

                insn.LastNeed = need[d];
                need[d] = Never;
            }

            var allGlobals = (info & OpTraits.NeedsGlobals) != 0
                || (insn.Op == IrOp.Call && b.HelperOf(insn).Effects != HelperEffects.None);
            if (allGlobals)
            {
                for (var g = 0; g < globals; g++)
                {
                    if (need[g] == Never)
                        need[g] = i;
                }
            }

            Use(need, insn.A, i);
            Use(need, insn.B, i);
            Use(need, insn.C, i);
            Use(need, insn.D, i);
        }

        if (_globalsAtEntry.Length < globals)
            _globalsAtEntry = new int[globals];
        need[..globals].CopyTo(_globalsAtEntry);
    }

    /// <summary>Only what is carried crosses the head of a loop.</summary>
    private static void ForgetAllBut(IrBuilder b, Span<int> need)
    {
        Span<int> kept = stackalloc int[b.Carried.Count];
        for (var n = 0; n < kept.Length; n++)
            kept[n] = need[b.Carried[n].Value.Id];
        need[b.GlobalCount..].Fill(Never);
        for (var n = 0; n < kept.Length; n++)
            need[b.Carried[n].Value.Id] = kept[n];
    }

    private static void Use(Span<int> need, Val v, int at)
    {
        if (v.IsValue && need[v.Id] == Never)
            need[v.Id] = at;
    }
}
