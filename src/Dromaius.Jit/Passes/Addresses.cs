using Dromaius.Jit.Ir;

namespace Dromaius.Jit.Passes;

/// <summary>
/// Looks at addresses as a root and a distance. Distances from a value that is still at hand go into the access itself
/// (<see cref="IrInsn.Imm"/>), so that no operation is left for them. Accesses of a straight run that differ only in their distance
/// form a group (<see cref="IrInsn.Group"/>): the back end checks the first and lets the others use what it found. A check for
/// alignment that follows from an earlier one is dropped.
/// </summary>
public sealed class Addresses
{
    /// <summary>How far from its first access a group reaches, in bytes.</summary>
    private const int Reach = 1024;

    /// <summary>Groups that may be open at once; a new one ends the one longest out of use.</summary>
    private const int MaxOpen = 4;

    /// <summary>What a value is: a root plus a distance. Two values of one root are that far apart.</summary>
    private struct Form
    {
        public int Root;
        public long Distance;

        /// <summary>The value it was made from, as that was then: <c>base + Offset</c>.</summary>
        public Val Base;
        public int BaseRoot;
        public long BaseDistance;
        public int Offset;
    }

    private struct OpenGroup
    {
        public int Id;
        public int Root;
        public byte Mmu;
        public long Anchor;
        public int LastUse;
    }

    /// <summary>Distances from a root that were found to be multiples of a power of two, less one.</summary>
    private readonly record struct Alignment(int Root, long Distance, ulong Mask);

    private readonly Alignment[] _aligned = new Alignment[4];
    private int _alignedCount;
    private Form[] _forms = [];
    private readonly OpenGroup[] _open = new OpenGroup[MaxOpen];
    private int[] _members = new int[64];
    private int[] _last = new int[64];
    private int _openCount;
    private int _roots;

    // The roots of globals begin behind this one: at the unit's begin, then at the loop's head.
    private int _globalRoots;

    /// <summary>Groups are numbered from 1 to this.</summary>
    public int GroupCount { get; private set; }

    /// <summary>Index of the last operation of a group.</summary>
    public int LastOf(int group) => _last[group];

    public void Run(IrBuilder b)
    {
        if (_forms.Length < b.ValueCount)
            _forms = new Form[b.ValueCount * 2];
        GroupCount = 0;
        _openCount = 0;
        _alignedCount = 0;
        _roots = _globalRoots = 0;
        for (var v = 0; v < b.ValueCount; v++)
            _forms[v] = new Form { Root = ++_roots };
        var insns = b.Insns;
        for (var i = 0; i < insns.Length; i++)
        {
            ref var insn = ref insns[i];
            switch (insn.Op)
            {
                case IrOp.GuestLd or IrOp.GuestSt or IrOp.VGuestLd or IrOp.VGuestSt or IrOp.X87Mem:
                    Fold(b, ref insn);
                    Group(b, ref insn, i);
                    break;
                case IrOp.GuestRmw or IrOp.GuestCas:
                    Fold(b, ref insn);
                    break;
                case IrOp.Label or IrOp.LoopHead or IrOp.Call:
                    _openCount = 0;
                    _globalRoots = insn.Op == IrOp.LoopHead ? _roots : int.MaxValue;
                    for (var g = 0; g < b.GlobalCount; g++)
                        _forms[g] = new Form { Root = ++_roots };
                    break;
                case IrOp.Mov:
                    InPlace(b, ref insn);
                    break;
                case IrOp.BrCond when insn is { Cond: Cond.TestNe, Width: W.Q, A.IsValue: true } && b.TryConst(insn.B, out var mask)
                    && (mask & (mask + 1)) == 0:
                    if (FollowsFrom(insn.A, mask))
                        Drop(insns, i);
                    break;
            }

            if (insn.Dst.IsValue)
                Define(b, insn);
        }

        // A group of one is none.
        foreach (ref var insn in insns)
        {
            if (insn.Group != 0 && _members[insn.Group] < 2)
                insn.Group = 0;
        }
    }

    /// <summary>Whether a value is known to be a multiple of mask + 1; behind the check it is.</summary>
    private bool FollowsFrom(Val value, ulong mask)
    {
        ref readonly var form = ref _forms[value.Id];
        for (var i = 0; i < Math.Min(_alignedCount, _aligned.Length); i++)
        {
            ref readonly var known = ref _aligned[i];
            if (known.Root == form.Root && known.Mask >= mask && ((ulong)(known.Distance - form.Distance) & mask) == 0)
                return true;
        }

        _aligned[_alignedCount++ % _aligned.Length] = new Alignment(form.Root, form.Distance, mask);
        return false;
    }

    /// <summary>Drops a branch that is never taken, and with it what only it leads to.</summary>
    private static void Drop(Span<IrInsn> insns, int at)
    {
        var label = insns[at].Aux;
        insns[at] = new IrInsn { Op = IrOp.Nop };
        var begin = -1;
        for (var i = 0; i < insns.Length; i++)
        {
            if (insns[i].Op is IrOp.Br or IrOp.BrCond && insns[i].Aux == label)
                return;
            if (insns[i].Op == IrOp.Label && insns[i].Aux == label)
                begin = i;
        }

        if (begin <= 0 || (IrInfo.Of(insns[begin - 1].Op) & OpTraits.EndsPath) == 0)
            return;
        for (var end = false; begin < insns.Length && !end; begin++)
        {
            end = (IrInfo.Of(insns[begin].Op) & OpTraits.EndsPath) != 0
                || (begin + 1 < insns.Length && insns[begin + 1].Op is IrOp.Label or IrOp.LoopHead);
            insns[begin] = new IrInsn { Op = IrOp.Nop };
        }
    }

    private void Define(IrBuilder b, in IrInsn insn)
    {
        ref var form = ref _forms[insn.Dst.Id];
        if (insn.Op == IrOp.Mov && insn.A.IsValue && insn.A != insn.Dst)
        {
            form = Plus(insn.A, 0);
            return;
        }

        if (insn.Op is IrOp.Add or IrOp.Sub && insn.Width == W.Q && insn.A.IsValue && b.TryConst(insn.B, out var c)
            && (long)c is > -(1 << 30) and < 1 << 30)
        {
            var offset = insn.Op == IrOp.Add ? (int)(long)c : -(int)(long)c;
            form = Plus(insn.A, offset);
            if (insn.A == insn.Dst)
                form.Base = Val.None; // it is gone
            return;
        }

        form = new Form { Root = ++_roots };
    }

    private Form Plus(Val a, int offset)
    {
        ref readonly var from = ref _forms[a.Id];
        return new Form
        {
            Root = from.Root, Distance = from.Distance + offset, Base = a, BaseRoot = from.Root, BaseDistance = from.Distance,
            Offset = offset,
        };
    }

    /// <summary>The base of a value, if it is still what it was.</summary>
    private bool TryBase(Val v, out Val from, out int offset)
    {
        from = Val.None;
        offset = 0;
        if (!v.IsValue)
            return false;
        ref readonly var form = ref _forms[v.Id];
        from = form.Base;
        offset = form.Offset;
        return from.IsValue && _forms[from.Id].Root == form.BaseRoot && _forms[from.Id].Distance == form.BaseDistance;
    }

    /// <summary>Goes back from temporaries to a global or to what cannot be taken apart.</summary>
    private void Fold(IrBuilder b, ref IrInsn insn)
    {
        while (insn.A.IsValue && insn.A.Id >= b.GlobalCount && TryBase(insn.A, out var from, out var offset) && (long)insn.Imm + offset is > int.MinValue and < int.MaxValue)
        {
            insn.A = from;
            insn.Imm = (ulong)((long)insn.Imm + offset);
        }
    }

    /// <summary><c>t = g + c; ...; mov g, t</c> with g unchanged is <c>g = g + c</c>.</summary>
    private void InPlace(IrBuilder b, ref IrInsn insn)
    {
        if (TryBase(insn.A, out var from, out var offset) && from == insn.Dst && offset != 0)
        {
            insn.Op = IrOp.Add;
            insn.Width = W.Q;
            insn.A = from;
            insn.B = b.Const(offset);
        }
    }

    private void Group(IrBuilder b, ref IrInsn insn, int at)
    {
        if ((insn.Aux >> 8 & 0xFF) != 0)
            return; // checked for alignment
        var root = 0;
        var distance = (long)insn.Imm;
        if (b.TryConst(insn.A, out var constant))
            distance += (long)constant;
        else
        {
            root = _forms[insn.A.Id].Root;
            distance += _forms[insn.A.Id].Distance;
        }

        var oldest = 0;
        for (var i = 0; i < _openCount; i++)
        {
            ref var open = ref _open[i];
            if (open.Root == root && open.Mmu == (byte)insn.Aux && distance - open.Anchor is > -Reach and < Reach
                && IsLikelyOnPage(b, root, open.Anchor, distance))
            {
                _members[open.Id]++;
                _last[open.Id] = at;
                open.LastUse = at;
                insn.Group = open.Id;
                insn.Delta = (int)(distance - open.Anchor);
                return;
            }

            if (open.LastUse < _open[oldest].LastUse)
                oldest = i;
        }

        var id = ++GroupCount;
        if (id >= _members.Length)
        {
            Array.Resize(ref _members, id * 2);
            Array.Resize(ref _last, id * 2);
        }

        _members[id] = 1;
        _last[id] = at;
        _open[_openCount < MaxOpen ? _openCount++ : oldest] =
            new OpenGroup { Id = id, Root = root, Mmu = (byte)insn.Aux, Anchor = distance, LastUse = at };
        insn.Group = id;
        insn.Delta = 0;
    }

    /// <summary>Whether two distances from a root lie on one page, as far as is known; an access on the next is no member of the group.</summary>
    private bool IsLikelyOnPage(IrBuilder b, int root, long one, long other)
    {
        var global = root - _globalRoots - 1L;
        var origin = root == 0 ? 0 : global >= 0 && global < b.GlobalCount ? b.LikelyValue((int)global) : 0;
        return (root != 0 && origin == 0) || (((origin + (ulong)one) ^ (origin + (ulong)other)) & ~0xFFFUL) == 0;
    }
}
