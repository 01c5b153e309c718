using Dromaius.Jit.Ir;

namespace Dromaius.Jit.Tests;

/// <summary>Writes a random unit that keeps the rules of the IR. The same seed gives the same unit.</summary>
internal sealed class ProgramGenerator(Random random, IrBuilder b)
{
    private const int LoopCounter = TestState.GlobalCount - 1;
    private static readonly VecKind[] Kinds = [.. Enum.GetValues<VecKind>().Where(Usable)];
    private static readonly IrOp[] Binary =
    [
        IrOp.Add, IrOp.Sub, IrOp.And, IrOp.Or, IrOp.Xor, IrOp.AndNot, IrOp.Shl, IrOp.Shr, IrOp.Sar, IrOp.Rol, IrOp.Ror,
        IrOp.Mul, IrOp.MulHiU, IrOp.MulHiS, IrOp.Pdep, IrOp.Pext,
    ];

    private readonly List<Val> _ints = [];
    private readonly List<Val> _roots = [];

    /// <summary>Vector temporaries, and whether all 256 bits are defined.</summary>
    private readonly List<(Val Val, bool Full)> _vectors = [];
    private ulong _pc = 0x1000;

    /// <summary>Whether vector operations are used.</summary>
    public bool Vectors { get; init; } = true;

    public void Write()
    {
        var instructions = random.Next(1, 12);
        var loop = random.Next(3) == 0 ? b.NewLabel() : -1;
        var closed = loop >= 0 && random.Next(2) == 0;
        b.InsnStart(_pc);
        b.FpLoad();
        if (loop >= 0)
        {
            b.Set(new Val(LoopCounter), b.Const((ulong)random.Next(1, 5)));
            if (closed)
            {
                for (var n = random.Next(3); n > 0; n--)
                    Instruction();
                b.LoopHead(loop);
                Forget();
            }
            else
                Label(loop);
        }

        var pending = -1;
        for (var i = 0; i < instructions; i++)
        {
            b.InsnStart(_pc);
            if (pending >= 0 && random.Next(3) == 0)
            {
                Label(pending);
                pending = -1;
            }

            Instruction();
            if (random.Next(5) == 0)
                b.ExitIf(AnyCond(), AnyWidth(), Int(), Int(), _pc + 11, random.Next(-1, 2), random.Next(2) != 0);
            if (random.Next(8) == 0)
                b.ExitUnless(_ints.Count > 0 ? _ints[^1] : Int(), Values.Integer(random));
            if (!closed && pending < 0 && random.Next(4) == 0)
            {
                pending = b.NewLabel();
                Branch(pending);
            }

            _pc += (ulong)random.Next(1, 15);
        }

        if (pending >= 0)
            Label(pending);
        b.InsnStart(_pc);
        if (loop >= 0)
        {
            b.Set(new Val(LoopCounter), b.Sub(W.Q, new Val(LoopCounter), b.Const(1)));
            if (closed)
            {
                b.ExitIf(Cond.Eq, W.Q, new Val(LoopCounter), b.Const(0), _pc + 3, random.Next(-1, 2), random.Next(2) != 0);
                if (random.Next(3) == 0)
                    Instruction();
                b.LoopBack(loop, _pc + 7);
                return;
            }

            b.BrCond(Cond.Ne, W.Q, new Val(LoopCounter), b.Const(0), loop);
        }

        if (random.Next(3) == 0)
        {
            var other = b.NewLabel();
            Branch(other);
            Exit();
            Label(other);
        }

        Exit();
    }

    private static bool Usable(VecKind kind) =>
        // Approximations differ from processor to processor.
        kind is not (VecKind.None or VecKind.Count or VecKind.Rcpps or VecKind.Rcpss or VecKind.Rsqrtps or VecKind.Rsqrtss);

    /// <summary>The operation exists at 256 bits only.</summary>
    private static bool CrossesHalves(VecKind kind) =>
        kind is VecKind.Vpermd or VecKind.Vpermps or VecKind.Vpermq or VecKind.Vpermpd or VecKind.Vperm2f128
            or VecKind.Vperm2i128 or VecKind.Vbroadcastsd;

    private void Label(int label)
    {
        b.Label(label);
        Forget();
    }

    private void Forget()
    {
        _ints.Clear();
        _roots.Clear();
        _vectors.Clear();
    }

    private void Branch(int label) => b.BrCond(AnyCond(), AnyWidth(), Int(), Int(), label);

    private void Exit()
    {
        b.FpSync();
        switch (random.Next(6))
        {
            case 0:
                b.ExitDirect(_pc, 0, false);
                break;
            case 1:
                b.ExitDirect(_pc + 5, 1, random.Next(2) == 0);
                break;
            case 2:
                b.ExitDirect(_pc + 9, -1, false);
                break;
            case 3:
                b.ExitIndirect(Int());
                break;
            case 4:
                b.SetPc(_pc);
                b.ExitLookup();
                break;
            default:
                b.SetPc(_pc);
                b.ExitLoop();
                break;
        }
    }

    /// <summary>Accesses and helpers that can leave come first, changes of globals after them.</summary>
    private void Instruction()
    {
        for (var n = random.Next(6); n > 0; n--)
            Compute();
        for (var n = random.Next(3); n > 0; n--)
            Access();
        for (var n = random.Next(6); n > 0; n--)
            Compute();
        for (var n = random.Next(4); n > 0; n--)
            Change();
        if (random.Next(6) == 0)
            Call();
    }

    /// <summary>An operation whose host flags may answer the comparison behind it.</summary>
    private void ComputeAndCompare(W w)
    {
        var (x, y) = (Int(), Int());
        var result = random.Next(4) switch
        {
            0 => b.And(w, x, y),
            1 => b.Add(w, x, y),
            _ => b.Sub(w, x, y),
        };
        if (random.Next(3) == 0)
            Change();
        var cond = (Cond)random.Next((int)Cond.TestNe + 1);
        var other = random.Next(4) == 0 ? W.D : w;
        _ints.Add(random.Next(3) switch
        {
            0 => b.SetCond(cond, other, result, b.Const(0)),
            1 => b.SetCond(cond, other, result, result),
            _ => b.Select(cond, other, x, y, Int(), result),
        });
        _ints.Add(result);
    }

    /// <summary>A sum or difference of up to three words.</summary>
    private void AddLong(W w)
    {
        var carry = random.Next(3) switch { 0 => b.Const(0), 1 => b.Const(1), _ => Int() };
        for (var n = random.Next(1, 4); n > 0; n--)
        {
            var (result, next) = random.Next(2) == 0 ? b.AddCarry(w, Int(), Int(), carry) : b.SubBorrow(w, Int(), Int(), carry);
            if (random.Next(3) == 0)
                b.Set(_ints.Count > 0 && random.Next(2) == 0 ? _ints[random.Next(_ints.Count)] : new Val(random.Next(LoopCounter)), result);
            if (random.Next(4) != 0)
                _ints.Add(result);
            if (random.Next(4) == 0)
                Change();
            carry = next;
        }

        _ints.Add(carry);
    }

    private void Compute()
    {
        if (Vectors && random.Next(3) == 0)
        {
            ComputeVector();
            return;
        }

        var w = random.Next(2) == 0 ? W.D : W.Q;
        switch (random.Next(15))
        {
            case 14:
                AddLong(w);
                break;
            case 12:
                _ints.Add(b.AddScaled(w, Int(), Int(), random.Next(4)));
                break;
            case 13:
                ComputeAndCompare(w);
                break;
            case 0:
                _ints.Add(Unary(w));
                break;
            case 1:
                _ints.Add(random.Next(2) == 0 ? b.ZExt((W)random.Next(3), Int()) : b.SExt((W)random.Next(3), Int()));
                break;
            case 2:
                var (pos, len) = Field();
                _ints.Add(b.Extract(Int(), pos, len));
                break;
            case 3:
                (pos, len) = Field();
                _ints.Add(b.Deposit(Int(), Int(), pos, len));
                break;
            case 4:
                _ints.Add(b.SetCond(AnyCond(), AnyWidth(), Int(), Int()));
                break;
            case 5:
                _ints.Add(b.Select(AnyCond(), AnyWidth(), Int(), Int(), Int(), Int()));
                break;
            case 6:
                _ints.Add(b.LdState((W)random.Next(4), DataOffset(8)));
                break;
            case 7:
                _ints.Add(b.Copy(Int()));
                break;
            case 8 when _ints.Count > 0:
                b.Set(_ints[random.Next(_ints.Count)], Int());
                break;
            default:
                _ints.Add(BinaryOp(w));
                break;
        }
    }

    private Val Unary(W w)
    {
        var a = Int();
        return random.Next(6) switch
        {
            0 => b.Neg(w, a),
            1 => b.Not(w, a),
            2 => b.Bswap(w, a),
            3 => b.Clz(w, a),
            4 => b.Ctz(w, a),
            _ => b.Popcnt(w, a),
        };
    }

    private Val BinaryOp(W w)
    {
        var op = Binary[random.Next(Binary.Length)];
        var a = Int();
        var c = op is IrOp.Shl or IrOp.Shr or IrOp.Sar or IrOp.Rol or IrOp.Ror ? Count(w) : Int();
        return op switch
        {
            IrOp.Add => b.Add(w, a, c),
            IrOp.Sub => b.Sub(w, a, c),
            IrOp.And => b.And(w, a, c),
            IrOp.Or => b.Or(w, a, c),
            IrOp.Xor => b.Xor(w, a, c),
            IrOp.AndNot => b.AndNot(w, a, c),
            IrOp.Shl => b.Shl(w, a, c),
            IrOp.Shr => b.Shr(w, a, c),
            IrOp.Sar => b.Sar(w, a, c),
            IrOp.Rol => b.Rol(w, a, c),
            IrOp.Ror => b.Ror(w, a, c),
            IrOp.Mul => b.Mul(w, a, c),
            IrOp.MulHiU => b.MulHiU(w, a, c),
            IrOp.MulHiS => b.MulHiS(w, a, c),
            IrOp.Pdep => b.Pdep(w, a, c),
            _ => b.Pext(w, a, c),
        };
    }

    private Val Count(W w)
    {
        var mask = w == W.Q ? 63 : 31;
        return random.Next(2) == 0 ? b.Const((ulong)random.Next(mask + 1)) : b.And(W.Q, Int(), b.Const((ulong)mask));
    }

    private void Access()
    {
        var w = (W)random.Next(4);
        var op = new MemOp((byte)random.Next(2), random.Next(8) == 0 ? (byte)((1 << (int)w) - 1) : (byte)0);
        switch (random.Next(Vectors ? 6 : 4))
        {
            case 0:
                _ints.Add(b.GuestLd(w, Address(), op));
                break;
            case 1:
                b.GuestSt(w, Address(), Int(), op);
                break;
            case 2:
                _ints.Add(b.GuestRmw((RmwKind)random.Next(5), w, Address(), Int(), op));
                break;
            case 3:
                _ints.Add(b.GuestCas(w, Address(), Int(), Int(), op));
                break;
            case 4:
                _vectors.Add((b.VGuestLd((W)random.Next(2, 6), Address(), new MemOp(0, random.Next(6) == 0 ? (byte)15 : (byte)0)), true));
                break;
            default:
                var width = (W)random.Next(2, 6);
                b.VGuestSt(width, Address(), Vector(width == W.Y), new MemOp(0));
                break;
        }
    }

    /// <summary>Mostly inside of the memory's pages, sometimes where it faults.</summary>
    private Val Address()
    {
        var page = random.Next(20) == 0 ? (ulong)random.Next(16) : (ulong)random.Next(10);
        var offset = random.Next(6) == 0 ? 0x1000UL - (ulong)random.Next(1, 32) : (ulong)random.Next(0x1000);
        var address = b.Const(page * 0x1000 + offset);
        if (random.Next(3) == 0)
        {
            // Close to an earlier one: addresses that share a root.
            if (_roots.Count == 0 || random.Next(4) == 0)
                _roots.Add(random.Next(2) == 0 ? b.Copy(address) : b.Add(W.Q, b.And(W.Q, Int(), b.Const(0x38UL)), address));
            var distance = random.Next(-40, 200);
            var near = b.Add(W.Q, _roots[random.Next(_roots.Count)], b.Const(distance));
            if (random.Next(4) == 0)
                _roots.Add(near);
            return near;
        }

        return random.Next(3) switch
        {
            0 => address,
            1 => b.Add(W.Q, b.And(W.Q, Int(), b.Const(random.Next(4) == 0 ? 0x3FFFUL : 0x38UL)), address),
            _ => b.Copy(address),
        };
    }

    private void Change()
    {
        switch (random.Next(Vectors ? 5 : 3))
        {
            case 0:
            case 1:
                b.Set(new Val(random.Next(LoopCounter)), Int());
                break;
            case 2:
                b.StState((W)random.Next(4), DataOffset(8), Int());
                break;
            default:
                var w = (W)random.Next(2, 6);
                b.VStState(w, VectorOffset(w), Vector(w == W.Y));
                break;
        }
    }

    private void Call()
    {
        var helper = random.Next(4) switch
        {
            0 => TestGuest.Pure,
            1 => TestGuest.Reader,
            2 => TestGuest.Writer,
            _ => TestGuest.Leaver,
        };
        if (helper == TestGuest.Leaver)
            b.SetPc(_pc);
        if (random.Next(3) == 0)
            b.CallVoid(helper, Int(), Int(), Int(), Int());
        else
            _ints.Add(b.Call(helper, Int(), Int(), Int(), Int()));
    }

    private void ComputeVector()
    {
        switch (random.Next(10))
        {
            case 0:
                var size = (W)random.Next(2, 6);
                _vectors.Add((b.VLdState(size, VectorOffset(size)), true));
                return;
            case 1:
                _vectors.Add((b.VFromInt(random.Next(2) == 0 ? W.D : W.Q, Int()), true));
                return;
            case 2:
                _ints.Add(b.VToInt(random.Next(2) == 0 ? W.D : W.Q, Vector(false)));
                return;
            case 3:
                var from = AnyVector(false);
                _vectors.Add((b.Copy(from.Val), from.Full));
                return;
        }

        var info = VecOps.Info(Kinds[random.Next(Kinds.Length)]);
        var w = !CrossesHalves(info.Kind) && (info.No256 || random.Next(2) == 0) ? W.X : W.Y;
        var full = w == W.Y;
        var operands = info.Form switch
        {
            VecForm.Unary or VecForm.UnaryImm or VecForm.UnaryImmStore or VecForm.ShiftImm or VecForm.ToGpr or VecForm.ToGprImm
                or VecForm.ToGprImmStore => 1,
            VecForm.Ternary or VecForm.Blendv => 3,
            _ => 2,
        };
        var a = Vector(full);
        var second = operands >= 2 ? Vector(full) : Val.None;
        var third = operands >= 3 ? Vector(full) : Val.None;
        var imm = info.HasImm ? (byte)random.Next(256) : (byte)0;
        if (info.HasIntResult)
            _ints.Add(b.VecToInt(info.Kind, w, a, second, imm));
        else
            _vectors.Add((b.Vec(info.Kind, w, a, second, third, imm), true));
    }

    private Val Vector(bool full) => AnyVector(full).Val;

    private (Val Val, bool Full) AnyVector(bool full)
    {
        for (var tries = 0; tries < 3 && _vectors.Count > 0; tries++)
        {
            var pick = _vectors[random.Next(_vectors.Count)];
            if (pick.Full || !full)
                return pick;
        }

        var loaded = (b.VLdState(W.Y, VectorOffset(W.Y)), true);
        _vectors.Add(loaded);
        return loaded;
    }

    private Val Int() => random.Next(4) switch
    {
        0 => b.Const(Values.Integer(random)),
        1 when _ints.Count > 0 => _ints[random.Next(_ints.Count)],
        2 when _ints.Count > 0 => _ints[^random.Next(1, Math.Min(4, _ints.Count) + 1)],
        _ => new Val(random.Next(LoopCounter)),
    };

    private (int Pos, int Len) Field()
    {
        var pos = random.Next(64);
        return random.Next(3) switch
        {
            0 => (8, 8),
            1 => (0, 8 << random.Next(3)),
            _ => (pos, random.Next(1, 65 - pos)),
        };
    }

    private Cond AnyCond() => (Cond)random.Next(12);

    private W AnyWidth() => (W)random.Next(4);

    private int DataOffset(int room) =>
        TestState.DataOffset + random.Next(TestState.DataSize - room + 1);

    private int VectorOffset(W w) =>
        TestState.VectorsOffset + random.Next(TestState.VectorCount) * 32 + (w == W.Y ? 0 : random.Next(2) * 16);
}
