using Dromaius.Cpu.Tests.Translate;
using Dromaius.Cpu.X86;

namespace Dromaius.Cpu.Tests.Fpu;

/// <summary>When x87 and vector instructions raise #UD, #NM, #MF, #XM, #GP and the FERR# signal.</summary>
public sealed unsafe class FpuProgramTests : IDisposable
{
    private const uint Start = 0x4000, Data = 0x6000;
    private const ulong Cr0Ne = 0x20, Cr0Ts = 8, Cr0Em = 4, Cr0Mp = 2;
    private const ulong Cr4OsFxsr = 0x200, Cr4OsXmmExcpt = 0x400, Cr4OsXsave = 0x40000;
    private readonly ProgramMachine _machine = new();

    public FpuProgramTests()
    {
        _machine.System.EnterProtected();
        FpuState.Initialize(_machine.S);
        for (var vector = 0; vector < 32; vector++)
            _machine.System.SetIdt(vector, SystemTests.SystemMachine.Gate(SystemTests.SystemMachine.Code0, 0x5000, 14, 0));
    }

    public void Dispose() => _machine.Dispose();

    [Theory]
    [InlineData(Cr0Ts, new byte[] { 0xD9, 0xE8 }, 7)]
    [InlineData(Cr0Em, new byte[] { 0xD9, 0xE8 }, 7)]
    [InlineData(Cr0Ts | Cr0Mp, new byte[] { 0x9B }, 7)]
    [InlineData(Cr0Ts, new byte[] { 0x9B }, -1)]
    [InlineData(Cr0Em, new byte[] { 0x9B }, -1)]
    [InlineData(Cr0Ts, new byte[] { 0x0F, 0x58, 0xC1 }, 7)]
    [InlineData(Cr0Em, new byte[] { 0x0F, 0x58, 0xC1 }, 6)]
    [InlineData(Cr0Em, new byte[] { 0x0F, 0x77 }, 6)]
    [InlineData(Cr0Ts, new byte[] { 0x0F, 0xFC, 0xC1 }, 7)]
    [InlineData(Cr0Em, new byte[] { 0x0F, 0xAE, 0x05, 0x00, 0x60, 0x00, 0x00 }, 7)]
    [InlineData(0, new byte[] { 0xC5, 0xF8, 0x77 }, 6)]
    [InlineData(0, new byte[] { 0x0F, 0x01, 0xD0 }, 6)]
    [InlineData(0, new byte[] { 0xDB, 0xE4 }, -1)]
    public void ControlRegistersDecide(ulong cr0, byte[] code, int vector)
    {
        Configure(cr0, Cr4OsFxsr);
        Assert.Equal(vector, RunOne(code));
    }

    [Theory]
    [InlineData(new byte[] { 0x0F, 0x58, 0xC1 }, 6)] // addps xmm0, xmm1
    [InlineData(new byte[] { 0x0F, 0xFC, 0xC1 }, -1)] // paddb mm0, mm1
    [InlineData(new byte[] { 0xF3, 0x0F, 0xD6, 0xC1 }, 6)] // movq2dq xmm0, mm1
    public void SseNeedsOsFxsr(byte[] code, int vector)
    {
        Configure(0, 0);
        Assert.Equal(vector, RunOne(code));
    }

    [Theory]
    [InlineData(new byte[] { 0x0F, 0x28, 0x05, 0x08, 0x60, 0x00, 0x00 }, 13)] // movaps
    [InlineData(new byte[] { 0x0F, 0x10, 0x05, 0x08, 0x60, 0x00, 0x00 }, -1)] // movups
    [InlineData(new byte[] { 0x0F, 0x58, 0x05, 0x08, 0x60, 0x00, 0x00 }, 13)] // addps
    [InlineData(new byte[] { 0xF3, 0x0F, 0x58, 0x05, 0x09, 0x60, 0x00, 0x00 }, -1)] // addss
    [InlineData(new byte[] { 0x0F, 0xAE, 0x05, 0x08, 0x60, 0x00, 0x00 }, 13)] // fxsave
    public void MisalignedOperandsFault(byte[] code, int vector)
    {
        Configure(0, Cr4OsFxsr);
        Assert.Equal(vector, RunOne(code));
    }

    [Fact]
    public void PendingExceptionsWaitForTheNextInstruction()
    {
        Configure(Cr0Ne, Cr4OsFxsr);
        _machine.System.Write(Data, 2, 0x37B);
        // fldcw [Data]; fld1; fldz; fdivp; nop; fld1
        Run([0xD9, 0x2D, 0x00, 0x60, 0x00, 0x00, 0xD9, 0xE8, 0xD9, 0xEE, 0xDE, 0xF9, 0x90, 0xD9, 0xE8]);
        var exception = Assert.Single(_machine.Exceptions);
        Assert.Equal(16, exception.Vector);
        Assert.Equal(Start + 13, exception.Rip);
        Assert.Equal(Start + 10, _machine.S->FpIp);
        Assert.Equal(0x80, _machine.S->FpStatus & 0x80);
    }

    [Fact]
    public void WithoutNeTheSignalIsRaised()
    {
        Configure(0, Cr4OsFxsr);
        var signals = 0;
        _machine.System.Cpu.FpuError += () => signals++;
        _machine.System.Write(Data, 2, 0x37B);
        Run([0xD9, 0x2D, 0x00, 0x60, 0x00, 0x00, 0xD9, 0xE8, 0xD9, 0xEE, 0xDE, 0xF9, 0x90, 0xD9, 0xE8]);
        Assert.Empty(_machine.Exceptions);
        Assert.Equal(1, signals);
    }

    [Theory]
    [InlineData(Cr4OsFxsr | Cr4OsXmmExcpt, 19)]
    [InlineData(Cr4OsFxsr, 6)]
    public void UnmaskedSimdExceptionsFault(ulong cr4, int vector)
    {
        Configure(0, cr4);
        _machine.System.Write(Data, 4, 0x1D80);
        _machine.S->Ymm[0] = 0x3F8000003F800000;
        // ldmxcsr [Data]; divps xmm0, xmm1 with xmm1 zero
        Run([0x0F, 0xAE, 0x15, 0x00, 0x60, 0x00, 0x00, 0x0F, 0x5E, 0xC1]);
        Assert.Equal((vector, Start + 7ul), (_machine.Exceptions[0].Vector, _machine.Exceptions[0].Rip));
        Assert.Equal(0x3F8000003F800000ul, _machine.S->Ymm[0]);
        // 0/0 of the upper lanes is masked and was found as well.
        Assert.Equal(5u, _machine.S->Mxcsr & 0x3F);
    }

    [Fact]
    public void LdmxcsrRefusesReservedBits()
    {
        Configure(0, Cr4OsFxsr);
        _machine.System.Write(Data, 4, 0x11F80);
        Assert.Equal(13, RunOne([0x0F, 0xAE, 0x15, 0x00, 0x60, 0x00, 0x00]));
        Assert.Equal(0x1F80u, _machine.S->Mxcsr);
    }

    [Fact]
    public void VexClearsAndLegacyKeepsTheUpperHalf()
    {
        Configure(0, Cr4OsFxsr | Cr4OsXsave);
        _machine.S->Xcr0 = 7;
        _machine.System.Cpu.UpdateMode();
        _machine.S->Ymm[2] = _machine.S->Ymm[6] = 0x1234;
        // addps xmm0, xmm2; vaddps xmm1, xmm1, xmm2
        Run([0x0F, 0x58, 0xC2, 0xC5, 0xF0, 0x58, 0xCA]);
        Assert.Empty(_machine.Exceptions);
        Assert.Equal(0x1234ul, _machine.S->Ymm[2]);
        Assert.Equal(0ul, _machine.S->Ymm[6]);
    }

    private void Configure(ulong cr0, ulong cr4)
    {
        _machine.S->Cr0 = _machine.S->Cr0 & ~(Cr0Ne | Cr0Ts | Cr0Em | Cr0Mp) | cr0;
        _machine.S->Cr4 = cr4;
        _machine.S->Mxcsr = 0x1F80;
        _machine.System.Cpu.UpdateMode();
    }

    private int RunOne(byte[] code)
    {
        Run(code);
        return _machine.Exceptions.Count == 0 ? -1 : _machine.Exceptions[0].Vector;
    }

    /// <summary>Runs the code; faults stop at a HLT.</summary>
    private void Run(byte[] code)
    {
        _machine.Load(Start, [.. code, 0xF4]);
        _machine.Load(0x5000, [0xF4]);
        _machine.S->Rip = Start;
        _machine.Run(ulong.MaxValue);
    }
}
