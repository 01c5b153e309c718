using Dromaius.Jit.Ir;

namespace Dromaius.Jit.X64;

/// <summary>
/// Accesses of hot code look at the page that they touched last before they look into the TLB: a comparison and a load that do not
/// wait for one another.
/// </summary>
internal sealed unsafe partial class X64Compiler
{
    private readonly int[] _nextSlot = new int[2 * EngineState.MmuModes];

    /// <summary>Leaves host minus guest address in <paramref name="tag"/>; <paramref name="host"/> is scratch.</summary>
    private void EmitLastPage(ColdPath cold, PackedAccess access, Reg address, Reg host, Reg tag, int tagOffset)
    {
        var set = 2 * access.MmuIndex + (tagOffset == TagWrite ? 1 : 0);
        var slot = set * EngineState.LastPages + (_nextSlot[set]++ & (EngineState.LastPages - 1));
        EmitTag(access, address, cold.Displacement, host);
        _asm.Op(Alu.Cmp, 3, host, Eng(EngineOffsets.PageTags + 8 * slot));
        cold.Jump = (nint)_asm.Jcc(Cc.Ne);
        _asm.Load(3, tag, Eng(EngineOffsets.PageAddends + 8 * slot));
        (cold.PageSlot, cold.PageHost, cold.PageTag, cold.PageTagOffset) = (slot, host, tag, tagOffset);
        cold.PageBack = (nint)_asm.Position;
    }

    /// <summary>Another page: the TLB may have it. Falls through to the slow path if not.</summary>
    private void EmitColdLastPage(ColdPath c)
    {
        var (page, entry) = (c.PageHost, c.PageTag);
        var tag = Eng(EngineOffsets.PageTags + 8 * c.PageSlot);
        EmitTlbEntry(c.Access, c.Address, c.Displacement, entry);
        _asm.Op(Alu.Cmp, 3, page, new Mem(entry, c.PageTagOffset));
        var miss = _asm.Jcc(Cc.Ne);
        _asm.Store(3, tag, page);
        byte* lost = null;
        if (c.PageTagOffset == TagWrite)
        {
            // Another thread may take the permission away: it changes the entry, then empties the slots. See it or be seen.
            _asm.Mfence();
            _asm.Op(Alu.Cmp, 3, page, new Mem(entry, c.PageTagOffset));
            lost = _asm.Jcc(Cc.Ne);
        }

        _asm.Load(3, entry, new Mem(entry, Addend));
        _asm.Store(3, Eng(EngineOffsets.PageAddends + 8 * c.PageSlot), entry);
        _asm.JmpTo((byte*)c.PageBack + _cache.ExecDelta);
        if (lost != null)
        {
            _asm.PatchHere(lost);
            _asm.StoreImm(3, tag, (int)TlbEntry.Invalid);
        }

        _asm.PatchHere(miss);
    }
}
