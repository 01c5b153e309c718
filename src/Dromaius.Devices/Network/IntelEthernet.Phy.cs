using Dromaius.Net;

namespace Dromaius.Devices.Network;

/// <content>EEPROM (section 5) and PHY (section 13, MDIC).</content>
public abstract partial class IntelEthernet
{
    private const int EepromWords = 64, EepromSum = 0xBABA;
    private const uint EecdClock = 1, EecdSelect = 2, EecdIn = 4, EecdOut = 8, EecdRequest = 0x40, EecdGrant = 0x80, EecdPresent = 0x100;
    private const int PhyControl = 0, PhyStatus = 1;
    private const ushort PhyLoopback = 0x4000, PhyRestart = 0x0200, PhyReset = 0x8000, PhyLinkUp = 0x0004, PhyNegotiated = 0x0020;

    private readonly ushort[] _eeprom = new ushort[EepromWords];
    private readonly ushort[] _phy = new ushort[32];
    private uint _eecd;
    private Eeprom93C46 _serial = new(new ushort[EepromWords]);

    /// <summary>The PHY's identifier, registers 2 and 3.</summary>
    protected abstract uint PhyId { get; }

    /// <summary>Fills in the words that are the model's own.</summary>
    protected virtual void FillEeprom(Span<ushort> words)
    {
    }

    /// <summary>Shifts of the address and done bit of EERD differ between models.</summary>
    protected virtual (int AddressShift, uint Done) EerdLayout => (8, 0x10);

    private bool IsPhyLoopback => (_phy[PhyControl] & PhyLoopback) != 0;

    private void ResetEeprom()
    {
        var words = _eeprom.AsSpan();
        words.Clear();
        for (var i = 0; i < 3; i++)
            words[i] = (ushort)(PermanentMac[2 * i] | (PermanentMac[(2 * i) + 1] << 8));
        words[4] = 0xFFFF;
        words[0x0A] = 0x4408;
        words[0x0B] = 0x1100;
        words[0x0C] = 0x1AF4;
        words[0x0D] = DeviceId;
        words[0x0E] = VendorId;
        words[0x0F] = 0x3040;
        FillEeprom(words);
        var sum = 0;
        for (var i = 0; i < EepromWords - 1; i++)
            sum += words[i];
        words[EepromWords - 1] = (ushort)(EepromSum - sum);
        _eecd = 0;
        _serial = new Eeprom93C46(_eeprom);
    }

    private uint ReadEecd() => (_eecd & (EecdClock | EecdSelect | EecdIn | EecdRequest)) | (_serial.Output ? EecdOut : 0) | EecdPresent | ((_eecd & EecdRequest) != 0 ? EecdGrant : 0);

    /// <summary>The wires of the EEPROM.</summary>
    private void WriteEecd(uint value)
    {
        _eecd = value;
        _serial.Drive((value & EecdSelect) != 0, (value & EecdClock) != 0, (value & EecdIn) != 0);
    }

    private void ReadWord(uint value)
    {
        var (shift, done) = EerdLayout;
        var address = (int)(value >> shift) & 0x3FFF & (0xFFFF >> shift);
        Register(Eerd) = (value & 0xFFFF) | done;
        if ((value & 1) != 0)
            Register(Eerd) |= (uint)(address < EepromWords ? _eeprom[address] : 0xFFFF) << 16;
    }

    private void ResetPhy()
    {
        Array.Clear(_phy);
        _phy[PhyControl] = 0x1140;
        _phy[PhyStatus] = 0x7949;
        _phy[2] = (ushort)(PhyId >> 16);
        _phy[3] = (ushort)PhyId;
        _phy[4] = 0x0DE1;
        _phy[5] = 0x45E1;
        _phy[6] = 0x0001;
        _phy[9] = 0x0E00;
        _phy[10] = 0x3C00;
        _phy[15] = 0x3000;
        _phy[16] = 0x0360;
        _phy[17] = 0xAC00;
        _phy[20] = 0x0D60;
    }

    /// <summary>A PHY register; false if there is none.</summary>
    protected virtual bool ReadPhy(int register, out ushort value)
    {
        value = _phy[register];
        var up = Nic is not { HasCarrier: false };
        if (register == PhyStatus)
            value |= up ? (ushort)(PhyLinkUp | PhyNegotiated) : (ushort)0;
        else if (register == 17)
            value = up ? value : (ushort)0;
        return true;
    }

    protected virtual void WritePhy(int register, ushort value)
    {
        switch (register)
        {
            case PhyControl:
                if ((value & PhyReset) != 0)
                {
                    ResetPhy();
                    return;
                }

                _phy[PhyControl] = (ushort)(value & ~PhyRestart);
                if ((value & PhyRestart) != 0)
                    SetCause(CauseLink);
                break;
            case PhyStatus or 2 or 3 or 5 or 6 or 10 or 15 or 17:
                break;
            default:
                _phy[register] = value;
                break;
        }
    }

    private void AccessPhy(uint value)
    {
        const uint Ready = 1u << 28, Interrupt = 1u << 29, Error = 1u << 30, Write = 1, Read = 2, CauseAccess = 0x200;
        var register = (int)(value >> 16) & 31;
        var phy = (value >> 21) & 31;
        var result = value & ~(Ready | Error);
        if (phy is not (1 or 2))
            result |= Error;
        else if (((value >> 26) & 3) == Read)
        {
            if (ReadPhy(register, out var data))
                result = (result & 0xFFFF_0000) | data;
            else
                result |= Error;
        }
        else if (((value >> 26) & 3) == Write)
            WritePhy(register, (ushort)value);
        Register(Mdic) = result | Ready;
        if ((value & Interrupt) != 0)
            SetCause(CauseAccess);
    }

    public RxFilter Filter => new()
    {
        Promiscuous = (Register(Rctl) & RctlUnicastAll) != 0,
        Multicast = (Register(Rctl) & RctlMulticastAll) != 0 ? "all" : "normal",
        Unicast = (Register(Rctl) & RctlUnicastAll) != 0 ? "all" : "normal",
        Vlan = (Register(Rctl) & RctlVlanFilter) != 0 ? "normal" : "all",
        BroadcastAllowed = (Register(Rctl) & RctlBroadcast) != 0,
        MainMac = Nic?.Mac ?? PermanentMac,
    };
}
