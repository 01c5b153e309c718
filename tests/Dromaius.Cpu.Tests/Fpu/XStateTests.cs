using System.Runtime.Intrinsics.X86;
using Dromaius.Core.Memory;
using Dromaius.Cpu.Tests.SystemTests;
using Dromaius.Cpu.X86;

namespace Dromaius.Cpu.Tests.Fpu;

/// <summary>FXSAVE, XSAVE and FSAVE images: taken by the host from ours, and back.</summary>
public sealed unsafe class XStateTests : IDisposable
{
    private const uint Area = 0x6000;
    private const int AreaSize = 832;
    private readonly SystemMachine _machine = new();
    private readonly Random _random = new(20240731);

    public XStateTests()
    {
        _machine.EnterProtected();
        _machine.S->Xcr0 = 7;
    }

    public void Dispose() => _machine.Dispose();

    private X86State* S => _machine.S;

    [Fact]
    public void FxSaveMatchesTheHost()
    {
        // fxrstor64 [rdi]; fxsave64 [rsi]; fninit; ret
        var code = Compile([0x48, 0x0F, 0xAE, 0x0F, 0x48, 0x0F, 0xAE, 0x06]);
        for (var i = 0; i < 200; i++)
        {
            Randomize();
            _machine.Call(FpuHelpers.ExtendedState, Area, (ulong)FpuMemory.FxSave, 1);
            Compare(code, 416);
            RoundTrip(FpuMemory.FxSave, FpuMemory.FxRestore);
        }
    }

    [Theory]
    [InlineData(FpuMemory.XSave)]
    [InlineData(FpuMemory.XSaveOptimized)]
    [InlineData(FpuMemory.XSaveCompacted)]
    internal void XSaveMatchesTheHost(FpuMemory save)
    {
        if (!Avx.IsSupported)
            return;
        // mov eax, 7; xor edx, edx; xrstor64 [rdi]; then the same save to [rsi]
        byte[] prefix = [0xB8, 7, 0, 0, 0, 0x31, 0xD2, 0x48, 0x0F, 0xAE, 0x2F];
        byte[] store = save switch
        {
            FpuMemory.XSave => [0x48, 0x0F, 0xAE, 0x26],
            FpuMemory.XSaveOptimized => [0x48, 0x0F, 0xAE, 0x36],
            _ => [0x48, 0x0F, 0xC7, 0x26],
        };
        var code = Compile([.. prefix, .. store]);
        for (var i = 0; i < 200; i++)
        {
            Randomize();
            for (var at = 0; at < AreaSize; at += 8)
                _machine.Write(Area + (ulong)at, 8, 0);
            _machine.Call(FpuHelpers.ExtendedState, Area, (ulong)save, 1, 7);
            Compare(code, AreaSize);
            RoundTrip(save, FpuMemory.XRestore);
        }
    }

    [Theory]
    [InlineData(FpuMemory.XSave, 2688)]
    [InlineData(FpuMemory.XSaveCompacted, 832)]
    internal void ProtectionKeysAreSaved(FpuMemory save, int offset)
    {
        S->Xcr0 = 0x207;
        S->Pkru = 0x55555554;
        _machine.Call(FpuHelpers.ExtendedState, Area, (ulong)save, 1, 0x207);
        Assert.Equal((-1, 0x55555554UL), (_machine.Fault, _machine.Read(Area + (ulong)offset, 4)));
        S->Pkru = 0;
        _machine.Call(FpuHelpers.ExtendedState, Area, (ulong)FpuMemory.XRestore, 1, 0x207);
        Assert.Equal((-1, 0x55555554UL), (_machine.Fault, S->Pkru));
        _machine.Write(Area + 512, 8, 0);
        _machine.Call(FpuHelpers.ExtendedState, Area, (ulong)FpuMemory.XRestore, 1, 0x200);
        Assert.Equal((-1, 0UL), (_machine.Fault, S->Pkru));
    }

    [Theory]
    [InlineData(512, 8ul)] // a component that XCR0 has not
    [InlineData(520, 1ul)] // the standard form has no XCOMP_BV
    [InlineData(528, 1ul)]
    [InlineData(520, 0x8000000000000008)]
    [InlineData(24, 0x10000ul)] // MXCSR
    public void XRestoreChecksTheHeader(int offset, ulong value)
    {
        Randomize();
        _machine.Call(FpuHelpers.ExtendedState, Area, (ulong)FpuMemory.XSave, 1, 7);
        _machine.Write(Area + (ulong)offset, 8, value);
        _machine.Call(FpuHelpers.ExtendedState, Area, (ulong)FpuMemory.XRestore, 1, 7);
        Assert.Equal(13, _machine.Fault);
    }

    [Fact]
    public void XRestoreInitializesWhatIsAbsent()
    {
        Randomize();
        _machine.Call(FpuHelpers.ExtendedState, Area, (ulong)FpuMemory.XSave, 1, 7);
        _machine.Write(Area + 512, 8, 0);
        _machine.Call(FpuHelpers.ExtendedState, Area, (ulong)FpuMemory.XRestore, 1, 7);
        Assert.Equal(0ul, XState.InUse(S) & (XState.X87 | XState.Avx));
        Assert.Equal(0ul, S->Ymm[0] | S->Ymm[63]);
    }

    [Theory]
    [InlineData(false, false)]
    [InlineData(true, false)]
    [InlineData(false, true)]
    [InlineData(true, true)]
    public void EnvironmentsRoundTrip(bool isProtected, bool wide)
    {
        Randomize();
        S->FpIp = 0x1234;
        S->FpCodeSelector = isProtected ? (ushort)0x18 : (ushort)0xF000;
        S->FpDp = 0x5678;
        S->FpDataSelector = isProtected ? (ushort)0x20 : (ushort)0x2000;
        var before = Image();
        var format = (isProtected ? 1ul : 0) | (wide ? 2ul : 0);
        _machine.Call(FpuHelpers.Environment, Area, (ulong)FpuMemory.Save, format);
        Assert.Equal(FpuState.InitialControl, S->FpControl);
        Assert.Equal(0xFF, S->FpEmpty);
        if (!isProtected && !wide)
        {
            Assert.Equal(0x1234ul, _machine.Read(Area + 6, 2));
            Assert.Equal(0xF000ul, _machine.Read(Area + 8, 2) & 0xF000);
        }

        _machine.Call(FpuHelpers.Environment, Area, (ulong)FpuMemory.Restore, format);
        Assert.Equal(-1, _machine.Fault);
        Assert.Equal(before, Image());
        var linear = isProtected ? 0x1234ul : 0xF1234;
        Assert.Equal(linear, S->FpIp);
    }

    private void Randomize()
    {
        // 64-bit code saves 16 registers. Restoring derives the mode anew.
        S->Mode |= (uint)Mode.Code64;
        FpuState.Initialize(S);
        S->FpControl = (ushort)(0x40 | _random.Next(4) << 10 | 3 << 8 | 0x3F);
        S->FpTop = (uint)_random.Next(8);
        S->FpStatus = (ushort)(_random.Next(64) | _random.Next(8) << 8);
        S->FpEmpty = (byte)_random.Next(256);
        for (var i = 0; i < 8; i++)
            *FpuState.Register(S, i) = Float80Operands.Next(_random);
        S->Mxcsr = 0x1F80 | (uint)_random.Next(64) | (uint)_random.Next(4) << 13;
        var clear = _random.Next(4);
        for (var i = 0; i < 64; i++)
            S->Ymm[i] = (i & 2) != 0 && clear == 0 || (i & 2) == 0 && clear == 1 ? 0 : (ulong)_random.NextInt64();
        if (clear == 1 && _random.Next(2) == 0)
            S->Mxcsr = XState.InitialMxcsr;
        if (_random.Next(4) == 0)
        {
            FpuState.Initialize(S);
            new Span<ulong>(S->FpRegs, 16).Clear();
        }
    }

    private byte[] Image()
    {
        var image = new byte[FpuImage.Size];
        fixed (byte* p = image)
            FpuImage.Write(p, S);
        return image;
    }

    /// <summary>What the restore brings back is what was saved.</summary>
    private void RoundTrip(FpuMemory save, FpuMemory restore)
    {
        _machine.Call(FpuHelpers.ExtendedState, Area, (ulong)save, 1, 7);
        var registers = Image();
        var mxcsr = S->Mxcsr;
        var vectors = new Span<ulong>(S->Ymm, 64).ToArray();
        var upper = restore == FpuMemory.FxRestore ? new Span<ulong>(S->Ymm, 64).ToArray() : null;
        for (var i = 0; i < 64; i++)
            S->Ymm[i] = upper != null && (i & 2) != 0 ? S->Ymm[i] : 0x55;
        FpuState.Initialize(S);
        S->Mxcsr = 0x1FBF;
        _machine.Call(FpuHelpers.ExtendedState, Area, (ulong)restore, 1, 7);
        Assert.Equal(-1, _machine.Fault);
        Assert.Equal(registers, Image());
        Assert.Equal(mxcsr, S->Mxcsr);
        Assert.Equal(vectors, new Span<ulong>(S->Ymm, 64).ToArray());
    }

    /// <summary>The host restores our image and saves it again.</summary>
    private void Compare(delegate* unmanaged<byte*, byte*, void> code, int size)
    {
        var memory = (byte*)System.Runtime.InteropServices.NativeMemory.AlignedAlloc(2 * 1024, 64);
        byte* input = memory, output = memory + 1024;
        new Span<byte>(memory, 2048).Clear();
        for (var i = 0; i < size; i += 8)
            *(ulong*)(input + i) = _machine.Read(Area + (ulong)i, 8);
        code(input, output);
        for (var i = 0; i < size; i += 8)
        {
            // MXCSR_MASK is the host's own; the last pointers are not kept by all processors. Whether MXCSR alone puts the state of
            // SSE in use is the maker's choice.
            if (i is 8 or 16)
                continue;
            var mask = i switch
            {
                24 => 0xFFFFFFFFul,
                512 when XmmIsClear() => ~XState.Sse,
                _ => ulong.MaxValue,
            };
            Assert.True((*(ulong*)(input + i) & mask) == (*(ulong*)(output + i) & mask),
                $"offset {i}: host {*(ulong*)(output + i):X16} ours {*(ulong*)(input + i):X16}");
        }

        System.Runtime.InteropServices.NativeMemory.AlignedFree(memory);
    }

    private bool XmmIsClear()
    {
        var used = 0ul;
        for (var i = 0; i < 64; i++)
            used |= (i & 2) == 0 ? S->Ymm[i] : 0;
        return used == 0;
    }

    /// <summary>Code between saving and restoring MXCSR and the vector registers' upper halves.</summary>
    private static delegate* unmanaged<byte*, byte*, void> Compile(ReadOnlySpan<byte> body)
    {
        if (!NativeMemory.TryMapDual(4096, out var writable, out var executable))
            throw new InvalidOperationException("no executable memory");
        // sub rsp, 8; stmxcsr [rsp]; body; fninit; ldmxcsr [rsp]; add rsp, 8; vzeroupper; ret
        byte[] code =
        [
            0x48, 0x83, 0xEC, 8, 0x0F, 0xAE, 0x1C, 0x24, .. body,
            0xDB, 0xE3, 0x0F, 0xAE, 0x14, 0x24, 0x48, 0x83, 0xC4, 8,
            .. Avx.IsSupported ? (byte[])[0xC5, 0xF8, 0x77] : [], 0xC3,
        ];
        code.CopyTo(new Span<byte>(writable, code.Length));
        return (delegate* unmanaged<byte*, byte*, void>)executable;
    }
}
