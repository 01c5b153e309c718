namespace Dromaius.Cpu.X86;

/// <content>Control registers (Intel SDM volume 3, section 2.5, and volume 2, MOV to control registers).</content>
public sealed unsafe partial class X86Cpu
{
    internal ulong ReadControlRegister(int number)
    {
        RequirePrivilege();
        return number switch
        {
            0 => State->Cr0,
            2 => State->Cr2,
            3 => State->Cr3,
            4 => State->Cr4,
            8 => Apic?.Cr8 ?? State->Cr8,
            _ => throw GuestFaultException.InvalidOpcode(),
        };
    }

    internal void WriteControlRegister(int number, ulong value)
    {
        RequirePrivilege();
        switch (number)
        {
            case 0:
                WriteCr0(value);
                break;
            case 2:
                State->Cr2 = value;
                break;
            case 3:
                WriteCr3(value);
                break;
            case 4:
                WriteCr4(value);
                break;
            case 8:
                if (value > 15)
                    throw Gp();
                State->Cr8 = value;
                if (Apic is { } apic)
                    apic.Cr8 = (byte)value;
                break;
            default:
                throw GuestFaultException.InvalidOpcode();
        }
    }

    internal ulong StoreMachineStatus()
    {
        CheckUmip();
        return State->Cr0;
    }

    internal void LoadMachineStatus(ushort value)
    {
        RequirePrivilege();

        // PE can be set but not cleared.
        WriteCr0((State->Cr0 & ~0xEUL) | (value & 0xFUL));
    }

    internal void ClearTaskSwitched()
    {
        RequirePrivilege();
        State->Cr0 &= ~Cr.Ts;
        UpdateMode();
    }

    private void WriteCr0(ulong value)
    {
        const ulong known = Cr.Pe | Cr.Mp | Cr.Em | Cr.Ts | Cr.Et | Cr.Ne | Cr.Wp | Cr.Am | Cr.Nw | Cr.Cd | Cr.Pg;
        if (value >> 32 != 0 || ((value & Cr.Pg) != 0 && (value & Cr.Pe) == 0)
            || ((value & Cr.Nw) != 0 && (value & Cr.Cd) == 0))
            throw Gp();
        value = (value & known) | Cr.Et;
        var old = State->Cr0;
        var changed = old ^ value;
        var efer = State->Efer;
        if ((changed & Cr.Pg) != 0)
        {
            if ((value & Cr.Pg) != 0)
            {
                if ((efer & Cr.EferLme) != 0)
                {
                    if ((State->Cr4 & Cr.Pae) == 0 || State->Cs.Long
                        || State->Tr.Type is Descriptor.Tss16 or Descriptor.Tss16Busy)
                        throw Gp();
                    efer |= Cr.EferLma;
                }
            }
            else
            {
                if (Code64 || (State->Cr4 & Cr.Pcide) != 0)
                    throw Gp();
                efer &= ~Cr.EferLma;
            }
        }

        if ((value & Cr.Pg) != 0 && (State->Cr4 & Cr.Pae) != 0 && (efer & Cr.EferLma) == 0
            && (changed & (Cr.Pg | Cr.Cd | Cr.Nw)) != 0)
            LoadPdptes(State->Cr3);
        State->Cr0 = value;
        State->Efer = efer;
        if ((changed & (Cr.Pg | Cr.Wp | Cr.Pe)) != 0)
            FlushTlb(true);
        UpdateMode();
    }

    private void WriteCr3(ulong value)
    {
        if ((State->Cr4 & Cr.Pcide) != 0)
        {
            // Bit 63 asks to keep the entries of the new PCID; entries carry no PCID here, so they are dropped all the same.
            value &= ~(1UL << 63);
        }

        if (LongMode ? value >> Model.PhysicalBits != 0 : value >> 32 != 0)
            throw Gp();
        SetPageTable(value);
    }

    /// <summary>Loads CR3 with what it implies: PAE's registers and a flush of what is not global.</summary>
    private void SetPageTable(ulong value)
    {
        if ((State->Cr0 & Cr.Pg) != 0 && (State->Cr4 & Cr.Pae) != 0 && !LongMode)
            LoadPdptes(value);
        State->Cr3 = value;
        FlushTlb(false);
    }

    /// <summary>Loads the four page-directory-pointer entries (Intel SDM volume 3, section 4.4.1).</summary>
    private void LoadPdptes(ulong cr3)
    {
        Span<ulong> entries = stackalloc ulong[4];
        var table = cr3 & 0xFFFFFFE0;
        var reserved = (PteAddress & ~((1UL << Model.PhysicalBits) - 1)) | 0xFFF0_0000_0000_01E6;
        for (var i = 0; i < 4; i++)
        {
            entries[i] = ReadEntry(table + ((ulong)i * 8), 8, out _, out _);
            if ((entries[i] & PtePresent) != 0 && (entries[i] & reserved) != 0)
                throw Gp();
        }

        entries.CopyTo(_pdptes);
    }

    /// <summary>The bits of CR4 that the model has.</summary>
    private ulong Cr4Allowed
    {
        get
        {
            var m = Model;
            var bits = Cr.Mce | Cr.Pce;
            bits |= m.Has(X86Feature.Vme) ? Cr.Vme | Cr.Pvi : 0;
            bits |= m.Has(X86Feature.Tsc) ? Cr.Tsd : 0;
            bits |= m.Has(X86Feature.De) ? Cr.De : 0;
            bits |= m.Has(X86Feature.Pse) ? Cr.Pse : 0;
            bits |= m.Has(X86Feature.Pae) ? Cr.Pae : 0;
            bits |= m.Has(X86Feature.Pge) ? Cr.Pge : 0;
            bits |= m.Has(X86Feature.Fxsr) ? Cr.OsFxsr : 0;
            bits |= m.Has(X86Feature.Sse) ? Cr.OsXmmExcpt : 0;
            bits |= m.Has(X86Feature.Umip) ? Cr.Umip : 0;
            bits |= m.Has(X86Feature.FsGsBase) ? Cr.FsGsBase : 0;
            bits |= m.Has(X86Feature.Pcid) ? Cr.Pcide : 0;
            bits |= m.Has(X86Feature.Xsave) ? Cr.OsXsave : 0;
            bits |= m.Has(X86Feature.Smep) ? Cr.Smep : 0;
            bits |= m.Has(X86Feature.Smap) ? Cr.Smap : 0;
            bits |= m.Has(X86Feature.Pku) ? Cr.Pke : 0;
            return bits;
        }
    }

    private void WriteCr4(ulong value)
    {
        if ((value & ~Cr4Allowed) != 0)
            throw Gp();
        var changed = State->Cr4 ^ value;
        if (LongMode && (value & Cr.Pae) == 0)
            throw Gp();
        if ((changed & value & Cr.Pcide) != 0 && (!LongMode || (State->Cr3 & 0xFFF) != 0))
            throw Gp();
        const ulong paging = Cr.Pae | Cr.Pge | Cr.Pse | Cr.Smep;
        if ((State->Cr0 & Cr.Pg) != 0 && (value & Cr.Pae) != 0 && !LongMode && (changed & paging) != 0)
            LoadPdptes(State->Cr3);
        State->Cr4 = value;
        if ((changed & (paging | Cr.Smap | Cr.Pke | Cr.Pcide)) != 0)
            FlushTlb(true);
        UpdateMode();
    }

    internal void InvalidatePage(ulong linear)
    {
        RequirePrivilege();

        // INVLPG of a non-canonical address does nothing.
        if (!Code64)
            linear = (uint)linear;
        if (IsCanonical(linear))
            FlushPage(linear);
    }

    internal void InvalidatePcid(ulong type, ulong linear)
    {
        RequirePrivilege();
        var pcid = Load(linear, 8);
        var address = Load(Advance(linear, 8), 8);
        if (type > 3 || pcid >> 12 != 0)
            throw Gp();
        switch (type)
        {
            case 0:
                if (!IsCanonical(address) || (pcid != 0 && (State->Cr4 & Cr.Pcide) == 0))
                    throw Gp();
                FlushPage(address);
                break;
            case 1:
                if (pcid != 0 && (State->Cr4 & Cr.Pcide) == 0)
                    throw Gp();
                FlushTlb(false);
                break;
            case 2:
                FlushTlb(true);
                break;
            default:
                FlushTlb(false);
                break;
        }
    }

    internal void GetExtendedControl()
    {
        if ((State->Cr4 & Cr.OsXsave) == 0)
            throw GuestFaultException.InvalidOpcode();
        var value = (uint)State->Gpr[1] switch
        {
            0 => State->Xcr0,
            1 when Model.Has(X86Feature.Xgetbv1) => State->Xcr0,
            _ => throw Gp(),
        };
        SetEdxEax(value);
    }

    internal void SetExtendedControl()
    {
        if ((State->Cr4 & Cr.OsXsave) == 0)
            throw GuestFaultException.InvalidOpcode();
        RequirePrivilege();
        var value = EdxEax;
        if ((uint)State->Gpr[1] != 0 || (value & 1) == 0 || (value & ~Model.XsaveMask) != 0
            || ((value & 4) != 0 && (value & 2) == 0))
            throw Gp();
        State->Xcr0 = value;
        UpdateMode();
    }

    internal void ReadPkru()
    {
        if ((State->Cr4 & Cr.Pke) == 0)
            throw GuestFaultException.InvalidOpcode();
        if ((uint)State->Gpr[1] != 0)
            throw Gp();
        SetEdxEax((uint)State->Pkru);
    }

    internal void WritePkru()
    {
        if ((State->Cr4 & Cr.Pke) == 0)
            throw GuestFaultException.InvalidOpcode();
        if ((uint)State->Gpr[1] != 0 || (uint)State->Gpr[2] != 0)
            throw Gp();
        SetPkru((uint)State->Gpr[0]);
    }

    /// <summary>PKRU from WRPKRU or XRSTOR: mappings carry the rights that it leaves.</summary>
    internal void SetPkru(uint value)
    {
        if (State->Pkru == value)
            return;
        State->Pkru = value;
        FlushTlb(true);
    }

    private ulong EdxEax => (uint)State->Gpr[0] | (State->Gpr[2] << 32);

    private void SetEdxEax(ulong value)
    {
        State->Gpr[0] = (uint)value;
        State->Gpr[2] = value >> 32;
    }
}
