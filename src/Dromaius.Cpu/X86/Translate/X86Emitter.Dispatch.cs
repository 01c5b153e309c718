using Dromaius.Jit.Ir;
using Iced.Intel;

namespace Dromaius.Cpu.X86;

/// <remarks>This file: from mnemonics to the emitters of integer, control and system instructions.</remarks>
public sealed partial class X86Emitter
{
    /// <summary>Emits an integer, control or system instruction; false if it is none.</summary>
    private bool EmitInteger()
    {
        switch (Insn.Mnemonic)
        {
            // Arithmetic and logic.
            case Mnemonic.Add: Add(); break;
            case Mnemonic.Adc: Adc(); break;
            case Mnemonic.Sub: Sub(); break;
            case Mnemonic.Sbb: Sbb(); break;
            case Mnemonic.Cmp: Cmp(); break;
            case Mnemonic.And: Logic(RmwKind.And); break;
            case Mnemonic.Or: Logic(RmwKind.Or); break;
            case Mnemonic.Xor: Logic(RmwKind.Xor); break;
            case Mnemonic.Test: Test(); break;
            case Mnemonic.Inc: IncDec(1); break;
            case Mnemonic.Dec: IncDec(-1); break;
            case Mnemonic.Neg: Neg(); break;
            case Mnemonic.Not: Not(); break;
            case Mnemonic.Xadd: Xadd(); break;
            case Mnemonic.Cmpxchg: Cmpxchg(); break;
            case Mnemonic.Cmpxchg8b: Cmpxchg8B(); break;
            case Mnemonic.Cmpxchg16b: Cmpxchg16B(); break;
            case Mnemonic.Mul: Mul(); break;
            case Mnemonic.Imul: Imul(); break;
            case Mnemonic.Div: Div(); break;
            case Mnemonic.Idiv: Idiv(); break;
            case Mnemonic.Adcx: AddWithFlag(overflow: false); break;
            case Mnemonic.Adox: AddWithFlag(overflow: true); break;

            // Moves and conversions.
            case Mnemonic.Mov: Mov(); break;
            case Mnemonic.Movzx: Extend(false); break;
            case Mnemonic.Movsx or Mnemonic.Movsxd: Extend(true); break;
            case Mnemonic.Lea: Lea(); break;
            case Mnemonic.Xchg: Xchg(); break;
            case Mnemonic.Bswap: Bswap(); break;
            case Mnemonic.Movbe: Movbe(); break;
            case Mnemonic.Movnti: MovNonTemporal(); break;
            case Mnemonic.Cbw: Widen(W.B, W.W); break;
            case Mnemonic.Cwde: Widen(W.W, W.D); break;
            case Mnemonic.Cdqe: Widen(W.D, W.Q); break;
            case Mnemonic.Cwd: SignIntoRdx(W.W); break;
            case Mnemonic.Cdq: SignIntoRdx(W.D); break;
            case Mnemonic.Cqo: SignIntoRdx(W.Q); break;
            case Mnemonic.Xlatb: Xlat(); break;
            case Mnemonic.Lahf: Lahf(); break;
            case Mnemonic.Sahf: Sahf(); break;
            case Mnemonic.Salc: Salc(); break;
            case Mnemonic.Crc32: Crc32(); break;

            // Decimal.
            case Mnemonic.Aaa: Decimal(IntegerHelpers.Aaa); break;
            case Mnemonic.Aas: Decimal(IntegerHelpers.Aas); break;
            case Mnemonic.Daa: Decimal(IntegerHelpers.Daa); break;
            case Mnemonic.Das: Decimal(IntegerHelpers.Das); break;
            case Mnemonic.Aam: Aam(); break;
            case Mnemonic.Aad: Aad(); break;

            // Shifts and rotates.
            case Mnemonic.Shl or Mnemonic.Sal: ShiftLeft(); break;
            case Mnemonic.Shr: ShiftRight(false); break;
            case Mnemonic.Sar: ShiftRight(true); break;
            case Mnemonic.Rol: Rotate(true); break;
            case Mnemonic.Ror: Rotate(false); break;
            case Mnemonic.Rcl: RotateCarry(true); break;
            case Mnemonic.Rcr: RotateCarry(false); break;
            case Mnemonic.Shld: ShiftDouble(true); break;
            case Mnemonic.Shrd: ShiftDouble(false); break;

            // Bits.
            case Mnemonic.Bt: BitTest(BitOp.Test); break;
            case Mnemonic.Bts: BitTest(BitOp.Set); break;
            case Mnemonic.Btr: BitTest(BitOp.Reset); break;
            case Mnemonic.Btc: BitTest(BitOp.Complement); break;
            case Mnemonic.Bsf: BitScan(false); break;
            case Mnemonic.Bsr: BitScan(true); break;
            case Mnemonic.Tzcnt: CountZeros(false); break;
            case Mnemonic.Lzcnt: CountZeros(true); break;
            case Mnemonic.Popcnt: PopCount(); break;
            case Mnemonic.Andn: AndNot(); break;
            case Mnemonic.Bextr: Bextr(); break;
            case Mnemonic.Blsi: Blsi(); break;
            case Mnemonic.Blsmsk: Blsmsk(); break;
            case Mnemonic.Blsr: Blsr(); break;
            case Mnemonic.Bzhi: Bzhi(); break;
            case Mnemonic.Mulx: Mulx(); break;
            case Mnemonic.Pdep: PdepPext(true); break;
            case Mnemonic.Pext: PdepPext(false); break;
            case Mnemonic.Rorx: Rorx(); break;
            case Mnemonic.Shlx: ShiftX(IrOp.Shl); break;
            case Mnemonic.Shrx: ShiftX(IrOp.Shr); break;
            case Mnemonic.Sarx: ShiftX(IrOp.Sar); break;

            // Flags.
            case Mnemonic.Clc: SetCarry(B.Const(0)); break;
            case Mnemonic.Stc: SetCarry(B.Const(1)); break;
            case Mnemonic.Cmc: SetCarry(B.Xor(W.D, CarryFlag(), B.Const(1))); break;
            case Mnemonic.Cld: SetDirection(false); break;
            case Mnemonic.Std: SetDirection(true); break;

            default:
                return EmitConditional() || EmitControl() || EmitStringInstruction() || EmitSystem();
        }

        return true;
    }

    private bool EmitConditional()
    {
        var code = Insn.Code;
        var condition = Insn.ConditionCode;
        if (condition == ConditionCode.None)
            return false;
        if (code.IsJccShortOrNear())
        {
            BranchIf(condition);
            return true;
        }

        if (code is >= Code.Seto_rm8 and <= Code.Setg_rm8)
        {
            StoreOperand(0, W.B, ConditionValue(condition));
            return true;
        }

        if (code is not (>= Code.Cmovo_r16_rm16 and <= Code.Cmovg_r64_rm64))
            return false;
        ConditionalMove(condition);
        return true;
    }
}
