using Dromaius.Jit.Ir;

namespace Dromaius.Jit.X64;

/// <summary>
/// Accesses of hot code that are likely to stay on a page (<see cref="Passes.SteadyPages"/>) look at the page that they touched last
/// before they look into the TLB: a comparison and a load that do not wait for one another.
/// </summary>
internal sealed unsafe partial class X64Compiler
{
    private readonly int[] _nextSlot = new int[2 * EngineState.MmuModes];

    /// <summary>
    /// Leaves host minus guest address in <paramref name="addend"/>, and the offset in the page in <paramref name="offset"/>.
    /// </summary>
    private void EmitLastPage(ColdPath cold, PackedAccess access, Reg address, Reg offset, Reg addend, int tagOffset)
    {
        var set = 2 * access.MmuIndex + (tagOffset == TagWrite ? 1 : 0);
        var slot = set * EngineState.LastPages + (_nextSlot[set]++ & (EngineState.LastPages - 1));
        Displaced(offset, address, cold.Displacement);
        _asm.Op(Alu.Xor, 3, offset, Eng(EngineOffsets.PageTags + 8 * slot));
        _asm.OpImm(Alu.Cmp, 3, offset, (1 << PageShift) - access.Size);
        cold.Jump = (nint)_asm.Jcc(Cc.A);
        _asm.Load(3, addend, Eng(EngineOffsets.PageAddends + 8 * slot));
        (cold.PageSlot, cold.PageOffset, cold.PageAddend, cold.PageTagOffset) = (slot, offset, addend, tagOffset);
        cold.PageBack = (nint)_asm.Position;
    }

    /// <summary>Another page: the TLB may have it. Falls through to the slow path if not.</summary>
    private void EmitColdLastPage(ColdPath c)
    {
        var (page, entry) = (c.PageOffset, c.PageAddend);
        var tag = Eng(EngineOffsets.PageTags + 8 * c.PageSlot);
        var addend = Eng(EngineOffsets.PageAddends + 8 * c.PageSlot);
        EmitTlbEntry(c.Access, c.Address, c.Displacement, entry);
        EmitTag(c.Access, c.Address, c.Displacement, page);
        _asm.Op(Alu.Cmp, 3, page, new Mem(entry, c.PageTagOffset));
        var miss = _asm.Jcc(Cc.Ne);
        byte* lost = null;
        byte* pass = null;
        if (c.PageTagOffset == TagWrite)
        {
            // The fence is dear: a store that goes all over memory pays it now and then only.
            _asm.OpImm(Alu.Add, 2, Eng(EngineOffsets.PageMisses), 1 << 28);
            pass = _asm.Jcc(Cc.Ae);
        }

        _asm.Store(3, tag, page);
        if (c.PageTagOffset == TagWrite)
        {
            // Another thread may take the permission away: it changes the entry, then empties the slots. See it or be seen.
            _asm.Mfence();
            _asm.Op(Alu.Cmp, 3, page, new Mem(entry, c.PageTagOffset));
            lost = _asm.Jcc(Cc.Ne);
        }

        _asm.Load(3, entry, new Mem(entry, Addend));
        _asm.Store(3, addend, entry);
        if (pass != null)
        {
            var stored = _asm.Jmp();
            _asm.PatchHere(pass);
            _asm.Load(3, entry, new Mem(entry, Addend));
            _asm.PatchHere(stored);
        }

        Displaced(page, c.Address, c.Displacement);
        _asm.OpImm(Alu.And, 2, page, (1 << PageShift) - 1);
        _asm.JmpTo((byte*)c.PageBack + _cache.ExecDelta);
        if (lost != null)
        {
            _asm.PatchHere(lost);
            _asm.MovImm(page, EngineState.UnknownPage);
            _asm.Store(3, tag, page);
        }

        _asm.PatchHere(miss);
    }
}
