using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Dromaius.Jit.Ir;

namespace Dromaius.Jit.Interpreter;

/// <summary>A unit in the interpreter's form. Immutable: several vCPUs may run it at once.</summary>
public sealed unsafe class InterpretedUnit
{
    /// <summary>MXCSR after reset, for states that have no such register.</summary>
    private const uint DefaultFpControl = 0x1F80;

    private readonly InterpretedOp[] _ops;
    private readonly ulong[] _constants;
    private readonly int _frameSize;
    private readonly int _pcOffset;
    private readonly int _engineOffset;
    private readonly int _fpControlOffset;
    private readonly GuestMemoryCallbacks? _memory;

    internal InterpretedUnit(GuestLayout layout, InterpretedOp[] ops, ulong[] constants, int frameSize)
    {
        _ops = ops;
        _constants = constants;
        _frameSize = frameSize;
        _pcOffset = layout.PcOffset;
        _engineOffset = layout.EngineOffset;
        _fpControlOffset = layout.FpControlOffset;
        _memory = layout.Memory;
    }

    /// <summary>Runs the unit once on a CPU state; the address to go on at is left in it.</summary>
    [SkipLocalsInit]
    public UnitExit Run(void* state)
    {
        var frame = stackalloc byte[_frameSize + 32];
        var bases = stackalloc byte*[3];
        bases[0] = (byte*)state;
        bases[1] = frame;
        bases[2] = (byte*)Unsafe.AsPointer(ref MemoryMarshal.GetArrayDataReference(_constants));
        var engine = (EngineState*)((byte*)state + _engineOffset);
        var pc = (ulong*)((byte*)state + _pcOffset);
        var start = (InterpretedOp*)Unsafe.AsPointer(ref MemoryMarshal.GetArrayDataReference(_ops));
        var ip = start;
        VecArgs args;
        var defaultControl = DefaultFpControl;
        for (; ; ip++)
        {
            switch (ip->Code)
            {
                case Code.Mov64: R(bases, ip->Dst) = R(bases, ip->A); break;
                case Code.Mov32: R(bases, ip->Dst) = (uint)R(bases, ip->A); break;
                case Code.Add64: R(bases, ip->Dst) = R(bases, ip->A) + R(bases, ip->B); break;
                case Code.Add32: R(bases, ip->Dst) = (uint)(R(bases, ip->A) + R(bases, ip->B)); break;
                case Code.Sub64: R(bases, ip->Dst) = R(bases, ip->A) - R(bases, ip->B); break;
                case Code.Sub32: R(bases, ip->Dst) = (uint)(R(bases, ip->A) - R(bases, ip->B)); break;
                case Code.And64: R(bases, ip->Dst) = R(bases, ip->A) & R(bases, ip->B); break;
                case Code.And32: R(bases, ip->Dst) = (uint)(R(bases, ip->A) & R(bases, ip->B)); break;
                case Code.Or64: R(bases, ip->Dst) = R(bases, ip->A) | R(bases, ip->B); break;
                case Code.Or32: R(bases, ip->Dst) = (uint)(R(bases, ip->A) | R(bases, ip->B)); break;
                case Code.Xor64: R(bases, ip->Dst) = R(bases, ip->A) ^ R(bases, ip->B); break;
                case Code.Xor32: R(bases, ip->Dst) = (uint)(R(bases, ip->A) ^ R(bases, ip->B)); break;
                case Code.Shl64: R(bases, ip->Dst) = R(bases, ip->A) << (int)(R(bases, ip->B) & 63); break;
                case Code.Shl32: R(bases, ip->Dst) = (uint)R(bases, ip->A) << (int)(R(bases, ip->B) & 31); break;
                case Code.Shr64: R(bases, ip->Dst) = R(bases, ip->A) >> (int)(R(bases, ip->B) & 63); break;
                case Code.Shr32: R(bases, ip->Dst) = (uint)R(bases, ip->A) >> (int)(R(bases, ip->B) & 31); break;
                case Code.Sar64: R(bases, ip->Dst) = (ulong)((long)R(bases, ip->A) >> (int)(R(bases, ip->B) & 63)); break;
                case Code.Sar32: R(bases, ip->Dst) = (uint)((int)R(bases, ip->A) >> (int)(R(bases, ip->B) & 31)); break;
                case Code.ZExt8: R(bases, ip->Dst) = (byte)R(bases, ip->A); break;
                case Code.ZExt16: R(bases, ip->Dst) = (ushort)R(bases, ip->A); break;
                case Code.SExt8: R(bases, ip->Dst) = (ulong)(sbyte)R(bases, ip->A); break;
                case Code.SExt16: R(bases, ip->Dst) = (ulong)(short)R(bases, ip->A); break;
                case Code.SExt32: R(bases, ip->Dst) = (ulong)(int)R(bases, ip->A); break;
                case Code.Carry:
                    R(bases, ip->Dst) = IrFold.Carry((IrOp)ip->Sub, (W)ip->Shape, R(bases, ip->A), R(bases, ip->B), R(bases, ip->C));
                    break;
                case Code.Fold:
                    if (!IrFold.TryFold((IrOp)ip->Sub, (W)ip->Shape, default, R(bases, ip->A), R(bases, ip->B), ip->Imm,
                        out var folded))
                    {
                        Unknown((IrOp)ip->Sub);
                    }

                    R(bases, ip->Dst) = folded;
                    break;
                case Code.SetCond:
                    R(bases, ip->Dst) = Holds(ip, R(bases, ip->A), R(bases, ip->B)) ? 1UL : 0UL;
                    break;
                case Code.Select:
                    R(bases, ip->Dst) = R(bases, Holds(ip, R(bases, ip->A), R(bases, ip->B)) ? ip->C : ip->D);
                    break;
                case Code.LdState8: R(bases, ip->Dst) = *((byte*)state + ip->Aux); break;
                case Code.LdState16: R(bases, ip->Dst) = Unsafe.ReadUnaligned<ushort>((byte*)state + ip->Aux); break;
                case Code.LdState32: R(bases, ip->Dst) = Unsafe.ReadUnaligned<uint>((byte*)state + ip->Aux); break;
                case Code.LdState64: R(bases, ip->Dst) = Unsafe.ReadUnaligned<ulong>((byte*)state + ip->Aux); break;
                case Code.StState8: *((byte*)state + ip->Aux) = (byte)R(bases, ip->A); break;
                case Code.StState16: Unsafe.WriteUnaligned((byte*)state + ip->Aux, (ushort)R(bases, ip->A)); break;
                case Code.StState32: Unsafe.WriteUnaligned((byte*)state + ip->Aux, (uint)R(bases, ip->A)); break;
                case Code.StState64: Unsafe.WriteUnaligned((byte*)state + ip->Aux, R(bases, ip->A)); break;
                case Code.GuestLd:
                {
                    var access = new PackedAccess((ulong)ip->Ptr);
                    var address = R(bases, ip->A) + (ulong)ip->Aux;
                    ulong value;
                    var host = GuestAccess.Find(engine, access, address, false);
                    if (host != null)
                        value = GuestAccess.Read(host, access.Width);
                    else
                    {
                        *pc = ip->Imm;
                        value = _memory!.Load(state, address, access.Bits);
                        if (engine->ExitReason != ExitReason.None)
                            return UnitExit.Loop;
                    }

                    R(bases, ip->Dst) = value;
                    break;
                }

                case Code.GuestSt:
                {
                    var access = new PackedAccess((ulong)ip->Ptr);
                    var address = R(bases, ip->A) + (ulong)ip->Aux;
                    var value = R(bases, ip->B);
                    var host = GuestAccess.Find(engine, access, address, true);
                    if (host != null)
                        GuestAccess.Write(host, access.Width, value);
                    else
                    {
                        *pc = ip->Imm;
                        _memory!.Store(state, address, value, access.Bits);
                        if (engine->ExitReason != ExitReason.None)
                            return UnitExit.Loop;
                    }

                    break;
                }

                case Code.GuestRmw:
                {
                    var access = new PackedAccess((ulong)ip->Ptr);
                    var address = R(bases, ip->A) + (ulong)ip->Aux;
                    var operand = R(bases, ip->B);
                    ulong old;
                    var host = GuestAccess.FindAligned(engine, access, address);
                    if (host != null)
                        old = GuestAccess.Rmw(host, access.Width, access.Kind, operand);
                    else
                    {
                        *pc = ip->Imm;
                        old = _memory!.Rmw(state, address, operand, access.Bits);
                        if (engine->ExitReason != ExitReason.None)
                            return UnitExit.Loop;
                    }

                    if (ip->Dst >= 0)
                        R(bases, ip->Dst) = old;
                    break;
                }

                case Code.GuestCas:
                {
                    var access = new PackedAccess((ulong)ip->Ptr);
                    var address = R(bases, ip->A) + (ulong)ip->Aux;
                    var expected = R(bases, ip->B);
                    var desired = R(bases, ip->C);
                    ulong old;
                    var host = GuestAccess.FindAligned(engine, access, address);
                    if (host != null)
                        old = GuestAccess.Cas(host, access.Width, expected, desired);
                    else
                    {
                        *pc = ip->Imm;
                        old = _memory!.Cas(state, address, expected, desired, access.Bits);
                        if (engine->ExitReason != ExitReason.None)
                            return UnitExit.Loop;
                    }

                    R(bases, ip->Dst) = old;
                    break;
                }

                case Code.VLdState:
                    GuestAccess.CopyClearing(P(bases, ip->Dst), (byte*)state + ip->Aux, 1 << ip->Shape);
                    break;
                case Code.VStState:
                    GuestAccess.Copy((byte*)state + ip->Aux, P(bases, ip->A), 1 << ip->Shape);
                    break;
                case Code.VGuestLd:
                {
                    var access = new PackedAccess((ulong)ip->Ptr);
                    var address = R(bases, ip->A) + (ulong)ip->Aux;
                    var host = GuestAccess.Find(engine, access, address, false);
                    if (host == null)
                    {
                        *pc = ip->Imm;
                        _memory!.VecLoad(state, address, access.Bits);
                        if (engine->ExitReason != ExitReason.None)
                            return UnitExit.Loop;
                        host = (byte*)engine->Bounce;
                    }

                    GuestAccess.CopyClearing(P(bases, ip->Dst), host, access.Size);
                    break;
                }

                case Code.VGuestSt:
                {
                    var access = new PackedAccess((ulong)ip->Ptr);
                    var address = R(bases, ip->A) + (ulong)ip->Aux;
                    var host = GuestAccess.Find(engine, access, address, true);
                    if (host != null)
                        GuestAccess.Copy(host, P(bases, ip->B), access.Size);
                    else
                    {
                        *pc = ip->Imm;
                        GuestAccess.Copy((byte*)engine->Bounce, P(bases, ip->B), access.Size);
                        _memory!.VecStore(state, address, access.Bits);
                        if (engine->ExitReason != ExitReason.None)
                            return UnitExit.Loop;
                    }

                    break;
                }

                case Code.VFromInt:
                {
                    var value = IrFold.Truncate((W)ip->Shape, R(bases, ip->A));
                    var d = (ulong*)P(bases, ip->Dst);
                    d[0] = value;
                    d[1] = d[2] = d[3] = 0;
                    break;
                }

                case Code.VToInt: R(bases, ip->Dst) = IrFold.Truncate((W)ip->Shape, R(bases, ip->A)); break;
                case Code.VMov: GuestAccess.Copy(P(bases, ip->Dst), P(bases, ip->A), 32); break;
                case Code.VecOp:
                case Code.VecToIntOp:
                {
                    var control = _fpControlOffset != 0 ? (uint*)((byte*)state + _fpControlOffset) : &defaultControl;
                    args.A = *(V256*)P(bases, ip->A);
                    args.B = *(V256*)P(bases, ip->B);
                    args.C = *(V256*)P(bases, ip->C);
                    args.Mxcsr = *control;
                    args.Bytes = 1 << ip->Shape;
                    args.Imm = (byte)ip->Imm;
                    ((delegate*<VecArgs*, void>)ip->Ptr)(&args);
                    *control = args.Mxcsr;
                    if (ip->Code == Code.VecOp)
                    {
                        if (args.Bytes == 16)
                            args.Dst.Q[2] = args.Dst.Q[3] = 0;
                        *(V256*)P(bases, ip->Dst) = args.Dst;
                    }
                    else
                        R(bases, ip->Dst) = args.Int;
                    break;
                }

                case Code.Br:
                    ip = start + ip->Aux - 1;
                    break;
                case Code.BrCond:
                    if (Holds(ip, R(bases, ip->A), R(bases, ip->B)))
                        ip = start + ip->Aux - 1;
                    break;
                case Code.ExitIf:
                    if (!Holds(ip, R(bases, ip->A), R(bases, ip->B)))
                        break;
                    *pc = ip->Imm;
                    return (UnitExit)ip->Aux;
                case Code.ExitIfCheck:
                    if (!Holds(ip, R(bases, ip->A), R(bases, ip->B)))
                        break;
                    *pc = ip->Imm;
                    return Volatile.Read(ref engine->ExitRequest) != 0 ? UnitExit.Loop : (UnitExit)ip->Aux;
                case Code.ExitIfTo:
                    if (!Holds(ip, R(bases, ip->A), R(bases, ip->B)))
                        break;
                    *pc = R(bases, ip->A);
                    return UnitExit.Indirect;
                case Code.LoopBack:
                    if (Volatile.Read(ref engine->ExitRequest) != 0)
                    {
                        *pc = ip->Imm;
                        return UnitExit.Loop;
                    }

                    ip = start + ip->Aux - 1;
                    break;
                case Code.Call:
                {
                    var value = ((delegate* unmanaged<void*, ulong, ulong, ulong, ulong, ulong>)ip->Ptr)(
                        state, R(bases, ip->A), R(bases, ip->B), R(bases, ip->C), R(bases, ip->D));
                    if (ip->Dst >= 0)
                        R(bases, ip->Dst) = value;
                    break;
                }

                case Code.CallMayExit:
                {
                    var value = ((delegate* unmanaged<void*, ulong, ulong, ulong, ulong, ulong>)ip->Ptr)(
                        state, R(bases, ip->A), R(bases, ip->B), R(bases, ip->C), R(bases, ip->D));
                    if (engine->ExitReason != ExitReason.None)
                        return UnitExit.Loop;
                    if (ip->Dst >= 0)
                        R(bases, ip->Dst) = value;
                    break;
                }

                case Code.ExitDirect:
                    *pc = ip->Imm;
                    return (UnitExit)ip->Aux;
                case Code.ExitDirectCheck:
                    *pc = ip->Imm;
                    return Volatile.Read(ref engine->ExitRequest) != 0 ? UnitExit.Loop : (UnitExit)ip->Aux;
                case Code.ExitIndirect:
                    *pc = R(bases, ip->A);
                    return UnitExit.Indirect;
                case Code.ExitLookup: return UnitExit.Lookup;
                default: return UnitExit.Loop;
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static byte* P(byte** bases, int operand) => bases[operand & 3] + (operand >> 2);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ref ulong R(byte** bases, int operand) => ref *(ulong*)P(bases, operand);

    /// <summary>All conditions hold at a narrow width just when they hold for the operands shifted to the top of 64 bits.</summary>
    private static bool Holds(InterpretedOp* op, ulong a, ulong b)
    {
        a <<= op->Shape;
        b <<= op->Shape;
        return (Cond)op->Sub switch
        {
            Cond.Eq => a == b,
            Cond.Ne => a != b,
            Cond.ULt => a < b,
            Cond.UGe => a >= b,
            Cond.ULe => a <= b,
            Cond.UGt => a > b,
            Cond.SLt => (long)a < (long)b,
            Cond.SGe => (long)a >= (long)b,
            Cond.SLe => (long)a <= (long)b,
            Cond.SGt => (long)a > (long)b,
            Cond.TestEq => (a & b) == 0,
            _ => (a & b) != 0,
        };
    }

    private static void Unknown(IrOp op) => throw new InvalidOperationException($"{op} at a width it does not have");
}
