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
        EnsureRoom(b.ValueCount);
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
                case IrOp.Call:
                    _known.Clear();
                    break;
                case IrOp.LoopHead:
                    Carry(b, i);
                    break;
                case IrOp.LoopBack:
                    HandOn(b, i);
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

    // The loop.

    /// <summary>What is known at the head, and loaded in the loop before it is stored, goes on in a temporary.</summary>
    private void Carry(IrBuilder b, int head)
    {
        b.Carried.Clear();
        foreach (var known in _known)
        {
            if (b.Carried.Count < CarriedVector.Most && FirstLoad(b, head, known) is { } width && _width[known.Value.Id] <= width)
            {
                var value = b.NewTemp(ValType.Vec);
                EnsureRoom(b.ValueCount);
                (_same[value.Id], _width[value.Id]) = (Val.None, width);
                b.Insns[head - 1 - b.Carried.Count] = new IrInsn { Op = IrOp.VMov, Width = W.Q, Dst = value, A = known.Value };
                b.Carried.Add(new CarriedVector(value, known.Offset, width));
            }
        }

        _known.Clear();
        foreach (var c in b.Carried)
            _known.Add(new Known(c.Offset, c.Width, c.Value));
    }

    /// <summary>The width at which the loop loads what is known, if it does so before it changes it, and in no way that hides it.</summary>
    private static W? FirstLoad(IrBuilder b, int head, in Known known)
    {
        var insns = b.Insns;
        W? first = null;
        for (var i = head + 1; i < insns.Length && insns[i].Op != IrOp.LoopBack; i++)
        {
            ref readonly var insn = ref insns[i];
            if (insn.Op is IrOp.Label or IrOp.Call or IrOp.X87 or IrOp.X87Mem)
                return null;
            if (first != null || insn.Op is not (IrOp.VLdState or IrOp.VStState or IrOp.StState or IrOp.LdState))
                continue;
            var (offset, length) = ((int)insn.Imm, 1 << (int)insn.Width);
            if (offset >= known.Offset + (1 << (int)known.Width) || known.Offset >= offset + length)
                continue;
            if (insn.Op != IrOp.VLdState || offset != known.Offset || insn.Width < W.X || insn.Width > known.Width)
                return null;
            first = insn.Width;
        }

        return first;
    }

    /// <summary>At the loop's end: temporaries get what the state holds now.</summary>
    private void HandOn(IrBuilder b, int back)
    {
        for (var n = 0; n < b.Carried.Count; n++)
        {
            var c = b.Carried[n];
            var now = Val.None;
            foreach (var known in _known)
            {
                if (known.Offset == c.Offset && known.Width >= c.Width && _width[known.Value.Id] <= c.Width)
                    now = known.Value;
            }

            if (now == c.Value)
                continue;
            // Another one that is carried may have been handed on before: the state has it too.
            b.Insns[back - 1 - n] = now.IsNone || b.Carried.Exists(o => o.Value == now)
                ? new IrInsn { Op = IrOp.VLdState, Width = c.Width, Dst = c.Value, Imm = (ulong)c.Offset }
                : new IrInsn { Op = IrOp.VMov, Width = W.Q, Dst = c.Value, A = now };
        }
    }

    private void EnsureRoom(int values)
    {
        if (_same.Length >= values)
            return;
        Array.Resize(ref _same, values * 2);
        Array.Resize(ref _width, values * 2);
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
