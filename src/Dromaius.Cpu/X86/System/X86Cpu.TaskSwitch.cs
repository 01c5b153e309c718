namespace Dromaius.Cpu.X86;

/// <content>Hardware task switching (Intel SDM volume 3, chapter 7).</content>
public sealed unsafe partial class X86Cpu
{
    private enum TaskSwitchReason
    {
        Jump, Call, Interrupt, Return,
    }

    /// <summary>A task-state segment read whole, before anything changes.</summary>
    private ref struct TaskImage
    {
        public ulong Cr3;
        public uint Eip, Eflags;
        public Span<uint> Registers;

        /// <summary>ES, CS, SS, DS, FS, GS.</summary>
        public Span<ushort> Selectors;
        public ushort Ldt;
        public bool Trap;
    }

    /// <summary>Reads and checks the descriptor of a task to switch to.</summary>
    private Descriptor ReadTaskDescriptor(ushort selector, bool returning)
    {
        if (IsNull(selector) || (selector & 4) != 0 || !TryReadDescriptor(selector, out var d))
            throw returning ? Ts(selector) : Gp(selector);
        var fits = d.IsSystem && (returning
            ? d.Type is Descriptor.Tss16Busy or Descriptor.Tss32Busy
            : d.Type is Descriptor.Tss16 or Descriptor.Tss32);
        if (!fits)
            throw returning ? Ts(selector) : Gp(selector);
        if (!d.Present)
            throw Np(selector);
        return d;
    }

    private void ReturnFromTask(ulong nextRip)
    {
        var link = (ushort)Load(State->Tr.Base, 2, Privilege.Supervisor);
        var tss = ReadTaskDescriptor(link, true);
        SwitchTask(link, tss, TaskSwitchReason.Return, nextRip, ReadEflags());
    }

    /// <summary>Saves the running task and enters another.</summary>
    /// <param name="selector">Selector of the new task-state segment.</param>
    /// <param name="tss">Its descriptor, checked for type and presence.</param>
    /// <param name="reason">Decides about busy bits, NT and the back link.</param>
    /// <param name="nextRip">Where the old task goes on.</param>
    /// <param name="flags">EFLAGS to save in the old task.</param>
    private void SwitchTask(ushort selector, in Descriptor tss, TaskSwitchReason reason, ulong nextRip, ulong flags)
    {
        var is32 = (tss.Type & 8) != 0;
        if (tss.Limit < (is32 ? 0x67u : 0x2Bu))
            throw Ts(selector);
        Span<uint> registers = stackalloc uint[8];
        Span<ushort> selectors = stackalloc ushort[6];
        var image = new TaskImage { Registers = registers, Selectors = selectors };
        ReadTask(tss.Base, is32, ref image);

        var old32 = (State->Tr.Type & 8) != 0;
        ProbeTask(State->Tr.Base, old32);
        if (reason is TaskSwitchReason.Call or TaskSwitchReason.Interrupt)
            Probe(tss.Base, 2, AccessKind.Write, Privilege.Supervisor);
        if (TryReadDescriptor(State->Tr.Selector, out var oldTss)
            && reason is TaskSwitchReason.Jump or TaskSwitchReason.Return)
            SetBusy(oldTss, false);
        if (reason == TaskSwitchReason.Return)
            flags &= ~(ulong)Eflags.Nt;
        SaveTask(State->Tr.Base, old32, (uint)nextRip, (uint)flags);

        if (reason is TaskSwitchReason.Call or TaskSwitchReason.Interrupt)
        {
            Store(tss.Base, 2, State->Tr.Selector, Privilege.Supervisor);
            image.Eflags |= Eflags.Nt;
        }

        if (reason != TaskSwitchReason.Return)
            SetBusy(tss, true);
        State->Tr = tss.ToSegment(selector);
        State->Tr.Attributes |= 2;
        State->Cr0 |= Cr.Ts;
        LoadTask(is32, image);
    }

    private void ReadTask(uint tss, bool is32, ref TaskImage image)
    {
        if (is32)
        {
            image.Cr3 = Load(tss + 0x1C, 4, Privilege.Supervisor);
            image.Eip = (uint)Load(tss + 0x20, 4, Privilege.Supervisor);
            image.Eflags = (uint)Load(tss + 0x24, 4, Privilege.Supervisor);
            for (var i = 0u; i < 8; i++)
                image.Registers[(int)i] = (uint)Load(tss + 0x28 + (i * 4), 4, Privilege.Supervisor);
            for (var i = 0u; i < 6; i++)
                image.Selectors[(int)i] = (ushort)Load(tss + 0x48 + (i * 4), 2, Privilege.Supervisor);
            image.Ldt = (ushort)Load(tss + 0x60, 2, Privilege.Supervisor);
            image.Trap = (Load(tss + 0x64, 2, Privilege.Supervisor) & 1) != 0;
            return;
        }

        image.Eip = (uint)Load(tss + 0xE, 2, Privilege.Supervisor);
        image.Eflags = (uint)Load(tss + 0x10, 2, Privilege.Supervisor);
        for (var i = 0u; i < 8; i++)
            image.Registers[(int)i] = (uint)Load(tss + 0x12 + (i * 2), 2, Privilege.Supervisor) | 0xFFFF0000;
        for (var i = 0u; i < 4; i++)
            image.Selectors[(int)i] = (ushort)Load(tss + 0x22 + (i * 2), 2, Privilege.Supervisor);
        image.Ldt = (ushort)Load(tss + 0x2A, 2, Privilege.Supervisor);
    }

    private void ProbeTask(ulong tss, bool is32)
    {
        var last = tss + (is32 ? 0x5Fu : 0x29u);
        Probe(tss, 1, AccessKind.Write, Privilege.Supervisor);
        Probe(last, 1, AccessKind.Write, Privilege.Supervisor);
    }

    private void SaveTask(ulong tss, bool is32, uint eip, uint flags)
    {
        if (is32)
        {
            Store(tss + 0x20, 4, eip, Privilege.Supervisor);
            Store(tss + 0x24, 4, flags, Privilege.Supervisor);
            for (var i = 0u; i < 8; i++)
                Store(tss + 0x28 + (i * 4), 4, (uint)State->Gpr[i], Privilege.Supervisor);
            for (var i = 0u; i < 6; i++)
                Store(tss + 0x48 + (i * 4), 2, SegmentOf((Seg)i)->Selector, Privilege.Supervisor);
            return;
        }

        Store(tss + 0xE, 2, eip, Privilege.Supervisor);
        Store(tss + 0x10, 2, flags, Privilege.Supervisor);
        for (var i = 0u; i < 8; i++)
            Store(tss + 0x12 + (i * 2), 2, (ushort)State->Gpr[i], Privilege.Supervisor);
        for (var i = 0u; i < 4; i++)
            Store(tss + 0x22 + (i * 2), 2, SegmentOf((Seg)i)->Selector, Privilege.Supervisor);
    }

    /// <summary>Loads the new task. From here on faults belong to it.</summary>
    private void LoadTask(bool is32, in TaskImage image)
    {
        if (is32 && (State->Cr0 & Cr.Pg) != 0)
            SetPageTable(image.Cr3);
        State->Rip = image.Eip;
        for (var i = 0; i < 8; i++)
            State->Gpr[i] = image.Registers[i];
        SetEflagsRaw(is32 ? image.Eflags : (ReadEflags() & 0xFFFF0000 & ~(ulong)(Eflags.Vm | Eflags.Rf)) | image.Eflags);

        // Local breakpoints belong to a task.
        State->Dr[7] &= ~0x155UL;
        var virtualTask = VirtualMode;
        var cpl = virtualTask ? 3 : image.Selectors[(int)Seg.Cs] & 3;
        for (var seg = Seg.Es; seg <= Seg.Gs; seg++)
        {
            if (virtualTask)
                SetVirtualSegment(seg, image.Selectors[(int)seg]);
            else
                SetNullSegment(seg, image.Selectors[(int)seg], cpl);
        }

        UpdateMode();
        State->Ldt = new Segment { Selector = image.Ldt, Unusable = 1 };
        SetLdt(image.Ldt, Ts, Ts);
        if (!virtualTask)
            LoadTaskSegments(image, cpl);
        UpdateMode();
        if (State->Rip > (virtualTask ? 0xFFFF : State->Cs.Limit))
            throw Gp();
        if (image.Trap)
        {
            State->Dr[6] |= Dr6TaskSwitch;
            throw new GuestFaultException(DebugVector, 0, false);
        }

        RecheckRequests();
    }

    private void LoadTaskSegments(in TaskImage image, int cpl)
    {
        var selector = image.Selectors[(int)Seg.Cs];
        if (IsNull(selector) || !TryReadDescriptor(selector, out var code) || !code.IsCode
            || (code.IsConforming ? code.Dpl > cpl : code.Dpl != cpl))
            throw Ts(selector);
        if (!code.Present)
            throw Np(selector);
        SetSegment(Seg.Cs, selector, code);

        selector = image.Selectors[(int)Seg.Ss];
        if (IsNull(selector) || !TryReadDescriptor(selector, out var stack) || !stack.IsWritableData || stack.Dpl != cpl
            || (selector & 3) != cpl)
            throw Ts(selector);
        if (!stack.Present)
            throw Ss(selector);
        SetSegment(Seg.Ss, selector, stack);

        foreach (var seg in (ReadOnlySpan<Seg>)[Seg.Ds, Seg.Es, Seg.Fs, Seg.Gs])
        {
            selector = image.Selectors[(int)seg];
            if (IsNull(selector))
                continue;
            if (!TryReadDescriptor(selector, out var data) || !data.IsReadable
                || (!(data.IsCode && data.IsConforming) && (data.Dpl < cpl || data.Dpl < (selector & 3))))
                throw Ts(selector);
            if (!data.Present)
                throw Np(selector);
            SetSegment(seg, selector, data);
        }
    }
}
