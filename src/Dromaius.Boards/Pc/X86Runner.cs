using Dromaius.Core.Cpus;
using Dromaius.Cpu.X86;

namespace Dromaius.Boards.Pc;

/// <summary>Runs an x86 processor for the machine's threads.</summary>
internal sealed class X86Runner(X86Cpu cpu) : IVcpuRunner
{
    public IVcpu Cpu => cpu;

    public bool Run() => throw new NotSupportedException("no engine for guest code");

    public void Kick() => cpu.Raise(CpuRequest.Work);

    public void Wait(int milliseconds)
    {
        cpu.WakeEvent.Reset();
        if (!cpu.HasRequests)
            cpu.WakeEvent.Wait(milliseconds);
    }

    public void Reset() => cpu.Reset();

    public string Registers()
    {
        using var text = new StringWriter();
        cpu.DumpState(text, withFpu: true);
        return text.ToString();
    }

    public bool TryReadVirtual(ulong address, Span<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            if (!cpu.TryTranslate(address, out var physical))
                return false;
            var n = (int)Math.Min((ulong)bytes.Length, 0x1000 - (address & 0xFFF));
            cpu.ActiveMemory.Read(physical, bytes[..n]);
            bytes = bytes[n..];
            address += (ulong)n;
        }

        return true;
    }

    public void Dispose() => cpu.Dispose();
}
