using Dromaius.Core.Cpus;
using Dromaius.Core.Devices;
using Dromaius.Core.Errors;
using Dromaius.Core.Time;

namespace Dromaius.Devices.Interrupts;

/// <summary>
/// Local APIC of one processor, in xAPIC and x2APIC mode. Source: Intel SDM volume 3, chapter 11 (advanced programmable
/// interrupt controller).
/// </summary>
public sealed partial class LocalApic : Device, ILocalApic
{
    // Register numbers: MMIO offset / 16, and x2APIC MSR - 0x800.
    private const int RegId = 0x02, RegVersion = 0x03, RegTpr = 0x08, RegApr = 0x09, RegPpr = 0x0A, RegEoi = 0x0B, RegRrd = 0x0C,
        RegLdr = 0x0D, RegDfr = 0x0E, RegSvr = 0x0F, RegIsr = 0x10, RegTmr = 0x18, RegIrr = 0x20, RegEsr = 0x28,
        RegCmci = 0x2F, RegIcrLow = 0x30, RegIcrHigh = 0x31, RegLvtTimer = 0x32, RegLvtLint0 = 0x35, RegLvtError = 0x37,
        RegInitialCount = 0x38, RegCurrentCount = 0x39, RegDivide = 0x3E, RegSelfIpi = 0x3F;

    // Local vector table, in register order from RegLvtTimer.
    private const int LvtTimer = 0, LvtThermal = 1, LvtPerf = 2, LvtLint0 = 3, LvtLint1 = 4, LvtError = 5, LvtCount = 6;
    private const uint LvtPending = 1 << 12, LvtActiveLow = 1 << 13, LvtRemoteIrr = 1 << 14, LvtLevel = 1 << 15,
        LvtMasked = 1 << 16, LvtModeMask = 7 << 8;

    private const uint SvrEnable = 0x100;
    private const ulong BaseBootstrap = 0x100, BaseX2 = 0x400, BaseEnable = 0x800;

    // Error status register.
    private const uint ErrorSendVector = 0x20, ErrorReceiveVector = 0x40, ErrorRegister = 0x80;

    /// <summary>Six LVT entries; version 0x14 is that of an integrated APIC.</summary>
    private const uint Version = 0x00050014;

    private static readonly uint[] LvtWritable =
    [
        0x000600FF | LvtMasked,                                          // timer: vector, mode
        0x000000FF | LvtModeMask | LvtMasked,                            // thermal sensor
        0x000000FF | LvtModeMask | LvtMasked,                            // performance counters
        0x000000FF | LvtModeMask | LvtActiveLow | LvtLevel | LvtMasked,  // LINT0
        0x000000FF | LvtModeMask | LvtActiveLow | LvtLevel | LvtMasked,  // LINT1
        0x000000FF | LvtMasked,                                          // error
    ];

    private readonly ApicBus _bus;
    private readonly IVcpu _cpu;
    private readonly ApicTimer _timer;
    private readonly uint _initialId;
    private readonly bool _bootstrap;
    private readonly bool[] _lint = new bool[2];
    private readonly uint[] _lvt = new uint[LvtCount];

    private ulong _base;
    private uint _id;
    private uint _ldr;
    private uint _dfr;
    private uint _svr;
    private byte _tpr;
    private uint _errors;
    private uint _errorsRead;
    private uint _icrLow;
    private uint _icrHigh;
    private VectorSet _irr;
    private VectorSet _isr;
    private VectorSet _tmr;
    private bool _extIntMessage;

    /// <param name="bus">The bus to join; its list index must be the processor's index.</param>
    /// <param name="cpu">The processor to interrupt.</param>
    /// <param name="apicId">Initial APIC id, as CPUID shows it.</param>
    /// <param name="bootstrap">This is the bootstrap processor.</param>
    /// <param name="clock">Clock of the timer.</param>
    /// <param name="readTsc">The processor's time-stamp counter now.</param>
    /// <param name="tscToNs">When, in the clock's nanoseconds, the counter will have a value.</param>
    public LocalApic(ApicBus bus, IVcpu cpu, uint apicId, bool bootstrap, Clock clock, Func<ulong> readTsc,
        Func<ulong, long> tscToNs)
    {
        _bus = bus;
        _cpu = cpu;
        _initialId = apicId;
        _bootstrap = bootstrap;
        _timer = new ApicTimer(clock, () => Local(LvtTimer), readTsc, tscToNs);
        _lint[0] = bus.Lint0;
        bus.Add(this);
        Reset(false);
    }

    public override string TypeName => "apic";

    /// <summary>Number of the processor.</summary>
    public int Index => _cpu.Index;

    /// <summary>CPUID reports x2APIC.</summary>
    public bool SupportsX2Apic { get; init; } = true;

    /// <summary>CPUID reports an APIC at all; without, LINT0 is the INTR pin and LINT1 the NMI pin.</summary>
    public bool Present { get; init; } = true;

    /// <summary>Physical address width, for the reserved bits of IA32_APIC_BASE.</summary>
    public int PhysicalAddressBits { get; init; } = 40;

    /// <summary>The APIC id in the current mode.</summary>
    public uint ApicId => IsX2 ? _initialId : _id;

    /// <summary>Where the register page is.</summary>
    public ulong BaseAddress => _base & ~0xFFFUL;

    public bool IsEnabled => Present && (_base & BaseEnable) != 0;

    private bool IsX2 => (_base & (BaseEnable | BaseX2)) == (BaseEnable | BaseX2);

    /// <summary>The register page answers: enabled and not in x2APIC mode.</summary>
    internal bool IsMemoryMapped => Present && (_base & (BaseEnable | BaseX2)) == BaseEnable;

    internal bool IsSoftwareEnabled => IsEnabled && (_svr & SvrEnable) != 0;

    /// <summary>PPR: the greater of the task priority and the class in service.</summary>
    internal int ProcessorPriority
    {
        get
        {
            var service = Math.Max(_isr.Highest, 0) & 0xF0;
            return (_tpr & 0xF0) >= service ? _tpr : service;
        }
    }

    /// <summary>LINT0 is unmasked in ExtINT mode (or the APIC is off): the 8259 reaches this processor.</summary>
    private bool AcceptsPic =>
        !IsEnabled || (_lvt[LvtLint0] & (LvtModeMask | LvtMasked)) == (uint)DeliveryMode.ExtInt << 8;

    public override void Reset() => Reset(false);

    public void Reset(bool init)
    {
        lock (_bus.MachineLock)
        {
            if (!init)
            {
                _base = ApicBus.DefaultBase | (_bootstrap ? BaseBootstrap : 0) | (Present ? BaseEnable : 0);
                _id = _initialId & 0xFF;
                _bus.BaseChanged();
            }

            ResetRegisters();
            // INIT keeps x2APIC mode, whose logical id is derived; nothing of it is stored.
            Sync();
        }
    }

    /// <summary>State after power-up, reset and INIT (11.4.7); mode and id stay.</summary>
    private void ResetRegisters()
    {
        _ldr = 0;
        _dfr = uint.MaxValue;
        _svr = 0xFF;
        _tpr = 0;
        _errors = _errorsRead = 0;
        _icrLow = _icrHigh = 0;
        _irr = _isr = _tmr = default;
        _extIntMessage = false;
        Array.Fill(_lvt, LvtMasked);
        // Firmware that knows no APIC expects the 8259 to work: the bootstrap processor starts in virtual wire mode.
        if (_bootstrap)
            _lvt[LvtLint0] = (uint)DeliveryMode.ExtInt << 8;
        _timer.Reset();
    }

    // ---- The processor's side --------------------------------------------------------------------------------------

    public int Acknowledge()
    {
        lock (_bus.MachineLock)
        {
            var vector = TakeVector();
            Sync();
            return vector;
        }
    }

    private int TakeVector()
    {
        if (_extIntMessage || (_lint[0] && AcceptsPic))
        {
            _extIntMessage = false;
            if (_bus.AcknowledgePic is { } acknowledge)
                return acknowledge() & 0xFF;
        }

        var pending = PendingVector;
        if (pending < 0)
            return -1;
        _irr[pending] = false;
        _isr[pending] = true;
        return pending;
    }

    /// <summary>The vector that may be delivered now, or -1.</summary>
    private int PendingVector
    {
        get
        {
            if (!IsSoftwareEnabled)
                return -1;
            var highest = _irr.Highest;
            return highest >= 0 && highest >> 4 > ProcessorPriority >> 4 ? highest : -1;
        }
    }

    public byte Cr8
    {
        get => (byte)(_tpr >> 4);
        set
        {
            var priority = (byte)(value << 4);
            if (priority == _tpr)
                return;
            lock (_bus.MachineLock)
            {
                _tpr = priority;
                Sync();
            }
        }
    }

    public ulong BaseMsr => _base;

    public bool TrySetBaseMsr(ulong value)
    {
        lock (_bus.MachineLock)
        {
            var writable = ((1UL << PhysicalAddressBits) - 1 & ~0xFFFUL) | BaseBootstrap | BaseEnable
                           | (SupportsX2Apic ? BaseX2 : 0);
            if (!Present || (value & ~writable) != 0)
                return false;
            var mode = value & (BaseEnable | BaseX2);
            var old = _base & (BaseEnable | BaseX2);
            // Legal changes (figure 11-27): x2APIC is entered from xAPIC only and left by disabling only.
            if (mode == BaseX2 || (mode == (BaseEnable | BaseX2) && old == 0)
                               || (mode == BaseEnable && old == (BaseEnable | BaseX2)))
                return false;
            var moved = (value & ~0xFFFUL) != BaseAddress;
            _base = value;
            if (mode != old && (mode == 0 || old == 0))
            {
                ResetRegisters();
                _id = _initialId & 0xFF;
            }
            else if (mode != old)
                _icrHigh = 0;

            if (moved)
                _bus.BaseChanged();
            Sync();
            return true;
        }
    }

    public ulong TscDeadline
    {
        get
        {
            lock (_bus.MachineLock)
                return _timer.ReadDeadline();
        }

        set
        {
            lock (_bus.MachineLock)
                _timer.SetDeadline(value);
        }
    }

    // ---- The bus's side --------------------------------------------------------------------------------------------

    /// <summary>The local interrupt pins: 0 is INTR from the 8259, 1 is NMI.</summary>
    public void SetLint(int pin, bool level)
    {
        var rising = level && !_lint[pin];
        _lint[pin] = level;
        if (!IsEnabled)
        {
            if (pin == 1 && rising)
                _cpu.Raise(CpuRequest.NonMaskable);
            Sync();
            return;
        }

        var entry = _lvt[LvtLint0 + pin];
        var mode = (DeliveryMode)((entry & LvtModeMask) >> 8);
        var levelTriggered = mode == DeliveryMode.Fixed && (entry & LvtLevel) != 0;
        if (mode != DeliveryMode.ExtInt && level && (rising || levelTriggered))
            Local(LvtLint0 + pin);
        Sync();
    }

    /// <summary>The message's destination names this APIC (11.6.2).</summary>
    internal bool Matches(in ApicMessage message)
    {
        if (!IsEnabled)
            return false;
        var destination = message.Destination;
        if (message.Wide ? destination == uint.MaxValue : destination == 0xFF && !message.Logical)
            return true;
        if (!message.Logical)
            return destination == ApicId;
        if (IsX2)
        {
            if (!message.Wide && destination == 0xFF)
                return true;
            var logical = X2LogicalId;
            return logical >> 16 == destination >> 16 && (logical & destination & 0xFFFF) != 0;
        }

        if (destination > 0xFF)
            return false;
        var id = _ldr >> 24;
        if (_dfr >> 28 == 0xF)
            return (id & destination) != 0;
        return destination == 0xFF || (id >> 4 == destination >> 4 && (id & destination & 0xF) != 0);
    }

    private uint X2LogicalId => (_initialId & ~0xFU) << 12 | 1U << (int)(_initialId & 0xF);

    /// <summary>A message or local interrupt arrives.</summary>
    internal bool Accept(DeliveryMode mode, byte vector, bool levelTriggered)
    {
        switch (mode)
        {
            case DeliveryMode.Fixed:
            case DeliveryMode.LowestPriority:
                if (!IsSoftwareEnabled)
                    return false;
                if (vector < 16)
                {
                    Error(ErrorReceiveVector);
                    return false;
                }

                _irr[vector] = true;
                _tmr[vector] = levelTriggered;
                Sync();
                return true;
            case DeliveryMode.SystemManagement:
                _cpu.Raise(CpuRequest.SystemManagement);
                return true;
            case DeliveryMode.NonMaskable:
                _cpu.Raise(CpuRequest.NonMaskable);
                return true;
            case DeliveryMode.Init:
                _cpu.Raise(CpuRequest.Init);
                return true;
            case DeliveryMode.StartUp:
                _cpu.StartUp(vector);
                return true;
            case DeliveryMode.ExtInt:
                _extIntMessage = true;
                Sync();
                return true;
            default:
                GuestLog.GuestError(TypeName, $"reserved delivery mode {(int)mode}");
                return false;
        }
    }

    /// <summary>A local source fired: delivers as its entry says.</summary>
    private void Local(int entry)
    {
        var lvt = _lvt[entry];
        if ((lvt & LvtMasked) != 0)
            return;
        var mode = entry is LvtTimer or LvtError ? DeliveryMode.Fixed : (DeliveryMode)((lvt & LvtModeMask) >> 8);
        // LINT1 knows no level-triggered interrupts.
        var levelTriggered = entry == LvtLint0 && mode == DeliveryMode.Fixed && (lvt & LvtLevel) != 0;
        if (levelTriggered && (lvt & LvtRemoteIrr) != 0)
            return;
        if (mode is DeliveryMode.StartUp or DeliveryMode.LowestPriority or DeliveryMode.Reserved)
            return;
        if (Accept(mode, (byte)lvt, levelTriggered) && levelTriggered)
            _lvt[entry] |= LvtRemoteIrr;
        // The processor masks the counter entry when it delivers it.
        if (entry == LvtPerf)
            _lvt[entry] |= LvtMasked;
    }

    /// <summary>The performance counters overflowed.</summary>
    public void PerformanceInterrupt() => Local(LvtPerf);

    /// <summary>The thermal sensor tripped.</summary>
    public void ThermalInterrupt() => Local(LvtThermal);

    private void Error(uint bit)
    {
        var isNew = (_errors & bit) == 0;
        _errors |= bit;
        // The error entry's own bad vector must not recurse.
        if (isNew && (byte)_lvt[LvtError] >= 16)
            Local(LvtError);
    }

    private void EndOfInterrupt()
    {
        var vector = _isr.Highest;
        if (vector < 0)
            return;
        _isr[vector] = false;
        if (_tmr[vector])
        {
            if ((byte)_lvt[LvtLint0] == vector && (_lvt[LvtLint0] & LvtRemoteIrr) != 0)
            {
                _lvt[LvtLint0] &= ~LvtRemoteIrr;
                if (_lint[0])
                    Local(LvtLint0);
            }
            else
                _bus.BroadcastEoi((byte)vector);
        }

        Sync();
    }

    /// <summary>The processor's interrupt request is a function of the state.</summary>
    private void Sync()
    {
        if (_extIntMessage || (_lint[0] && AcceptsPic) || PendingVector >= 0)
            _cpu.Raise(CpuRequest.Interrupt);
        else
            _cpu.Lower(CpuRequest.Interrupt);
    }
}
