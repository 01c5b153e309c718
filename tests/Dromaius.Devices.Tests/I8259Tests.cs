using Dromaius.Core.Memory;
using Dromaius.Devices.Interrupts;

namespace Dromaius.Devices.Tests;

public class I8259Tests
{
    private readonly I8259 _pic = new();

    public I8259Tests()
    {
        _pic.Reset();
        Initialise(_pic.MasterPorts, 0x20, 4);
        Initialise(_pic.SlavePorts, 0x28, 2);
    }

    private static void Initialise(MemoryRegion ports, int vector, int cascade, int icw4 = 1, int icw1 = 0x11)
    {
        ports.Out(0, icw1);
        ports.Out(1, vector);
        ports.Out(1, cascade);
        ports.Out(1, icw4);
    }

    private void EndBoth()
    {
        _pic.SlavePorts.Out(0, 0x20);
        _pic.MasterPorts.Out(0, 0x20);
    }

    [Fact]
    public void EdgeIsLatchedAndAcknowledgedOnce()
    {
        _pic.SetIrq(1, true);
        _pic.SetIrq(1, false);
        Assert.True(_pic.Intr.Level);
        Assert.Equal(0x21, _pic.Acknowledge());
        Assert.False(_pic.Intr.Level);
        _pic.MasterPorts.Out(0, 0x0B);
        Assert.Equal(2, _pic.MasterPorts.In(0));
        _pic.MasterPorts.Out(0, 0x20);
        Assert.Equal(0, _pic.MasterPorts.In(0));
    }

    [Fact]
    public void HeldEdgeInterruptsOnlyOnce()
    {
        _pic.SetIrq(4, true);
        Assert.Equal(0x24, _pic.Acknowledge());
        _pic.MasterPorts.Out(0, 0x20);
        Assert.False(_pic.Intr.Level);
    }

    [Fact]
    public void SlaveGoesThroughCascade()
    {
        _pic.SetIrq(12, true);
        Assert.Equal(0x2C, _pic.Acknowledge());
        _pic.SetIrq(14, true);
        Assert.False(_pic.Intr.Level);
        _pic.SetIrq(8, true); // higher, but the master's input 2 is in service
        Assert.False(_pic.Intr.Level);
        EndBoth();
        Assert.Equal(0x28, _pic.Acknowledge());
        EndBoth();
        Assert.Equal(0x2E, _pic.Acknowledge());
        EndBoth();
        Assert.False(_pic.Intr.Level);
    }

    [Fact]
    public void SpeciallyFullyNestedMasterLetsHigherSlaveRequestIn()
    {
        Initialise(_pic.MasterPorts, 0x20, 4, 0x11);
        _pic.SetIrq(12, true);
        Assert.Equal(0x2C, _pic.Acknowledge());
        _pic.SetIrq(8, true);
        Assert.True(_pic.Intr.Level);
        Assert.Equal(0x28, _pic.Acknowledge());
    }

    [Fact]
    public void SpuriousVectorsAreSevenAndFifteen()
    {
        Assert.Equal(0x27, _pic.Acknowledge());
        _pic.EdgeLevelPorts.Out(1, 0x02);
        _pic.SetIrq(9, true);
        Assert.True(_pic.Intr.Level);
        _pic.SetIrq(9, false);
        Assert.False(_pic.Intr.Level);
        _pic.MasterPorts.Out(0, 0x0B);
        Assert.Equal(0, _pic.MasterPorts.In(0));
    }

    [Fact]
    public void LevelRequestRepeatsUntilReleased()
    {
        _pic.EdgeLevelPorts.Out(0, 0xFF);
        Assert.Equal(0xF8, _pic.EdgeLevelPorts.In(0));
        _pic.EdgeLevelPorts.Out(1, 0xFF);
        Assert.Equal(0xDE, _pic.EdgeLevelPorts.In(1));
        _pic.SetIrq(5, true);
        Assert.Equal(0x25, _pic.Acknowledge());
        _pic.MasterPorts.Out(0, 0x20);
        Assert.Equal(0x25, _pic.Acknowledge());
        _pic.SetIrq(5, false);
        _pic.MasterPorts.Out(0, 0x20);
        Assert.False(_pic.Intr.Level);
    }

    [Fact]
    public void MaskHoldsRequestBack()
    {
        _pic.MasterPorts.Out(1, 0xFF);
        _pic.SetIrq(3, true);
        Assert.False(_pic.Intr.Level);
        Assert.Equal(0x08, _pic.MasterPorts.In(0));
        _pic.MasterPorts.Out(1, 0xF7);
        Assert.Equal(0x23, _pic.Acknowledge());
    }

    [Fact]
    public void RotationMakesServedInputLowest()
    {
        _pic.SetIrq(3, true);
        Assert.Equal(0x23, _pic.Acknowledge());
        _pic.MasterPorts.Out(0, 0xA0); // rotate on non-specific EOI
        _pic.SetIrq(0, true);
        _pic.SetIrq(4, true);
        Assert.Equal(0x24, _pic.Acknowledge());
        _pic.MasterPorts.Out(0, 0x64); // specific EOI
        Assert.Equal(0x20, _pic.Acknowledge());
        _pic.MasterPorts.Out(0, 0x60);
        _pic.MasterPorts.Out(0, 0xC7); // set priority: 7 lowest again
        _pic.SetIrq(0, false);
        _pic.SetIrq(4, false);
        _pic.SetIrq(0, true);
        _pic.SetIrq(4, true);
        Assert.Equal(0x20, _pic.Acknowledge());
    }

    [Fact]
    public void AutoEoiLeavesNothingInService()
    {
        Initialise(_pic.MasterPorts, 0x20, 4, 3);
        _pic.SetIrq(1, true);
        Assert.Equal(0x21, _pic.Acknowledge());
        _pic.MasterPorts.Out(0, 0x0B);
        Assert.Equal(0, _pic.MasterPorts.In(0));
    }

    [Fact]
    public void SpecialMaskModeLetsLowerRequestsIn()
    {
        _pic.SetIrq(1, true);
        Assert.Equal(0x21, _pic.Acknowledge());
        _pic.SetIrq(6, true);
        Assert.False(_pic.Intr.Level);
        _pic.MasterPorts.Out(1, 0x02);
        _pic.MasterPorts.Out(0, 0x68);
        Assert.Equal(0x26, _pic.Acknowledge());
        // A non-specific EOI does not touch the masked one.
        _pic.MasterPorts.Out(0, 0x20);
        _pic.MasterPorts.Out(0, 0x0B);
        Assert.Equal(0x02, _pic.MasterPorts.In(0));
    }

    [Fact]
    public void PollAcknowledges()
    {
        _pic.SetIrq(6, true);
        _pic.MasterPorts.Out(0, 0x0C);
        Assert.Equal(0x86, _pic.MasterPorts.In(0));
        _pic.MasterPorts.Out(0, 0x0C);
        Assert.Equal(0, _pic.MasterPorts.In(0));
        _pic.MasterPorts.Out(0, 0x0B);
        Assert.Equal(0x40, _pic.MasterPorts.In(0));
    }
}
