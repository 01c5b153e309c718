using System.Runtime.CompilerServices;

namespace Dromaius.Jit.X64;

/// <summary>General registers, numbered as encodings do.</summary>
internal enum Reg : byte
{
    Rax, Rcx, Rdx, Rbx, Rsp, Rbp, Rsi, Rdi, R8, R9, R10, R11, R12, R13, R14, R15,
    None = 0xFF,
}

/// <summary>Condition codes of Jcc, SETcc and CMOVcc.</summary>
internal enum Cc : byte
{
    O, No, B, Ae, E, Ne, Be, A, S, Ns, P, Np, L, Ge, Le, G,
}

/// <summary>Group-1 arithmetic, by its /n digit.</summary>
internal enum Alu : byte
{
    Add, Or, Adc, Sbb, And, Sub, Xor, Cmp,
}

/// <summary>Group-2 shifts, by their /n digit.</summary>
internal enum Shift : byte
{
    Rol = 0, Ror = 1, Rcl = 2, Rcr = 3, Shl = 4, Shr = 5, Sar = 7,
}

/// <summary>A memory operand: base + index * 2^scale + displacement.</summary>
internal readonly record struct Mem(Reg Base, int Disp, Reg Index = Reg.None, byte Scale = 0);

/// <summary>
/// Writes x86-64 instructions (Intel SDM volume 2). The write pointer and the address the code will run at differ by a
/// constant, since code memory is mapped twice.
/// </summary>
internal sealed unsafe class Assembler
{
    private byte* _start;
    private byte* _p;
    private byte* _limit;
    private byte* _flagsEnd;
    private long _execDelta;

    public byte* Position => _p;

    /// <summary>The address at which the next byte will be executed.</summary>
    public byte* ExecPosition => _p + _execDelta;

    public int Length => (int)(_p - _start);

    /// <summary>Fewer than this many bytes are left in the buffer when <see cref="Overflowed"/> is reported.</summary>
    public const int Margin = 2048;

    public bool Overflowed => _p > _limit;

    public void Begin(byte* write, byte* end, long execDelta)
    {
        _start = _p = write;
        _flagsEnd = null;
        _limit = end - Margin;
        _execDelta = execDelta;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Byte(int b) => *_p++ = (byte)b;

    public void Int32(int v)
    {
        *(int*)_p = v;
        _p += 4;
    }

    public void Int64(long v)
    {
        *(long*)_p = v;
        _p += 8;
    }

    public void Align(int n)
    {
        while (((ulong)_p & ((ulong)n - 1)) != 0)
            Byte(0x90);
    }

    // Encoding parts. Width: 0 byte, 1 word, 2 dword, 3 qword.

    private void Prefixes(int width, int reg, int index, int rm, bool byteReg, bool byteRm)
    {
        if (width == 1)
            Byte(0x66);
        var rex = (width == 3 ? 8 : 0) | ((reg >> 3) & 1) << 2 | ((index >> 3) & 1) << 1 | ((rm >> 3) & 1);
        if (rex != 0 || (byteReg && reg >= 4) || (byteRm && rm >= 4))
            Byte(0x40 | rex);
    }

    private void ModReg(int reg, int rm) => Byte(0xC0 | (reg & 7) << 3 | (rm & 7));

    private void ModMem(int reg, in Mem m)
    {
        var r = (reg & 7) << 3;
        var b = (int)m.Base & 7;
        var needSib = m.Index != Reg.None || b == 4;
        var mod = m.Disp == 0 && b != 5 ? 0 : m.Disp == (sbyte)m.Disp ? 0x40 : 0x80;
        Byte(mod | r | (needSib ? 4 : b));
        if (needSib)
            Byte(m.Scale << 6 | (m.Index == Reg.None ? 4 : (int)m.Index & 7) << 3 | b);
        if (mod == 0x40)
            Byte(m.Disp);
        else if (mod == 0x80)
            Int32(m.Disp);
    }

    private static int Ix(in Mem m) => m.Index == Reg.None ? 0 : (int)m.Index;

    private void OpRR(int width, int op, Reg reg, Reg rm)
    {
        Prefixes(width, (int)reg, 0, (int)rm, width == 0, width == 0);
        Byte(op);
        ModReg((int)reg, (int)rm);
    }

    private void OpRM(int width, int op, Reg reg, in Mem m)
    {
        Prefixes(width, (int)reg, Ix(m), (int)m.Base, width == 0, false);
        Byte(op);
        ModMem((int)reg, m);
    }

    private void Op0FRR(int width, int op, Reg reg, Reg rm, bool byteRm = false)
    {
        Prefixes(width, (int)reg, 0, (int)rm, false, byteRm);
        Byte(0x0F);
        Byte(op);
        ModReg((int)reg, (int)rm);
    }

    private void Op0FRM(int width, int op, Reg reg, in Mem m, bool byteReg = false)
    {
        Prefixes(width, (int)reg, Ix(m), (int)m.Base, byteReg, false);
        Byte(0x0F);
        Byte(op);
        ModMem((int)reg, m);
    }

    // The host's flags: they hold while nothing but moves follows the instruction that set them.

    /// <summary>The last instruction set flags that the caller remembers.</summary>
    public void MarkFlags() => _flagsEnd = _p;

    public bool FlagsHold => _flagsEnd == _p;

    /// <summary>Code from elsewhere joins here.</summary>
    public void ForgetFlags() => _flagsEnd = null;

    // Moves: they leave the flags alone.

    public void Mov(int width, Reg dst, Reg src)
    {
        if (dst == src && width != 2)
            return;
        var hold = FlagsHold;
        OpRR(width, width == 0 ? 0x8A : 0x8B, dst, src);
        KeepFlags(hold);
    }

    private void KeepFlags(bool hold)
    {
        if (hold)
            _flagsEnd = _p;
    }

    /// <summary>Loads a constant into all 64 bits by the shortest encoding; leaves the flags alone.</summary>
    public void MovImm(Reg dst, ulong value)
    {
        var hold = FlagsHold;
        if (value <= uint.MaxValue)
        {
            if ((int)dst >= 8)
                Byte(0x41);
            Byte(0xB8 | ((int)dst & 7));
            Int32((int)value);
        }
        else if ((long)value == (int)value)
        {
            Byte((int)dst >= 8 ? 0x49 : 0x48);
            Byte(0xC7);
            ModReg(0, (int)dst);
            Int32((int)value);
        }
        else
        {
            Byte((int)dst >= 8 ? 0x49 : 0x48);
            Byte(0xB8 | ((int)dst & 7));
            Int64((long)value);
        }

        KeepFlags(hold);
    }

    /// <summary>Zero-extending load.</summary>
    public void Load(int width, Reg dst, in Mem m)
    {
        var hold = FlagsHold;
        if (width < 2)
            Op0FRM(2, width == 0 ? 0xB6 : 0xB7, dst, m);
        else
            OpRM(width, 0x8B, dst, m);
        KeepFlags(hold);
    }

    public void Store(int width, in Mem m, Reg src)
    {
        var hold = FlagsHold;
        OpRM(width, width == 0 ? 0x88 : 0x89, src, m);
        KeepFlags(hold);
    }

    /// <summary>Stores a constant; for width 3 it must fit a sign-extended 32-bit immediate.</summary>
    public void StoreImm(int width, in Mem m, int value)
    {
        var hold = FlagsHold;
        OpRM(width, width == 0 ? 0xC6 : 0xC7, 0, m);
        Imm(width, value);
        KeepFlags(hold);
    }

    private void Imm(int width, int value)
    {
        switch (width)
        {
            case 0:
                Byte(value);
                break;
            case 1:
                Byte(value);
                Byte(value >> 8);
                break;
            default:
                Int32(value);
                break;
        }
    }

    public void Movzx(int fromWidth, Reg dst, Reg src)
    {
        var hold = FlagsHold;
        if (fromWidth == 2)
            OpRR(2, 0x8B, dst, src);
        else
            Op0FRR(2, fromWidth == 0 ? 0xB6 : 0xB7, dst, src, fromWidth == 0);
        KeepFlags(hold);
    }

    /// <summary>From AH, CH, DH or BH of one of the first four registers to one of the first eight.</summary>
    public void MovzxHigh(Reg dst, Reg src) => Op0FRR(2, 0xB6, dst, (Reg)((int)src + 4));

    public void Movsx(int fromWidth, Reg dst, Reg src)
    {
        var hold = FlagsHold;
        if (fromWidth == 2)
            OpRR(3, 0x63, dst, src);
        else
            Op0FRR(3, fromWidth == 0 ? 0xBE : 0xBF, dst, src);
        KeepFlags(hold);
    }

    public void Lahf() => Byte(0x9F);

    public void Lea(int width, Reg dst, in Mem m)
    {
        var hold = FlagsHold;
        OpRM(width, 0x8D, dst, m);
        KeepFlags(hold);
    }

    public void Xchg(int width, in Mem m, Reg r) => OpRM(width, width == 0 ? 0x86 : 0x87, r, m);

    public void Xchg(int width, Reg a, Reg b) => OpRR(width, width == 0 ? 0x86 : 0x87, a, b);

    // Arithmetic.

    public void Op(Alu op, int width, Reg dst, Reg src) =>
        OpRR(width, (int)op << 3 | (width == 0 ? 2 : 3), dst, src);

    public void Op(Alu op, int width, Reg dst, in Mem m) =>
        OpRM(width, (int)op << 3 | (width == 0 ? 2 : 3), dst, m);

    public void OpStore(Alu op, int width, in Mem m, Reg src) =>
        OpRM(width, (int)op << 3 | (width == 0 ? 0 : 1), src, m);

    public void OpImm(Alu op, int width, Reg dst, int imm)
    {
        Prefixes(width, 0, 0, (int)dst, false, width == 0);
        if (width == 0)
        {
            Byte(0x80);
            ModReg((int)op, (int)dst);
            Byte(imm);
        }
        else if (imm == (sbyte)imm)
        {
            Byte(0x83);
            ModReg((int)op, (int)dst);
            Byte(imm);
        }
        else
        {
            Byte(0x81);
            ModReg((int)op, (int)dst);
            Imm(width, imm);
        }
    }

    public void OpImm(Alu op, int width, in Mem m, int imm)
    {
        if (width == 0 || imm == (sbyte)imm)
        {
            OpRM(width, width == 0 ? 0x80 : 0x83, (Reg)op, m);
            Byte(imm);
        }
        else
        {
            OpRM(width, 0x81, (Reg)op, m);
            Imm(width, imm);
        }
    }

    public void Test(int width, Reg a, Reg b) => OpRR(width, width == 0 ? 0x84 : 0x85, b, a);

    public void TestImm(int width, Reg a, int imm)
    {
        Prefixes(width, 0, 0, (int)a, false, width == 0);
        Byte(width == 0 ? 0xF6 : 0xF7);
        ModReg(0, (int)a);
        Imm(width, imm);
    }

    /// <summary>BT r, imm8: CF becomes one of the low 32 bits.</summary>
    public void BitTest(Reg r, int bit)
    {
        Prefixes(2, 0, 0, (int)r, false, false);
        Byte(0x0F);
        Byte(0xBA);
        ModReg(4, (int)r);
        Byte(bit);
    }

    public void Stc() => Byte(0xF9);

    public void Neg(int width, Reg r) => Group3(width, 3, r);

    public void Not(int width, Reg r) => Group3(width, 2, r);

    /// <summary>F6/F7 /n: 2 NOT, 3 NEG, 4 MUL, 5 IMUL, 6 DIV, 7 IDIV.</summary>
    public void Group3(int width, int digit, Reg r)
    {
        Prefixes(width, 0, 0, (int)r, false, width == 0);
        Byte(width == 0 ? 0xF6 : 0xF7);
        ModReg(digit, (int)r);
    }

    public void Imul(int width, Reg dst, Reg src) => Op0FRR(width, 0xAF, dst, src);

    public void ImulImm(int width, Reg dst, Reg src, int imm)
    {
        OpRR(width, imm == (sbyte)imm ? 0x6B : 0x69, dst, src);
        if (imm == (sbyte)imm)
            Byte(imm);
        else
            Imm(width, imm);
    }

    public void ShiftImm(Shift op, int width, Reg r, int count)
    {
        Prefixes(width, 0, 0, (int)r, false, width == 0);
        Byte(width == 0 ? 0xC0 : 0xC1);
        ModReg((int)op, (int)r);
        Byte(count);
    }

    public void ShiftCl(Shift op, int width, Reg r)
    {
        Prefixes(width, 0, 0, (int)r, false, width == 0);
        Byte(width == 0 ? 0xD2 : 0xD3);
        ModReg((int)op, (int)r);
    }

    public void Bswap(int width, Reg r)
    {
        Prefixes(width, 0, 0, (int)r, false, false);
        Byte(0x0F);
        Byte(0xC8 | ((int)r & 7));
    }

    public void Setcc(Cc cc, Reg r) => Op0FRR(0, 0x90 | (int)cc, 0, r, true);

    public void Cmov(Cc cc, int width, Reg dst, Reg src) => Op0FRR(width, 0x40 | (int)cc, dst, src);

    /// <summary>F3 0F op: POPCNT B8, TZCNT BC, LZCNT BD.</summary>
    public void CountOp(int op, int width, Reg dst, Reg src)
    {
        Byte(0xF3);
        Op0FRR(width, op, dst, src);
    }

    /// <summary>0F BC (BSF) or 0F BD (BSR).</summary>
    public void BitScan(int op, int width, Reg dst, Reg src) => Op0FRR(width, op, dst, src);

    // Locked read-modify-write.

    public void LockXadd(int width, in Mem m, Reg r)
    {
        Byte(0xF0);
        Op0FRM(width, width == 0 ? 0xC0 : 0xC1, r, m, width == 0);
    }

    public void LockCmpxchg(int width, in Mem m, Reg r)
    {
        Byte(0xF0);
        Op0FRM(width, width == 0 ? 0xB0 : 0xB1, r, m, width == 0);
    }

    // VEX-encoded general-register instructions (BMI).

    /// <summary>RORX: rotates 64 bits right into another register.</summary>
    public void Rorx(Reg dst, Reg src, int count)
    {
        VexGpr(3, 3, 0xF0, 3, dst, 0, src);
        Byte(count);
    }

    /// <summary>VEX map/pp op: reg, vvvv, rm; L0.</summary>
    public void VexGpr(int map, int pp, int op, int width, Reg reg, Reg vvvv, Reg rm)
    {
        Vex(map, pp, width == 3, false, (int)reg, (int)vvvv, 0, (int)rm);
        Byte(op);
        ModReg((int)reg, (int)rm);
    }

    private void Vex(int map, int pp, bool w, bool l, int reg, int vvvv, int index, int rm)
    {
        if (map == 1 && !w && (index & 8) == 0 && (rm & 8) == 0)
        {
            Byte(0xC5);
            Byte((~reg & 8) << 4 | (~vvvv & 15) << 3 | (l ? 4 : 0) | pp);
            return;
        }

        Byte(0xC4);
        Byte((~reg & 8) << 4 | (~index & 8) << 3 | (~rm & 8) << 2 | map);
        Byte((w ? 0x80 : 0) | (~vvvv & 15) << 3 | (l ? 4 : 0) | pp);
    }

    // Vectors. pp: 0 none, 1 66, 2 F3, 3 F2. map: 1 0F, 2 0F38, 3 0F3A.

    private void LegacyHead(int map, int pp, bool w, int reg, int index, int rm, int op)
    {
        if (pp != 0)
            Byte(pp == 1 ? 0x66 : pp == 2 ? 0xF3 : 0xF2);
        var rex = (w ? 8 : 0) | (reg & 8) >> 1 | (index & 8) >> 2 | (rm & 8) >> 3;
        if (rex != 0)
            Byte(0x40 | rex);
        Byte(0x0F);
        if (map == 2)
            Byte(0x38);
        else if (map == 3)
            Byte(0x3A);
        Byte(op);
    }

    public void SseRR(int map, int pp, int op, bool w, int reg, int rm)
    {
        LegacyHead(map, pp, w, reg, 0, rm, op);
        ModReg(reg, rm);
    }

    public void SseRM(int map, int pp, int op, bool w, int reg, in Mem m)
    {
        LegacyHead(map, pp, w, reg, Ix(m), (int)m.Base, op);
        ModMem(reg, m);
    }

    public void VexRR(int map, int pp, int op, bool w, bool l, int reg, int vvvv, int rm)
    {
        Vex(map, pp, w, l, reg, vvvv, 0, rm);
        Byte(op);
        ModReg(reg, rm);
    }

    /// <summary>Copies a vector register; the upper half is copied or cleared.</summary>
    public void MoveVec(int d, int s, bool whole)
    {
        if (HostFeatures.Avx)
        {
            if (d != s || !whole)
                VexRR(1, 0, 0x28, false, whole, d, 0, s);
        }
        else if (d != s)
            SseRR(1, 0, 0x28, false, d, s);
    }

    public void Vzeroupper()
    {
        Vex(1, 0, false, false, 0, 0, 0, 0);
        Byte(0x77);
    }

    public void VexRM(int map, int pp, int op, bool w, bool l, int reg, int vvvv, in Mem m)
    {
        Vex(map, pp, w, l, reg, vvvv, Ix(m), (int)m.Base);
        Byte(op);
        ModMem(reg, m);
    }

    // Control. Rel32 forms return where the displacement stands, for patching.

    public byte* Jcc(Cc cc)
    {
        Byte(0x0F);
        Byte(0x80 | (int)cc);
        Int32(0);
        return _p - 4;
    }

    public byte* Jmp()
    {
        Byte(0xE9);
        Int32(0);
        return _p - 4;
    }

    /// <summary>A jump whose displacement is 4-byte aligned, so that it can be patched while other threads run it.</summary>
    public byte* JmpPatchable()
    {
        AlignDisplacement(1);
        return Jmp();
    }

    /// <summary>As <see cref="JmpPatchable"/>, with a condition.</summary>
    public byte* JccPatchable(Cc cc)
    {
        AlignDisplacement(2);
        return Jcc(cc);
    }

    /// <summary>One no-operation, as long as it takes to align what follows an opcode (Intel SDM volume 2, NOP).</summary>
    private void AlignDisplacement(int opcodeLength)
    {
        switch (-(int)((ulong)_p + (ulong)opcodeLength) & 3)
        {
            case 1:
                Byte(0x90);
                break;
            case 2:
                Byte(0x66);
                Byte(0x90);
                break;
            case 3:
                Byte(0x0F);
                Byte(0x1F);
                Byte(0);
                break;
        }
    }

    /// <summary>Stores before it are seen by all before loads behind it are made.</summary>
    public void Mfence()
    {
        Byte(0x0F);
        Byte(0xAE);
        Byte(0xF0);
    }

    public void JmpTo(byte* execTarget)
    {
        Byte(0xE9);
        Int32((int)(execTarget - (ExecPosition + 4)));
    }

    public void JccTo(Cc cc, byte* execTarget)
    {
        Byte(0x0F);
        Byte(0x80 | (int)cc);
        Int32((int)(execTarget - (ExecPosition + 4)));
    }

    public void CallTo(byte* execTarget)
    {
        Byte(0xE8);
        Int32((int)(execTarget - (ExecPosition + 4)));
    }

    public void CallReg(Reg r)
    {
        if ((int)r >= 8)
            Byte(0x41);
        Byte(0xFF);
        ModReg(2, (int)r);
    }

    public void JmpReg(Reg r)
    {
        if ((int)r >= 8)
            Byte(0x41);
        Byte(0xFF);
        ModReg(4, (int)r);
    }

    public void JmpMem(in Mem m) => OpRM(2, 0xFF, (Reg)4, m);

    public void Ret() => Byte(0xC3);

    public void Push(Reg r)
    {
        if ((int)r >= 8)
            Byte(0x41);
        Byte(0x50 | ((int)r & 7));
    }

    public void Pop(Reg r)
    {
        if ((int)r >= 8)
            Byte(0x41);
        Byte(0x58 | ((int)r & 7));
    }

    /// <summary>0F AE /2 LDMXCSR, /3 STMXCSR.</summary>
    /// <summary>An x87 instruction on registers: its two bytes.</summary>
    public void X87(int opcode, int second)
    {
        Byte(opcode);
        Byte(second);
    }

    /// <summary>An x87 instruction with a memory operand.</summary>
    public void X87Mem(int opcode, int digit, in Mem m) => OpRM(2, opcode, (Reg)digit, m);

    public void Ldmxcsr(in Mem m) => Op0FRM(2, 0xAE, (Reg)2, m);

    public void Stmxcsr(in Mem m) => Op0FRM(2, 0xAE, (Reg)3, m);

    /// <summary>Resolves a rel32 to the current position.</summary>
    public void PatchHere(byte* rel32) => *(int*)rel32 = (int)(_p - (rel32 + 4));

    public static void Patch(byte* rel32, byte* writeTarget) => *(int*)rel32 = (int)(writeTarget - (rel32 + 4));
}
