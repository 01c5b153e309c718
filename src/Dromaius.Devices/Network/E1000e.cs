using Dromaius.Core.Memory;
using Dromaius.Core.Time;
using Dromaius.Devices.Pci;
using Dromaius.Net;

namespace Dromaius.Devices.Network;

/// <summary>
/// 82574L gigabit Ethernet controller on PCI Express: MSI-X with a vector for each cause, extended and packet split receive descriptors, two
/// receive queues, automatic masking of causes. One transmit queue is used. Source: Intel 82574 GbE Controller Family datasheet (317694), chapters 7 and 10.
/// </summary>
public sealed partial class E1000e : IntelEthernet
{
    private const int Eiac = 0x00DC, Iam = 0x00E0, Ivar = 0x00E4, Rfctl = 0x5008, EepromManagement = 0x1010;
    private const uint ExtAutoMask = 1u << 27, RfctlExtended = 0x8000, EecdAutoRead = 0x200, ConfigDone = 0x4_0000;
    private const uint StatusMasterEnable = 1 << 19, CtrlMasterDisable = 4;
    private const uint CauseRxQueue0 = 1 << 20, CauseRxQueue1 = 1 << 21, CauseTxQueue0 = 1 << 22, CauseOther = 1 << 24, OtherCauses = CauseLink | CauseRxOverrun | 0x0002_0200;
    private const int Vectors = 5, PhyPage = 22;
    private static readonly (uint Cause, int Shift)[] VectorMap =
        [(CauseRxQueue0, 0), (CauseRxQueue1, 4), (CauseTxQueue0, 8), (1 << 23, 12), (CauseOther, 16)];

    private readonly MsiX _msix;
    private readonly Msi _msi;
    private uint _notified;
    private ushort _phyPage;

    /// <param name="clock">For the interrupt throttle.</param>
    /// <param name="mac">The address in the NVM.</param>
    /// <param name="express">The bus it goes on is PCI Express.</param>
    public E1000e(Clock clock, MacAddress mac, bool express)
        : base(0x10D3, 0, clock, mac)
    {
        SetWord(PciConfig.SubsystemVendorId, PciConfig.VendorIntel);
        SetWord(PciConfig.SubsystemId, 0);
        AddMemoryBar(0, RegisterRegion);
        AddMemoryBar(1, MemoryRegion.Device("e1000e-flash", RegisterSpace, static (_, _) => uint.MaxValue, static (_, _, _) => { }));
        AddIoBar(2, IoWindow(32));
        _msi = new Msi(this, 1);
        if (express)
            _ = AddExpress(PciExpressType.Endpoint);
        var bar = MemoryRegion.Container("e1000e-msix", 0x4000);
        _msix = new MsiX(this, Vectors, 3, 0, 0x2000);
        bar.Add(0, _msix.Table);
        bar.Add(0x2000, _msix.Pending);
        AddMemoryBar(3, bar);
        ResetController();
    }

    public override string TypeName => "e1000e";

    protected override uint PhyId => 0x0141_0CB1;

    protected override (int AddressShift, uint Done) EerdLayout => (2, 2);

    protected override void ResetController()
    {
        base.ResetController();
        _notified = 0;
        _phyPage = 0;
        Register(EepromManagement) = ConfigDone;
    }

    protected override uint ReadRegister(int offset)
    {
        switch (offset)
        {
            case Eecd:
                return base.ReadRegister(offset) | EecdAutoRead;
            case DeviceStatus:
                var status = Register(DeviceStatus);
                return (Register(Ctrl) & CtrlMasterDisable) != 0 ? status & ~StatusMasterEnable : status;
            default:
                return base.ReadRegister(offset);
        }
    }

    protected override void WriteRegister(int offset, uint value)
    {
        if (offset is Rdbal + QueueStep or Rdlen + QueueStep or Rdh + QueueStep or Rdt + QueueStep)
        {
            WriteSecondQueue(offset, value);
            return;
        }

        base.WriteRegister(offset, value);
        if (offset is Icr or Imc)
            _notified &= Register(Icr) & Register(Ims);
    }

    protected override bool ReadPhy(int register, out ushort value)
    {
        if (register == PhyPage)
        {
            value = _phyPage;
            return true;
        }

        // What stands on other pages is not there.
        if (_phyPage != 0 && register >= 16)
        {
            value = 0;
            return true;
        }

        return base.ReadPhy(register, out value);
    }

    protected override void WritePhy(int register, ushort value)
    {
        if (register == PhyPage)
            _phyPage = (ushort)(value & 0xFF);
        else if (_phyPage == 0 || register < 16)
            base.WritePhy(register, value);
    }

    protected override uint ReadCauses()
    {
        var causes = base.ReadCauses();
        if ((Register(CtrlExt) & ExtAutoMask) != 0)
            Register(Ims) &= ~Register(Iam);
        _notified = 0;
        UpdateInterrupt();
        return causes;
    }

    protected override void SetCause(uint causes)
    {
        if (_msix.IsEnabled)
        {
            if ((causes & CauseTxWritten) != 0)
                causes |= CauseTxQueue0;
            if ((causes & OtherCauses) != 0)
                causes |= CauseOther;
        }

        base.SetCause(causes);
    }

    protected override void UpdateInterrupt()
    {
        if (!_msix.IsEnabled)
        {
            base.UpdateInterrupt();
            return;
        }

        var due = Register(Icr) & Register(Ims) & ~_notified;
        foreach (var (cause, shift) in VectorMap)
        {
            if ((due & cause) == 0)
                continue;
            _notified |= cause;
            var entry = (Register(Ivar) >> shift) & 15;
            if ((entry & 8) != 0)
                _msix.Notify((int)(entry & 7));
            // Causes that clear themselves mask themselves too.
            var automatic = Register(Eiac) & cause;
            Register(Icr) &= ~automatic;
            Register(Ims) &= ~automatic;
            _notified &= ~automatic;
        }
    }

    protected override void RaiseInterrupt()
    {
        if (_msi.IsEnabled)
            _msi.Notify(0);
        else
            base.RaiseInterrupt();
    }
}
