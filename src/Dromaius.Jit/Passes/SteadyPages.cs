using Dromaius.Jit.Ir;

namespace Dromaius.Jit.Passes;

/// <summary>
/// Tells which accesses of a hot unit are likely to find the page that they touched the time before: those to the stack, to constant
/// addresses, and in a loop those whose address did not come out of guest memory. The others go from object to object.
/// </summary>
public sealed class SteadyPages
{
    // Values that depend on what the unit loaded.
    private bool[] _loaded = [];

    // Operations.
    private bool[] _steady = [];

    public void Run(IrBuilder b)
    {
        if (_loaded.Length < b.ValueCount)
            _loaded = new bool[b.ValueCount * 2];
        if (_steady.Length < b.Count)
            _steady = new bool[b.Count * 2];
        Array.Clear(_loaded);
        Array.Fill(_steady, true);
        var loops = false;
        // What a loop loads is used in its next round.
        for (var round = 0; round < 2; round++)
        {
            for (var i = 0; i < b.Count; i++)
            {
                ref readonly var insn = ref b.Insns[i];
                loops |= insn.Op == IrOp.LoopHead;
                _steady[i] &= !IsLoaded(insn.A);
                if (insn.Dst.IsValue)
                    _loaded[insn.Dst.Id] = insn.Op == IrOp.GuestLd || IsLoaded(insn.A) || IsLoaded(insn.B) || IsLoaded(insn.C);
            }
        }

        if (loops)
            return;
        var stack = new Val(b.Layout.StackPointer);
        for (var i = 0; i < b.Count; i++)
            _steady[i] &= b.Insns[i].A.IsConst || b.Insns[i].A == stack;
    }

    /// <summary>Whether the operation at an index is such an access.</summary>
    public bool IsSteady(int index) => _steady[index];

    private bool IsLoaded(Val v) => v.IsValue && _loaded[v.Id];
}
