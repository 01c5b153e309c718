using Dromaius.Core.Chardev;
using Dromaius.Core.Cpus;
using Dromaius.Core.Memory;

namespace Dromaius.Devices.Tests;

internal sealed class FakeVcpu(int index) : IVcpu
{
    public CpuRequest Requests { get; private set; }
    public List<byte> StartUps { get; } = [];
    public int Index => index;
    public ulong ProgramCounter => 0;
    public bool IsHalted => false;

    public void Raise(CpuRequest request) => Requests |= request;

    public void Lower(CpuRequest request) => Requests &= ~request;

    public void StartUp(byte vector) => StartUps.Add(vector);
}

internal sealed class FakeChar : ICharBackend
{
    public List<byte> Written { get; } = [];
    public string Id => "fake";
    public ICharSink? Sink { get; set; }
    public int Accepts { get; private set; }

    public void Write(ReadOnlySpan<byte> bytes) => Written.AddRange(bytes);

    public void AcceptInput() => Accepts++;

    public void Dispose()
    {
    }
}

internal static class RegionExtensions
{
    public static byte In(this MemoryRegion region, int offset) => (byte)region.Read!((ulong)offset, 1);

    public static uint In32(this MemoryRegion region, int offset) => (uint)region.Read!((ulong)offset, 4);

    public static void Out(this MemoryRegion region, int offset, int value) => region.Write!((ulong)offset, 1, (byte)value);

    public static void Out32(this MemoryRegion region, int offset, uint value) => region.Write!((ulong)offset, 4, value);
}
