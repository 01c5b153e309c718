using System.Buffers.Binary;
using Dromaius.Core.Errors;
using Dromaius.Core.Memory;
using Dromaius.Core.Time;
using Dromaius.Devices.Pci;
using Dromaius.Net;

namespace Dromaius.Devices.Network;

/// <summary>
/// What Intel's gigabit Ethernet controllers share: the register file, EEPROM and PHY, transmit descriptors with checksum and
/// segmentation, receive filter and descriptors, interrupt causes. Source: PCI/PCI-X Family of Gigabit Ethernet Controllers
/// Software Developer's Manual (317453), chapters 3, 5, 6, 13.
/// </summary>
public abstract partial class IntelEthernet : PciFunction, IPciNic
{
    protected const int RegisterSpace = 0x20000, DescriptorSize = 16;
    protected const int Ctrl = 0x0000, DeviceStatus = 0x0008, Eecd = 0x0010, Eerd = 0x0014, CtrlExt = 0x0018, Mdic = 0x0020, Vet = 0x0038;
    protected const int Icr = 0x00C0, Itr = 0x00C4, Ics = 0x00C8, Ims = 0x00D0, Imc = 0x00D8, Rctl = 0x0100, Tctl = 0x0400, Pba = 0x1000;
    protected const int Rdbal = 0x2800, Rdbah = 0x2804, Rdlen = 0x2808, Rdh = 0x2810, Rdt = 0x2818;
    protected const int Tdbal = 0x3800, Tdbah = 0x3804, Tdlen = 0x3808, Tdh = 0x3810, Tdt = 0x3818;
    protected const int Statistics = 0x4000, StatisticsEnd = 0x4130, RxCsum = 0x5000, Mta = 0x5200, Ral0 = 0x5400, Vfta = 0x5600;
    private const int Gprc = 0x4074, Gptc = 0x4080, Gorcl = 0x4088, Gotcl = 0x4090, Torl = 0x40C0, Totl = 0x40C8, Tpr = 0x40D0, Tpt = 0x40D4;

    protected const uint CtrlReset = 1u << 26, CtrlVlan = 1u << 30, CtrlPhyReset = 1u << 31, StatusLinkUp = 2;
    protected const uint CauseTxWritten = 1, CauseTxEmpty = 2, CauseLink = 4, CauseRxLow = 0x10, CauseRxOverrun = 0x40, CauseRx = 0x80;
    private const uint CauseAsserted = 1u << 31;

    private readonly uint[] _registers = new uint[RegisterSpace / 4];
    private readonly Core.Time.Timer _throttle;
    private readonly Clock _clock;
    private uint _ioAddress;
    private bool _interrupting;

    /// <param name="vendorDevice">The PCI device id.</param>
    /// <param name="revision">The PCI revision.</param>
    /// <param name="clock">For the interrupt throttle.</param>
    /// <param name="mac">The address in the EEPROM.</param>
    protected IntelEthernet(ushort vendorDevice, byte revision, Clock clock, MacAddress mac)
        : base(PciConfig.VendorIntel, vendorDevice, 0x02, 0x00, 0, revision)
    {
        _clock = clock;
        _throttle = clock.CreateTimer(UpdateInterrupt);
        PermanentMac = mac;
        UseInterruptPin(1);
        RegisterRegion = MemoryRegion.Device("e1000-mmio", RegisterSpace, (offset, _) => ReadRegister((int)offset & ~3),
            (offset, _, value) => WriteRegister((int)offset & ~3, (uint)value), 4, 4);
    }

    public MacAddress PermanentMac { get; }

    /// <summary>The adapter's end of the cable; set before it is used.</summary>
    public Nic? Nic { get; set; }

    protected MemoryRegion RegisterRegion { get; }

    /// <summary>Registers as they are stored; no effects.</summary>
    protected ref uint Register(int offset) => ref _registers[offset / 4];

    public override void Reset()
    {
        base.Reset();
        ResetController();
    }

    public void OnPeerReady() => Transmit();

    public void OnLinkChanged()
    {
        SetLink();
        SetCause(CauseLink);
    }

    /// <summary>Everything but the PCI configuration back to its reset value.</summary>
    protected virtual void ResetController()
    {
        Array.Clear(_registers);
        _throttle.Cancel();
        _ioAddress = 0;
        ResetTransmit();
        ResetPhy();
        ResetEeprom();
        Register(DeviceStatus) = 0x8008_0781;
        Register(Ctrl) = 0x0014_0240;
        Register(Pba) = 0x0010_0030;
        Span<byte> mac = stackalloc byte[MacAddress.Length];
        PermanentMac.Write(mac);
        Register(Ral0) = BinaryPrimitives.ReadUInt32LittleEndian(mac);
        Register(Ral0 + 4) = BinaryPrimitives.ReadUInt16LittleEndian(mac[4..]) | 1u << 31;
        SetLink();
        UpdateInterrupt();
        if (Nic != null)
            Nic.Mac = PermanentMac;
    }

    protected virtual uint ReadRegister(int offset)
    {
        switch (offset)
        {
            case Icr:
                return ReadCauses();
            case Ics or Imc:
                return 0;
            case >= Statistics and < StatisticsEnd:
                // Counters start again when they are read; of wide ones the high half does it.
                var value = Register(offset);
                Register(offset) = 0;
                return value;
            case Eecd:
                return ReadEecd();
            default:
                return (uint)offset < RegisterSpace ? Register(offset) : 0;
        }
    }

    protected virtual void WriteRegister(int offset, uint value)
    {
        switch (offset)
        {
            case Ctrl or 4:
                if ((value & CtrlReset) != 0)
                {
                    ResetController();
                    return;
                }

                if ((value & CtrlPhyReset) != 0)
                    ResetPhy();
                Register(Ctrl) = value & ~(CtrlReset | CtrlPhyReset);
                break;
            case DeviceStatus:
                break;
            case Eecd:
                WriteEecd(value);
                break;
            case Eerd:
                ReadWord(value);
                break;
            case Mdic:
                AccessPhy(value);
                break;
            case Icr:
                Register(Icr) &= ~value;
                UpdateInterrupt();
                break;
            case Ics:
                SetCause(value);
                break;
            case Ims:
                Register(Ims) |= value;
                UpdateInterrupt();
                break;
            case Imc:
                Register(Ims) &= ~value;
                UpdateInterrupt();
                break;
            case Rctl:
                Register(Rctl) = value;
                Nic?.ReadyForMore();
                break;
            case Tctl:
                Register(Tctl) = value;
                Transmit();
                break;
            case Rdt:
                Register(Rdt) = value & 0xFFFF;
                Nic?.ReadyForMore();
                break;
            case Tdt:
                Register(Tdt) = value & 0xFFFF;
                Transmit();
                break;
            case Rdh or Tdh:
                Register(offset) = value & 0xFFFF;
                break;
            case Rdlen or Tdlen:
                Register(offset) = value & 0xF_FF80;
                break;
            case Rdbal or Tdbal:
                Register(offset) = value & ~15u;
                break;
            case >= Statistics and < StatisticsEnd:
                break;
            default:
                if ((uint)offset < RegisterSpace)
                    Register(offset) = value;
                if (offset is >= Ral0 and < Ral0 + 8)
                    NoteMac();
                else if (offset is >= Mta and < Vfta + 0x200)
                    Nic?.NoteFilterChange();
                break;
        }
    }

    /// <summary>The register window in I/O space: an address, then the data.</summary>
    protected MemoryRegion IoWindow(ulong size) => MemoryRegion.Device("e1000-io", size, (offset, _) => offset switch
    {
        0 => _ioAddress,
        4 => _ioAddress < RegisterSpace ? ReadRegister((int)_ioAddress & ~3) : 0,
        _ => 0,
    }, (offset, _, value) =>
    {
        if (offset == 0)
            _ioAddress = (uint)value;
        else if (offset == 4 && _ioAddress < RegisterSpace)
            WriteRegister((int)_ioAddress & ~3, (uint)value);
    }, 4, 4);

    protected virtual uint ReadCauses()
    {
        var causes = Register(Icr);
        Register(Icr) = 0;
        UpdateInterrupt();
        return causes;
    }

    /// <summary>Something happened that the driver may want to hear of.</summary>
    protected virtual void SetCause(uint causes)
    {
        Register(Icr) |= causes | CauseAsserted;
        UpdateInterrupt();
    }

    /// <summary>The level of the interrupt, no more often than the throttle allows.</summary>
    protected virtual void UpdateInterrupt()
    {
        if ((Register(Icr) & Register(Ims)) == 0)
        {
            _interrupting = false;
            SetIntx(false);
            return;
        }

        if (_interrupting || _throttle.IsArmed)
            return;
        _interrupting = true;
        RaiseInterrupt();
        // In units of 256 ns.
        if ((Register(Itr) & 0xFFFF) is not 0 and var interval)
            _throttle.Arm(_clock.Now + (interval * 256L));
    }

    protected virtual void RaiseInterrupt() => SetIntx(true);

    protected void SetLink()
    {
        var up = Nic is not { HasCarrier: false };
        Register(DeviceStatus) = up ? Register(DeviceStatus) | StatusLinkUp : Register(DeviceStatus) & ~StatusLinkUp;
    }

    private bool IsLinkUp => (Register(DeviceStatus) & StatusLinkUp) != 0;

    private void NoteMac()
    {
        if (Nic == null)
            return;
        Span<byte> mac = stackalloc byte[8];
        BinaryPrimitives.WriteUInt32LittleEndian(mac, Register(Ral0));
        BinaryPrimitives.WriteUInt32LittleEndian(mac[4..], Register(Ral0 + 4));
        Nic.Mac = MacAddress.Read(mac);
        Nic.NoteFilterChange();
    }

    /// <summary>Counts a frame and its bytes in the counters at these offsets.</summary>
    private void Count(int frames, int total, int bytesLow, int totalLow, int length)
    {
        Saturate(frames, 1);
        Saturate(total, 1);
        foreach (var low in (ReadOnlySpan<int>)[bytesLow, totalLow])
        {
            var sum = Register(low) + ((ulong)Register(low + 4) << 32) + (uint)length;
            (Register(low), Register(low + 4)) = ((uint)sum, (uint)(sum >> 32));
        }

        void Saturate(int offset, uint by) => Register(offset) += Register(offset) == uint.MaxValue ? 0 : by;
    }

    protected void GuestError(string message) => GuestLog.GuestError(TypeName, message);
}
