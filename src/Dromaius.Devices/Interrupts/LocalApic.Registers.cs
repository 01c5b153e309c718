using Dromaius.Core.Errors;

namespace Dromaius.Devices.Interrupts;

/// <summary>The registers: as memory, and as MSRs in x2APIC mode (Intel SDM volume 3, 11.4 and 11.12.1).</summary>
public sealed partial class LocalApic
{
    // Interrupt command register.
    private const uint IcrLogical = 1 << 11, IcrAssert = 1 << 14, IcrLevel = 1 << 15;
    private const uint IcrWritable = 0x000CCFFF;

    internal uint ReadMmio(int register)
    {
        switch (register)
        {
            case RegId:
                return _id << 24;
            case RegLdr:
                return _ldr;
            case RegDfr:
                return _dfr;
            case RegIcrHigh:
                return _icrHigh;
            case RegApr:
            case RegRrd:
            case RegEoi:
                return 0;
            default:
                if (TryRead(register, out var value))
                    return value;
                Error(ErrorRegister);
                return 0;
        }
    }

    internal void WriteMmio(int register, uint value)
    {
        switch (register)
        {
            case RegId:
                _id = value >> 24;
                break;
            case RegLdr:
                _ldr = value & 0xFF000000;
                break;
            case RegDfr:
                _dfr = value | 0x0FFFFFFF;
                break;
            case RegEsr:
                LatchErrors();
                break;
            case RegEoi:
                EndOfInterrupt();
                break;
            case RegIcrHigh:
                _icrHigh = value & 0xFF000000;
                break;
            case RegIcrLow:
                _icrLow = value & IcrWritable;
                SendIpi(_icrHigh >> 24, false);
                break;
            default:
                if (!IsReadOnly(register) && !TryWrite(register, value))
                {
                    GuestLog.GuestError(TypeName, $"write of reserved register {register << 4:x3}h");
                    Error(ErrorRegister);
                }

                break;
        }
    }

    public bool TryReadMsr(uint index, out ulong value)
    {
        lock (_bus.MachineLock)
        {
            value = 0;
            if (!IsX2 || index - 0x800 > 0xFF)
                return false;
            var register = (int)(index - 0x800);
            switch (register)
            {
                case RegId:
                    value = _initialId;
                    return true;
                case RegLdr:
                    value = X2LogicalId;
                    return true;
                case RegIcrLow:
                    value = _icrLow | (ulong)_icrHigh << 32;
                    return true;
                case RegIcrHigh:
                    return false;
                default:
                    var known = TryRead(register, out var low);
                    value = low;
                    return known;
            }
        }
    }

    public bool TryWriteMsr(uint index, ulong value)
    {
        lock (_bus.MachineLock)
        {
            if (!IsX2 || index - 0x800 > 0xFF)
                return false;
            var register = (int)(index - 0x800);
            if (register == RegIcrLow)
                return TryWriteX2Icr(value);
            if (value > uint.MaxValue)
                return false;
            switch (register)
            {
                case RegEoi:
                    if (value != 0)
                        return false;
                    EndOfInterrupt();
                    return true;
                case RegEsr:
                    if (value != 0)
                        return false;
                    LatchErrors();
                    return true;
                case RegSelfIpi:
                    if (value > 0xFF)
                        return false;
                    SendSelf((byte)value);
                    return true;
                case RegIcrHigh:
                    return false;
                default:
                    return (value & ~WritableBits(register)) == 0 && TryWrite(register, (uint)value);
            }
        }
    }

    private bool TryWriteX2Icr(ulong value)
    {
        if (((uint)value & ~(IcrWritable | LvtPending)) != 0)
            return false;
        _icrLow = (uint)value & IcrWritable;
        _icrHigh = (uint)(value >> 32);
        SendIpi(_icrHigh, true);
        return true;
    }

    /// <summary>Bits that do not raise #GP in x2APIC mode; status bits may be written and are ignored.</summary>
    private static uint WritableBits(int register) => register switch
    {
        RegTpr => 0xFF,
        RegSvr => 0x3FF,
        RegInitialCount => uint.MaxValue,
        RegDivide => 0xB,
        >= RegLvtTimer and <= RegLvtError => LvtWritable[register - RegLvtTimer] | LvtPending
            | (register is RegLvtLint0 or RegLvtLint0 + 1 ? LvtRemoteIrr : 0),
        _ => 0,
    };

    private static bool IsReadOnly(int register) => register is RegVersion or RegApr or RegPpr or RegRrd or RegCurrentCount
        or (>= RegIsr and < RegEsr);

    /// <summary>Registers that are alike in both modes.</summary>
    private bool TryRead(int register, out uint value)
    {
        value = 0;
        switch (register)
        {
            case RegVersion:
                value = Version;
                return true;
            case RegTpr:
                value = _tpr;
                return true;
            case RegPpr:
                value = (uint)ProcessorPriority;
                return true;
            case RegSvr:
                value = _svr;
                return true;
            case >= RegIsr and < RegTmr:
                value = _isr.Register(register - RegIsr);
                return true;
            case >= RegTmr and < RegIrr:
                value = _tmr.Register(register - RegTmr);
                return true;
            case >= RegIrr and < RegEsr:
                value = _irr.Register(register - RegIrr);
                return true;
            case RegEsr:
                value = _errorsRead;
                return true;
            case RegIcrLow:
                value = _icrLow;
                return true;
            case >= RegLvtTimer and <= RegLvtError:
                value = _lvt[register - RegLvtTimer];
                return true;
            case RegInitialCount:
                value = _timer.InitialCount;
                return true;
            case RegCurrentCount:
                _timer.Poll();
                value = _timer.CurrentCount;
                return true;
            case RegDivide:
                value = _timer.DivideRegister;
                return true;
            default:
                return false;
        }
    }

    private bool TryWrite(int register, uint value)
    {
        switch (register)
        {
            case RegTpr:
                _tpr = (byte)value;
                Sync();
                return true;
            case RegSvr:
                _svr = value & 0x3FF;
                if ((_svr & SvrEnable) == 0)
                {
                    // Disabling by software masks all entries.
                    for (var i = 0; i < LvtCount; i++)
                        _lvt[i] |= LvtMasked;
                    _timer.Masked = true;
                }

                Sync();
                return true;
            case >= RegLvtTimer and <= RegLvtError:
                WriteLvt(register - RegLvtTimer, value);
                return true;
            case RegInitialCount:
                _timer.Start(value);
                return true;
            case RegDivide:
                _timer.DivideRegister = (byte)value;
                return true;
            default:
                return false;
        }
    }

    private void WriteLvt(int entry, uint value)
    {
        value &= LvtWritable[entry];
        if ((_svr & SvrEnable) == 0)
            value |= LvtMasked;
        var status = _lvt[entry] & LvtRemoteIrr;
        if ((value & LvtLevel) == 0)
            status = 0;
        _lvt[entry] = value | status;
        switch (entry)
        {
            case LvtTimer:
                var mode = (value >> 17) & 3;
                _timer.Mode = mode > 2 ? ApicTimer.TimerMode.OneShot : (ApicTimer.TimerMode)mode;
                _timer.Masked = (value & LvtMasked) != 0;
                break;
            case LvtLint0:
                // A level that was there before it was let through.
                if (_lint[0] && (value & (LvtMasked | LvtLevel | LvtModeMask)) == LvtLevel)
                    Local(LvtLint0);
                break;
        }

        Sync();
    }

    private void LatchErrors()
    {
        _errorsRead = _errors;
        _errors = 0;
    }

    private void SendSelf(byte vector)
    {
        if (vector < 16)
            Error(ErrorSendVector);
        else
            Accept(DeliveryMode.Fixed, vector, false);
    }

    /// <summary>Sends what the ICR says (11.6.1).</summary>
    private void SendIpi(uint destination, bool wide)
    {
        var mode = (DeliveryMode)((_icrLow >> 8) & 7);
        var vector = (byte)_icrLow;
        if (mode is DeliveryMode.Fixed or DeliveryMode.LowestPriority && vector < 16)
        {
            Error(ErrorSendVector);
            return;
        }

        if (mode is DeliveryMode.Reserved or DeliveryMode.ExtInt)
        {
            GuestLog.GuestError(TypeName, $"interrupt command with delivery mode {(int)mode}");
            return;
        }

        // INIT level de-assert only synchronises arbitration ids, which nothing shows.
        if (mode == DeliveryMode.Init && (_icrLow & (IcrAssert | IcrLevel)) == IcrLevel)
            return;
        switch ((_icrLow >> 18) & 3)
        {
            case 0:
                _bus.Deliver(new ApicMessage(destination, (_icrLow & IcrLogical) != 0, mode, vector, false, wide));
                break;
            case 1:
                Accept(mode, vector, false);
                break;
            case 2:
                _bus.DeliverToAll(mode, vector, false, null);
                break;
            default:
                _bus.DeliverToAll(mode, vector, false, this);
                break;
        }
    }
}
