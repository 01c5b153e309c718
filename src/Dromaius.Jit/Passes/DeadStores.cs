using Dromaius.Jit.Ir;

namespace Dromaius.Jit.Passes;

/// <summary>Removes stores to the CPU state that are overwritten before anybody can look.</summary>
public sealed class DeadStores
{
    /// <summary>More is not remembered: a store is then kept.</summary>
    private const int MaxKnown = 32;

    private readonly List<(int Offset, int End)> _overwritten = [];

    public void Run(IrBuilder b)
    {
        _overwritten.Clear();
        var insns = b.Insns;
        for (var i = insns.Length - 1; i >= 0; i--)
        {
            ref var insn = ref insns[i];
            var offset = (int)insn.Imm;
            var end = offset + (1 << (int)insn.Width);
            switch (insn.Op)
            {
                case IrOp.StState or IrOp.VStState:
                    if (IsOverwritten(offset, end))
                        insn = new IrInsn { Op = IrOp.Nop };
                    else if (_overwritten.Count < MaxKnown)
                        _overwritten.Add((offset, end));
                    break;
                case IrOp.VLdState or IrOp.LdState:
                    Forget(offset, end);
                    break;
                case IrOp.X87:
                    // Registers and status word; their stores are its own.
                    if (b.Layout.X87 is { } x87)
                    {
                        Forget(x87.Registers, x87.Registers + X87Layout.Count * X87Layout.SlotSize);
                        Forget(x87.Control, x87.Control + 2);
                        Forget(x87.Status, x87.Status + 2);
                    }

                    break;
                case IrOp.VecOp or IrOp.VecToIntOp or IrOp.FpSync or IrOp.FpLoad or IrOp.InsnStart:
                    break;
                default:
                    if ((IrInfo.Of(insn.Op) & OpTraits.Pure) == 0)
                        _overwritten.Clear();
                    break;
            }
        }
    }

    private bool IsOverwritten(int offset, int end)
    {
        foreach (var o in _overwritten)
        {
            if (o.Offset <= offset && end <= o.End)
                return true;
        }

        return false;
    }

    private void Forget(int offset, int end)
    {
        for (var i = _overwritten.Count - 1; i >= 0; i--)
        {
            if (_overwritten[i].Offset < end && offset < _overwritten[i].End)
                _overwritten.RemoveAt(i);
        }
    }
}
