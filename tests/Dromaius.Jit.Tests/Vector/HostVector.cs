using System.Runtime.Intrinsics.X86;
using Dromaius.Core.Memory;
using Dromaius.Jit.Ir;

namespace Dromaius.Jit.Tests.Vector;

/// <summary>Runs rows of the vector table on the host processor, encoded from the row itself.</summary>
internal sealed unsafe class HostVector
{
    private const int CodeSize = 1 << 20;
    private const int OffsetA = 32, OffsetB = 64, OffsetC = 96, OffsetInt = 128, OffsetMxcsr = 136;

    // C is in XMM0 (the implicit mask), A in XMM1, B in XMM2; results of VEX forms in XMM3.
    private const int RegC = 0, RegA = 1, RegB = 2, RegDst = 3;
    private readonly byte* _writable, _executable;
    private int _used, _start;

    public HostVector()
    {
        if (!NativeMemory.TryMapDual(CodeSize, out _writable, out _executable))
            throw new InvalidOperationException("no executable memory");
    }

    public static bool Has(VecFeatures f) =>
        ((f & VecFeatures.Sse3) == 0 || Sse3.IsSupported) && ((f & VecFeatures.Ssse3) == 0 || Ssse3.IsSupported)
        && ((f & VecFeatures.Sse41) == 0 || Sse41.IsSupported) && ((f & VecFeatures.Sse42) == 0 || Sse42.IsSupported)
        && ((f & VecFeatures.Aes) == 0 || Aes.IsSupported) && ((f & VecFeatures.Pclmul) == 0 || Pclmulqdq.IsSupported)
        && ((f & VecFeatures.Avx) == 0 || Avx.IsSupported) && ((f & VecFeatures.Avx2) == 0 || Avx2.IsSupported)
        && ((f & VecFeatures.Fma) == 0 || Fma.IsSupported)
        && ((f & VecFeatures.Sha) == 0 || (X86Base.CpuId(7, 0).Ebx >> 29 & 1) != 0)
        && ((f & VecFeatures.F16c) == 0 || (X86Base.CpuId(1, 0).Ecx >> 29 & 1) != 0);

    /// <summary>Code for one row; call it through <see cref="Run"/> as often as wanted.</summary>
    public delegate* unmanaged<VecArgs*, void> Compile(VecInfo info, bool vex, bool wide, byte imm)
    {
        if (_used > CodeSize - 256)
            _used = 0;
        _start = _used;
        // sub rsp, 8; stmxcsr [rsp]; ldmxcsr [rdi + Mxcsr]
        Emit(0x48, 0x83, 0xEC, 8, 0x0F, 0xAE, 0x1C, 0x24, 0x0F, 0xAE, 0x97);
        Emit32(OffsetMxcsr);
        if (Avx.IsSupported)
        {
            // vmovups ymm, [rdi + disp32]
            EmitVexLoad(RegA, OffsetA);
            EmitVexLoad(RegB, OffsetB);
            EmitVexLoad(RegC, OffsetC);
        }
        else
        {
            EmitSseLoad(RegA, OffsetA);
            EmitSseLoad(RegB, OffsetB);
            EmitSseLoad(RegC, OffsetC);
        }

        if (info.Form is VecForm.FromGpr or VecForm.FromGprImm)
        {
            Emit(0x48, 0x8B, 0x87);
            Emit32(OffsetB);
        }

        var result = vex ? EmitVexForm(info, wide, imm) : EmitLegacyForm(info, imm);
        if (info.Form == VecForm.ToFlags)
            Emit(0x9C, 0x58, 0x83, 0xE0, 0x45);
        if (info.HasIntResult)
        {
            Emit(0x48, 0x89, 0x87);
            Emit32(OffsetInt);
        }
        else if (Avx.IsSupported)
        {
            Emit(0xC5, 0xFC, 0x11, (byte)(0x87 | result << 3));
            Emit32(0);
        }
        else
        {
            Emit(0x0F, 0x11, (byte)(0x87 | result << 3));
            Emit32(0);
        }

        // stmxcsr [rdi + Mxcsr]; ldmxcsr [rsp]; add rsp, 8; vzeroupper; ret
        Emit(0x0F, 0xAE, 0x9F);
        Emit32(OffsetMxcsr);
        Emit(0x0F, 0xAE, 0x14, 0x24, 0x48, 0x83, 0xC4, 8);
        if (Avx.IsSupported)
            Emit(0xC5, 0xF8, 0x77);
        Emit(0xC3);
        return (delegate* unmanaged<VecArgs*, void>)(_executable + _start);
    }

    private int EmitLegacyForm(VecInfo info, byte imm)
    {
        var (reg, rm, result) = info.Form switch
        {
            VecForm.Unary or VecForm.UnaryImm => (RegDst, RegA, RegDst),
            VecForm.UnaryImmStore => (RegA, RegDst, RegDst),
            VecForm.ShiftImm => (info.Group, RegA, RegA),
            VecForm.FromGpr or VecForm.FromGprImm => (RegA, 0, RegA),
            VecForm.ToGpr or VecForm.ToGprImm => (0, RegA, 0),
            VecForm.ToGprImmStore => (RegA, 0, 0),
            _ => (RegA, RegB, RegA),
        };
        if (info.Prefix != 0)
            Emit(info.Prefix);
        if (info.W)
            Emit(0x48);
        Emit(0x0F);
        if (info.Map == 2)
            Emit(0x38);
        if (info.Map == 3)
            Emit(0x3A);
        Emit(info.Opcode, (byte)(0xC0 | reg << 3 | rm));
        if (info.HasImm)
            Emit(imm);
        return result;
    }

    private int EmitVexForm(VecInfo info, bool wide, byte imm)
    {
        var (reg, vvvv, rm, result) = info.Form switch
        {
            VecForm.Unary or VecForm.UnaryImm => (RegDst, 0, RegA, RegDst),
            VecForm.UnaryImmStore => (RegA, 0, RegDst, RegDst),
            VecForm.ShiftImm => (info.Group, RegDst, RegA, RegDst),
            VecForm.Ternary => (RegA, RegB, RegC, RegA),
            VecForm.FromGpr or VecForm.FromGprImm => (RegDst, RegA, 0, RegDst),
            VecForm.ToGpr or VecForm.ToGprImm => (0, 0, RegA, 0),
            VecForm.ToGprImmStore => (RegA, 0, 0, 0),
            VecForm.ToFlags => (RegA, 0, RegB, 0),
            _ => (RegDst, RegA, RegB, RegDst),
        };
        var blend = info.Form == VecForm.Blendv;
        var pp = blend ? 1 : info.Prefix switch { 0x66 => 1, 0xF3 => 2, 0xF2 => 3, _ => 0 };
        Emit(0xC4, (byte)(0xE0 | (blend ? 3 : info.Map)),
            (byte)((info.W ? 0x80 : 0) | (~vvvv & 15) << 3 | (wide ? 4 : 0) | pp),
            blend ? info.VexOpcode : info.Opcode, (byte)(0xC0 | reg << 3 | rm));
        if (blend)
            Emit(RegC << 4);
        else if (info.HasImm)
            Emit(imm);
        return result;
    }

    private void EmitVexLoad(int register, int offset)
    {
        Emit(0xC5, 0xFC, 0x10, (byte)(0x87 | register << 3));
        Emit32(offset);
    }

    private void EmitSseLoad(int register, int offset)
    {
        Emit(0x0F, 0x10, (byte)(0x87 | register << 3));
        Emit32(offset);
    }

    private void Emit(params ReadOnlySpan<byte> bytes)
    {
        bytes.CopyTo(new Span<byte>(_writable + _used, bytes.Length));
        _used += bytes.Length;
    }

    private void Emit32(int value)
    {
        *(int*)(_writable + _used) = value;
        _used += 4;
    }
}
