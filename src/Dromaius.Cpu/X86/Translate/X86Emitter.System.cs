using Dromaius.Jit.Ir;
using Iced.Intel;

namespace Dromaius.Cpu.X86;

/// <remarks>This file: segment registers, privileged instructions, ports, hints (Intel SDM volumes 2 and 3).</remarks>
public sealed partial class X86Emitter
{
    private bool EmitSystem()
    {
        ref readonly var insn = ref Insn;
        switch (insn.Mnemonic)
        {
            // Segments and descriptor tables.
            case Mnemonic.Lds: LoadFarPointer(Register.DS); break;
            case Mnemonic.Les: LoadFarPointer(Register.ES); break;
            case Mnemonic.Lfs: LoadFarPointer(Register.FS); break;
            case Mnemonic.Lgs: LoadFarPointer(Register.GS); break;
            case Mnemonic.Lss: LoadFarPointer(Register.SS); break;
            case Mnemonic.Lar: LoadDescriptorFact(SystemHelpers.Lar); break;
            case Mnemonic.Lsl: LoadDescriptorFact(SystemHelpers.Lsl); break;
            case Mnemonic.Verr: TakeSelector(SystemHelpers.Verr); break;
            case Mnemonic.Verw: TakeSelector(SystemHelpers.Verw); break;
            case Mnemonic.Lldt: TakeSelector(SystemHelpers.Lldt); break;
            case Mnemonic.Ltr: TakeSelector(SystemHelpers.Ltr); break;
            case Mnemonic.Sldt: GiveSelector(SystemHelpers.Sldt); break;
            case Mnemonic.Str: GiveSelector(SystemHelpers.Str); break;
            case Mnemonic.Arpl: Arpl(); break;
            case Mnemonic.Lgdt: DescriptorTable(SystemHelpers.Lgdt); break;
            case Mnemonic.Lidt: DescriptorTable(SystemHelpers.Lidt); break;
            case Mnemonic.Sgdt: DescriptorTable(SystemHelpers.Sgdt); break;
            case Mnemonic.Sidt: DescriptorTable(SystemHelpers.Sidt); break;
            case Mnemonic.Swapgs: SwapGs(); break;
            case Mnemonic.Rdfsbase: ReadBase(Seg.Fs); break;
            case Mnemonic.Rdgsbase: ReadBase(Seg.Gs); break;
            case Mnemonic.Wrfsbase: WriteBase(Seg.Fs); break;
            case Mnemonic.Wrgsbase: WriteBase(Seg.Gs); break;

            // Control registers, MSRs, caches and TLBs.
            case Mnemonic.Smsw: MachineStatus(); break;
            case Mnemonic.Lmsw: CallAndEnd(SystemHelpers.Lmsw, B.ZExt(W.W, LoadOperand(0, W.W))); break;
            case Mnemonic.Clts: CallAndEnd(SystemHelpers.Clts); break;
            case Mnemonic.Invlpg: CallAndEnd(SystemHelpers.Invlpg, EffectiveAddress()); break;
            case Mnemonic.Invpcid: Invpcid(); break;
            case Mnemonic.Invd or Mnemonic.Wbinvd or Mnemonic.Wbnoinvd: CallKeepingFlags(SystemHelpers.CacheControl); break;
            case Mnemonic.Rdmsr: CallKeepingFlags(SystemHelpers.Rdmsr); break;
            case Mnemonic.Wrmsr: CallAndEnd(SystemHelpers.Wrmsr); break;
            case Mnemonic.Xgetbv: CallIf(Mode.OsXsave, SystemHelpers.Xgetbv); break;
            case Mnemonic.Xsetbv: CallIf(Mode.OsXsave, SystemHelpers.Xsetbv, ends: true); break;
            case Mnemonic.Rdtsc: CallKeepingFlags(SystemHelpers.Rdtsc); break;
            case Mnemonic.Rdtscp: CallKeepingFlags(SystemHelpers.Rdtscp); break;
            case Mnemonic.Rdpmc: CallKeepingFlags(SystemHelpers.Rdpmc); break;
            case Mnemonic.Rdpkru: CallKeepingFlags(SystemHelpers.Rdpkru); break;
            case Mnemonic.Wrpkru: CallAndEnd(SystemHelpers.Wrpkru); break;
            case Mnemonic.Rdpid: WriteGpr(insn.Op0Register, CallKeepingFlags(SystemHelpers.Rdpid)); break;
            case Mnemonic.Cpuid: CallKeepingFlags(SystemHelpers.Cpuid); break;

            // Flags.
            case Mnemonic.Cli: ClearInterruptFlag(); break;
            case Mnemonic.Sti: SetInterruptFlag(); break;
            case Mnemonic.Clac: SetAccessCheck(false); break;
            case Mnemonic.Stac: SetAccessCheck(true); break;

            // Ports.
            case Mnemonic.In: In(); break;
            case Mnemonic.Out: Out(); break;

            // Waiting.
            case Mnemonic.Hlt: CallAndLeave(SystemHelpers.Hlt, B.Const(NextRip)); break;
            case Mnemonic.Mwait: CallAndLeave(SystemHelpers.Mwait, B.Const(NextRip)); break;
            case Mnemonic.Monitor: Monitor(); break;

            // Random numbers.
            case Mnemonic.Rdrand or Mnemonic.Rdseed: Random(); break;

            default: return EmitHint();
        }

        return true;
    }

    /// <summary>Instructions without effect on what is emulated: hints, fences, cache control.</summary>
    private bool EmitHint()
    {
        ref readonly var insn = ref Insn;
        switch (insn.Mnemonic)
        {
            case Mnemonic.Nop or Mnemonic.Pause or Mnemonic.Endbr32 or Mnemonic.Endbr64 or Mnemonic.Reservednop:
            case Mnemonic.Prefetch or Mnemonic.Prefetchw or Mnemonic.Prefetchwt1:
            case Mnemonic.Prefetchnta or Mnemonic.Prefetcht0 or Mnemonic.Prefetcht1 or Mnemonic.Prefetcht2:
            case Mnemonic.Prefetchit0 or Mnemonic.Prefetchit1 or Mnemonic.Cldemote:
            case Mnemonic.Rdsspd or Mnemonic.Rdsspq:
            case Mnemonic.Lfence or Mnemonic.Mfence or Mnemonic.Sfence:
                return true;
            case Mnemonic.Clflush or Mnemonic.Clflushopt or Mnemonic.Clwb:
                // Faults as a load of the byte does.
                LoadMemory(W.B, EffectiveAddress());
                return true;
            case Mnemonic.Serialize:
                EndAtNext();
                return true;
            default:
                return false;
        }
    }

    private void CallAndEnd(Helper helper, Val a = default, Val b = default)
    {
        CallKeepingFlags(helper, a, b);
        EndAtNext();
    }

    /// <summary>A helper that stores the next address and leaves.</summary>
    private void CallAndLeave(Helper helper, Val a)
    {
        CallKeepingFlags(helper, a);
        B.ExitLoop();
        Ended = true;
    }

    private void CallIf(Mode enabled, Helper helper, bool ends = false)
    {
        if ((Mode & enabled) == 0)
            RaiseInvalidOpcode();
        else if (ends)
            CallAndEnd(helper);
        else
            CallKeepingFlags(helper);
    }

    // Segments.

    /// <summary>MOV and POP to a segment register; POP moves the stack pointer once the load has gone well.</summary>
    private void LoadSegmentRegister(Register register, Val selector, int popped = 0)
    {
        if (register == Register.CS)
        {
            RaiseInvalidOpcode();
            return;
        }

        var segment = SegmentOf(register);
        CallKeepingFlags(SystemHelpers.LoadSegment, B.Const((int)segment), B.ZExt(W.W, selector),
            B.Const(segment == Seg.Ss ? 1 : 0));
        if (popped != 0)
            AddToStack(popped);
        EndAfterSegmentLoad(segment);
    }

    private void EndAfterSegmentLoad(Seg segment)
    {
        if (segment == Seg.Ss || (!Is64 && segment is Seg.Ds or Seg.Es))
            EndAtNext();
    }

    private void StoreSegmentRegister()
    {
        ref readonly var insn = ref Insn;
        var selector = B.LdState(W.W, X86Layout.SelectorOffset(SegmentOf(insn.Op1Register)));
        if (insn.Op0Kind == OpKind.Memory)
            StoreMemory(W.W, EffectiveAddress(), selector);
        else
            WriteGprClean(insn.Op0Register, selector);
    }

    private void LoadFarPointer(Register segment)
    {
        var w = WidthOf(Insn.Op0Register);
        var offset = LoadMemory(w, EffectiveAddress());
        var selector = LoadMemory(W.W, AddressPlus(EffectiveAddress(), 1 << (int)w));
        // A load of SS starts no shadow here: only MOV and POP do.
        CallKeepingFlags(SystemHelpers.LoadSegment, B.Const((int)SegmentOf(segment)), selector, B.Const(0));
        WriteGprClean(Insn.Op0Register, offset);
        EndAfterSegmentLoad(SegmentOf(segment));
    }

    private void LoadDescriptorFact(Helper helper)
    {
        if (!IsProtected)
        {
            RaiseInvalidOpcode();
            return;
        }

        var register = Insn.Op0Register;
        var selector = B.ZExt(W.W, LoadOperand(1, W.W));
        var old = WidthOf(register) == W.Q ? ReadGpr(register) : B.ZExt(WidthOf(register), ReadGpr(register));
        WriteGprClean(register, CallWithPc(helper, selector, old));
    }

    private void TakeSelector(Helper helper)
    {
        if (!IsProtected)
            RaiseInvalidOpcode();
        else
            CallWithPc(helper, B.ZExt(W.W, LoadOperand(0, W.W)));
    }

    private void GiveSelector(Helper helper)
    {
        if (!IsProtected)
            RaiseInvalidOpcode();
        else
            StoreWord(CallKeepingFlags(helper));
    }

    /// <summary>A word to memory, or zero-extended to a register of any width.</summary>
    private void StoreWord(Val value)
    {
        if (Insn.Op0Kind == OpKind.Memory)
            StoreMemory(W.W, EffectiveAddress(), value);
        else
            WriteGprClean(Insn.Op0Register, value);
    }

    private void Arpl()
    {
        if (!IsProtected)
        {
            RaiseInvalidOpcode();
            return;
        }

        var source = B.ZExt(W.W, ReadGpr(Insn.Op1Register));
        if (Insn.Op0Kind == OpKind.Memory)
        {
            // Stores, and asks for the right to store, only when something changes.
            CallWithPc(SystemHelpers.ArplMemory, B.Const((int)SegmentOf(Insn.MemorySegment)), EffectiveOffset(), source);
            return;
        }

        var destination = B.ZExt(W.W, LoadOperand(0, W.W));
        var result = B.Select(Cond.ULt, W.D, B.And(W.D, destination, B.Const(3)), B.And(W.D, source, B.Const(3)),
            B.Deposit(destination, source, 0, 2), destination);
        SetZero(B.SetCond(Cond.Ne, W.D, result, destination));
        WriteGpr(GprNumber(Insn.Op0Register), W.W, result);
    }

    private void DescriptorTable(Helper helper)
    {
        var size = Insn.Code switch
        {
            Code.Lgdt_m1632_16 or Code.Lidt_m1632_16 or Code.Sgdt_m1632_16 or Code.Sidt_m1632_16 => 2,
            Code.Lgdt_m1632 or Code.Lidt_m1632 or Code.Sgdt_m1632 or Code.Sidt_m1632 => 4,
            _ => 8,
        };
        CallKeepingFlags(helper, EffectiveAddress(), B.Const(size));
    }

    private void ReadBase(Seg segment) =>
        WriteGpr(Insn.Op0Register, CallKeepingFlags(SystemHelpers.ReadSegmentBase, B.Const((int)segment)));

    private void WriteBase(Seg segment)
    {
        var w = WidthOf(Insn.Op0Register);
        CallKeepingFlags(SystemHelpers.WriteSegmentBase, B.Const((int)segment), B.ZExt(w, ReadGpr(Insn.Op0Register)));
    }

    // Control and debug registers.

    private void MovToSystemRegister()
    {
        ref readonly var insn = ref Insn;
        var register = insn.Op0Register;
        var value = ReadGpr(insn.Op1Register);
        if (WidthOf(insn.Op1Register) == W.D)
            value = B.ZExt(W.D, value);
        if (register >= Register.CR0 && register <= Register.CR15)
            CallAndEnd(SystemHelpers.WriteControl, B.Const(register - Register.CR0), value);
        else if (register >= Register.DR0 && register <= Register.DR15)
            CallAndEnd(SystemHelpers.WriteDebug, B.Const(register - Register.DR0), value);
        else
            RaiseInvalidOpcode();
    }

    private void Invpcid()
    {
        var register = Insn.Op0Register;
        CallAndEnd(SystemHelpers.Invpcid, B.ZExt(WidthOf(register), ReadGpr(register)), EffectiveAddress());
    }

    private void MovFromSystemRegister()
    {
        ref readonly var insn = ref Insn;
        var register = insn.Op1Register;
        if (register >= Register.CR0 && register <= Register.CR15)
            WriteGpr(insn.Op0Register, CallKeepingFlags(SystemHelpers.ReadControl, B.Const(register - Register.CR0)));
        else if (register >= Register.DR0 && register <= Register.DR15)
            WriteGpr(insn.Op0Register, CallKeepingFlags(SystemHelpers.ReadDebug, B.Const(register - Register.DR0)));
        else
            RaiseInvalidOpcode();
    }

    private void MachineStatus()
    {
        var value = CallKeepingFlags(SystemHelpers.Smsw);
        if (Insn.Op0Kind == OpKind.Memory)
            StoreMemory(W.W, EffectiveAddress(), value);
        else
            WriteGpr(Insn.Op0Register, value);
    }

    // Flags and ports.

    /// <summary>Clearing IF changes nothing else where it is allowed: the block goes on.</summary>
    private void ClearInterruptFlag()
    {
        if ((Mode & Mode.IoAllowed) == 0)
        {
            CallAndEnd(SystemHelpers.Cli);
            return;
        }

        B.StState(W.Q, X86Layout.EflagsOffset,
            B.And(W.Q, B.LdState(W.Q, X86Layout.EflagsOffset), B.Const(~(ulong)Eflags.If)));
    }

    /// <summary>
    /// Nothing waits, usually: then the block goes on, so that no interrupt comes before the next instruction. Else the helper begins
    /// the shadow of STI.
    /// </summary>
    private void SetInterruptFlag()
    {
        if ((Mode & Mode.IoAllowed) == 0 || Steps || _index == _length - 1)
        {
            CallAndEnd(SystemHelpers.Sti);
            return;
        }

        FlushFlags();
        B.BrCond(Cond.Ne, W.D, B.LdState(W.D, X86Layout.RequestsOffset), B.Const(0), NewCold(ColdKind.EnableInterrupts, -1));
        B.StState(W.Q, X86Layout.EflagsOffset,
            B.Or(W.Q, B.LdState(W.Q, X86Layout.EflagsOffset), B.Const((ulong)Eflags.If)));
    }

    /// <summary>STAC and CLAC. The block goes on in the other mode, with the other TLB.</summary>
    private void SetAccessCheck(bool allow)
    {
        if (Cpl != 0 || !Model.Has(X86Feature.Smap))
        {
            RaiseInvalidOpcode();
            return;
        }

        var flags = B.LdState(W.Q, X86Layout.EflagsOffset);
        B.StState(W.Q, X86Layout.EflagsOffset, allow ? B.Or(W.Q, flags, B.Const((ulong)Eflags.Ac))
            : B.And(W.Q, flags, B.Const(~(ulong)Eflags.Ac)));
        if (allow == ((_modeNow & Mode.Smap) == 0))
            return;
        if (!allow)
        {
            // Without CR4.SMAP nothing is enforced.
            FlushFlags();
            B.BrCond(Cond.TestEq, W.D, B.LdState(W.D, X86Layout.ControlRegisterOffset(4)), B.Const((int)Cr.Smap), NewCold(ColdKind.ModeChanged, -1));
        }

        _modeNow ^= Mode.Smap;
        B.StState(W.D, X86Layout.ModeOffset, B.Const((ulong)_modeNow));
    }

    private void SwapGs()
    {
        if (!Is64 || Cpl != 0)
        {
            CallKeepingFlags(SystemHelpers.Swapgs);
            return;
        }

        var user = B.LdState(W.Q, X86Layout.BaseOffset(Seg.Gs));
        var kernel = B.LdState(W.Q, X86Layout.KernelGsBaseOffset);
        B.StState(W.Q, X86Layout.BaseOffset(Seg.Gs), kernel);
        B.StState(W.Q, X86Layout.KernelGsBaseOffset, user);
    }

    private void In()
    {
        ref readonly var insn = ref Insn;
        var w = WidthOf(insn.Op0Register);
        var value = CallKeepingFlags(SystemHelpers.In, PortOperand(1), B.Const(1 << (int)w));
        WriteGpr(insn.Op0Register, value);
        EndAtNext();
    }

    private void Out()
    {
        ref readonly var insn = ref Insn;
        var register = insn.Op1Register;
        var w = WidthOf(register);
        CallKeepingFlags(SystemHelpers.Out, PortOperand(0), B.Const(1 << (int)w), B.ZExt(w, ReadGpr(register)));
        EndAtNext();
    }

    private Val PortOperand(int operand) => Insn.GetOpKind(operand) == OpKind.Register
        ? B.ZExt(W.W, Rdx)
        : B.Const((int)Insn.Immediate8);

    private void Monitor()
    {
        ref readonly var insn = ref Insn;
        var w = CounterWidth;
        var segment = insn.SegmentPrefix == Register.None ? Seg.Ds : SegmentOf(insn.SegmentPrefix);
        CallKeepingFlags(SystemHelpers.Monitor, ToLinear(segment, w == W.Q ? Rax : B.ZExt(w, Rax)));
    }

    /// <summary>RDRAND and RDSEED always have a number: CF is set, the other flags are clear.</summary>
    private void Random()
    {
        var value = B.Call(IntegerHelpers.Random);
        SetFlagsFromBits(B.Const(FlagC));
        WriteGpr(Insn.Op0Register, value);
    }
}
