using Dromaius.Core.Cpus;
using Dromaius.Core.Time;
using Dromaius.Devices.Interrupts;

namespace Dromaius.Devices.Tests;

public sealed class ApicTests : IDisposable
{
    private readonly ManualClock _clock = new();
    private readonly ApicBus _bus = new(new Lock());
    private readonly FakeVcpu[] _cpus = [new(0), new(1), new(2), new(3)];
    private readonly LocalApic[] _apics;
    private readonly IoApic _io;

    public ApicTests()
    {
        _apics = [.. _cpus.Select(c => new LocalApic(_bus, c, (uint)c.Index, c.Index == 0, _clock,
            () => (ulong)_clock.Now * 2, t => (long)(t / 2)))];
        _io = new IoApic(_bus);
        for (var i = 0; i < 4; i++)
            Write(i, 0xF0, 0x1FF);
        Write(0, 0x350, 0x10000);
    }

    public void Dispose() => CurrentVcpu.Index = -1;

    private uint Read(int cpu, int register)
    {
        CurrentVcpu.Index = cpu;
        return _bus.Window.In32(register);
    }

    private void Write(int cpu, int register, uint value)
    {
        CurrentVcpu.Index = cpu;
        _bus.Window.Out32(register, value);
    }

    private void Redirect(int pin, ulong entry)
    {
        _io.Registers.Out32(0, (uint)(0x10 + (pin * 2)));
        _io.Registers.Out32(0x10, (uint)entry);
        _io.Registers.Out32(0, (uint)(0x11 + (pin * 2)));
        _io.Registers.Out32(0x10, (uint)(entry >> 32));
    }

    private uint RedirectLow(int pin)
    {
        _io.Registers.Out32(0, (uint)(0x10 + (pin * 2)));
        return _io.Registers.In32(0x10);
    }

    private bool Pending(int cpu) => (_cpus[cpu].Requests & CpuRequest.Interrupt) != 0;

    [Fact]
    public void EveryProcessorSeesItsOwnPage()
    {
        Assert.Equal(0x02000000u, Read(2, 0x20));
        Assert.Equal(0x01000000u, Read(1, 0x20));
        Assert.Equal(0x00050014u, Read(1, 0x30));
        CurrentVcpu.Index = -1;
        Assert.Equal(uint.MaxValue, _bus.Window.In32(0x30));
    }

    [Fact]
    public void IpiIsDeliveredAcknowledgedAndEnded()
    {
        Write(0, 0x310, 1u << 24);
        Write(0, 0x300, 0x4000 | 0xF1);
        Assert.False(Pending(0));
        Assert.True(Pending(1));
        Assert.Equal(1u << 17, Read(1, 0x270));
        Assert.Equal(0xF1, _apics[1].Acknowledge());
        Assert.False(Pending(1));
        Assert.Equal(1u << 17, Read(1, 0x170));
        Assert.Equal(0xF0u, Read(1, 0xA0));
        Write(1, 0xB0, 0);
        Assert.Equal(0u, Read(1, 0x170));
        Assert.Equal(-1, _apics[1].Acknowledge());
    }

    [Fact]
    public void PriorityHoldsLowerVectorsBack()
    {
        Write(0, 0x300, 0x40000 | 0x61);
        Write(0, 0x300, 0x40000 | 0x72);
        Assert.Equal(0x72, _apics[0].Acknowledge());
        Assert.False(Pending(0));
        Write(0, 0xB0, 0);
        Assert.True(Pending(0));
        _apics[0].Cr8 = 6;
        Assert.False(Pending(0));
        Assert.Equal(0x60u, Read(0, 0x80));
        Write(0, 0x80, 0x5F);
        Assert.Equal(0x61, _apics[0].Acknowledge());
    }

    [Theory]
    [InlineData(0x00080000u, new[] { 0, 1, 2, 3 })]
    [InlineData(0x000C0000u, new[] { 1, 2, 3 })]
    [InlineData(0x00040000u, new[] { 0 })]
    public void ShorthandsReachTheirProcessors(uint shorthand, int[] expected)
    {
        Write(0, 0x300, shorthand | 0x4000 | 0x55);
        Assert.Equal(expected, Enumerable.Range(0, 4).Where(Pending));
    }

    [Fact]
    public void LogicalFlatAndClusterDestinations()
    {
        for (var i = 0; i < 4; i++)
            Write(i, 0xD0, 1u << (24 + i));
        Write(0, 0x310, 0x0Au << 24);
        Write(0, 0x300, 0x4800 | 0x66);
        Assert.Equal([1, 3], Enumerable.Range(0, 4).Where(Pending));
        for (var i = 0; i < 4; i++)
        {
            Write(i, 0xE0, 0x0FFFFFFF);
            Write(i, 0xD0, (uint)(i / 2 << 28 | 1 << (24 + (i & 1))));
            _apics[i].Acknowledge();
            Write(i, 0xB0, 0);
        }

        Write(0, 0x310, 0x13u << 24);
        Write(0, 0x300, 0x4800 | 0x66);
        Assert.Equal([2, 3], Enumerable.Range(0, 4).Where(Pending));
    }

    [Fact]
    public void InitAndStartUpReachTheProcessor()
    {
        Write(0, 0x310, 2u << 24);
        Write(0, 0x300, 0xC500);
        Assert.Equal(CpuRequest.Init, _cpus[2].Requests);
        Write(0, 0x300, 0x8500); // de-assert does nothing
        Write(0, 0x300, 0x4612);
        Assert.Equal([0x12], _cpus[2].StartUps);
        Write(0, 0x300, 0x4400);
        Assert.True((_cpus[2].Requests & CpuRequest.NonMaskable) != 0);
    }

    [Fact]
    public void LowestPriorityPicksTheIdleProcessor()
    {
        Write(0, 0x80, 0x40);
        Write(1, 0x80, 0x20);
        Write(2, 0x80, 0x10);
        Write(3, 0x80, 0x30);
        Write(0, 0x310, 0xFFu << 24);
        Write(0, 0x300, 0x4100 | 0x77);
        Assert.Equal([2], Enumerable.Range(0, 4).Where(Pending));
    }

    [Fact]
    public void BadVectorsAreErrors()
    {
        Write(0, 0x370, 0xFE);
        Write(0, 0x300, 0x40000 | 0x05);
        Write(0, 0x280, 0);
        Assert.Equal(0x20u, Read(0, 0x280));
        Assert.Equal(0xFE, _apics[0].Acknowledge());
        Read(0, 0x3D0);
        Write(0, 0x280, 0);
        Assert.Equal(0x80u, Read(0, 0x280));
        Write(0, 0x280, 0);
        Assert.Equal(0u, Read(0, 0x280));
    }

    [Fact]
    public void SoftwareDisableMasksAndRefuses()
    {
        Write(1, 0x320, 0x30);
        Write(1, 0xF0, 0xFF);
        Assert.Equal(0x10030u, Read(1, 0x320));
        Write(1, 0x320, 0x30);
        Assert.Equal(0x10030u, Read(1, 0x320));
        Write(0, 0x310, 1u << 24);
        Write(0, 0x300, 0x4000 | 0x80);
        Assert.False(Pending(1));
    }

    [Fact]
    public void OneShotAndPeriodicTimer()
    {
        Write(0, 0x3E0, 0xB);
        Write(0, 0x320, 0xEE);
        Write(0, 0x380, 0x10000);
        _clock.Advance(0x8000);
        Assert.Equal(0x8000u, Read(0, 0x390));
        Assert.False(Pending(0));
        _clock.Advance(0x8000);
        Assert.Equal(0u, Read(0, 0x390));
        Assert.Equal(0xEE, _apics[0].Acknowledge());
        Write(0, 0xB0, 0);
        _clock.Advance(0x100000);
        Assert.False(Pending(0));

        // Changing to periodic afterwards leaves the counter at zero.
        Write(0, 0x320, 0x200EE);
        Assert.Equal(0u, Read(0, 0x390));
        Assert.Equal(0x10000u, Read(0, 0x380));

        Write(0, 0x3E0, 0x3); // by 16
        Write(0, 0x380, 0x10000);
        for (var i = 0; i < 3; i++)
        {
            _clock.Advance(0x100000);
            Assert.Equal(0xEE, _apics[0].Acknowledge());
            Write(0, 0xB0, 0);
        }
    }

    [Fact]
    public void ModeChangeKeepsCounting()
    {
        Write(0, 0x3E0, 0xB);
        Write(0, 0x320, 0x100EE);
        Write(0, 0x380, 0x999999);
        Write(0, 0x320, 0x300EE);
        Assert.Equal(0x999999u, Read(0, 0x380));
        _clock.Advance(0x999999 + 0x1000);
        Assert.Equal(0x999999u - 0x1000, Read(0, 0x390));
        Write(0, 0x320, 0x100EE);
        Assert.Equal(0x999999u - 0x1000, Read(0, 0x390));
        _clock.Advance(0x999999);
        Assert.Equal(0u, Read(0, 0x390));
        Write(0, 0x320, 0x300EE);
        Assert.Equal(0u, Read(0, 0x390));
        Assert.False(Pending(0));
    }

    [Fact]
    public void DeadlineTimer()
    {
        Write(0, 0x320, 0x400EF);
        _clock.Advance(1000);
        _apics[0].TscDeadline = 4000;
        Assert.Equal(4000u, _apics[0].TscDeadline);
        _clock.Advance(999);
        Assert.False(Pending(0));
        _clock.Advance(1);
        Assert.Equal(0xEF, _apics[0].Acknowledge());
        Assert.Equal(0u, _apics[0].TscDeadline);
        Write(0, 0xB0, 0);
        // A deadline in the past is delivered at once.
        _apics[0].TscDeadline = 1;
        Assert.Equal(0xEF, _apics[0].Acknowledge());
        Assert.Equal(0u, _apics[0].TscDeadline);
    }

    [Theory]
    [InlineData(ulong.MaxValue)]
    [InlineData(1UL << 63)]
    [InlineData(long.MaxValue)]
    public void DeadlineThatNeverComesDoesNotKeepTheHostBusy(ulong deadline)
    {
        Write(0, 0x320, 0x400EF);
        _apics[0].TscDeadline = deadline;
        _clock.Advance(1_000_000_000);
        Assert.False(Pending(0));
        Assert.Equal(deadline, _apics[0].TscDeadline);
    }

    [Fact]
    public void BaseTransitions()
    {
        var apic = _apics[0];
        var disabled = apic.BaseMsr & ~0xC00UL;
        Assert.True(apic.TrySetBaseMsr(disabled | 0xC00));
        Assert.Equal(uint.MaxValue, Read(0, 0x30));
        Assert.False(apic.TrySetBaseMsr(disabled | 0x400));
        Assert.False(apic.TrySetBaseMsr(disabled | 0x800));
        Assert.True(apic.TrySetBaseMsr(disabled));
        Assert.False(apic.TrySetBaseMsr(disabled | 0x400));
        Assert.False(apic.TrySetBaseMsr(disabled | 0xC00));
        Assert.True(apic.TrySetBaseMsr(disabled | 0x800));
        Assert.False(apic.TrySetBaseMsr(disabled | 0x400));
        Assert.False(apic.TrySetBaseMsr(disabled | 0x801));
        Assert.False(apic.TrySetBaseMsr(disabled | 0x800 | 1UL << 40));
        Assert.Equal(0x00050014u, Read(0, 0x30));
    }

    [Fact]
    public void X2ApicRegisters()
    {
        foreach (var apic in _apics)
        {
            Assert.False(apic.TryReadMsr(0x802, out _));
            Assert.True(apic.TrySetBaseMsr(apic.BaseMsr | 0x400));
        }

        Assert.True(_apics[3].TryReadMsr(0x802, out var id));
        Assert.Equal(3u, id);
        Assert.True(_apics[3].TryReadMsr(0x80D, out var logical));
        Assert.Equal(8u, logical);
        Assert.False(_apics[3].TryWriteMsr(0x802, 1));
        Assert.False(_apics[3].TryReadMsr(0x80E, out _));
        Assert.False(_apics[3].TryReadMsr(0x80B, out _));
        Assert.False(_apics[3].TryWriteMsr(0x80B, 1));
        Assert.False(_apics[3].TryReadMsr(0x831, out _));
        Assert.False(_apics[3].TryWriteMsr(0x83F, 0x100));
        Assert.False(_apics[3].TryReadMsr(0x83F, out _));
        foreach (var register in (uint[])[0x808, 0x80F, 0x828, 0x832, 0x833, 0x834, 0x835, 0x836, 0x837, 0x838, 0x83E])
        {
            Assert.True(_apics[3].TryReadMsr(register, out var old), $"{register:x}");
            Assert.True(_apics[3].TryWriteMsr(register, old), $"{register:x}");
            Assert.False(_apics[3].TryWriteMsr(register, ulong.MaxValue), $"{register:x}");
        }

        Assert.True(_apics[0].TryWriteMsr(0x830, 0xFFFFFFFF_000040CF));
        Assert.Equal([0, 1, 2, 3], Enumerable.Range(0, 4).Where(Pending));
        Assert.True(_apics[0].TryReadMsr(0x830, out var icr));
        Assert.Equal(0xFFFFFFFF_000040CF, icr);
        Assert.True(_apics[0].TryWriteMsr(0x83F, 0xF1));
        Assert.Equal(0xF1, _apics[0].Acknowledge());
        Assert.True(_apics[0].TryWriteMsr(0x80B, 0));
        Assert.Equal(0xCF, _apics[0].Acknowledge());
    }

    [Fact]
    public void RelocatedPage()
    {
        var system = Dromaius.Core.Memory.MemoryRegion.Container("system", 0);
        _bus.MapInto(system);
        var space = new Dromaius.Core.Memory.AddressSpace("memory", system, _bus.MachineLock);
        CurrentVcpu.Index = 1;
        Assert.True(_apics[1].TrySetBaseMsr(0xFED40000 | 0x800));
        Assert.Equal(0x00050014u, space.LoadU32(0xFED40030));
        Assert.Equal(uint.MaxValue, space.LoadU32(0xFEE00030));
        CurrentVcpu.Index = 0;
        Assert.Equal(uint.MaxValue, space.LoadU32(0xFED40030));
        Assert.Equal(0x00050014u, space.LoadU32(0xFEE00030));
    }

    [Fact]
    public void MessageStoreInterrupts()
    {
        CurrentVcpu.Index = 0;
        _bus.Window.Out32(0x2000, 0x41);
        Assert.True(Pending(2));
        Assert.Equal(0x41, _apics[2].Acknowledge());
        // Destination 0 shares the page with the registers.
        _bus.Window.Out32(0, 0x42);
        Assert.Equal(0x42, _apics[0].Acknowledge());
    }

    [Fact]
    public void ExternalInterruptComesThroughLint0()
    {
        Write(0, 0x350, 0x700);
        _bus.AcknowledgePic = () => 0x28;
        _bus.SetLint0(true);
        Assert.True(Pending(0));
        Assert.False(Pending(1));
        Assert.Equal(0x28, _apics[0].Acknowledge());
        _bus.SetLint0(false);
        Assert.False(Pending(0));
        Assert.Equal(0u, Read(0, 0x110));
    }

    [Fact]
    public void NonMaskableThroughLint1()
    {
        _bus.SetLint1(true);
        Assert.Equal(CpuRequest.None, _cpus[0].Requests);
        _bus.SetLint1(false);
        Write(0, 0x360, 0x400);
        _bus.SetLint1(true);
        Assert.Equal(CpuRequest.NonMaskable, _cpus[0].Requests);
    }

    [Fact]
    public void IoApicIdentification()
    {
        _io.Registers.Out32(0, 1);
        Assert.Equal(0x00170020u, _io.Registers.In32(0x10));
        _io.Registers.Out32(0x10, 0);
        Assert.Equal(0x00170020u, _io.Registers.In32(0x10));
        _io.Registers.Out32(0, 0);
        _io.Registers.Out32(0x10, uint.MaxValue);
        Assert.Equal(0x0F000000u, _io.Registers.In32(0x10));
        _io.Registers.Out32(0, 2);
        Assert.Equal(0x0F000000u, _io.Registers.In32(0x10));
    }

    [Fact]
    public void EdgeInterruptAndLostEdgeWhileMasked()
    {
        Redirect(14, 0x76);
        _io.SetIrq(14, true);
        _io.SetIrq(14, false);
        Assert.Equal(0x76, _apics[0].Acknowledge());
        Assert.Equal(0u, Read(0, 0x1B0));
        Write(0, 0xB0, 0);
        Redirect(14, 0x10076);
        _io.SetIrq(14, true);
        _io.SetIrq(14, false);
        Redirect(14, 0x76);
        Assert.False(Pending(0));
    }

    [Fact]
    public void LevelInterruptRepeatsAfterEoi()
    {
        Redirect(14, 0x8077);
        _io.SetIrq(14, true);
        Assert.Equal(0xC077u, RedirectLow(14));
        Assert.Equal(0x77, _apics[0].Acknowledge());
        Assert.Equal(1u << 23, Read(0, 0x1B0));
        Write(0, 0xB0, 0);
        Assert.Equal(0x77, _apics[0].Acknowledge());
        _io.SetIrq(14, false);
        Write(0, 0xB0, 0);
        Assert.False(Pending(0));
        Assert.Equal(0x8077u, RedirectLow(14));
        // The next edge-triggered delivery of the vector clears its TMR bit.
        Assert.Equal(1u << 23, Read(0, 0x1B0));
        Redirect(14, 0x77);
        _io.SetIrq(14, true);
        Assert.Equal(0u, Read(0, 0x1B0));
    }

    [Fact]
    public void MaskedLevelIsDeliveredWhenUnmaskedAndEdgeModeClearsRemoteIrr()
    {
        Redirect(14, 0x18082);
        _io.SetIrq(14, true);
        Assert.False(Pending(0));
        Redirect(14, 0x8082);
        Assert.True(Pending(0));
        Redirect(14, 0x10082);
        Assert.Equal(0x10082u, RedirectLow(14));
        Redirect(14, 0x8082);
        Assert.Equal(0xC082u, RedirectLow(14));
        _io.Registers.Out32(0x40, 0x82);
        Assert.Equal(0xC082u, RedirectLow(14)); // still asserted: sent again
    }

    [Fact]
    public void IoApicLogicalDestinationInX2Mode()
    {
        foreach (var apic in _apics)
            Assert.True(apic.TrySetBaseMsr(apic.BaseMsr | 0x400));
        Redirect(14, 0x0D000000_00008886);
        _io.SetIrq(14, false);
        _io.SetIrq(14, true);
        Assert.Equal([0, 2, 3], Enumerable.Range(0, 4).Where(Pending));
    }

    [Fact]
    public void IndexedResetKeepsIdOnInit()
    {
        Write(1, 0x20, 0x05000000);
        Assert.Equal(0x05000000u, Read(1, 0x20));
        _apics[1].Reset(true);
        Assert.Equal(0x05000000u, Read(1, 0x20));
        _apics[1].Reset(false);
        Assert.Equal(0x01000000u, Read(1, 0x20));
    }
}
