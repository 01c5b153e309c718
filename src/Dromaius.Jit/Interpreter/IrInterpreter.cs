using Dromaius.Jit.Ir;

namespace Dromaius.Jit.Interpreter;

/// <summary>
/// The portable back end: decodes a unit of IR once into a compact form that <see cref="InterpretedUnit"/> executes. Also the
/// oracle that the native back ends are compared with.
/// </summary>
public static unsafe class IrInterpreter
{
    private const int SlotSize = 32;
    private const int BaseState = 0, BaseFrame = 1, BaseConstants = 2;

    /// <summary>Decodes what the builder holds; the builder can be reused at once.</summary>
    public static InterpretedUnit Compile(IrBuilder b)
    {
        var decoder = new Decoder(b);
        return decoder.Decode();
    }

    private sealed class Decoder(IrBuilder b)
    {
        private readonly List<InterpretedOp> _ops = new(b.Count + 1);
        private readonly List<ulong> _constants = [0, 0, 0, 0]; // an absent operand reads as a zero vector
        private readonly Dictionary<ulong, int> _constantIndex = new() { [0] = 0 };
        private readonly int[] _labels = new int[b.LabelCount];
        private ulong _pc;

        public InterpretedUnit Decode()
        {
            Array.Fill(_labels, -1);
            foreach (ref readonly var i in b.Insns)
                Add(i);

            // A unit ends with an exit; leaving through the loop keeps a malformed one from running off its end.
            _ops.Add(new InterpretedOp { Code = Code.ExitLoop });
            var ops = GC.AllocateUninitializedArray<InterpretedOp>(_ops.Count, pinned: true);
            _ops.CopyTo(ops);
            for (var n = 0; n < ops.Length; n++)
            {
                if (ops[n].Code is Code.Br or Code.BrCond or Code.LoopBack)
                {
                    var target = _labels[ops[n].Aux];
                    if (target < 0)
                        throw new InvalidOperationException("branch to a label that is not in the unit");
                    ops[n].Aux = target;
                }
            }

            var constants = GC.AllocateUninitializedArray<ulong>(_constants.Count, pinned: true);
            _constants.CopyTo(constants);
            return new InterpretedUnit(b.Layout, ops, constants, (b.ValueCount - b.GlobalCount) * SlotSize);
        }

        private int Operand(Val v)
        {
            if (v.IsNone)
                return Constant(0);
            if (v.IsConst)
                return Constant(b.ConstValue(v));
            if (v.Id < b.GlobalCount)
                return b.Layout.Globals[v.Id].Offset << 2 | BaseState;
            return (v.Id - b.GlobalCount) * SlotSize << 2 | BaseFrame;
        }

        private int Constant(ulong value)
        {
            if (!_constantIndex.TryGetValue(value, out var index))
            {
                index = _constants.Count;
                _constants.Add(value);
                _constantIndex[value] = index;
            }

            return index * sizeof(ulong) << 2 | BaseConstants;
        }

        private void Add(in IrInsn i)
        {
            switch (i.Op)
            {
                case IrOp.Nop:
                case IrOp.FpSync: // vector operations keep the guest's FP control register up to date themselves here
                case IrOp.FpLoad:
                case IrOp.X87 when (X87Op)i.Aux == X87Op.Reload:
                    return;
                case IrOp.InsnStart:
                    _pc = i.Imm;
                    return;
                case IrOp.Label:
                case IrOp.LoopHead:
                    _labels[i.Aux] = _ops.Count;
                    return;
            }

            var o = new InterpretedOp
            {
                Dst = i.Dst.IsNone ? -1 : Operand(i.Dst),
                A = Operand(i.A),
                B = Operand(i.B),
                C = Operand(i.C),
                D = Operand(i.D),
                Sub = (byte)i.Cond,
                Shape = (byte)i.Width,
                Aux = i.Aux,
                Imm = i.Imm,
            };
            switch (i.Op)
            {
                case IrOp.SetCond:
                    o.Code = Code.SetCond;
                    o.Shape = ConditionShift(i.Width);
                    break;
                case IrOp.AddCarry or IrOp.SubBorrow or IrOp.CarryOf or IrOp.BorrowOf:
                    o.Code = Code.Carry;
                    o.Sub = (byte)i.Op;
                    break;
                case IrOp.Select:
                    o.Code = Code.Select;
                    o.Shape = ConditionShift(i.Width);
                    break;
                case IrOp.BrCond:
                    o.Code = Code.BrCond;
                    o.Shape = ConditionShift(i.Width);
                    break;
                case IrOp.Br:
                    o.Code = Code.Br;
                    break;
                case IrOp.LoopBack:
                    o.Code = Code.LoopBack;
                    break;
                case IrOp.ExitIf:
                    o.Code = i.Extra switch
                    {
                        IrInsn.ToOperand => Code.ExitIfTo,
                        IrInsn.CheckExit => Code.ExitIfCheck,
                        _ => Code.ExitIf,
                    };
                    o.Shape = ConditionShift(i.Width);
                    o.Aux = (int)ExitOf(i.Aux);
                    break;
                case IrOp.LdState:
                    o.Code = Code.LdState8 + (ushort)i.Width;
                    o.Aux = (int)i.Imm;
                    break;
                case IrOp.StState:
                    o.Code = Code.StState8 + (ushort)i.Width;
                    o.Aux = (int)i.Imm;
                    break;
                case IrOp.GuestLd:
                case IrOp.GuestSt:
                case IrOp.GuestRmw:
                case IrOp.GuestCas:
                    o.Code = Code.GuestLd + (ushort)(i.Op - IrOp.GuestLd);
                    Access(ref o, i);
                    break;
                case IrOp.VGuestLd:
                case IrOp.VGuestSt:
                    o.Code = i.Op == IrOp.VGuestLd ? Code.VGuestLd : Code.VGuestSt;
                    Access(ref o, i);
                    break;
                case IrOp.VLdState:
                case IrOp.VStState:
                    o.Code = i.Op == IrOp.VLdState ? Code.VLdState : Code.VStState;
                    o.Aux = (int)i.Imm;
                    break;
                case IrOp.VFromInt:
                    o.Code = Code.VFromInt;
                    break;
                case IrOp.VToInt:
                    o.Code = Code.VToInt;
                    break;
                case IrOp.VMov:
                    o.Code = Code.VMov;
                    break;
                case IrOp.VecOp:
                case IrOp.VecToIntOp:
                    o.Code = i.Op == IrOp.VecOp ? Code.VecOp : Code.VecToIntOp;
                    o.Ptr = VecOps.Info((VecKind)i.Aux).Run;
                    break;
                case IrOp.Call:
                    var helper = b.HelperOf(i);
                    o.Code = (helper.Effects & HelperEffects.MayExit) != 0 ? Code.CallMayExit : Code.Call;
                    o.Ptr = helper.Code; // the translator has stored the program counter for those that look at it
                    break;
                case IrOp.ExitDirect:
                    o.Code = i.Extra != 0 ? Code.ExitDirectCheck : Code.ExitDirect;
                    o.Aux = (int)ExitOf(i.Aux);
                    break;
                case IrOp.ExitIndirect:
                    o.Code = Code.ExitIndirect;
                    break;
                case IrOp.ExitLookup:
                    o.Code = Code.ExitLookup;
                    break;
                case IrOp.ExitLoop:
                    o.Code = Code.ExitLoop;
                    break;
                default:
                    o.Code = IntegerCode(i.Op, i.Width);
                    if (o.Code == Code.Fold)
                        o.Sub = (byte)i.Op;
                    break;
            }

            _ops.Add(o);
        }

        private static UnitExit ExitOf(int slot) => slot switch
        {
            0 => UnitExit.Direct0,
            1 => UnitExit.Direct1,
            _ => UnitExit.DirectNoSlot,
        };

        private void Access(ref InterpretedOp o, in IrInsn i)
        {
            if (b.Layout.Memory == null)
                throw new InvalidOperationException("the layout has no slow paths of guest memory");
            o.Ptr = (void*)PackedAccess.Of(i).Bits;
            o.Aux = (int)i.Imm;
            o.Imm = _pc;
        }

        private static byte ConditionShift(W w) => (byte)(64 - (8 << (int)w));

        private static Code IntegerCode(IrOp op, W w) => op switch
        {
            IrOp.Mov => Pair(Code.Mov64, w),
            IrOp.Add => Pair(Code.Add64, w),
            IrOp.Sub => Pair(Code.Sub64, w),
            IrOp.And => Pair(Code.And64, w),
            IrOp.Or => Pair(Code.Or64, w),
            IrOp.Xor => Pair(Code.Xor64, w),
            IrOp.Shl => Pair(Code.Shl64, w),
            IrOp.Shr => Pair(Code.Shr64, w),
            IrOp.Sar => Pair(Code.Sar64, w),
            IrOp.ZExt => w switch { W.B => Code.ZExt8, W.W => Code.ZExt16, W.D => Code.Mov32, _ => Code.Mov64 },
            IrOp.SExt => w switch { W.B => Code.SExt8, W.W => Code.SExt16, W.D => Code.SExt32, _ => Code.Mov64 },
            _ => Code.Fold,
        };

        private static Code Pair(Code code, W w) => w == W.Q ? code : code + 1;
    }
}
