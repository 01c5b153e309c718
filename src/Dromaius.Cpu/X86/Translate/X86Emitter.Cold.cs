using Dromaius.Jit.Ir;
using Iced.Intel;

namespace Dromaius.Cpu.X86;

/// <remarks>This file: checks whose failing side stands behind the block, out of the way of the hot path.</remarks>
public sealed partial class X86Emitter
{
    private enum ColdKind : byte
    {
        /// <summary>Full check of the memory operand.</summary>
        Operand,

        /// <summary>Full check of the memory operand of a bit test with a register index.</summary>
        BitOperand,

        /// <summary>Full check of a stack slot at the stack pointer plus the displacement.</summary>
        Stack,

        /// <summary>Full check of a frame slot at the frame pointer plus the displacement (LEAVE, ENTER).</summary>
        Frame,

        /// <summary>Full check of a string operand at rSI, or at rDI.</summary>
        StringSource,
        StringDestination,

        /// <summary>#DE, #BR, #GP(0).</summary>
        DivideError,
        BoundRange,
        GeneralProtection,

        /// <summary>Fills the flags in as EFLAGS bits and goes back.</summary>
        MaterializeFlags,

        /// <summary>Makes the flags a record of <see cref="CcOp.Carries"/> and goes back.</summary>
        SplitFlags,

        /// <summary>The flags come from something else than was expected: the branch (condition in Size) once more.</summary>
        OtherFlags,

        /// <summary>The block reaches beyond the limit of CS.</summary>
        CodeLimit,

        /// <summary>STI with something waiting.</summary>
        EnableInterrupts,

        /// <summary>An x87 exception was unmasked: the mode follows, and it goes on at the next instruction.</summary>
        FpuUnmasked,

        /// <summary>The mode has changed: goes on at the next instruction.</summary>
        ModeChanged,
    }

    /// <summary>One failing side.</summary>
    private struct ColdPath
    {
        public ColdKind Kind;
        public int Label;

        /// <summary>Where the hot path goes on; -1 when it does not come back.</summary>
        public int Back;
        public int Instruction;
        public Seg Segment;
        public int Size;
        public bool Write;

        /// <summary>Displacement from the address that the kind names.</summary>
        public long Delta;
    }

    private ColdPath[] _cold = new ColdPath[16];
    private int _coldCount;

    /// <summary>A label behind the block that raises #GP(0) at this instruction.</summary>
    public int GeneralProtectionLabel() => NewCold(ColdKind.GeneralProtection, -1);

    private int NewCold(ColdKind kind, int back, Seg segment = Seg.Ds, int size = 0, bool write = false, long delta = 0)
    {
        if (_coldCount == _cold.Length)
            Array.Resize(ref _cold, _coldCount * 2);
        ref var path = ref _cold[_coldCount++];
        path.Kind = kind;
        path.Label = B.NewLabel();
        path.Back = back;
        path.Instruction = _index;
        path.Segment = segment;
        path.Size = size;
        path.Write = write;
        path.Delta = delta;
        return path.Label;
    }

    private void EmitColdPaths()
    {
        for (var i = 0; i < _coldCount; i++)
        {
            var path = _cold[i];
            SelectInstruction(path.Instruction);
            PlaceLabel(path.Label);
            ForgetFlags();
            B.InsnStart(Rip);
            switch (path.Kind)
            {
                case ColdKind.DivideError:
                    EmitRaise(0);
                    break;
                case ColdKind.BoundRange:
                    EmitRaise(5);
                    break;
                case ColdKind.GeneralProtection:
                    EmitRaise(13, 0);
                    break;
                case ColdKind.CodeLimit:
                    EmitCodeLimit(path.Write);
                    break;
                case ColdKind.EnableInterrupts:
                    CallKeepingFlags(SystemHelpers.Sti);
                    ExitStepping(B.Const(NextRip));
                    break;
                case ColdKind.FpuUnmasked:
                    B.CallVoid(FpuHelpers.UpdateMode);
                    ExitStepping(B.Const(NextRip));
                    break;
                case ColdKind.ModeChanged:
                    ExitStepping(B.Const(NextRip));
                    break;
                case ColdKind.MaterializeFlags:
                    EmitMaterialize();
                    B.Br(path.Back);
                    break;
                case ColdKind.SplitFlags:
                    var (carry, others, overflow) = SplitFlags();
                    StoreFlags((int)CcOp.Carries, carry, others, overflow);
                    B.Br(path.Back);
                    break;
                case ColdKind.OtherFlags:
                    BranchOnOtherFlags((ConditionCode)path.Size);
                    break;
                default:
                    B.SetPc(Rip);
                    B.CallVoid(SystemHelpers.CheckLimit, B.Const((int)path.Segment), ColdOffset(path),
                        B.Const(path.Size), B.Const(path.Write ? 1 : 0));
                    B.Br(path.Back);
                    break;
            }
        }
    }

    /// <summary>The offset that failed a check, computed anew: no global has changed since the instruction began.</summary>
    private Val ColdOffset(in ColdPath path) => path.Kind switch
    {
        ColdKind.Stack => StackOffset(path.Delta),
        ColdKind.Frame => FrameOffset(path.Delta),
        ColdKind.BitOperand => BitOperandOffset(),
        ColdKind.StringSource => StringOffset(X86Layout.Rsi),
        ColdKind.StringDestination => StringOffset(X86Layout.Rdi),
        _ => EffectiveOffset(),
    };

    /// <summary>
    /// Execution reaches the limit of CS within the block: with one instruction in it that is a fault, else the run loop takes the
    /// instructions one by one.
    /// </summary>
    private void EmitCodeLimit(bool single)
    {
        if (single)
        {
            EmitRaise(13, 0);
            return;
        }

        B.SetPc(Rip);
        B.CallVoid(TranslateHelpers.SingleInstruction);
        B.ExitLoop();
    }
}
