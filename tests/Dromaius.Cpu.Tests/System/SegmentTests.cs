using Dromaius.Cpu.X86;

namespace Dromaius.Cpu.Tests.SystemTests;

public sealed unsafe class SegmentTests : IDisposable
{
    private readonly SystemMachine _m = new();

    public void Dispose() => _m.Dispose();

    [Fact]
    public void ResetState()
    {
        Assert.Equal(0xFFF0UL, _m.S->Rip);
        Assert.Equal(0xFFFF0000UL, _m.S->CodeBase);
        Assert.Equal(0x60000010UL, _m.S->Cr0);
        Assert.Equal(_m.Cpu.Model.Signature, (uint)_m.S->Gpr[2]);
        Assert.Equal(0, _m.Cpu.Cpl);
        Assert.False(_m.Cpu.IsHalted);
    }

    [Fact]
    public void RealModeLoadsKeepTheLimit()
    {
        _m.S->Ds.Limit = uint.MaxValue;
        _m.Call(SystemHelpers.LoadSegment, (ulong)Seg.Ds, 0x1234);
        Assert.Equal(0x12340UL, _m.S->Ds.Base);
        Assert.Equal(uint.MaxValue, _m.S->Ds.Limit);
    }

    [Fact]
    public void EnteringProtectedModeGivesFlatMode()
    {
        _m.EnterProtected();
        Assert.Equal(-1, _m.Fault);
        var mode = (Mode)_m.S->Mode;
        Assert.True(mode.HasFlag(Mode.Protected | Mode.Code32 | Mode.Stack32 | Mode.FlatData | Mode.FlatCode | Mode.IoAllowed));
        Assert.Equal(0x93UL, _m.Read(SystemMachine.GdtBase + SystemMachine.Data0 + 5, 1));
        Assert.Equal(0x8BUL, _m.Read(SystemMachine.GdtBase + SystemMachine.TssSelector + 5, 1));
    }

    [Theory]
    [InlineData(Seg.Ds, 0x00, -1, 0u)]
    [InlineData(Seg.Ss, 0x00, 13, 0u)]
    [InlineData(Seg.Ss, SystemMachine.Data3, 13, 0x20u)]
    [InlineData(Seg.Ss, SystemMachine.Code0, 13, 0x08u)]
    [InlineData(Seg.Ds, SystemMachine.Code0, -1, 0u)]
    [InlineData(Seg.Ds, SystemMachine.TssSelector, 13, 0x38u)]
    [InlineData(Seg.Ds, 0x13, 13, 0x10u)]
    [InlineData(Seg.Ds, 0x100, 13, 0x100u)]
    [InlineData(Seg.Ds, 0x14, 13, 0x14u)]
    public void Loads(Seg seg, int selector, int fault, uint error)
    {
        _m.EnterProtected();
        _m.Call(SystemHelpers.LoadSegment, (ulong)seg, (ulong)selector);
        Assert.Equal(fault, _m.Fault);
        if (fault >= 0)
            Assert.Equal(error, _m.Error);
    }

    [Fact]
    public void AbsentSegments()
    {
        _m.EnterProtected();
        _m.SetGdt(SystemMachine.Free, SystemMachine.Descriptor(0, 0xFFFFF, 0xC012));
        _m.Call(SystemHelpers.LoadSegment, (ulong)Seg.Ds, SystemMachine.Free);
        Assert.Equal((11, (uint)SystemMachine.Free), (_m.Fault, _m.Error));
        _m.Call(SystemHelpers.LoadSegment, (ulong)Seg.Ss, SystemMachine.Free);
        Assert.Equal((12, (uint)SystemMachine.Free), (_m.Fault, _m.Error));
    }

    [Fact]
    public void LimitChecks()
    {
        _m.EnterProtected();
        _m.Call(SystemHelpers.LoadSegment, (ulong)Seg.Ds, SystemMachine.ExpandDown);
        _m.Call(SystemHelpers.CheckLimit, (ulong)Seg.Ds, 0xFFF, 1, 0);
        Assert.Equal(13, _m.Fault);
        Assert.Equal(0x1000UL, _m.Call(SystemHelpers.CheckLimit, (ulong)Seg.Ds, 0x1000, 4, 1));
        Assert.Equal(-1, _m.Fault);
        _m.Call(SystemHelpers.CheckLimit, (ulong)Seg.Ds, 0xFFFFFFFE, 4, 0);
        Assert.Equal(13, _m.Fault);
        _m.Call(SystemHelpers.CheckLimit, (ulong)Seg.Cs, 0, 4, 1);
        Assert.Equal(13, _m.Fault);
        _m.S->Ss.Limit = 0xFFF;
        _m.Call(SystemHelpers.CheckLimit, (ulong)Seg.Ss, 0xFFD, 4, 0);
        Assert.Equal(12, _m.Fault);
    }

    [Fact]
    public void DescriptorInspection()
    {
        _m.EnterUser();
        Assert.Equal(7UL, _m.Call(SystemHelpers.Lar, SystemMachine.Data0, 7));
        Assert.Equal(0UL, _m.Cpu.ReadEflags() & Eflags.Zf);
        Assert.Equal(0xC0F300UL, _m.Call(SystemHelpers.Lar, SystemMachine.Data3, 7) & 0xF0FF00);
        Assert.NotEqual(0UL, _m.Cpu.ReadEflags() & Eflags.Zf);
        Assert.Equal(0xFFFFFFFFUL, _m.Call(SystemHelpers.Lsl, SystemMachine.Conforming, 7));
        _m.Call(SystemHelpers.Verw, SystemMachine.Data3);
        Assert.NotEqual(0UL, _m.Cpu.ReadEflags() & Eflags.Zf);
        _m.Call(SystemHelpers.Verw, SystemMachine.Code3);
        Assert.Equal(0UL, _m.Cpu.ReadEflags() & Eflags.Zf);
        _m.Call(SystemHelpers.Verr, SystemMachine.Data0);
        Assert.Equal(0UL, _m.Cpu.ReadEflags() & Eflags.Zf);
        Assert.Equal(0x13UL, _m.Call(SystemHelpers.Arpl, 0x10, 0x03));
        Assert.NotEqual(0UL, _m.Cpu.ReadEflags() & Eflags.Zf);
    }

    [Fact]
    public void PrivilegedTablesFromUserMode()
    {
        _m.EnterUser();
        _m.Call(SystemHelpers.Lgdt, 0x6000, 4);
        Assert.Equal((13, 0u), (_m.Fault, _m.Error));
        _m.Call(SystemHelpers.Ltr, SystemMachine.TssSelector);
        Assert.Equal(13, _m.Fault);
        Assert.Equal(SystemMachine.TssSelector, _m.Call(SystemHelpers.Str));
        _m.S->Cr4 |= 0x800;
        _m.Call(SystemHelpers.Str);
        Assert.Equal(13, _m.Fault);
    }

    [Fact]
    public void BusyTaskCannotBeLoaded()
    {
        _m.EnterProtected();
        _m.Call(SystemHelpers.Ltr, SystemMachine.TssSelector);
        Assert.Equal((13, (uint)SystemMachine.TssSelector), (_m.Fault, _m.Error));
    }

    [Fact]
    public void DescriptorTablesRoundTrip()
    {
        _m.EnterProtected();
        _m.Write(0x6000, 2, 0x7F);
        _m.Write(0x6002, 4, 0xFF001000);
        _m.Call(SystemHelpers.Lidt, 0x6000, 2);
        Assert.Equal(0x001000UL, _m.S->Idt.Base);
        _m.Call(SystemHelpers.Lidt, 0x6000, 4);
        Assert.Equal(0xFF001000UL, _m.S->Idt.Base);
        _m.Call(SystemHelpers.Sidt, 0x6010, 4);
        Assert.Equal(0x7FUL, _m.Read(0x6010, 2));
        Assert.Equal(0xFF001000UL, _m.Read(0x6012, 4));
    }
}
