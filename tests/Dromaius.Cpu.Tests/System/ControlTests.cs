using Dromaius.Cpu.X86;

namespace Dromaius.Cpu.Tests.SystemTests;

public sealed unsafe class ControlTests : IDisposable
{
    private readonly SystemMachine _m = new();

    public void Dispose() => _m.Dispose();

    [Theory]
    [InlineData(0, 0x80000010UL)] // PG without PE
    [InlineData(0, 0x20000011UL)] // NW without CD
    [InlineData(0, 0x100000011UL)]
    [InlineData(4, 0x2000UL)] // VMXE
    [InlineData(4, 0x20000UL)] // PCIDE outside long mode
    [InlineData(8, 16UL)]
    public void RefusedValues(int register, ulong value)
    {
        _m.EnterProtected();
        _m.Call(SystemHelpers.WriteControl, (ulong)register, value);
        Assert.Equal((13, 0u), (_m.Fault, _m.Error));
    }

    [Fact]
    public void LongModeNeedsPae()
    {
        _m.EnterProtected();
        _m.WriteMsr(0xC0000080, 0x100);
        _m.Call(SystemHelpers.WriteControl, 0, 0x80000011);
        Assert.Equal(13, _m.Fault);
    }

    [Fact]
    public void LongModeRestrictions()
    {
        _m.EnterLong();
        Assert.Equal(0xD01UL, _m.ReadMsr(0xC0000080));
        _m.Call(SystemHelpers.WriteControl, 4, 0);
        Assert.Equal(13, _m.Fault);
        _m.Call(SystemHelpers.WriteControl, 0, 0x11);
        Assert.Equal(13, _m.Fault);
        _m.WriteMsr(0xC0000080, 0x801);
        Assert.Equal(13, _m.Fault);
        _m.Call(SystemHelpers.WriteControl, 3, 1UL << 52);
        Assert.Equal(13, _m.Fault);
        _m.Call(SystemHelpers.WriteControl, 4, 0x20020);
        Assert.Equal(-1, _m.Fault);
        _m.Call(SystemHelpers.WriteControl, 3, SystemMachine.PageTables | 5 | (1UL << 63));
        Assert.Equal((-1, SystemMachine.PageTables | 5UL), (_m.Fault, _m.S->Cr3));
    }

    [Theory]
    [InlineData(0x174u, 0x10UL)]
    [InlineData(0x175u, 0xFFFF800000001234UL)]
    [InlineData(0x176u, 0x1234UL)]
    [InlineData(0x277u, 0x0007040600010506UL)]
    [InlineData(0x2FFu, 0xC06UL)]
    [InlineData(0x200u, 0x80000006UL)]
    [InlineData(0xC0000082u, 0xFFFFFFFF81000000UL)]
    [InlineData(0xC0000100u, 0x00007FFFFFFFFFFFUL)]
    [InlineData(0xC0000103u, 5UL)]
    [InlineData(0x1A0u, 0x400C51889UL)]
    [InlineData(0x400u, ulong.MaxValue)]
    [InlineData(0x410u, 0xFFFFFFFFFFFFFBFFUL)]
    [InlineData(0x402u, ulong.MaxValue)]
    public void MsrRoundTrips(uint index, ulong value)
    {
        _m.EnterProtected();
        _m.WriteMsr(index, value);
        Assert.Equal(-1, _m.Fault);
        Assert.Equal(value, _m.ReadMsr(index));
    }

    [Theory]
    [InlineData(0xC0000082u, 0x0000800000000000UL)]
    [InlineData(0x175u, 0x8000000000000000UL)]
    [InlineData(0x277u, 0x02UL)]
    [InlineData(0xC0000080u, 0x2UL)]
    [InlineData(0x401u, 1UL)]
    [InlineData(0x830u, 0UL)]
    public void RefusedMsrs(uint index, ulong value)
    {
        _m.EnterProtected();
        _m.WriteMsr(index, value);
        Assert.Equal((13, 0u), (_m.Fault, _m.Error));
    }

    /// <summary>Drivers of DOS turn shadow memory on by bits that only AMD's processors have beside a fixed range's type.</summary>
    [Theory]
    [InlineData("qemu64", 0x1818181805050505UL, -1)]
    [InlineData("qemu64", 0x1818181803050505UL, 13)]
    [InlineData("Haswell", 0x1818181805050505UL, 13)]
    [InlineData("Haswell", 0x0600010406000104UL, -1)]
    public void FixedRangesTakeTheirMakersBits(string model, ulong value, int fault)
    {
        using var machine = new SystemMachine(model);
        machine.EnterProtected();
        machine.WriteMsr(0x269, value);
        Assert.Equal(fault, machine.Fault);
        if (fault < 0)
            Assert.Equal(value, machine.ReadMsr(0x269));
    }

    /// <summary>Systems that read the inner registers of real processors do not expect #GP.</summary>
    [Theory]
    [InlineData(0x12345u)]
    [InlineData(0xCDu)]
    public void UnknownMsrsTakeNothing(uint index)
    {
        _m.EnterProtected();
        _m.WriteMsr(index, 7);
        Assert.Equal(-1, _m.Fault);
        Assert.Equal(0UL, _m.ReadMsr(index));
    }

    [Fact]
    public void TimeStampCounter()
    {
        _m.Clock.Advance(1000);
        Assert.Equal(1000UL, _m.Cpu.Tsc);
        _m.WriteMsr(0x10, 5);
        Assert.Equal(5UL, _m.Cpu.Tsc);
        Assert.Equal(unchecked((ulong)-995), _m.ReadMsr(0x3B));
        _m.WriteMsr(0x3B, 0);
        Assert.Equal(1000UL, _m.Cpu.Tsc);
        Assert.Equal(1500, _m.Cpu.TscToNanoseconds(1500));
        _m.EnterUser();
        _m.S->Cr4 |= 4;
        _m.Call(SystemHelpers.Rdtsc);
        Assert.Equal(13, _m.Fault);
    }

    [Fact]
    public void ExtendedControlRegister()
    {
        _m.EnterProtected();
        _m.S->Gpr[1] = 0;
        _m.S->Gpr[0] = 7;
        _m.S->Gpr[2] = 0;
        _m.Call(SystemHelpers.Xsetbv);
        Assert.Equal(6, _m.Fault);
        _m.Call(SystemHelpers.WriteControl, 4, 0x40000);
        _m.Call(SystemHelpers.Xsetbv);
        Assert.Equal((-1, 7UL), (_m.Fault, _m.S->Xcr0));
        Assert.True(((Mode)_m.S->Mode).HasFlag(Mode.Avx | Mode.OsXsave));
        _m.S->Gpr[0] = 5;
        _m.Call(SystemHelpers.Xsetbv);
        Assert.Equal(13, _m.Fault);
    }

    [Fact]
    public void DebugRegisterAliases()
    {
        _m.EnterProtected();
        _m.Call(SystemHelpers.WriteDebug, 5, 0);
        Assert.Equal(0x400UL, _m.Call(SystemHelpers.ReadDebug, 7));
        Assert.Equal(0xFFFF0FF0UL, _m.Call(SystemHelpers.ReadDebug, 4));
        _m.S->Cr4 |= 8;
        _m.Call(SystemHelpers.ReadDebug, 4);
        Assert.Equal(6, _m.Fault);
    }

    [Fact]
    public void LmswSetsButDoesNotClearPe()
    {
        _m.EnterProtected();
        _m.Call(SystemHelpers.Lmsw, 8);
        Assert.Equal(0x19UL, _m.S->Cr0 & 0x1F);
        _m.Call(SystemHelpers.Clts);
        Assert.Equal(0x11UL, _m.Call(SystemHelpers.Smsw) & 0xFFFF);
    }

    [Fact]
    public void Dump()
    {
        _m.EnterLong();
        var text = new StringWriter();
        _m.Cpu.DumpState(text, true);
        Assert.Contains("CS =0028 0000000000000000 ffffffff 00af9b00 DPL=0 CS64 [-RA]", text.ToString());
        Assert.Contains("CPL=0 II=0 A20=1 SMM=0 HLT=0", text.ToString());
    }
}

public sealed class ModelTests
{
    public static TheoryData<string> Names() => new(X86Model.Names);

    [Theory]
    [MemberData(nameof(Names))]
    public void EveryModelAnswers(string name)
    {
        using var m = new SystemMachine(name);
        var (level, _, _, _) = m.Cpu.QueryCpuid(0, 0);
        for (var leaf = 0u; leaf <= level; leaf++)
            m.Cpu.QueryCpuid(leaf, 0);
        var (extended, _, _, _) = m.Cpu.QueryCpuid(0x80000000, 0);
        for (var leaf = 0x80000000; leaf <= extended && extended >= leaf; leaf++)
            m.Cpu.QueryCpuid(leaf, 0);
        Assert.Empty(m.Cpu.Model.Warnings);
        Assert.Equal(name, m.Cpu.Model.Name);
    }

    [Theory]
    [InlineData("Opteron_G1,vendor=AuthenticAMD", "Opteron_G1")]
    [InlineData("Icelake-Server-v6", "Icelake-Server")]
    [InlineData("Skylake-Server-noTSX-IBRS", "Skylake-Server")]
    [InlineData("Haswell-noTSX-IBRS", "Haswell-noTSX")]
    [InlineData("EPYC,hv_relaxed,hv-spinlocks=0x1fff,migratable=no", "EPYC")]
    [InlineData("EPYC-IBPB", "EPYC")]
    public void OtherNamesOfModels(string option, string name)
    {
        var model = X86Model.Parse(option, out var error);
        Assert.Null(error);
        Assert.Equal(name, model!.Name);
        Assert.Null(X86Model.Parse(option + ",hv-relxed", out error));
        Assert.Contains("hv-relxed", error);
    }

    [Fact]
    public void FeatureArithmetic()
    {
        var model = X86Model.Parse("Haswell,-avx2,+sha-ni,sse4_1=off,xsave,model-id=Test CPU,family=6", out var error);
        Assert.Null(error);
        Assert.NotNull(model);
        Assert.False(model.Has(X86Feature.Avx2));
        Assert.True(model.Has(X86Feature.ShaNi));
        Assert.False(model.Has(X86Feature.Sse41));
        Assert.True(model.Has(X86Feature.Avx));
        Assert.Equal("Test CPU", model.Brand);
    }

    [Theory]
    [InlineData("Haswel", "unable to find CPU model 'Haswel' (did you mean 'Haswell'")]
    [InlineData("max,+avx3", "Property 'max-x86_64-cpu.avx3' not found (did you mean 'avx'")]
    [InlineData("max,family=x", "Parameter 'family' expects a number")]
    [InlineData("host", "CPU model 'host' requires KVM or HVF")]
    public void Errors(string option, string expected)
    {
        Assert.Null(X86Model.Parse(option, out var error));
        Assert.StartsWith(expected, error);
    }

    [Fact]
    public void UnsupportedFeaturesWarn()
    {
        var model = X86Model.Parse("max,+avx512f", out _)!;
        Assert.Equal("TCG doesn't support requested feature: CPUID.07H:EBX.avx512f [bit 16]", Assert.Single(model.Warnings));
        Assert.False(model.Has(X86Feature.Avx512F));
    }

    [Fact]
    public void WideVectorsGoWithAllThatStandsUponThem()
    {
        var model = X86Model.Find("Haswell")!;
        model.DropWideVectors();
        Assert.Single(model.Warnings);
        Assert.DoesNotContain(new[] { X86Feature.Avx, X86Feature.Avx2, X86Feature.Fma, X86Feature.F16c }, model.Has);
        Assert.True(model.Has(X86Feature.Sse42));
        Assert.Equal(3u, model.XsaveMask);
        var none = X86Model.Find("qemu64")!;
        none.DropWideVectors();
        Assert.Empty(none.Warnings);
    }

    [Fact]
    public unsafe void Leaves()
    {
        using var m = new SystemMachine("max");
        m.Cpu.Model.Cores = 2;
        m.Cpu.Model.Threads = 2;
        m.Cpu.ApicId = 3;
        var (eax, ebx, ecx, edx) = m.Cpu.QueryCpuid(1, 0);
        Assert.Equal(m.Cpu.Model.Signature, eax);
        Assert.Equal(0x03040800u, ebx);
        Assert.Equal(0u, ecx & (1 << 27));
        Assert.NotEqual(0u, edx & (1 << 28));
        m.Cpu.State->Cr4 |= 0x40000;
        Assert.NotEqual(0u, m.Cpu.QueryCpuid(1, 0).Ecx & (1 << 27));
        Assert.Equal((1u, 2u, 0x100u, 3u), m.Cpu.QueryCpuid(0xB, 0));
        Assert.Equal((2u, 4u, 0x201u, 3u), m.Cpu.QueryCpuid(0xB, 1));
        Assert.Equal((0x207u, 576u, 2696u, 0u), m.Cpu.QueryCpuid(0xD, 0));
        Assert.Equal((8u, 2688u, 0u, 0u), m.Cpu.QueryCpuid(0xD, 9));
        m.Cpu.State->Xcr0 = 0x207;
        Assert.Equal(840u, m.Cpu.QueryCpuid(0xD, 1).Ebx);
        Assert.Equal(0x3028u, m.Cpu.QueryCpuid(0x80000008, 0).Eax);
        Assert.Equal(0x6D6F7244u, m.Cpu.QueryCpuid(0x40000000, 0).Ebx);
    }

    [Fact]
    public void HelpListsModelsAndFlags()
    {
        var help = X86Model.Help();
        Assert.StartsWith("Available CPUs:\n", help);
        Assert.Contains("\nx86 qemu64                QEMU Virtual CPU version 2.5+\n", help);
        Assert.Contains("\nRecognized CPUID flags:\n", help);
    }
}
