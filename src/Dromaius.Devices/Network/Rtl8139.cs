using System.Buffers.Binary;
using Dromaius.Core.Memory;
using Dromaius.Core.Time;
using Dromaius.Devices.Pci;
using Dromaius.Net;

namespace Dromaius.Devices.Network;

/// <summary>
/// RTL8139C+ fast Ethernet controller, with the receive ring and four transmit descriptors of the RTL8139 and the descriptor rings of
/// C+ mode. Sources: RTL8139C+ datasheet 1.6 (sections 6 to 9), RTL8139 programming guide.
/// </summary>
public sealed partial class Rtl8139 : PciFunction, IPciNic
{
    private const int Idr0 = 0x00, Mar0 = 0x08, Tsd0 = 0x10, Tsad0 = 0x20, RbStart = 0x30, Cr = 0x37, Capr = 0x38, Cbr = 0x3A, Imr = 0x3C, Isr = 0x3E;
    private const int Tcr = 0x40, Rcr = 0x44, TcTr = 0x48, Mpc = 0x4C, Eecr = 0x50, Config0 = 0x51, Config1 = 0x52, Config3 = 0x59, Config4 = 0x5A;
    private const int TimerInt = 0x54, Msr = 0x58, Bmcr = 0x62, Bmsr = 0x64, Tppoll = 0xD9, TsadStatus = 0x60, Anar = 0x66, Anlpar = 0x68;
    private const int CplusCommand = 0xE0, RdsarLow = 0xE4, TnpdsLow = 0x20, Space = 256;
    private const byte CmdReset = 0x10, CmdReceive = 8, CmdTransmit = 4, CmdEmpty = 1;
    private const ushort IsrRxOk = 1, IsrTxOk = 4, IsrRxUnavailable = 0x10, IsrLink = 0x20, IsrRxFifo = 0x40, IsrTimer = 0x4000, IsrDescriptors = 0x80, IsrSoftware = 0x100;
    private const uint RcrAll = 1, RcrPhysical = 2, RcrMulticast = 4, RcrBroadcast = 8, RcrWrap = 0x80;
    private const uint TsdOwn = 0x2000, TsdOk = 0x8000, TcrLoopback = 0x6_0000, TcrHardware = 0x7480_0000;
    private const ushort CplusReceive = 2, CplusTransmit = 1, CplusChecksum = 0x20, CplusVlan = 0x40;
    private const int CrcLength = 4, LeastFrame = 60;

    private readonly Clock _clock;
    private readonly Core.Time.Timer _timer, _timerRetry;
    private readonly Eeprom93C46 _eeprom;
    private readonly byte[] _regs = new byte[Space];
    private readonly byte[] _frame = new byte[NetEndpoint.MaxFrame + 64];
    private long _timerBase;
    private bool _isStalled;

    /// <param name="clock">For the timer register.</param>
    /// <param name="mac">The address in the EEPROM.</param>
    public Rtl8139(Clock clock, MacAddress mac)
        : base(0x10EC, 0x8139, 0x02, 0x00, 0, 0x20)
    {
        _clock = clock;
        _timer = clock.CreateTimer(() => SetStatus(IsrTimer));
        _timerRetry = clock.CreateTimer(() => Nic?.ReadyForMore());
        PermanentMac = mac;
        var words = new ushort[64];
        words[0] = 0x8129;
        words[1] = 0x10EC;
        words[2] = 0x8139;
        for (var i = 0; i < 3; i++)
            words[7 + i] = (ushort)(mac[2 * i] | (mac[(2 * i) + 1] << 8));
        _eeprom = new Eeprom93C46(words);
        UseInterruptPin(1);
        AddIoBar(0, MemoryRegion.Device("rtl8139-io", Space, Read, Write));
        AddMemoryBar(1, MemoryRegion.Device("rtl8139-mem", Space, Read, Write));
        ResetChip();
    }

    public override string TypeName => "rtl8139";
    public MacAddress PermanentMac { get; }
    public Nic? Nic { get; set; }

    private ref byte Reg(int offset) => ref _regs[offset];

    private ushort Word(int offset) => BinaryPrimitives.ReadUInt16LittleEndian(_regs.AsSpan(offset));

    private uint Dword(int offset) => BinaryPrimitives.ReadUInt32LittleEndian(_regs.AsSpan(offset));

    private ulong Qword(int offset) => BinaryPrimitives.ReadUInt64LittleEndian(_regs.AsSpan(offset));

    private void Set16(int offset, ushort value) => BinaryPrimitives.WriteUInt16LittleEndian(_regs.AsSpan(offset), value);

    private void Set32(int offset, uint value) => BinaryPrimitives.WriteUInt32LittleEndian(_regs.AsSpan(offset), value);

    private bool IsReceiving => (Reg(Cr) & CmdReceive) != 0;

    public override void Reset()
    {
        base.Reset();
        ResetChip();
    }

    public void OnPeerReady()
    {
        if (!_isStalled)
            return;
        _isStalled = false;
        TransmitAll();
    }

    public void OnLinkChanged() => SetStatus(IsrLink);

    private bool HasLink => Nic is not { HasCarrier: false };

    private void ResetChip()
    {
        Array.Clear(_regs);
        Span<byte> mac = stackalloc byte[MacAddress.Length];
        PermanentMac.Write(mac);
        mac.CopyTo(_regs.AsSpan(Idr0));
        for (var i = 0; i < 4; i++)
            Set32(Tsd0 + (4 * i), TsdOwn);
        Set32(Tcr, TcrHardware);
        Reg(Config0) = 0x10;
        Reg(Config1) = 0x0C;
        Reg(Config3) = 1;
        Set16(Bmcr, 0x1000);
        Set16(Anar, 0x05E1);
        Set16(Anlpar, 0x45E1);
        _ringIndex = _txIndex = 0;
        _isStalled = false;
        _cplusLength = 0;
        _timer.Cancel();
        _timerBase = _clock.Now;
        if (Nic != null)
            Nic.Mac = PermanentMac;
        UpdateInterrupt();
    }

    private void SetStatus(ushort bits)
    {
        Set16(Isr, (ushort)(Word(Isr) | bits));
        UpdateInterrupt();
    }

    private void UpdateInterrupt() => SetIntx((Word(Isr) & Word(Imr)) != 0);

    private ulong Read(ulong offset, int size)
    {
        var value = 0UL;
        for (var i = 0; i < size && (int)offset + i < Space; i++)
            value |= (ulong)ReadByte((int)offset + i) << (8 * i);
        return value;
    }

    private byte ReadByte(int at)
    {
        switch (at)
        {
            case Cr:
                return (byte)((Reg(Cr) & ~CmdEmpty) | (IsRingEmpty ? CmdEmpty : 0));
            case Eecr:
                return (byte)((Reg(Eecr) & 0xFE) | (_eeprom.Output ? 1 : 0));
            case Msr:
                return (byte)(0xD0 & ~(HasLink ? 4 : 0) | (HasLink ? 0 : 4));
            case TsadStatus or TsadStatus + 1:
                return (byte)(TransmitSummary() >> (8 * (at - TsadStatus)));
            case Bmsr or Bmsr + 1:
                return (byte)((HasLink ? 0x782D : 0x7809) >> (8 * (at - Bmsr)));
            case Cbr or Cbr + 1:
                return (byte)(_ringIndex >> (8 * (at - Cbr)));
            case >= TcTr and < TcTr + 4:
                return (byte)(Ticks >> (8 * (at - TcTr)));
            default:
                return Reg(at);
        }
    }

    /// <summary>The timer counts PCI clocks.</summary>
    private uint Ticks => (uint)((_clock.Now - _timerBase) * 33 / 1000);

    private ushort TransmitSummary()
    {
        var summary = 0;
        for (var i = 0; i < 4; i++)
        {
            var status = Dword(Tsd0 + (4 * i));
            summary |= ((status & TsdOk) != 0 ? 0x1000 << i : 0) | ((status & TsdOwn) != 0 ? 1 << i : 0);
        }

        return (ushort)summary;
    }

    private void Write(ulong offset, int size, ulong value)
    {
        var at = (int)offset;
        switch (at)
        {
            case >= Tsd0 and < Tsd0 + 16 when size == 4:
                WriteTransmitStatus((at - Tsd0) / 4, (uint)value);
                return;
            case Isr when size >= 2:
                // Ones clear.
                Set16(Isr, (ushort)(Word(Isr) & ~value));
                UpdateInterrupt();
                return;
            case Imr when size == 4:
                Set16(Imr, (ushort)value);
                Set16(Isr, (ushort)(Word(Isr) & ~(value >> 16)));
                UpdateInterrupt();
                return;
            case Imr when size == 2:
                Set16(Imr, (ushort)value);
                UpdateInterrupt();
                return;
            case TcTr when size == 4:
                _timerBase = _clock.Now;
                ArmTimer();
                return;
            case Tcr when size == 4:
                Set32(Tcr, ((uint)value & 0x0307_07F0) | TcrHardware);
                return;
            case TimerInt when size == 4:
                Set32(TimerInt, (uint)value);
                ArmTimer();
                return;
            case Bmcr when size >= 2:
                Set16(Bmcr, (ushort)(value & 0x7F00 & ~0x0200u));
                if ((value & 0x8200) != 0)
                    SetStatus(IsrLink);
                return;
        }

        for (var i = 0; i < size && at + i < Space; i++)
            WriteByte(at + i, (byte)(value >> (8 * i)));
        AfterWrite(at, size);
    }

    private void WriteByte(int at, byte value)
    {
        switch (at)
        {
            case Cr:
                if ((value & CmdReset) != 0)
                {
                    ResetChip();
                    return;
                }

                Reg(Cr) = (byte)(value & (CmdReceive | CmdTransmit));
                break;
            case Eecr:
                // Programming mode opens the EEPROM's pins; another mode closes them.
                Reg(Eecr) = (byte)(value & 0xCE);
                if ((value & 0xC0) == 0x80)
                    _eeprom.Drive((value & 8) != 0, (value & 4) != 0, (value & 2) != 0);
                break;
            case Isr or Isr + 1 or Msr or TsadStatus or TsadStatus + 1 or Bmsr or Bmsr + 1 or Cbr or Cbr + 1 or Tcr + 3:
                break;
            case > Tppoll and < CplusCommand:
                // Registers of the RTL8169, by which drivers tell one from the other.
                break;
            case Tppoll:
                if ((value & 0xC0) != 0)
                    TransmitCplus();
                if ((value & 1) != 0)
                    SetStatus(IsrSoftware);
                break;
            default:
                Reg(at) = value;
                break;
        }
    }

    private void AfterWrite(int at, int size)
    {
        if (Overlaps(at, size, RbStart, 4))
            _ringIndex = 0;
        if (Overlaps(at, size, Cr, 1) || Overlaps(at, size, Capr, 2) || Overlaps(at, size, Rcr, 4) || Overlaps(at, size, RdsarLow, 8))
        {
            if (Overlaps(at, size, Cr, 1) && !IsReceiving)
                _ringIndex = 0;
            _rxIndex = Overlaps(at, size, RdsarLow, 8) ? 0 : _rxIndex;
            Nic?.ReadyForMore();
        }

        if (Overlaps(at, size, TnpdsLow, 8) && (Word(CplusCommand) & CplusTransmit) != 0)
            _cplusIndex = 0;
        if (Overlaps(at, size, Idr0, 6) && Nic != null)
            Nic.Mac = MacAddress.Read(_regs.AsSpan(Idr0));
        if (Overlaps(at, size, Rcr, 4) || Overlaps(at, size, Mar0, 8))
            Nic?.NoteFilterChange();
    }

    private void ArmTimer()
    {
        _timer.Cancel();
        if (Dword(TimerInt) is not 0 and var ticks)
            _timer.Arm(_timerBase + (ticks * 1000L / 33));
    }

    public RxFilter Filter => new()
    {
        Promiscuous = (Dword(Rcr) & RcrAll) != 0,
        Multicast = (Dword(Rcr) & RcrMulticast) != 0 ? "normal" : "none",
        BroadcastAllowed = (Dword(Rcr) & RcrBroadcast) != 0,
        MainMac = Nic?.Mac ?? PermanentMac,
    };

    private bool Passes(ReadOnlySpan<byte> frame)
    {
        var control = Dword(Rcr);
        if ((control & RcrAll) != 0)
            return true;
        var to = MacAddress.Read(frame);
        if (to == MacAddress.Broadcast)
            return (control & RcrBroadcast) != 0;
        if (!to.IsGroup)
            return (control & RcrPhysical) != 0 && frame[..6].SequenceEqual(_regs.AsSpan(Idr0, 6));
        var hash = (int)(EthernetCrc.Big(frame[..6]) >> 26);
        return (control & RcrMulticast) != 0 && (Reg(Mar0 + (hash >> 3)) & (1 << (hash & 7))) != 0;
    }
}
