using Dromaius.Jit.Ir;

namespace Dromaius.Jit.Passes;

/// <summary>
/// Tells which accesses of a hot unit are likely to find the page that they touched the time before: those to the stack, to constant
/// addresses, in a loop those whose address did not come out of guest memory, and each of them also with a small index that did, into a
/// table on one page. The others go from object to object.
/// </summary>
public sealed class SteadyPages
{
    private const ulong Page = 4096;

    // How far from a steady address: anywhere.
    private const ulong Anywhere = ulong.MaxValue;

    /// <summary>What is likely of a value: it lies at most <paramref name="Reach"/> above an address that moves little.</summary>
    /// <param name="Reach">0 for what did not come out of memory.</param>
    /// <param name="Base">That address when the unit is made, if it is known; else 0.</param>
    private readonly record struct Place(ulong Reach, ulong Base);

    private Place[] _places = [];
    private bool[] _steady = [];

    public void Run(IrBuilder b)
    {
        if (_places.Length < b.ValueCount)
            _places = new Place[b.ValueCount * 2];
        if (_steady.Length < b.Count)
            _steady = new bool[b.Count * 2];
        var loops = false;
        foreach (ref readonly var insn in b.Insns)
            loops |= insn.Op == IrOp.LoopHead;
        for (var g = 0; g < b.GlobalCount; g++)
            _places[g] = new Place(loops || g == b.Layout.StackPointer ? 0 : Anywhere, b.LikelyValue(g));
        Array.Fill(_steady, true);
        // What a loop loads is used in its next round.
        for (var round = 0; round < (loops ? 2 : 1); round++)
        {
            for (var i = 0; i < b.Count; i++)
            {
                ref readonly var insn = ref b.Insns[i];
                _steady[i] &= IsSteady(Of(b, insn.A), (int)insn.Imm);
                if (insn.Dst.IsValue)
                    _places[insn.Dst.Id] = After(b, insn);
            }
        }
    }

    /// <summary>Whether the operation at an index is such an access.</summary>
    public bool IsSteady(int index) => _steady[index];

    private static bool IsSteady(Place place, int displacement) =>
        place.Reach == 0 || (place.Reach < Page && ((place.Base + (ulong)displacement) & (Page - 1)) + place.Reach < Page);

    private Place Of(IrBuilder b, Val v) =>
        v.IsValue ? _places[v.Id] : new Place(0, b.TryConst(v, out var value) ? value : 0);

    private Place After(IrBuilder b, in IrInsn insn)
    {
        var (x, y) = (Of(b, insn.A), Of(b, insn.B));
        var constant = insn.B.IsConst;
        return insn.Op switch
        {
            IrOp.Mov => x,
            IrOp.Add => Sum(x, y),
            IrOp.AddScaled => Sum(x, Scaled(y, (int)insn.Imm)),
            IrOp.Sub when constant => x with { Base = x.Base - y.Base },
            IrOp.Shl when constant && y.Base <= 3 => Scaled(x, (int)y.Base),
            IrOp.GuestLd => Within(Mask(8 << (int)insn.Width)),
            IrOp.ZExt when x.Reach != 0 => Within(Math.Min(x.Reach, Mask(8 << (int)insn.Width))),
            IrOp.Extract when x.Reach != 0 => Within(Mask((int)(insn.Imm >> 8) & 63)),
            IrOp.And when constant && x.Reach != 0 => Within(Math.Min(x.Reach, y.Base)),
            IrOp.Shr when constant && x.Reach != 0 => Within(Mask((8 << (int)insn.Width) - (int)(y.Base & 63))),
            _ => new Place(x.Reach == 0 && y.Reach == 0 && Of(b, insn.C).Reach == 0 ? 0 : Anywhere, 0),
        };
    }

    private static ulong Mask(int bits) => bits is > 0 and < 64 ? (1UL << bits) - 1 : Anywhere;

    /// <summary>What came out of memory but is small serves as an index only.</summary>
    private static Place Within(ulong reach) => new(reach, 0);

    private static Place Sum(Place x, Place y) => new(Math.Max(x.Reach + y.Reach, Math.Max(x.Reach, y.Reach)), x.Base + y.Base);

    private static Place Scaled(Place x, int shift) =>
        new(x.Reach < Page ? x.Reach << shift : Anywhere, x.Reach == 0 ? x.Base << shift : 0);
}
