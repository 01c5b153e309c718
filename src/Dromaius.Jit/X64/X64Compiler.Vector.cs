using System.Runtime.InteropServices;
using Dromaius.Jit.Ir;

namespace Dromaius.Jit.X64;

/// <summary>Vectors: one host instruction a row of <see cref="VecOps"/>, or its C# semantics where the host lacks it.</summary>
internal sealed unsafe partial class X64Compiler
{
    private const int ScratchXmm = 15, OtherScratchXmm = 14;

    private static readonly VecFeatures Host = HostVecFeatures();

    private static VecFeatures HostVecFeatures()
    {
        var f = VecFeatures.Sse3;
        f |= HostFeatures.Ssse3 ? VecFeatures.Ssse3 : 0;
        f |= HostFeatures.Sse41 ? VecFeatures.Sse41 : 0;
        f |= HostFeatures.Sse42 ? VecFeatures.Sse42 : 0;
        f |= HostFeatures.Aes ? VecFeatures.Aes : 0;
        f |= HostFeatures.Pclmul ? VecFeatures.Pclmul : 0;
        f |= HostFeatures.Sha ? VecFeatures.Sha : 0;
        f |= HostFeatures.Avx ? VecFeatures.Avx : 0;
        f |= HostFeatures.Avx2 ? VecFeatures.Avx2 : 0;
        f |= HostFeatures.Fma ? VecFeatures.Fma : 0;
        f |= HostFeatures.F16c ? VecFeatures.F16c : 0;
        return f;
    }

    private static bool HostHas(VecInfo info, W width, byte imm)
    {
        var need = width == W.Y ? info.Feature256 | VecFeatures.Avx : info.Feature;
        if (info.VexOnly)
            need |= VecFeatures.Avx;
        if (!HostFeatures.Avx && imm > info.MaxLegacyImm)
            return false;
        return (need & ~Host) == 0;
    }

    private void EmitVector(ref IrInsn i)
    {
        switch (i.Op)
        {
            case IrOp.VLdState:
                {
                    FlushFor(i);
                    var x = _alloc.TargetVec();
                    VecMemory((int)i.Width, x, StateAt(i.Imm), false);
                    _alloc.DefineVec(i.Dst, x, i.LastNeed);
                    _alloc.IsInState(i.Dst, (int)i.Imm, i.Width);
                    break;
                }
            case IrOp.VStState:
                {
                    FlushX87For(i);
                    var x = _alloc.UseVec(i.A);
                    if (_b.IsHot && i.Width >= W.X)
                    {
                        _alloc.StoreLate(i.A, (int)i.Imm, i.Width, i.Extra != 0);
                        break;
                    }

                    _alloc.FlushVectors((int)i.Imm, 1 << (int)i.Width);
                    _alloc.StateChanges((int)i.Imm, 1 << (int)i.Width);
                    VecMemory((int)i.Width, x, StateAt(i.Imm), true);
                    if (i.Extra != 0)
                        _alloc.IsInState(i.A, (int)i.Imm, i.Width);
                    break;
                }
            case IrOp.VFromInt:
                {
                    var r = _alloc.Use(i.A);
                    var x = _alloc.TargetVec();
                    if (i.Width < W.D)
                    {
                        var t = _alloc.Scratch();
                        _asm.Movzx((int)i.Width, t, r);
                        r = t;
                    }

                    MoveGpr(x, r, i.Width == W.Q, toVector: true);
                    _alloc.DefineVec(i.Dst, x, i.LastNeed);
                    break;
                }
            case IrOp.VToInt:
                {
                    var x = _alloc.UseVec(i.A);
                    var d = _alloc.Target(i.Dst);
                    MoveGpr(x, d, i.Width == W.Q, toVector: false);
                    if (i.Width < W.D)
                        _asm.Movzx((int)i.Width, d, d);
                    _alloc.Define(i.Dst, d, i.LastNeed);
                    break;
                }
            case IrOp.VMov:
                {
                    var s = _alloc.UseVec(i.A);
                    _alloc.FlushAtEnd(i.A);
                    var x = _alloc.TargetVec(i.A);
                    _asm.MoveVec(x, s, true);
                    _alloc.DefineVec(i.Dst, x, i.LastNeed);
                    break;
                }
            default:
                {
                    var info = VecOps.Info((VecKind)i.Aux);
                    if (!HostHas(info, i.Width, (byte)i.Imm))
                        EmitVecInCSharp(ref i, info);
                    else if (info.HasIntResult)
                        EmitVecToInt(ref i, info);
                    else
                        EmitVecOp(ref i, info);
                    break;
                }
        }
    }

    private void MoveGpr(int x, Reg r, bool q, bool toVector)
    {
        var op = toVector ? 0x6E : 0x7E;
        if (HostFeatures.Avx)
            _asm.VexRR(1, 1, op, q, false, x, 0, (int)r);
        else
            _asm.SseRR(1, 1, op, q, x, (int)r);
    }

    private static int Pp(byte prefix) => prefix switch { 0x66 => 1, 0xF3 => 2, 0xF2 => 3, _ => 0 };

    private void EmitVecOp(ref IrInsn i, VecInfo info)
    {
        var vex = HostFeatures.Avx && !info.LegacyOnly;
        var pp = Pp(info.Prefix);
        var l = i.Width == W.Y;
        var a = _alloc.UseVec(i.A);
        var form = info.Form;
        var b = !i.B.IsNone && form is VecForm.Binary or VecForm.BinaryImm or VecForm.Ternary or VecForm.Blendv
            or VecForm.FromGpr or VecForm.FromGprImm ? _alloc.UseVec(i.B) : -1;
        var c = !i.C.IsNone && form is VecForm.Ternary or VecForm.Blendv ? _alloc.UseVec(i.C) : -1;
        var gpr = Reg.None;
        if (form is VecForm.FromGpr or VecForm.FromGprImm)
        {
            gpr = _alloc.Scratch();
            MoveGpr(b, gpr, info.W, toVector: false);
        }

        var d = _alloc.TargetVec(i.A);
        var rm = gpr != Reg.None ? (int)gpr : b;
        switch (form)
        {
            case VecForm.Binary or VecForm.BinaryImm or VecForm.FromGpr or VecForm.FromGprImm:
                if (vex)
                    _asm.VexRR(info.Map, pp, info.Opcode, info.W, l, d, a, rm);
                else
                {
                    if (d == b && d != a)
                    {
                        _asm.MoveVec(ScratchXmm, b, true);
                        rm = ScratchXmm;
                    }

                    _asm.MoveVec(d, a, false);
                    _asm.SseRR(info.Map, pp, info.Opcode, info.W, d, rm);
                }

                break;
            case VecForm.Unary or VecForm.UnaryImm:
                if (vex)
                    _asm.VexRR(info.Map, pp, info.Opcode, info.W, l, d, 0, a);
                else
                    _asm.SseRR(info.Map, pp, info.Opcode, info.W, d, a);
                break;
            case VecForm.UnaryImmStore:
                if (vex)
                    _asm.VexRR(info.Map, pp, info.Opcode, info.W, l, a, 0, d);
                else
                    _asm.SseRR(info.Map, pp, info.Opcode, info.W, a, d);
                break;
            case VecForm.ShiftImm:
                if (vex)
                    _asm.VexRR(info.Map, pp, info.Opcode, info.W, l, info.Group, d, a);
                else
                {
                    _asm.MoveVec(d, a, false);
                    _asm.SseRR(info.Map, pp, info.Opcode, info.W, info.Group, d);
                }

                break;
            case VecForm.Ternary:
                _asm.MoveVec(d, a, true);
                _asm.VexRR(info.Map, pp, info.Opcode, info.W, l, d, b, c);
                break;
            case VecForm.Blendv when !vex:
                EmitWithXmm0(info, d, a, b, c);
                break;
            case VecForm.Blendv:
                _asm.VexRR(3, 1, info.VexOpcode, false, l, d, a, b);
                _asm.Byte(c << 4);
                break;
            default:
                throw new InvalidOperationException($"vector form {form}");
        }

        if (info.HasImm)
            _asm.Byte((byte)i.Imm);
        _alloc.DefineVec(i.Dst, d, i.LastNeed);
    }

    /// <summary>The third operand is XMM0, which is lent meanwhile.</summary>
    private void EmitWithXmm0(VecInfo info, int d, int a, int b, int c)
    {
        _asm.MoveVec(ScratchXmm, a, false);
        if (c != 0)
        {
            _asm.MoveVec(OtherScratchXmm, 0, true);
            _asm.MoveVec(0, c, true);
            b = b == 0 ? OtherScratchXmm : b;
        }

        _asm.SseRR(info.Map, Pp(info.Prefix), info.Opcode, info.W, ScratchXmm, b);
        if (c != 0)
            _asm.MoveVec(0, OtherScratchXmm, true);
        _asm.MoveVec(d, ScratchXmm, true);
    }

    private void EmitVecToInt(ref IrInsn i, VecInfo info)
    {
        var vex = HostFeatures.Avx && !info.LegacyOnly;
        var pp = Pp(info.Prefix);
        var l = i.Width == W.Y;
        var a = _alloc.UseVec(i.A);
        var (reg, rm) = (0, a);
        var t = _alloc.Scratch();
        switch (info.Form)
        {
            case VecForm.ToGpr or VecForm.ToGprImm:
                reg = (int)t;
                break;
            case VecForm.ToGprImmStore:
                (reg, rm) = (a, (int)t);
                break;
            default:
                (reg, rm) = (a, _alloc.UseVec(i.B));
                break;
        }

        if (vex)
            _asm.VexRR(info.Map, pp, info.Opcode, info.W, l, reg, 0, rm);
        else
            _asm.SseRR(info.Map, pp, info.Opcode, info.W, reg, rm);
        if (info.HasImm)
            _asm.Byte((byte)i.Imm);
        if (info.Form == VecForm.ToFlags)
            TakeFlags(t, _alloc.Scratch());

        Result(ref i, t);
    }

    /// <summary>ZF, PF and CF in their EFLAGS positions. LAHF gives them in AH, which is lent meanwhile.</summary>
    private void TakeFlags(Reg t, Reg rax)
    {
        _asm.Mov(3, rax, Reg.Rax);
        _asm.Lahf();
        _asm.MovzxHigh(Reg.Rax, Reg.Rax);
        _asm.Mov(3, t, Reg.Rax);
        _asm.Mov(3, Reg.Rax, rax);
        _asm.OpImm(Alu.And, 2, t, 0x45);
    }

    private void EmitVecInCSharp(ref IrInsn i, VecInfo info)
    {
        var at = EngineOffsets.Vec;
        FlushX87();
        StoreOperand(i.A, at + 32);
        StoreOperand(i.B, at + 64);
        StoreOperand(i.C, at + 96);
        _alloc.StoreConst(Eng(EngineOffsets.Args), (ulong)i.Aux);
        _alloc.StoreConst(Eng(EngineOffsets.Args + 8), (i.Width == W.Y ? 32UL : 16UL) | i.Imm << 8);
        _alloc.StoreConst(Eng(EngineOffsets.Args + 16), (ulong)_layout.EngineOffset);
        _alloc.StoreConst(Eng(EngineOffsets.Args + 24), (ulong)_layout.FpControlOffset);
        _alloc.SpillVectors();
        var scratch = _alloc.Scratch();
        if (info.UsesMxcsr)
            _thunks.SyncFpControl(_asm, scratch);
        _asm.CallTo(_thunks.Of(RunVec));
        if (info.UsesMxcsr)
            _thunks.LoadFpControl(_asm, scratch);
        _alloc.ClearLocks();
        if (info.HasIntResult)
        {
            var d = _alloc.Target(i.Dst);
            _asm.Load(3, d, Eng(EngineOffsets.Result));
            _alloc.Define(i.Dst, d, i.LastNeed);
        }
        else
        {
            var x = _alloc.TargetVec();
            VecMemory((int)i.Width, x, Eng(at), false);
            _alloc.DefineVec(i.Dst, x, i.LastNeed);
        }
    }

    private void StoreOperand(Val v, int offset)
    {
        if (!v.IsNone)
            _alloc.StoreVec(Eng(offset), _alloc.UseVec(v));
    }

    internal static readonly Helper RunVec = new("vec", &RunVecImpl, HelperEffects.None);

    [UnmanagedCallersOnly]
    private static ulong RunVecImpl(void* state, ulong kind, ulong bytesAndImm, ulong engineOffset, ulong fpControlOffset)
    {
        var engine = (EngineState*)((byte*)state + engineOffset);
        var mxcsr = (uint*)((byte*)state + fpControlOffset);
        engine->Vec.Bytes = (byte)bytesAndImm;
        engine->Vec.Imm = (byte)(bytesAndImm >> 8);
        engine->Vec.Mxcsr = *mxcsr;
        VecOps.Run((VecKind)kind, &engine->Vec);
        *mxcsr = engine->Vec.Mxcsr;
        return engine->Vec.Int;
    }
}
