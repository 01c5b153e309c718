using Dromaius.Jit.Ir;
using Dromaius.Jit.Passes;

namespace Dromaius.Jit.Tests;

/// <summary>What the pass over addresses makes of short runs.</summary>
public sealed class AddressesTests
{
    private static readonly Val G0 = new(0), G1 = new(1);
    private readonly IrBuilder _b = new(TestGuest.Layout);
    private readonly Addresses _pass = new();

    [Fact]
    public void DistancesGoIntoTheAccessAndMakeAGroup()
    {
        var value = _b.GuestLd(W.Q, _b.Add(W.Q, G0, _b.Const(8)), new MemOp(0));
        _b.GuestSt(W.Q, _b.Add(W.Q, _b.Add(W.Q, G0, _b.Const(-8)), _b.Const(32)), value, new MemOp(0));
        _b.ExitLoop();
        _pass.Run(_b);
        var load = Find(IrOp.GuestLd);
        var store = Find(IrOp.GuestSt);
        Assert.Equal((G0, 8UL), (load.A, load.Imm));
        Assert.Equal((G0, 24UL), (store.A, store.Imm));
        Assert.Equal(load.Group, store.Group);
        Assert.NotEqual(0, load.Group);
        Assert.Equal(16, store.Delta);
    }

    [Fact]
    public void ABaseThatChangedIsNotUsed()
    {
        var address = _b.Add(W.Q, G0, _b.Const(8));
        _b.Set(G0, G1);
        _ = _b.GuestLd(W.Q, address, new MemOp(0));
        _b.ExitLoop();
        _pass.Run(_b);
        Assert.Equal((address, 0UL, 0), (Find(IrOp.GuestLd).A, Find(IrOp.GuestLd).Imm, Find(IrOp.GuestLd).Group));
    }

    [Fact]
    public void CopiesInARingEnd()
    {
        _b.Set(G0, G1);
        _b.Set(G1, G0);
        _ = _b.GuestLd(W.Q, _b.Copy(G1), new MemOp(0));
        _b.ExitLoop();
        _pass.Run(_b);
        Assert.Equal(G1, Find(IrOp.GuestLd).A);
    }

    [Fact]
    public void CallsAndLabelsEndGroups()
    {
        var label = _b.NewLabel();
        _ = _b.GuestLd(W.Q, G0, new MemOp(0));
        _b.Label(label);
        _ = _b.GuestLd(W.D, G0, new MemOp(0));
        _b.ExitLoop();
        _pass.Run(_b);
        foreach (var insn in _b.Insns)
            Assert.Equal(0, insn.Group);
    }

    private IrInsn Find(IrOp op)
    {
        foreach (var insn in _b.Insns)
        {
            if (insn.Op == op)
                return insn;
        }

        throw new InvalidOperationException($"no {op}");
    }
}
