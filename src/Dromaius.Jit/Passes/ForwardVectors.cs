using Dromaius.Jit.Ir;

namespace Dromaius.Jit.Passes;

/// <summary>
/// Keeps vector registers of the guest at hand within a unit: a load from the CPU state of what was stored or loaded before
/// becomes that value. An operation that clears the upper half after a 128-bit store becomes one store of both.
/// </summary>
public sealed class ForwardVectors
{
    private const int MaxKnown = 48;

    private readonly record struct Known(int Offset, W Width, Val Value);

    private readonly List<Known> _known = [];
    private Val[] _same = [];
    private W[] _width = [];

    public void Run(IrBuilder b)
    {
        var vectors = false;
        foreach (ref readonly var insn in b.Insns)
            vectors |= insn.Op == IrOp.VStState;
        if (vectors)
            Forward(b);
    }

    private void Forward(IrBuilder b)
    {
        if (_same.Length < b.ValueCount)
        {
            _same = new Val[b.ValueCount * 2];
            _width = new W[b.ValueCount * 2];
        }

        Array.Clear(_same, 0, b.ValueCount);
        Array.Fill(_width, W.Y, 0, b.ValueCount);
        _known.Clear();
        var insns = b.Insns;
        for (var i = 0; i < insns.Length; i++)
        {
            ref var insn = ref insns[i];
            insn.A = Same(insn.A);
            insn.B = Same(insn.B);
            insn.C = Same(insn.C);
            insn.D = Same(insn.D);
            var dst = insn.Dst;
            if (dst.IsValue && b.TypeOf(dst) == ValType.Vec)
            {
                _same[dst.Id] = Val.None;
                Overwritten(dst);
                _width[dst.Id] = insn.Op == IrOp.VMov ? _width[insn.A.Id] : insn.Width > W.X ? W.Y : W.X;
            }

            switch (insn.Op)
            {
                case IrOp.Label:
                case IrOp.LoopHead:
                case IrOp.Call:
                    _known.Clear();
                    break;
                case IrOp.StState:
                    Forget((int)insn.Imm, 1 << (int)insn.Width);
                    break;
                case IrOp.VLdState:
                    Load(ref insn);
                    break;
                case IrOp.VStState:
                    Widen(b, i);
                    Forget((int)insn.Imm, 1 << (int)insn.Width);
                    insn.Extra = _width[insn.A.Id] <= insn.Width ? (byte)1 : (byte)0;
                    if (insn.Width >= W.X)
                        Remember(new Known((int)insn.Imm, insn.Width, insn.A));
                    break;
            }
        }
    }

    private Val Same(Val v) => v.IsValue && !_same[v.Id].IsNone ? _same[v.Id] : v;

    private void Load(ref IrInsn insn)
    {
        if (insn.Width < W.X)
            return;
        foreach (var known in _known)
        {
            if (known.Offset == (int)insn.Imm && known.Width >= insn.Width && _width[known.Value.Id] <= insn.Width)
            {
                _same[insn.Dst.Id] = known.Value;
                insn = new IrInsn { Op = IrOp.Nop };
                return;
            }
        }

        Remember(new Known((int)insn.Imm, insn.Width, insn.Dst));
    }

    private void Remember(Known known)
    {
        if (_known.Count == MaxKnown)
            _known.RemoveAt(0);
        _known.Add(known);
    }

    /// <summary>A 128-bit store followed by two that clear the upper half: one store, since the value's own is clear.</summary>
    private void Widen(IrBuilder b, int at)
    {
        var insns = b.Insns;
        ref var store = ref insns[at];
        if (store.Width != W.X || at + 2 >= insns.Length || _width[store.A.Id] > W.X
            || !Clears(b, insns[at + 1], store.Imm + 16) || !Clears(b, insns[at + 2], store.Imm + 24))
            return;
        store.Width = W.Y;
        insns[at + 1] = insns[at + 2] = new IrInsn { Op = IrOp.Nop };
    }

    private static bool Clears(IrBuilder b, in IrInsn insn, ulong offset) =>
        insn.Op == IrOp.StState && insn.Width == W.Q && insn.Imm == offset && b.TryConst(insn.A, out var value) && value == 0;

    private void Forget(int offset, int length)
    {
        for (var i = _known.Count - 1; i >= 0; i--)
        {
            if (_known[i].Offset < offset + length && offset < _known[i].Offset + (1 << (int)_known[i].Width))
                _known.RemoveAt(i);
        }
    }

    /// <summary>A temporary gets another value.</summary>
    private void Overwritten(Val value)
    {
        for (var i = _known.Count - 1; i >= 0; i--)
        {
            if (_known[i].Value == value)
                _known.RemoveAt(i);
        }
    }
}
