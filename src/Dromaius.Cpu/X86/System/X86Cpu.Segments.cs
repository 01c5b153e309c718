namespace Dromaius.Cpu.X86;

/// <content>Segment registers: loading, checking and the accesses they allow (Intel SDM volume 3, chapters 3 and 5).</content>
public sealed unsafe partial class X86Cpu
{
    /// <summary>The EXT bit of error codes: 1 while an event from outside the program is delivered.</summary>
    private uint _ext;

    private GuestFaultException Gp(uint selector = 0) => GuestFaultException.GeneralProtection((selector & 0xFFFC) | _ext);

    private GuestFaultException Np(uint selector) => GuestFaultException.NotPresent((selector & 0xFFFC) | _ext);

    private GuestFaultException Ss(uint selector = 0) => GuestFaultException.StackFault((selector & 0xFFFC) | _ext);

    private GuestFaultException Ts(uint selector) => GuestFaultException.InvalidTss((selector & 0xFFFC) | _ext);

    private static bool IsNull(uint selector) => (selector & 0xFFFC) == 0;

    private bool RealOrVirtual => (State->Mode & (uint)(Mode.Protected | Mode.V86)) != (uint)Mode.Protected;

    /// <summary>Linear addresses have 48 significant bits, sign-extended.</summary>
    public static bool IsCanonical(ulong linear) => (ulong)((long)(linear << 16) >> 16) == linear;

    /// <summary>Reads the descriptor that a selector names; false when it lies outside its table.</summary>
    private bool TryReadDescriptor(ushort selector, out Descriptor descriptor)
    {
        ulong tableBase, limit;
        if ((selector & 4) != 0)
        {
            tableBase = State->Ldt.Base;
            limit = State->Ldt.Limit;
            if (State->Ldt.Unusable != 0)
            {
                descriptor = default;
                return false;
            }
        }
        else
        {
            tableBase = State->Gdt.Base;
            limit = State->Gdt.Limit;
        }

        var offset = selector & 0xFFF8u;
        if (offset + 7 > limit)
        {
            descriptor = default;
            return false;
        }

        var address = tableBase + offset;
        if (!LongMode)
            address = (uint)address;
        var raw = Load(address, 8, Privilege.Supervisor);
        var high = 0UL;
        if (LongMode && new Descriptor(raw).IsSystem)
        {
            // System descriptors are 16 bytes in long mode; types that are not are refused by their users anyway.
            if (offset + 15 > limit)
            {
                descriptor = new Descriptor(raw, 0, address);
                return new Descriptor(raw).Type is not (Descriptor.Ldt or Descriptor.Tss32 or Descriptor.Tss32Busy
                    or Descriptor.CallGate32);
            }

            high = Load(address + 8, 8, Privilege.Supervisor);
        }

        descriptor = new Descriptor(raw, high, address);
        return true;
    }

    private Descriptor ReadDescriptorOrGp(ushort selector) =>
        TryReadDescriptor(selector, out var descriptor) ? descriptor : throw Gp(selector);

    private void MarkAccessed(in Descriptor descriptor)
    {
        if (!descriptor.Accessed)
            Store(descriptor.Address + 5, 1, ((descriptor.Raw >> 40) & 0xFF) | 1, Privilege.Supervisor);
    }

    /// <summary>Fills a segment register from a checked code or data descriptor, setting its accessed bit.</summary>
    private void SetSegment(Seg seg, ushort selector, in Descriptor descriptor)
    {
        MarkAccessed(descriptor);
        *SegmentOf(seg) = descriptor.ToSegment(selector);
        SegmentOf(seg)->Attributes |= 1;
    }

    private void SetNullSegment(Seg seg, ushort selector, int dpl = 0)
    {
        *SegmentOf(seg) = new Segment { Selector = selector, Unusable = 1, Attributes = (ushort)(dpl << 5) };
    }

    private void SetVirtualSegment(Seg seg, ushort selector)
    {
        *SegmentOf(seg) = new Segment
        {
            Base = (uint)selector << 4,
            Limit = 0xFFFF,
            Attributes = 0xF3,
            Selector = selector,
        };
    }

    /// <summary>A load in real mode: base and selector change, limit and attributes stay ("unreal" mode).</summary>
    private void SetRealSegment(Seg seg, ushort selector)
    {
        var s = SegmentOf(seg);
        s->Selector = selector;
        s->Base = (uint)selector << 4;
        if (s->Unusable != 0)
        {
            s->Unusable = 0;
            s->Limit = 0xFFFF;
            s->Attributes = 0x93;
        }
    }

    /// <summary>MOV Sreg, POP Sreg and the LDS family.</summary>
    /// <param name="seg">Not CS.</param>
    /// <param name="selector">The new selector.</param>
    /// <param name="startShadow">MOV SS and POP SS hold back interrupts and debug traps for one instruction.</param>
    internal void LoadSegment(Seg seg, ushort selector, bool startShadow)
    {
        if (RealOrVirtual)
        {
            if (VirtualMode)
                SetVirtualSegment(seg, selector);
            else
                SetRealSegment(seg, selector);
        }
        else if (seg == Seg.Ss)
            LoadStackSegment(selector);
        else
            LoadDataSegment(seg, selector);
        if (startShadow)
            State->Shadow = 2;
        UpdateMode();
    }

    private void LoadStackSegment(ushort selector)
    {
        var cpl = Cpl;
        if (IsNull(selector))
        {
            if (!Code64 || cpl == 3 || (selector & 3) != cpl)
                throw Gp();
            SetNullSegment(Seg.Ss, selector, cpl);
            return;
        }

        var d = ReadDescriptorOrGp(selector);
        if ((selector & 3) != cpl || !d.IsWritableData || d.Dpl != cpl)
            throw Gp(selector);
        if (!d.Present)
            throw Ss(selector);
        SetSegment(Seg.Ss, selector, d);
    }

    private void LoadDataSegment(Seg seg, ushort selector)
    {
        if (IsNull(selector))
        {
            SetNullSegment(seg, selector);
            return;
        }

        var d = ReadDescriptorOrGp(selector);
        if (!d.IsReadable)
            throw Gp(selector);
        if (!(d.IsCode && d.IsConforming) && (d.Dpl < (selector & 3) || d.Dpl < Cpl))
            throw Gp(selector);
        if (!d.Present)
            throw Np(selector);
        SetSegment(seg, selector, d);
    }

    /// <summary>After a return to an outer level: data segments that the new level may not use become null.</summary>
    private void DropInnerSegments(int cpl)
    {
        foreach (var seg in (ReadOnlySpan<Seg>)[Seg.Es, Seg.Ds, Seg.Fs, Seg.Gs])
        {
            var s = SegmentOf(seg);
            if (s->Unusable != 0)
            {
                // A null selector in 64-bit mode may carry a base, which stays.
                continue;
            }

            var conforming = s->IsCode && (s->Type & 4) != 0;
            if (s->IsCodeOrData && !conforming && s->Dpl < cpl)
            {
                // The hidden base stays: 64-bit kernels count on their GS base surviving a return to user mode.
                *s = new Segment { Base = s->Base, Unusable = 1 };
            }
        }
    }

    /// <summary>Checks an access through a segment, gives the linear address (Intel SDM volume 3, 5.3 and 5.4).</summary>
    internal ulong CheckSegmentAccess(Seg seg, ulong offset, uint size, AccessKind kind)
    {
        var s = SegmentOf(seg);
        if (Code64)
        {
            var linear = seg >= Seg.Fs ? s->Base + offset : offset;
            if (!IsCanonical(linear) || !IsCanonical(linear + size - 1))
                throw seg == Seg.Ss ? Ss() : Gp();
            return linear;
        }

        if (!IsAccessAllowed(*s, (uint)offset, size, kind))
            throw seg == Seg.Ss ? Ss() : Gp();
        return (uint)(s->Base + (uint)offset);
    }

    private bool IsAccessAllowed(in Segment s, uint offset, uint size, AccessKind kind)
    {
        if ((State->Mode & (uint)Mode.Protected) != 0 && !VirtualMode)
        {
            if (s.Unusable != 0)
                return false;
            var type = s.Type;
            var allowed = kind switch
            {
                AccessKind.Write => (type & 0xA) == 2,
                AccessKind.Execute => (type & 8) != 0,
                _ => (type & 8) == 0 || (type & 2) != 0,
            };
            if (!allowed)
                return false;
        }

        // Firmware calls ROMs in real mode that reach beyond 64 KiB with 32-bit addresses and counts on nobody looking: emulators do not.
        if (offset > 0xFFFF && !ProtectedMode)
            return true;
        return IsInLimit(s, offset, size);
    }

    private static bool IsInLimit(in Segment s, uint offset, uint size)
    {
        var last = (ulong)offset + size - 1;
        if ((s.Attributes & 0xC) == 4 && s.IsCodeOrData)
            return offset > s.Limit && last <= (s.Big ? uint.MaxValue : 0xFFFFu);
        return last <= s.Limit;
    }

    /// <summary>RDFSBASE and RDGSBASE.</summary>
    internal ulong ReadSegmentBase(Seg seg)
    {
        if (!Code64 || (State->Cr4 & Cr.FsGsBase) == 0)
            throw GuestFaultException.InvalidOpcode();
        return SegmentOf(seg)->Base;
    }

    /// <summary>WRFSBASE and WRGSBASE.</summary>
    internal void WriteSegmentBase(Seg seg, ulong value)
    {
        if (!Code64 || (State->Cr4 & Cr.FsGsBase) == 0)
            throw GuestFaultException.InvalidOpcode();
        if (!IsCanonical(value))
            throw Gp();
        SegmentOf(seg)->Base = value;
    }

    internal void SwapGs()
    {
        if (!Code64)
            throw GuestFaultException.InvalidOpcode();
        if (Cpl != 0)
            throw Gp();
        (State->Gs.Base, State->KernelGsBase) = (State->KernelGsBase, State->Gs.Base);
    }
}
