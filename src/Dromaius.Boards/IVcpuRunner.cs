using Dromaius.Core.Cpus;

namespace Dromaius.Boards;

/// <summary>A processor as the machine runs it: the seam between machines and what executes guest code.</summary>
public interface IVcpuRunner : IDisposable
{
    IVcpu Cpu { get; }

    /// <summary>
    /// Runs guest code on the calling thread until it halts or <see cref="Kick"/> asks it to come back. Never waits.
    /// </summary>
    /// <returns>False if it halted and has nothing to do; true if it can go on.</returns>
    bool Run();

    /// <summary>Makes <see cref="Run"/> return soon and ends <see cref="Wait"/>. Called from any thread.</summary>
    void Kick();

    /// <summary>Set whenever there may be something to do for a halted processor; whoever waits for it resets it before.</summary>
    ManualResetEventSlim WakeEvent { get; }

    /// <summary>Waits, halted, until there is something to do, a kick comes or the time has passed.</summary>
    /// <param name="milliseconds">-1 for no limit.</param>
    void Wait(int milliseconds);

    /// <summary>Power-on state. Called while it does not run.</summary>
    void Reset();

    /// <summary>The registers as <c>info registers</c> lays them out.</summary>
    string Registers();

    /// <summary>Reads through the page tables without side effects on them; false where nothing is mapped.</summary>
    bool TryReadVirtual(ulong address, Span<byte> bytes);

    /// <summary>The physical address behind a virtual one; false where nothing is mapped.</summary>
    bool TryTranslate(ulong address, out ulong physical)
    {
        physical = address;
        return false;
    }

    /// <summary>A register by name, in lower case.</summary>
    bool TryGetRegister(string name, out ulong value)
    {
        value = 0;
        return false;
    }

    /// <summary>16-, 32- or 64-bit code runs now.</summary>
    int CodeBits => 64;

    /// <summary>The local APIC's registers, for monitors.</summary>
    string DescribeApic() => "";
}
