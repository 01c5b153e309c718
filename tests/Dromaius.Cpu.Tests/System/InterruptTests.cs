using Dromaius.Core.Cpus;
using Dromaius.Cpu.X86;

namespace Dromaius.Cpu.Tests.SystemTests;

public sealed unsafe class InterruptTests : IDisposable
{
    private readonly SystemMachine _m = new();

    public void Dispose() => _m.Dispose();

    [Fact]
    public void RealMode()
    {
        _m.S->Idt = new DescriptorTable { Base = 0, Limit = 0x3FF };
        _m.Write(0x21 * 4, 4, 0x12345678);
        _m.S->Ss.Base = 0;
        _m.S->Gpr[4] = 0x7000;
        _m.S->Rip = 0x100;
        _m.Cpu.WriteEflags(Eflags.If | Eflags.Cf, Eflags.If | Eflags.Cf);
        _m.Call(SystemHelpers.InterruptN, 0x21, 0x102);
        Assert.Equal((0x1234, 0x5678UL, 0x6FFAUL), ((int)_m.S->Cs.Selector, _m.S->Rip, _m.S->Gpr[4]));
        Assert.Equal(0x102UL, _m.Read(0x6FFA, 2));
        Assert.Equal(0xF000UL, _m.Read(0x6FFC, 2));
        Assert.Equal((ulong)(Eflags.If | Eflags.Cf | 2), _m.Read(0x6FFE, 2));
        Assert.Equal(0UL, _m.Cpu.ReadEflags() & Eflags.If);
        _m.Call(SystemHelpers.Iret, 2, 0);
        Assert.Equal((0xF000, 0x102UL, 0x7000UL), ((int)_m.S->Cs.Selector, _m.S->Rip, _m.S->Gpr[4]));
        Assert.NotEqual(0UL, _m.Cpu.ReadEflags() & Eflags.If);
    }

    [Fact]
    public void SameLevelFaultPushesErrorAndResumeFlag()
    {
        _m.EnterProtected();
        _m.SetIdt(13, SystemMachine.Gate(SystemMachine.Code0, 0x6000, 0xE, 0));
        _m.S->Rip = 0x4444;
        _m.Raise(13, 0x58, true);
        Assert.Equal((0x6000UL, SystemMachine.StackTop - 16UL), (_m.S->Rip, _m.S->Gpr[4]));
        Assert.Equal(0x58UL, _m.Read(_m.S->Gpr[4], 4));
        Assert.Equal(0x4444UL, _m.Read(_m.S->Gpr[4] + 4, 4));
        Assert.Equal((ulong)SystemMachine.Code0, _m.Read(_m.S->Gpr[4] + 8, 4));
        Assert.Equal((ulong)(Eflags.Rf | 2), _m.Read(_m.S->Gpr[4] + 12, 4));
    }

    [Fact]
    public void UserInterruptSwitchesStacks()
    {
        _m.EnterUser(Eflags.If);
        _m.SetIdt(0x80, SystemMachine.Gate(SystemMachine.Code0, 0x6000, 0xF, 3));
        _m.Call(SystemHelpers.InterruptN, 0x80, 0x5002);
        Assert.Equal(-1, _m.Fault);
        Assert.Equal(0, _m.Cpu.Cpl);
        Assert.Equal(SystemMachine.InnerStackTop - 20UL, _m.S->Gpr[4]);
        ulong[] frame = [0x5002, SystemMachine.Code3, Eflags.If | 2, 0x7000, SystemMachine.Data3];
        for (var i = 0; i < 5; i++)
            Assert.Equal(frame[i], _m.Read(_m.S->Gpr[4] + ((ulong)i * 4), 4));
        Assert.NotEqual(0UL, _m.Cpu.ReadEflags() & Eflags.If); // a trap gate leaves IF
        _m.Call(SystemHelpers.Iret, 4, 0);
        Assert.Equal((3, 0x5002UL, 0x7000UL), (_m.Cpu.Cpl, _m.S->Rip, _m.S->Gpr[4]));
    }

    [Fact]
    public void GatePrivilegeIsCheckedForSoftwareInterruptsOnly()
    {
        _m.EnterUser();
        _m.SetIdt(13, SystemMachine.Gate(SystemMachine.Code0, 0x6000, 0xE, 0));
        _m.S->Rip = 0x5000;
        _m.Call(SystemHelpers.InterruptN, 13, 0x5002);
        Assert.Equal(0x6000UL, _m.S->Rip);
        Assert.Equal((13UL * 8) + 2, _m.Read(_m.S->Gpr[4], 4));
        Assert.Equal(0x5000UL, _m.Read(_m.S->Gpr[4] + 4, 4));
    }

    [Fact]
    public void FaultDuringFaultIsDoubleFault()
    {
        _m.EnterProtected();
        _m.SetIdt(8, SystemMachine.Gate(SystemMachine.Code0, 0x6800, 0xE, 0));
        _m.Raise(13, 0, true); // its gate is absent
        Assert.Equal(0x6800UL, _m.S->Rip);
        Assert.Equal(0UL, _m.Read(_m.S->Gpr[4], 4));
    }

    [Fact]
    public void BenignThenFaultIsNotDouble()
    {
        _m.EnterProtected();
        _m.SetIdt(11, SystemMachine.Gate(SystemMachine.Code0, 0x6B00, 0xE, 0));
        _m.SetIdt(6, SystemMachine.Gate(SystemMachine.Code0, 0x6000, 0xE, 0) & ~(0x80UL << 40));
        _m.Raise(6);
        Assert.Equal(0x6B00UL, _m.S->Rip);
        Assert.Equal((6UL * 8) + 2 + 1, _m.Read(_m.S->Gpr[4], 4)); // IDT and EXT
    }

    [Fact]
    public void TripleFaultShutsDown()
    {
        var told = 0;
        _m.EnterProtected();
        _m.Cpu.TripleFaulted += _ => told++;
        _m.S->Idt.Limit = 0;
        _m.Raise(13, 0, true);
        Assert.Equal(1, told);
        Assert.True(_m.Cpu.IsHalted);
    }

    [Fact]
    public void VirtualModeEntersRing0WithItsSegments()
    {
        EnterVirtual(0);
        _m.SetIdt(13, SystemMachine.Gate(SystemMachine.Code0, 0x6000, 0xE, 0));
        _m.Call(SystemHelpers.InterruptN, 0x21, 0x102);
        Assert.Equal((0x6000UL, 0), (_m.S->Rip, _m.Cpu.Cpl));
        Assert.Equal(SystemMachine.InnerStackTop - 40UL, _m.S->Gpr[4]);
        ulong[] frame = [0, 0x100, 0x1000, Eflags.Vm | Eflags.Rf | 2, 0x7000, 0x2000, 0x4000, 0x3000, 0x5000, 0x6000];
        for (var i = 0; i < frame.Length; i++)
            Assert.Equal(frame[i], _m.Read(_m.S->Gpr[4] + ((ulong)i * 4), 4));
        Assert.Equal(1u, _m.S->Ds.Unusable);
        _m.S->Gpr[4] += 4;
        _m.Call(SystemHelpers.Iret, 4, 0);
        Assert.Equal((3, 0x100UL, 0x10000UL), (_m.Cpu.Cpl, _m.S->Rip, _m.S->CodeBase));
        Assert.Equal(0x60000UL, _m.S->Gs.Base);
        Assert.True(((Mode)_m.S->Mode).HasFlag(Mode.V86));
    }

    [Fact]
    public void VmeRedirectsInterruptsToTheProgram()
    {
        EnterVirtual(0);
        _m.S->Cr4 |= 1;
        _m.Write(SystemMachine.TssBase + 0x66, 2, 0x88); // bitmap at 0x68
        _m.Write(0x21 * 4, 4, 0x12345678);
        _m.Call(SystemHelpers.InterruptN, 0x21, 0x102);
        Assert.Equal(-1, _m.Fault);
        Assert.Equal((0x12340UL, 0x5678UL), (_m.S->CodeBase, _m.S->Rip));
        Assert.Equal(0x3002UL, _m.Read(0x20000 + 0x6FFE, 2)); // IOPL reads as 3, IF as VIF
    }

    [Fact]
    public void VirtualInterruptFlag()
    {
        EnterVirtual(0);
        _m.Call(SystemHelpers.Sti);
        Assert.Equal(13, _m.Fault);
        _m.S->Cr4 |= 1;
        _m.Call(SystemHelpers.Sti);
        Assert.Equal(-1, _m.Fault);
        Assert.Equal((ulong)Eflags.Vif, _m.Cpu.ReadEflags() & (Eflags.Vif | Eflags.If));
        Assert.Equal(0x3202UL, _m.Call(SystemHelpers.PushFlags, 2) & 0xFFFF);
        _m.Call(SystemHelpers.PopFlags, 0x2, 2);
        Assert.Equal(0UL, _m.Cpu.ReadEflags() & Eflags.Vif);
        _m.Cpu.WriteEflags(Eflags.Vip, Eflags.Vip);
        _m.Call(SystemHelpers.PopFlags, 0x202, 2);
        Assert.Equal(13, _m.Fault);
    }

    private void EnterVirtual(uint iopl)
    {
        _m.EnterProtected();
        ulong[] frame = [0x100, 0x1000, Eflags.Vm | (iopl << 12) | 2, 0x7000, 0x2000, 0x4000, 0x3000, 0x5000, 0x6000];
        _m.S->Gpr[4] -= 36;
        for (var i = 0; i < frame.Length; i++)
            _m.Write(_m.S->Gpr[4] + ((ulong)i * 4), 4, frame[i]);
        _m.Call(SystemHelpers.Iret, 4, 0);
        Assert.Equal(0x30000UL, _m.S->Ds.Base);
    }

    [Fact]
    public void LongModeAlignsAndUsesInterruptStacks()
    {
        _m.EnterLong();
        _m.S->Gpr[4] = 0x7FF8;
        _m.S->Rip = 0x4000;
        _m.SetLongGate(13, 0x6000);
        _m.Raise(13, 0x10, true);
        Assert.Equal(0x7FF0UL - 48, _m.S->Gpr[4]);
        ulong[] frame = [0x10, 0x4000, SystemMachine.Code0Bits64, Eflags.Rf | 2, 0x7FF8, SystemMachine.Data0];
        for (var i = 0; i < frame.Length; i++)
            Assert.Equal(frame[i], _m.Read(_m.S->Gpr[4] + ((ulong)i * 8), 8));

        _m.Write(SystemMachine.TssBase + 0x24, 8, 0xA000);
        _m.SetLongGate(2, 0x6200, ist: 1);
        _m.Cpu.Raise(CpuRequest.NonMaskable);
        Assert.True(_m.Cpu.ServicePending());
        Assert.Equal((0x6200UL, 0xA000UL - 40), (_m.S->Rip, _m.S->Gpr[4]));
        Assert.Equal(1u, _m.S->NmiBlocked);
        _m.Call(SystemHelpers.Iret, 8, 0);
        Assert.Equal(-1, _m.Fault);
        Assert.Equal((0x6000UL, 0u), (_m.S->Rip, _m.S->NmiBlocked));
    }

    [Fact]
    public void OneNonMaskableInterruptIsServedAndOneHeld()
    {
        _m.EnterLong();
        _m.S->Gpr[4] = 0x7FF8;
        _m.SetLongGate(2, 0x6200);
        _m.Cpu.Raise(CpuRequest.NonMaskable);
        _m.Cpu.Raise(CpuRequest.NonMaskable);
        for (var i = 0; i < 2; i++)
        {
            Assert.True(_m.Cpu.ServicePending());
            Assert.Equal((0x6200UL, 1u), (_m.S->Rip, _m.S->NmiBlocked));
            // While one is being served, more of them are one.
            if (i == 0)
                _m.Cpu.Raise(CpuRequest.NonMaskable);
            _m.Call(SystemHelpers.Iret, 8, 0);
            Assert.Equal(0u, _m.S->NmiBlocked);
        }

        Assert.False(_m.Cpu.HasRequests);
    }

    [Fact]
    public void LongModeReturnToUserAndBack()
    {
        _m.EnterLong();
        ulong[] frame = [0x5000, SystemMachine.Code3Bits64, 0x202, 0x7000, SystemMachine.Data3];
        _m.S->Gpr[4] = 0x7F00;
        for (var i = 0; i < 5; i++)
            _m.Write(0x7F00 + ((ulong)i * 8), 8, frame[i]);
        _m.Call(SystemHelpers.Iret, 8, 0);
        Assert.Equal((-1, 3, true), (_m.Fault, _m.Cpu.Cpl, _m.Cpu.Code64));
        Assert.Equal(1, ((Mode)_m.S->Mode).MmuIndex());
        _m.SetLongGate(0x60, 0x6000, dpl: 3);
        _m.Call(SystemHelpers.InterruptN, 0x60, 0x5002);
        Assert.Equal((-1, 0, 0, 1u), (_m.Fault, _m.Cpu.Cpl, (int)_m.S->Ss.Selector, _m.S->Ss.Unusable));
        Assert.Equal(SystemMachine.InnerStackTop - 40UL, _m.S->Gpr[4]);
        _m.Call(SystemHelpers.Iret, 8, 0);
        Assert.Equal((-1, 3, 0x7000UL), (_m.Fault, _m.Cpu.Cpl, _m.S->Gpr[4]));
    }

    [Fact]
    public void StiHoldsInterruptsBackForOneInstruction()
    {
        _m.EnterProtected();
        _m.Cpu.Apic = new FakeApic(0x30);
        _m.SetIdt(0x30, SystemMachine.Gate(SystemMachine.Code0, 0x6000, 0xE, 0));
        _m.Cpu.Raise(CpuRequest.Interrupt);
        _m.Cpu.ServicePending();
        Assert.NotEqual(0x6000UL, _m.S->Rip);
        _m.Call(SystemHelpers.Sti);
        Assert.True(((Mode)_m.S->Mode).HasFlag(Mode.InterruptShadow));
        _m.Cpu.ServicePending();
        Assert.NotEqual(0x6000UL, _m.S->Rip);
        Assert.Equal(1u, _m.S->Engine.ExitRequest);
        _m.Call(SystemHelpers.Hlt, 0x4001);
        Assert.True(_m.Cpu.IsHalted);
        Assert.True(_m.Cpu.ServicePending());
        Assert.Equal((0x6000UL, false), (_m.S->Rip, _m.Cpu.IsHalted));
        Assert.Equal(0x4001UL, _m.Read(_m.S->Gpr[4], 4));
    }

    [Fact]
    public void StartUpOfAnApplicationProcessor()
    {
        _m.Cpu.Apic = new FakeApic(0) { BaseMsr = 0xFEE00800 };
        _m.Cpu.Raise(CpuRequest.Reset);
        Assert.False(_m.Cpu.ServicePending());
        _m.Cpu.StartUp(0x9A);
        Assert.True(_m.Cpu.ServicePending());
        Assert.Equal((0x9A000UL, 0UL), (_m.S->CodeBase, _m.S->Rip));
        _m.Cpu.StartUp(0x10);
        _m.Cpu.ServicePending();
        Assert.Equal(0x9A000UL, _m.S->CodeBase);
    }

    [Fact]
    public void SystemManagementModeRoundTrip()
    {
        _m.EnterLong();
        _m.S->SmBase = 0x30000;
        _m.S->Gpr[15] = 0x1122334455667788;
        _m.S->Rip = 0x4321;
        _m.Cpu.Raise(CpuRequest.SystemManagement);
        _m.Cpu.ServicePending();
        Assert.Equal((0x8000UL, 0x30000UL, 0x3000), (_m.S->Rip, _m.S->CodeBase, (int)_m.S->Cs.Selector));
        Assert.Equal(0UL, _m.S->Cr0 & 0x80000001);
        Assert.Equal(0x00020064UL, _m.Read(0x3FEFC, 4));
        Assert.Equal(0x30000UL, _m.Read(0x3FF00, 4));
        _m.Write(0x3FF00, 4, 0xA0000);
        _m.Call(SystemHelpers.Rsm);
        Assert.Equal((-1, 0xA0000UL, 0x4321UL), (_m.Fault, _m.S->SmBase, _m.S->Rip));
        Assert.True(_m.Cpu.Code64);
        Assert.Equal(0x1122334455667788UL, _m.S->Gpr[15]);
        _m.Call(SystemHelpers.Rsm);
        Assert.Equal(6, _m.Fault);
    }

    /// <summary>The resume flag of an IRET that is long past does not hide the first hit of a new breakpoint.</summary>
    [Fact]
    public void NewBreakpointsIgnoreAnOldResumeFlag()
    {
        _m.EnterProtected();
        _m.Cpu.WriteEflags(Eflags.Rf, Eflags.Rf);
        _m.Call(SystemHelpers.WriteDebug, 2, 0x4010);
        _m.Call(SystemHelpers.WriteDebug, 7, 0x20);
        _m.S->Rip = 0x4010;
        _m.Call(SystemHelpers.CodeBreakpoint);
        Assert.Equal((1, 4UL), (_m.Fault, _m.S->Dr[6] & 0xF));
    }

    [Theory]
    [InlineData("max", 1)]
    [InlineData("max,vendor=GenuineIntel", -1)]
    public void InstructionBreakpointsBehindMovSs(string model, int fault)
    {
        using var m = new SystemMachine(model);
        m.EnterProtected();
        m.Call(SystemHelpers.WriteDebug, 0, 0x4010);
        m.Call(SystemHelpers.WriteDebug, 7, 2);
        m.S->Shadow = 2;
        m.S->Rip = 0x4010;
        m.Call(SystemHelpers.CodeBreakpoint);
        Assert.Equal(fault, m.Fault);
    }

    [Fact]
    public void SingleStepAndBreakpoints()
    {
        _m.EnterProtected();
        _m.SetIdt(1, SystemMachine.Gate(SystemMachine.Code0, 0x6000, 0xE, 0));
        _m.Call(SystemHelpers.StepTrap, 0x4002, 1);
        Assert.Equal((1, 0x4002UL), (_m.Fault, _m.S->Rip));
        Assert.NotEqual(0UL, _m.S->Dr[6] & 0x4000);

        _m.Call(SystemHelpers.WriteDebug, 1, 0x4010);
        _m.Call(SystemHelpers.WriteDebug, 7, 0x8);
        Assert.True(((Mode)_m.S->Mode).HasFlag(Mode.CodeBreakpoints));
        _m.S->Rip = 0x4010;
        _m.Call(SystemHelpers.CodeBreakpoint);
        Assert.Equal((1, 2UL), (_m.Fault, _m.S->Dr[6] & 0xF));
        _m.Cpu.WriteEflags(Eflags.Rf, Eflags.Rf);
        _m.Call(SystemHelpers.CodeBreakpoint);
        Assert.Equal((-1, 0UL), (_m.Fault, _m.Cpu.ReadEflags() & Eflags.Rf));

        _m.Call(SystemHelpers.WriteDebug, 7, 0x00D0_0008); // DR1: four bytes, write
        Assert.True(((Mode)_m.S->Mode).HasFlag(Mode.DataBreakpoints));
        Assert.True(_m.Cpu.IsPageWatched(0x4FFF));
        _m.Cpu.NoteDataAccess(0x400F, 1, AccessKind.Write);
        _m.Call(SystemHelpers.StepTrap, 0x4014, 0);
        Assert.Equal(-1, _m.Fault);
        _m.Cpu.NoteDataAccess(0x4012, 1, AccessKind.Write);
        _m.Call(SystemHelpers.StepTrap, 0x4014, 0);
        Assert.Equal((1, 2UL), (_m.Fault, _m.S->Dr[6] & 0xF));

        _m.Call(SystemHelpers.WriteDebug, 7, 0x2000);
        _m.Call(SystemHelpers.ReadDebug, 6);
        Assert.Equal(1, _m.Fault);
        Assert.NotEqual(0UL, _m.S->Dr[6] & 0x2000);
    }
}

internal sealed class FakeApic(int vector) : ILocalApic
{
    public byte Cr8 { get; set; }
    public ulong BaseMsr { get; set; } = 0xFEE00900;
    public ulong TscDeadline { get; set; }

    public int Acknowledge() => vector;

    public bool TrySetBaseMsr(ulong value)
    {
        BaseMsr = value;
        return true;
    }

    public bool TryReadMsr(uint index, out ulong value)
    {
        value = 0;
        return false;
    }

    public bool TryWriteMsr(uint index, ulong value) => false;

    public void Reset(bool init)
    {
    }
}
