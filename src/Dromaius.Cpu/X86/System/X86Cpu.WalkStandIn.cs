using Dromaius.Cpu.Softmmu;

namespace Dromaius.Cpu.X86;

public sealed unsafe partial class X86Cpu
{
    /// <summary>Identity mapping, until paging is there.</summary>
    public bool TryWalk(ulong linear, AccessKind kind, int mmuIndex, out PageWalk walk, out uint errorCode)
    {
        errorCode = 0;
        walk = new PageWalk { Physical = linear & ~0xFFFUL, PageSize = 4096, Readable = true, Writable = true, Executable = true };
        return true;
    }

}
