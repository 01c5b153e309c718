namespace Dromaius.Cpu.X86;

/// <content>Descriptor-table registers and the instructions that look at descriptors (Intel SDM volume 2).</content>
public sealed unsafe partial class X86Cpu
{
    /// <summary>The type bits of the upper half of a 16-byte descriptor, which must be zero.</summary>
    private const ulong SystemTypeBits = 0x1F00_0000_0000;

    internal void RequirePrivilege()
    {
        if (Cpl != 0)
            throw Gp();
    }

    /// <summary>SGDT, SIDT, SLDT, STR and SMSW fault outside ring 0 under CR4.UMIP.</summary>
    private void CheckUmip()
    {
        if ((State->Cr4 & Cr.Umip) != 0 && Cpl != 0)
            throw Gp();
    }

    private void RequireProtectedMode()
    {
        if (RealOrVirtual)
            throw GuestFaultException.InvalidOpcode();
    }

    /// <summary>Finds a descriptor for LAR, LSL, VERR and VERW: false where those clear ZF.</summary>
    private bool TryInspect(ushort selector, out Descriptor descriptor)
    {
        RequireProtectedMode();
        descriptor = default;
        return !IsNull(selector) && TryReadDescriptor(selector, out descriptor);
    }

    private bool IsVisible(ushort selector, in Descriptor d) =>
        (d.IsCode && d.IsConforming) || (d.Dpl >= Cpl && d.Dpl >= (selector & 3));

    internal ulong LoadAccessRights(ushort selector, ulong old)
    {
        var ok = TryInspect(selector, out var d) && IsVisible(selector, d);
        if (ok && d.IsSystem)
        {
            ok = LongMode
                ? d.Type is Descriptor.Ldt or Descriptor.Tss32 or Descriptor.Tss32Busy or Descriptor.CallGate32
                : d.Type is Descriptor.Tss16 or Descriptor.Ldt or Descriptor.Tss16Busy or Descriptor.CallGate16
                    or Descriptor.TaskGate or Descriptor.Tss32 or Descriptor.Tss32Busy or Descriptor.CallGate32;
        }

        SetZero(ok);
        return ok ? (d.Raw >> 32) & 0xFFFF00 : old;
    }

    internal ulong LoadSegmentLimit(ushort selector, ulong old)
    {
        var ok = TryInspect(selector, out var d) && IsVisible(selector, d);
        if (ok && d.IsSystem)
        {
            ok = d.Type is Descriptor.Ldt or Descriptor.Tss32 or Descriptor.Tss32Busy
                || (!LongMode && d.Type is Descriptor.Tss16 or Descriptor.Tss16Busy);
        }

        SetZero(ok);
        return ok ? d.Limit : old;
    }

    internal void VerifySegment(ushort selector, bool write)
    {
        var ok = TryInspect(selector, out var d) && !d.IsSystem && IsVisible(selector, d)
            && (write ? d.IsWritableData : d.IsReadable);
        SetZero(ok);
    }

    internal ulong AdjustRpl(ushort destination, ushort source)
    {
        RequireProtectedMode();
        var adjust = (destination & 3) < (source & 3);
        SetZero(adjust);
        return adjust ? (ulong)((destination & ~3) | (source & 3)) : destination;
    }

    internal void AdjustRplInMemory(Seg seg, ulong offset, ushort source)
    {
        RequireProtectedMode();
        var destination = (ushort)Load(CheckSegmentAccess(seg, offset, 2, AccessKind.Read), 2);
        if ((destination & 3) < (source & 3))
        {
            var linear = CheckSegmentAccess(seg, offset, 2, AccessKind.Write);
            Store(linear, 2, (ulong)((destination & ~3) | (source & 3)));
            SetZero(true);
        }
        else
            SetZero(false);
    }

    internal void LoadLdt(ushort selector)
    {
        RequireProtectedMode();
        RequirePrivilege();
        SetLdt(selector, Gp, Np);
    }

    private void SetLdt(ushort selector, Func<uint, GuestFaultException> invalid, Func<uint, GuestFaultException> notPresent)
    {
        if (IsNull(selector))
        {
            State->Ldt = new Segment { Selector = selector, Unusable = 1 };
            return;
        }

        if ((selector & 4) != 0 || !TryReadDescriptor(selector, out var d) || !d.IsSystem || d.Type != Descriptor.Ldt)
            throw invalid(selector);
        if (!d.Present)
            throw notPresent(selector);
        if (LongMode && (!IsCanonical(d.Base64) || (d.High & SystemTypeBits) != 0))
            throw invalid(selector);
        State->Ldt = SystemSegment(selector, d);
    }

    private Segment SystemSegment(ushort selector, in Descriptor d)
    {
        var segment = d.ToSegment(selector);
        if (LongMode)
            segment.Base = d.Base64;
        return segment;
    }

    internal void LoadTaskRegister(ushort selector)
    {
        RequireProtectedMode();
        RequirePrivilege();
        if (IsNull(selector))
            throw Gp();
        if ((selector & 4) != 0)
            throw Gp(selector);
        var d = ReadDescriptorOrGp(selector);
        if (!d.IsSystem || !(d.Type == Descriptor.Tss32 || (d.Type == Descriptor.Tss16 && !LongMode)))
            throw Gp(selector);
        if (!d.Present)
            throw Np(selector);
        if (LongMode && (!IsCanonical(d.Base64) || (d.High & SystemTypeBits) != 0))
            throw Gp(selector);
        SetBusy(d, true);
        State->Tr = SystemSegment(selector, d);
        State->Tr.Attributes |= 2;
    }

    private void SetBusy(in Descriptor d, bool busy)
    {
        var access = (byte)(d.Raw >> 40);
        Store(d.Address + 5, 1, busy ? access | 2u : access & ~2u, Privilege.Supervisor);
    }

    internal ulong StoreLdt()
    {
        RequireProtectedMode();
        CheckUmip();
        return State->Ldt.Selector;
    }

    internal ulong StoreTaskRegister()
    {
        RequireProtectedMode();
        CheckUmip();
        return State->Tr.Selector;
    }

    internal void LoadDescriptorTable(ulong linear, int operandSize, bool interrupts)
    {
        RequirePrivilege();
        var limit = Load(linear, 2);
        var address = Load(Advance(linear, 2), Code64 ? 8 : 4);
        if (Code64)
        {
            if (!IsCanonical(address))
                throw Gp();
        }
        else if (operandSize == 2)
            address &= 0xFFFFFF;
        var table = new DescriptorTable { Base = address, Limit = limit };
        if (interrupts)
            State->Idt = table;
        else
            State->Gdt = table;
    }

    internal void StoreDescriptorTable(ulong linear, int operandSize, bool interrupts)
    {
        CheckUmip();
        var table = interrupts ? State->Idt : State->Gdt;
        var size = Code64 ? 8 : 4;
        Probe(linear, 2, AccessKind.Write, Privilege.Current);
        Store(Advance(linear, 2), size, table.Base);
        Store(linear, 2, table.Limit);
    }

    private ulong Advance(ulong linear, ulong by) => Code64 ? linear + by : (uint)(linear + by);
}
