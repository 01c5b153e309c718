using Dromaius.Core.Time;
using Dromaius.Devices.Firmware;

namespace Dromaius.Devices.Tests;

public class FirmwareTests
{
    private readonly ManualClock _clock = new();
    private readonly AcpiPm _pm;

    public FirmwareTests() => _pm = new AcpiPm(_clock);

    [Fact]
    public void TimerRunsAtItsFrequency()
    {
        _clock.Advance(1_000_000_000);
        Assert.Equal(3_579_545u, _pm.PmRegisters.In32(8));
        _clock.Advance(10_000_000_000);
        Assert.Equal(3_579_545u * 11 & 0xFFFFFF, _pm.PmRegisters.In32(8));
    }

    [Fact]
    public void TimerOverflowInterrupts()
    {
        _pm.ApmPorts.Out(0, _pm.AcpiEnable);
        Assert.Equal(1u, _pm.PmRegisters.In32(4));
        _pm.PmRegisters.Write!(2, 2, 1);
        _clock.Advance(2_300_000_000);
        Assert.False(_pm.Sci.Level);
        _clock.Advance(50_000_000);
        Assert.True(_pm.Sci.Level);
        _pm.PmRegisters.Write!(0, 2, 1);
        Assert.False(_pm.Sci.Level);
        _pm.ApmPorts.Out(0, _pm.AcpiDisable);
        Assert.Equal(0u, _pm.PmRegisters.In32(4));
    }

    [Fact]
    public void PowerButtonAndSleep()
    {
        _pm.ApmPorts.Out(0, _pm.AcpiEnable);
        _pm.PmRegisters.Write!(2, 2, 0x100);
        _pm.PressPowerButton();
        Assert.True(_pm.Sci.Level);
        Assert.Equal(0x100u, _pm.PmRegisters.In32(0) & 0xFFFF);
        _pm.PmRegisters.Out(1, 1);
        Assert.False(_pm.Sci.Level);
        var states = new List<SleepState>();
        _pm.SleepRequested = states.Add;
        _pm.PmRegisters.Write!(4, 2, 0x2001);
        _pm.PmRegisters.Write!(4, 2, 0x2401);
        Assert.Equal([SleepState.Off, SleepState.Suspend], states);
        Assert.Equal(0x401u, _pm.PmRegisters.In32(4));
    }

    [Fact]
    public void GeneralPurposeEventsAndSmi()
    {
        _pm.ApmPorts.Out(0, _pm.AcpiEnable);
        _pm.GpeRegisters.Out(2, 4);
        _pm.RaiseGpe(2);
        Assert.True(_pm.Sci.Level);
        _pm.GpeRegisters.Out(0, 4);
        Assert.False(_pm.Sci.Level);
        var smis = 0;
        _pm.SmiRequested = () => smis++;
        _pm.ApmPorts.Out(0, 0x12);
        Assert.Equal(0, smis);
        _pm.ApmSmiEnabled = true;
        _pm.ApmPorts.Out(0, 0x12);
        Assert.Equal(1, smis);
        Assert.Equal(0x12, _pm.ApmPorts.In(0));
    }

    [Fact]
    public void SmBusTransactionEndsUnanswered()
    {
        var bus = new SmBus();
        bus.Registers.Out(4, 0xA1);
        bus.Registers.Out(2, 0x48);
        Assert.Equal(4, bus.Registers.In(0));
        bus.Registers.Out(0, 4);
        Assert.Equal(0, bus.Registers.In(0));
    }
}
