using Dromaius.Cpu.X86;

namespace Dromaius.Cpu.Tests.SystemTests;

public sealed unsafe class TransferTests : IDisposable
{
    private const uint NewTss = 0xB000;

    private readonly SystemMachine _m = new();

    public void Dispose() => _m.Dispose();

    [Fact]
    public void RealModeFarCallAndReturn()
    {
        _m.S->Gpr[4] = 0x7000;
        _m.Call(SystemHelpers.FarCall, 0x1000, 0x20, 2, 0x105);
        Assert.Equal((0x10000UL, 0x20UL), (_m.S->CodeBase, _m.S->Rip));
        _m.Call(SystemHelpers.FarReturn, 2, 4);
        Assert.Equal((0xF0000UL, 0x105UL, 0x7004UL), (_m.S->CodeBase, _m.S->Rip, _m.S->Gpr[4]));
    }

    [Theory]
    [InlineData(SystemMachine.Code0, -1, 0u)]
    [InlineData(SystemMachine.Conforming, -1, 0u)]
    [InlineData(SystemMachine.Code3, 13, 0x18u)]
    [InlineData(SystemMachine.Data0, 13, 0x10u)]
    [InlineData(0, 13, 0u)]
    [InlineData(0x1000, 13, 0x1000u)]
    public void FarJumpChecks(int selector, int fault, uint error)
    {
        _m.EnterProtected();
        _m.Call(SystemHelpers.FarJump, (ulong)selector, 0x6000, 4, 0);
        Assert.Equal(fault, _m.Fault);
        if (fault >= 0)
            Assert.Equal(error, _m.Error);
        else
            Assert.Equal(0x6000UL, _m.S->Rip);
    }

    [Fact]
    public void ConformingCodeKeepsTheLevel()
    {
        _m.EnterUser();
        _m.Call(SystemHelpers.FarJump, SystemMachine.Conforming, 0x6000, 4, 0);
        Assert.Equal((-1, 3, SystemMachine.Conforming | 3), (_m.Fault, _m.Cpu.Cpl, (int)_m.S->Cs.Selector));
        _m.Call(SystemHelpers.FarJump, SystemMachine.Code0, 0x6000, 4, 0);
        Assert.Equal(13, _m.Fault);
    }

    [Fact]
    public void CallGateCopiesParameters()
    {
        _m.EnterUser();
        _m.SetGdt(SystemMachine.Free, SystemMachine.Gate(SystemMachine.Code0, 0x6000, 0xC, 3, 2));
        _m.Write(0x7000, 4, 0x11111111);
        _m.Write(0x7004, 4, 0x22222222);
        _m.Call(SystemHelpers.FarCall, SystemMachine.Free | 3, 0xDEAD, 4, 0x5007);
        Assert.Equal((-1, 0, 0x6000UL), (_m.Fault, _m.Cpu.Cpl, _m.S->Rip));
        ulong[] frame = [0x5007, SystemMachine.Code3, 0x11111111, 0x22222222, 0x7000, SystemMachine.Data3];
        for (var i = 0; i < frame.Length; i++)
            Assert.Equal(frame[i], _m.Read(_m.S->Gpr[4] + ((ulong)i * 4), 4));
        _m.Call(SystemHelpers.FarReturn, 4, 8);
        Assert.Equal((-1, 3, 0x5007UL, 0x7008UL), (_m.Fault, _m.Cpu.Cpl, _m.S->Rip, _m.S->Gpr[4]));
        Assert.Equal(1u, _m.S->Ds.Unusable);
    }

    [Fact]
    public void GatesBelowTheCallerAreRefused()
    {
        _m.EnterUser();
        _m.SetGdt(SystemMachine.Free, SystemMachine.Gate(SystemMachine.Code0, 0x6000, 0xC, 0));
        _m.Call(SystemHelpers.FarCall, SystemMachine.Free, 0, 4, 0x5007);
        Assert.Equal((13, (uint)SystemMachine.Free), (_m.Fault, _m.Error));
        _m.SetGdt(SystemMachine.Free, SystemMachine.Gate(SystemMachine.Code0, 0x6000, 0xC, 3) & ~(0x80UL << 40));
        _m.Call(SystemHelpers.FarCall, SystemMachine.Free, 0, 4, 0x5007);
        Assert.Equal((11, (uint)SystemMachine.Free), (_m.Fault, _m.Error));
    }

    [Fact]
    public void ReturnToInnerLevelIsRefused()
    {
        _m.EnterUser();
        _m.Write(0x7000, 4, 0x6000);
        _m.Write(0x7004, 4, SystemMachine.Code0);
        _m.Call(SystemHelpers.FarReturn, 4, 0);
        Assert.Equal((13, (uint)SystemMachine.Code0, 0x7000UL), (_m.Fault, _m.Error, _m.S->Gpr[4]));
    }

    [Fact]
    public void UserFlagsStayProtected()
    {
        _m.EnterUser(Eflags.If);
        _m.Call(SystemHelpers.PopFlags, Eflags.Iopl | Eflags.Cf, 4);
        Assert.Equal((ulong)(Eflags.If | Eflags.Cf), _m.Cpu.ReadEflags() & (Eflags.Iopl | Eflags.If | Eflags.Cf));
        _m.Call(SystemHelpers.Cli);
        Assert.Equal(13, _m.Fault);
        _m.Call(SystemHelpers.Hlt, 0);
        Assert.Equal(13, _m.Fault);
        _m.Call(SystemHelpers.WriteControl, 0, 0);
        Assert.Equal(13, _m.Fault);
    }

    [Fact]
    public void PortPermissionBitmap()
    {
        _m.EnterUser();
        _m.Write(SystemMachine.TssBase + 0x68 + (0x3F8 / 8), 2, 0xFF0F);
        _m.Call(SystemHelpers.In, 0x3FC, 4);
        Assert.Equal(-1, _m.Fault);
        _m.Call(SystemHelpers.In, 0x3FD, 4);
        Assert.Equal(13, _m.Fault);
        _m.Call(SystemHelpers.Out, 0xFFFF, 1, 0);
        Assert.Equal(13, _m.Fault); // beyond the TSS
    }

    [Fact]
    public void TaskSwitchByCallAndReturn()
    {
        _m.EnterProtected();
        WriteTask(0x6000, SystemMachine.Code0, SystemMachine.Data0);
        _m.SetGdt(SystemMachine.Free, SystemMachine.Descriptor(NewTss, 0x67, 0x0089));
        _m.S->Gpr[0] = 0xAAAA;
        _m.Call(SystemHelpers.FarCall, SystemMachine.Free, 0, 4, 0x4007);
        Assert.Equal(-1, _m.Fault);
        Assert.Equal((0x6000UL, 0x1000UL, 0x9F00UL), (_m.S->Rip, _m.S->Gpr[0], _m.S->Gpr[4]));
        Assert.NotEqual(0UL, _m.Cpu.ReadEflags() & Eflags.Nt);
        Assert.NotEqual(0UL, _m.S->Cr0 & 8);
        Assert.Equal((ulong)SystemMachine.TssSelector, _m.Read(NewTss, 2));
        Assert.Equal(0x4007UL, _m.Read(SystemMachine.TssBase + 0x20, 4));
        Assert.Equal(0xAAAAUL, _m.Read(SystemMachine.TssBase + 0x28, 4));
        Assert.Equal(0x8BUL, _m.Read(SystemMachine.GdtBase + SystemMachine.Free + 5, 1));
        _m.Call(SystemHelpers.FarJump, SystemMachine.Free, 0, 4, 0x6007);
        Assert.Equal((13, (uint)SystemMachine.Free), (_m.Fault, _m.Error)); // busy
        _m.Call(SystemHelpers.Iret, 4, 0x6001);
        Assert.Equal((-1, 0x4007UL, 0xAAAAUL), (_m.Fault, _m.S->Rip, _m.S->Gpr[0]));
        Assert.Equal(0UL, _m.Cpu.ReadEflags() & Eflags.Nt);
        Assert.Equal(0x89UL, _m.Read(SystemMachine.GdtBase + SystemMachine.Free + 5, 1));
        Assert.Equal(0x6001UL, _m.Read(NewTss + 0x20, 4));
    }

    [Fact]
    public void TaskGateDeliversFaultWithErrorCode()
    {
        _m.EnterUser();
        WriteTask(0x6000, SystemMachine.Code0, SystemMachine.Data0);
        _m.SetGdt(SystemMachine.Free, SystemMachine.Descriptor(NewTss, 0x67, 0x0089));
        _m.SetIdt(8, SystemMachine.Gate(SystemMachine.Free, 0, 5, 0));
        _m.Raise(8, 0, true);
        Assert.Equal((0x6000UL, 0, 0x9EFCUL), (_m.S->Rip, _m.Cpu.Cpl, _m.S->Gpr[4]));
        Assert.Equal(SystemMachine.Free, _m.S->Tr.Selector);
    }

    [Fact]
    public void BadSegmentsInTaskRaiseInvalidTss()
    {
        _m.EnterProtected();
        WriteTask(0x6000, SystemMachine.Code0, SystemMachine.Code0);
        _m.SetGdt(SystemMachine.Free, SystemMachine.Descriptor(NewTss, 0x67, 0x0089));
        _m.Call(SystemHelpers.FarJump, SystemMachine.Free, 0, 4, 0x4007);
        Assert.Equal((10, (uint)SystemMachine.Code0, 0x6000UL), (_m.Fault, _m.Error, _m.S->Rip));
        _m.SetGdt(SystemMachine.Free, SystemMachine.Descriptor(NewTss, 0x66, 0x0089));
        _m.Call(SystemHelpers.FarJump, SystemMachine.Free, 0, 4, 0x4007);
        Assert.Equal((10, (uint)SystemMachine.Free), (_m.Fault, _m.Error));
    }

    private void WriteTask(uint eip, ushort cs, ushort ss)
    {
        _m.Write(NewTss + 0x20, 4, eip);
        _m.Write(NewTss + 0x24, 4, 2);
        for (var i = 0u; i < 8; i++)
            _m.Write(NewTss + 0x28 + (i * 4), 4, 0x1000 + i);
        _m.Write(NewTss + 0x38, 4, 0x9F00);
        ushort[] selectors = [SystemMachine.Data0, cs, ss, SystemMachine.Data0, 0, 0];
        for (var i = 0u; i < 6; i++)
            _m.Write(NewTss + 0x48 + (i * 4), 4, selectors[i]);
        _m.Write(NewTss + 0x60, 4, 0);
    }

    [Fact]
    public void SyscallAndSysret()
    {
        _m.EnterLong();
        _m.WriteMsr(0xC0000081, ((ulong)SystemMachine.Data0 << 48) | ((ulong)SystemMachine.Code0Bits64 << 32));
        _m.WriteMsr(0xC0000082, 0x6000);
        _m.WriteMsr(0xC0000084, 0x200);
        Assert.Equal(-1, _m.Fault);
        _m.S->Gpr[1] = 0x5000;
        _m.S->Gpr[11] = 0x202;
        _m.Call(SystemHelpers.Sysret, 8);
        Assert.Equal((-1, 3, 0x5000UL, true), (_m.Fault, _m.Cpu.Cpl, _m.S->Rip, _m.Cpu.Code64));
        Assert.Equal((SystemMachine.Data0 + 16) | 3, _m.S->Cs.Selector);
        _m.Call(SystemHelpers.Syscall, 0x5002);
        Assert.Equal((-1, 0, 0x6000UL), (_m.Fault, _m.Cpu.Cpl, _m.S->Rip));
        Assert.Equal((0x5002UL, 0x202UL), (_m.S->Gpr[1], _m.S->Gpr[11]));
        Assert.Equal(0UL, _m.Cpu.ReadEflags() & Eflags.If);
        _m.S->Gpr[1] = 1UL << 50;
        _m.Call(SystemHelpers.Sysret, 8);
        Assert.Equal(13, _m.Fault);
    }

    [Fact]
    public void SysenterAndSysexit()
    {
        _m.EnterUser();
        _m.Call(SystemHelpers.Sysenter);
        Assert.Equal(13, _m.Fault);
        _m.S->SysenterCs = SystemMachine.Code0;
        _m.S->SysenterEsp = 0x9000;
        _m.S->SysenterEip = 0x6000;
        _m.Call(SystemHelpers.Sysenter);
        Assert.Equal((-1, 0, 0x6000UL, 0x9000UL), (_m.Fault, _m.Cpu.Cpl, _m.S->Rip, _m.S->Gpr[4]));
        _m.S->Gpr[1] = 0x7000;
        _m.S->Gpr[2] = 0x5000;
        _m.Call(SystemHelpers.Sysexit, 4);
        Assert.Equal((-1, 3, 0x5000UL, 0x7000UL), (_m.Fault, _m.Cpu.Cpl, _m.S->Rip, _m.S->Gpr[4]));
    }
}
