using Dromaius.Jit.Ir;

namespace Dromaius.Jit.X64;

/// <summary>
/// The guest's x87 on the host's. Within a straight run of a unit the guest's registers stay on the host's stack, wherever they
/// came to lie; FXCH only renames them. At joins, exits and calls the stack is empty, what was changed is in the state, and so is the
/// status word. The host's control word is the guest's, with all exceptions masked, while generated code runs.
/// </summary>
internal sealed unsafe partial class X64Compiler
{
    // Second opcode bytes for ST(0).
    private const int Fxch = 0xC8, FldRegister = 0xC0, FstRegister = 0xD0, FstpRegister = 0xD8, FcmovNotEqual = 0xC8;

    // FNSTENV's image: status and tag word.
    private const int EnvironmentStatus = 4, EnvironmentTags = 8;

    private X87Stack _x87;

    private Mem X87Home(int register) => new(Allocator.State, _layout.X87!.Registers + register * X87Layout.SlotSize);

    private Mem X87Status => new(Allocator.State, _layout.X87!.Status);

    private void EmitX87(ref IrInsn i)
    {
        var (dst, src) = (i.Extra & 15, i.Extra >> 4);
        switch ((X87Op)i.Aux)
        {
            case X87Op.Arithmetic:
                EmitX87Arithmetic(dst, src, (int)i.Imm & 7, ((int)i.Imm & X87Layout.Pops) != 0);
                break;
            case X87Op.Unary:
                ToTop(dst);
                _asm.X87(0xD9, (int)i.Imm);
                _x87.Touch(dst);
                if (i.Imm is 0xE0 or 0xE1)
                    _x87.Clears();
                else
                    _x87.Computes();
                break;
            case X87Op.Constant:
                DropX87(dst);
                _asm.X87(0xD9, (int)i.Imm);
                _x87.Push(dst, true);
                _x87.Clears();
                break;
            case X87Op.Copy:
                EmitX87Copy(dst, src);
                _x87.Clears();
                break;
            case X87Op.Move:
                EmitX87Move(dst, src);
                _x87.Clears();
                break;
            case X87Op.Exchange:
                Bring(dst);
                Bring(src);
                var (a, b) = (_x87.Find(dst), _x87.Find(src));
                _x87.Rename(a, src);
                _x87.Rename(b, dst);
                _x87.Touch(src);
                _x87.Clears();
                break;
            case X87Op.Free:
                DropX87(dst);
                break;
            case X87Op.MoveIf:
                if (_x87.HostC1)
                    StoreX87Status();
                Bring(src);
                ToTop(dst);
                var condition = _alloc.Use(i.A);
                _asm.Test(2, condition, condition);
                _asm.X87(0xDB, FcmovNotEqual + _x87.Find(src));
                _x87.Touch(dst);
                break;
            case X87Op.Compare:
                Bring(src);
                ToTop(dst);
                _asm.X87((int)i.Imm >> 8, (byte)i.Imm + _x87.Find(src));
                _x87.Computes();
                _x87.HostConditions = true;
                break;
            case X87Op.Examine:
                ToTop(dst);
                _asm.X87(0xD9, (int)i.Imm);
                _x87.Computes();
                _x87.HostConditions = true;
                break;
            case X87Op.CompareFlags:
                EmitX87CompareFlags(ref i, dst, src);
                break;
            case X87Op.Status:
                {
                    StoreX87Status();
                    var d = _alloc.Target(i.Dst);
                    _asm.Load(1, d, X87Status);
                    _alloc.Define(i.Dst, d, i.LastNeed);
                    break;
                }
            case X87Op.LoadControl:
                {
                    var value = _alloc.Use(i.A);
                    var t = _alloc.Scratch();
                    _asm.Mov(2, t, value);
                    _asm.OpImm(Alu.Or, 2, t, X87Layout.Exceptions);
                    _asm.Store(2, Eng(EngineOffsets.Scratch0), t);
                    _asm.X87Mem(0xD9, 5, Eng(EngineOffsets.Scratch0));
                    break;
                }
            default:
                _thunks.LoadX87Control(_asm, _alloc.Scratch());
                _asm.X87(0xDB, 0xE2); // FNCLEX
                break;
        }
    }

    private void EmitX87Arithmetic(int dst, int src, int digit, bool pops)
    {
        Bring(dst);
        Bring(src);
        if (pops)
            ToTop(src);
        if (_x87[0] == src && (pops || _x87[0] != dst))
        {
            // The other direction, in which the encodings of the reverse operations are exchanged.
            _asm.X87(pops ? 0xDE : 0xDC, 0xC0 + 8 * (digit >= 4 ? digit ^ 1 : digit) + _x87.Find(dst));
            _x87.Touch(dst);
            if (pops)
                _x87.Pop();
        }
        else
        {
            ToTop(dst);
            _asm.X87(0xD8, 0xC0 + 8 * digit + _x87.Find(src));
            _x87.Touch(dst);
        }

        _x87.Computes();
    }

    private void EmitX87Copy(int dst, int src)
    {
        if (dst == src)
            return;
        Bring(src);
        if (_x87.Find(dst) >= 0)
        {
            ToTop(src);
            _asm.X87(0xDD, FstRegister + _x87.Find(dst));
            _x87.Touch(dst);
            return;
        }

        _asm.X87(0xD9, FldRegister + _x87.Find(src));
        _x87.Push(dst, true);
    }

    private void EmitX87Move(int dst, int src)
    {
        if (dst == src)
        {
            DropX87(dst);
            return;
        }

        Bring(src);
        var at = _x87.Find(dst);
        if (at < 0)
        {
            _x87.Rename(_x87.Find(src), dst);
            return;
        }

        // The place of the old content takes the new one's name.
        DropX87(dst);
        _x87.Rename(_x87.Find(src), dst);
    }

    private void EmitX87CompareFlags(ref IrInsn i, int dst, int src)
    {
        // It leaves C1 as it is, but moving values about does not.
        if (_x87.HostC1)
            StoreX87Status();
        Bring(src);
        ToTop(dst);
        var (t, rax) = (_alloc.Scratch(), _alloc.Scratch());
        _asm.X87((int)i.Imm >> 8, (byte)i.Imm + _x87.Find(src));
        TakeFlags(t, rax);
        _x87.Flags = true;
        Result(ref i, t);
    }

    /// <summary>Makes the host's stack hold a guest register.</summary>
    private void Bring(int register)
    {
        if (_x87.Find(register) >= 0)
            return;
        _asm.X87Mem(0xDB, 5, X87Home(register));
        _x87.Push(register, false);
    }

    private void ToTop(int register)
    {
        Bring(register);
        if (_x87.Find(register) is var k && k == 0)
            return;
        _asm.X87(0xD9, Fxch + k);
        _x87.Exchange(k);
    }

    private void DropX87(int register)
    {
        var k = _x87.Find(register);
        if (k < 0)
            return;
        _asm.X87(0xDD, FstpRegister + k);
        if (k == 0)
            _x87.Pop();
        else
            _x87.Overwrite(k);
    }

    /// <summary>What the host's status word knows goes into the state's.</summary>
    private void StoreX87Status()
    {
        if (!_x87.IsStatusPending)
            return;
        if (_x87.HostBits != 0)
        {
            var t = _alloc.Scratch();
            _asm.X87Mem(0xDD, 7, Eng(EngineOffsets.Scratch0)); // FNSTSW
            _asm.Load(1, t, Eng(EngineOffsets.Scratch0));
            MergeX87Status(t, _x87.HostBits, _x87.ClearedBits);
            _alloc.Unlock(t);
        }
        else
        {
            _asm.OpImm(Alu.And, 1, X87Status, (short)~_x87.ClearedBits);
        }

        _x87.StatusStored();
    }

    private void MergeX87Status(Reg status, int hostBits, int clearedBits)
    {
        _asm.OpImm(Alu.And, 2, status, hostBits);
        if (clearedBits != 0)
            _asm.OpImm(Alu.And, 1, X87Status, (short)~clearedBits);
        _asm.OpStore(Alu.Or, 1, X87Status, status);
    }

    /// <summary>Before a join, an exit or a call: the host's stack is emptied and the state made right.</summary>
    private void FlushX87()
    {
        if (_x87.IsIdle)
            return;
        StoreX87Status();
        while (_x87.Depth > 0)
        {
            if ((_x87.Dirty & 1 << _x87[0]) != 0)
                _asm.X87Mem(0xDB, 7, X87Home(_x87[0]));
            else
                _asm.X87(0xDD, FstpRegister);
            _x87.Pop();
        }
    }

    /// <summary>An access to the state in the form of an integer or vector: registers on the host's stack must be there.</summary>
    private void FlushX87For(in IrInsn i)
    {
        if (_x87.Depth == 0)
            return;
        var first = _layout.X87!.Registers;
        if ((int)i.Imm < first + X87Layout.Count * X87Layout.SlotSize && (int)i.Imm + (1 << (int)i.Width) > first)
            FlushX87();
    }

    // Memory operands.

    /// <summary>Brings the register in its place before the access is checked: the cold path must find things as they stay.</summary>
    private void PrepareX87Access(in IrInsn i)
    {
        var access = X87Access.Of(i);
        if (access.IsLoad)
        {
            DropX87(i.Extra);
            return;
        }

        if (_x87.Find(i.Extra) == 0)
            return;
        // Moving values about clears the host's C1, and the access may fault before the instruction sets it.
        if (_x87.HostC1)
            StoreX87Status();
        ToTop(i.Extra);
    }

    /// <summary>The instruction with its memory operand, hot or from the bounce buffer.</summary>
    private void X87MemoryOperand(X87Access access, in Mem m) => _asm.X87Mem(access.Opcode, access.Digit, m);

    private static void FinishX87Access(ref X87Stack stack, X87Access access, int register)
    {
        if (access.IsLoad)
            stack.Push(register, true);
        else if (access.Pops)
            stack.Pop();
        else if (access.IsArithmetic && !access.IsCompare)
            stack.Touch(register);
        if (access.IsExtended)
        {
            stack.Clears();
            return;
        }

        if (access.IsLoad)
        {
            stack.Flags = true;
            stack.Clears();
            return;
        }

        stack.Computes();
        stack.HostConditions |= access.IsCompare;
    }

    // Cold paths of guest accesses: C# is called with the host's stack empty, and everything is put back behind it.

    private void SaveX87(ColdPath c)
    {
        var stack = c.X87;
        var isStore = c.Op == IrOp.X87Mem && c.X87Access.IsStore;
        if (stack.IsIdle)
            return;
        var environment = Eng(EngineOffsets.X87Environment);
        _asm.X87Mem(0xD9, 6, environment); // FNSTENV
        for (var k = 0; k < stack.Depth; k++)
            _asm.X87Mem(0xDB, 7, X87Home(stack[k]));
        if (stack.IsStatusPending)
        {
            _asm.Store(3, Eng(EngineOffsets.Scratch0), Reg.R10);
            _asm.Load(1, Reg.R10, environment with { Disp = environment.Disp + EnvironmentStatus });
            MergeX87Status(Reg.R10, stack.HostBits, stack.ClearedBits);
            _asm.Load(3, Reg.R10, Eng(EngineOffsets.Scratch0));
        }

        if (!isStore)
            return;
        _asm.X87Mem(0xDB, 5, X87Home(stack[0]));
        X87MemoryOperand(c.X87Access, Eng(EngineOffsets.Bounce));
        // Its flags are those of an instruction that may yet fault.
        _asm.X87Mem(0xDD, 7, Eng(EngineOffsets.X87StoreStatus));
        if (!c.X87Access.Pops)
            _asm.X87(0xDD, FstpRegister);
        _asm.X87(0xDB, 0xE2);
    }

    private void RestoreX87(ColdPath c)
    {
        var stack = c.X87;
        var isStore = c.Op == IrOp.X87Mem && c.X87Access.IsStore;
        if (!stack.IsIdle)
        {
            var first = isStore && c.X87Access.Pops ? 1 : 0;
            for (var k = stack.Depth - 1; k >= first; k--)
                _asm.X87Mem(0xDB, 5, X87Home(stack[k]));
            var environment = Eng(EngineOffsets.X87Environment);
            var status = environment with { Disp = environment.Disp + EnvironmentStatus };
            var depth = stack.Depth - first;
            _asm.Store(3, Eng(EngineOffsets.Scratch0), Reg.R10);
            _asm.Load(1, Reg.R10, status);
            _asm.OpImm(Alu.And, 2, Reg.R10, ~(0x3800 | (isStore ? X87Layout.C1 : 0)));
            _asm.OpImm(Alu.Or, 2, Reg.R10, (8 - depth & 7) << 11);
            _asm.Store(1, status, Reg.R10);
            if (isStore)
            {
                _asm.Load(1, Reg.R10, Eng(EngineOffsets.X87StoreStatus));
                _asm.OpImm(Alu.And, 2, Reg.R10, X87Layout.Exceptions | X87Layout.C1);
                _asm.OpStore(Alu.Or, 1, status, Reg.R10);
            }

            _asm.Load(3, Reg.R10, Eng(EngineOffsets.Scratch0));
            // An empty register has both of its tag bits set; the host sorts out the others itself.
            var tags = depth == 0 ? 0xFFFF : (1 << 2 * (8 - depth)) - 1;
            _asm.StoreImm(1, environment with { Disp = environment.Disp + EnvironmentTags }, (short)tags);
            _asm.X87Mem(0xD9, 4, environment); // FLDENV
        }

        if (c.Op == IrOp.X87Mem && !isStore)
            X87MemoryOperand(c.X87Access, Eng(EngineOffsets.Bounce));
    }
}
