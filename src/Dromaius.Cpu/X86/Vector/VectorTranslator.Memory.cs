using Dromaius.Jit.Ir;
using Iced.Intel;

namespace Dromaius.Cpu.X86;

/// <remarks>This file: MXCSR, masked moves, gathers, string compares.</remarks>
public static partial class VectorTranslator
{
    private static bool EmitMemorySpecial(X86Emitter e)
    {
        var b = e.B;
        switch (e.Insn.Mnemonic)
        {
            case Mnemonic.Ldmxcsr or Mnemonic.Vldmxcsr:
                var value = e.LoadMemory(W.D, e.EffectiveAddress());
                b.BrCond(Cond.TestNe, W.D, value, e.Const(~VectorHelpers.MxcsrMask), e.GeneralProtectionLabel());
                e.CallKeepingFlags(VectorHelpers.LoadMxcsr, value);
                b.FpLoad();
                e.EndAtNext();
                return true;
            case Mnemonic.Stmxcsr or Mnemonic.Vstmxcsr:
                b.FpSync();
                e.StoreMemory(W.D, e.EffectiveAddress(), b.LdState(W.D, X86Layout.MxcsrOffset));
                return true;
            case Mnemonic.Maskmovdqu or Mnemonic.Vmaskmovdqu:
                b.VStState(W.X, VectorHelpers.AOffset, b.VLdState(W.X, OffsetOf(e, 1)));
                b.VStState(W.X, VectorHelpers.BOffset, b.VLdState(W.X, OffsetOf(e, 2)));
                StoreBytesUnderMask(e);
                return true;
            case Mnemonic.Vmaskmovps or Mnemonic.Vpmaskmovd:
                MaskedMove(e, 4);
                return true;
            case Mnemonic.Vmaskmovpd or Mnemonic.Vpmaskmovq:
                MaskedMove(e, 8);
                return true;
            case Mnemonic.Vgatherdps or Mnemonic.Vpgatherdd:
                Gather(e, 4, 4);
                return true;
            case Mnemonic.Vgatherdpd or Mnemonic.Vpgatherdq:
                Gather(e, 8, 4);
                return true;
            case Mnemonic.Vgatherqps or Mnemonic.Vpgatherqd:
                Gather(e, 4, 8);
                return true;
            case Mnemonic.Vgatherqpd or Mnemonic.Vpgatherqq:
                Gather(e, 8, 8);
                return true;
            case Mnemonic.Pcmpistri or Mnemonic.Vpcmpistri:
                StringCompare(e, isExplicit: false, wideLengths: false, mask: false);
                return true;
            case Mnemonic.Pcmpistrm or Mnemonic.Vpcmpistrm:
                StringCompare(e, isExplicit: false, wideLengths: false, mask: true);
                return true;
            case Mnemonic.Pcmpestri or Mnemonic.Vpcmpestri:
                StringCompare(e, isExplicit: true, wideLengths: false, mask: false);
                return true;
            case Mnemonic.Pcmpestri64 or Mnemonic.Vpcmpestri64:
                StringCompare(e, isExplicit: true, wideLengths: true, mask: false);
                return true;
            case Mnemonic.Pcmpestrm or Mnemonic.Vpcmpestrm:
                StringCompare(e, isExplicit: true, wideLengths: false, mask: true);
                return true;
            case Mnemonic.Pcmpestrm64 or Mnemonic.Vpcmpestrm64:
                StringCompare(e, isExplicit: true, wideLengths: true, mask: true);
                return true;
            default:
                return false;
        }
    }

    /// <summary>MASKMOVQ, MASKMOVDQU: bytes of A whose mask byte in B has its top bit set go to DS:rDI.</summary>
    private static void StoreBytesUnderMask(X86Emitter e)
    {
        var offset = e.KindOf(0) switch
        {
            OpKind.MemorySegDI => e.B.ZExt(W.W, X86Emitter.Rdi),
            OpKind.MemorySegEDI => e.B.ZExt(W.D, X86Emitter.Rdi),
            _ => X86Emitter.Rdi,
        };
        e.CallKeepingFlags(VectorHelpers.StoreBytes, offset, SegmentOf(e));
    }

    /// <summary>VMASKMOV, VPMASKMOV: elements whose mask has its top bit clear touch no memory.</summary>
    private static void MaskedMove(X86Emitter e, int element)
    {
        var w = WidthOf(e);
        var load = !e.IsMemory(0);
        e.B.VStState(w, VectorHelpers.BOffset, e.B.VLdState(w, OffsetOf(e, 1)));
        if (!load)
            e.B.VStState(w, VectorHelpers.AOffset, e.B.VLdState(w, OffsetOf(e, 2)));
        e.CallKeepingFlags(load ? VectorHelpers.MaskLoad : VectorHelpers.MaskStore, e.EffectiveOffset(), e.Const(element),
            e.Const(w == W.Y ? 32 : 16), SegmentOf(e));
        if (load)
            StoreRegister(e, 0, e.B.VLdState(w, VectorHelpers.DstOffset));
    }

    private static Val SegmentOf(X86Emitter e) => e.Const((int)X86Emitter.SegmentOf(e.Insn.MemorySegment));

    private static void Gather(X86Emitter e, int element, int index)
    {
        ref readonly var insn = ref e.Insn;
        int dst = VectorNumber(insn.Op0Register), mask = VectorNumber(insn.Op2Register),
            indices = VectorNumber(insn.MemoryIndex);
        if (dst == mask || dst == indices || mask == indices)
        {
            e.RaiseInvalidOpcode();
            return;
        }

        var wide = IsYmm(e, 0) || insn.MemoryIndex.IsYMM();
        var count = (wide ? 32 : 16) / Math.Max(element, index);
        var operation = new GatherOperation(dst, mask, indices, element, index, count, insn.MemoryIndexScale,
            X86Emitter.SegmentOf(insn.MemorySegment), e.AddressSize == 8);
        e.CallKeepingFlags(VectorHelpers.Gather, e.Const(operation.Pack()), e.EffectiveOffset());
    }

    /// <summary>PCMPxSTRx: the helper gives the index and the flags, or the flags and a mask in the result vector.</summary>
    private static void StringCompare(X86Emitter e, bool isExplicit, bool wideLengths, bool mask)
    {
        var b = e.B;
        var second = e.IsMemory(1) ? LoadMemory(e, 16, aligned: false) : b.VLdState(W.X, OffsetOf(e, 1));
        b.VStState(W.X, VectorHelpers.BOffset, second);
        b.VStState(W.X, VectorHelpers.AOffset, b.VLdState(W.X, OffsetOf(e, 0)));
        var imm = LastImmediate(e);
        var control = imm | (isExplicit ? 0x100 : 0) | (mask ? 0x200 : 0);
        Val lengthA = e.Const(0), lengthB = e.Const(0);
        if (isExplicit)
        {
            lengthA = wideLengths ? X86Emitter.Rax : b.SExt(W.D, X86Emitter.Rax);
            lengthB = wideLengths ? X86Emitter.Rdx : b.SExt(W.D, X86Emitter.Rdx);
        }

        var result = b.Call(VectorHelpers.CompareStrings, e.Const(control), lengthA, lengthB);
        if (mask)
        {
            var offset = X86Layout.YmmRegisterOffset(0);
            b.VStState(W.X, offset, b.VLdState(W.X, VectorHelpers.DstOffset));
            if (IsVex(e))
                ClearUpper(e, offset);
        }

        var flags = b.Extract(result, 32, 12);
        if (!mask)
            e.WriteGpr(X86Layout.Rcx, W.D, b.ZExt(W.D, result));
        e.SetFlagsFromBits(flags);
    }
}
