using Dromaius.Core.Cpus;
using Dromaius.Cpu.X86;
using Dromaius.Devices.Interrupts;

namespace Dromaius.Boards.Pc;

/// <summary>An x86 processor as the machine's threads run it.</summary>
internal sealed class X86Runner(X86Cpu cpu) : IVcpuRunner
{
    public IVcpu Cpu => cpu;

    public ManualResetEventSlim WakeEvent => cpu.WakeEvent;

    public bool Run() => cpu.Run();

    public void Kick() => cpu.Kick();

    public void Wait(int milliseconds) => cpu.Wait(milliseconds);

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

    public bool TryTranslate(ulong address, out ulong physical) => cpu.TryTranslate(address, out physical);

    public bool TryGetRegister(string name, out ulong value) => cpu.TryGetRegister(name, out value);

    public int CodeBits => cpu.CodeBits;

    public string DescribeApic() => (cpu.Apic as LocalApic)?.Describe() ?? "";

    public void Dispose() => cpu.Dispose();
}
