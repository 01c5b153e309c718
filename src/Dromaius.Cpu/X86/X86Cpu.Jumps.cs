using Dromaius.Cpu.Softmmu;
using Dromaius.Jit;

namespace Dromaius.Cpu.X86;

/// <content>
/// Which entries of the jump cache still hold after the page tables changed. The cache goes by virtual address; an entry counts
/// only with the generation it was made in. User code and supervisor code have one each, so that the supervisor's survives a
/// change of address space as long as all of it lies in global pages, and neither is given up for a page that no entry is of.
/// </content>
public sealed unsafe partial class X86Cpu
{
    private const int Supervisor = 0, User = 1;
    private const int JumpPageBits = 12;

    private readonly uint[] _jumpGenerations = new uint[2];

    /// <summary>One bit for each page, hashed, that entries of the present generation are of.</summary>
    private readonly ulong[][] _jumpPages = [new ulong[(1 << JumpPageBits) / 64], new ulong[(1 << JumpPageBits) / 64]];

    /// <summary>Where they are: most pages that are forgotten lie far from all code of the other side.</summary>
    private readonly GigabyteSet[] _jumpGigabytes = [new(), new()];

    /// <summary>Some supervisor code of the present generation is not in a global page.</summary>
    private bool _jumpsLocal;

    private int JumpSide => ((Mode)State->Mode & Mode.Cpl) == (Mode)3 ? User : Supervisor;

    private static int JumpPage(ulong linear)
    {
        var page = linear >> 12;
        return (int)((page ^ page >> JumpPageBits) & ((1 << JumpPageBits) - 1));
    }

    private void ForgetJumps(int side)
    {
        _jumpGenerations[side]++;
        Array.Clear(_jumpPages[side]);
        _jumpGigabytes[side].Clear();
        if (side == Supervisor)
            _jumpsLocal = false;
        _engine?.UnlinkPages(side);
        State->JumpGeneration = _jumpGenerations[JumpSide];
    }

    /// <summary>The page of an address, or the large one that it may be part of, means something else now.</summary>
    private void ForgetJumpsOf(ulong linear)
    {
        var large = _tlb.MayBeLarge(linear);
        for (var side = 0; side < _jumpPages.Length; side++)
        {
            if (_jumpGigabytes[side].Contains(linear)
                && (large || (_jumpPages[side][JumpPage(linear) >> 6] & 1UL << (JumpPage(linear) & 63)) != 0))
                ForgetJumps(side);
        }
    }

    /// <summary>The unit at the program counter, just found, gets an entry.</summary>
    private void NoteJump(Unit unit)
    {
        var address = CodeAddress(State->Rip);
        NoteJumpPage(address);
        if (unit.Ram2 != null)
            NoteJumpPage(CodeAddress((State->Rip | 0xFFF) + 1));
    }

    private void NoteJumpPage(ulong address)
    {
        var side = JumpSide;
        _jumpPages[side][JumpPage(address) >> 6] |= 1UL << (JumpPage(address) & 63);
        _jumpGigabytes[side].Add(address);
        if (side == Supervisor && !_jumpsLocal)
            _jumpsLocal = !_tlb.IsCodeGlobal(address, CodeMmuIndex);
    }
}
