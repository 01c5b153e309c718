using Dromaius.Consoles;
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

/// <summary>A picture as bytes: red, green, blue.</summary>
internal sealed record Picture(int Width, int Height, byte[] Pixels)
{
    /// <summary>What an adapter shows, drawn from nothing.</summary>
    public static Picture Of(IDisplaySource source)
    {
        var console = new DisplayConsole(source, "test", null);
        console.Refresh();
        var surface = console.Surface;
        var bytes = new byte[surface.Pixels.Length * 3];
        for (var i = 0; i < surface.Pixels.Length; i++)
            (bytes[3 * i], bytes[(3 * i) + 1], bytes[(3 * i) + 2]) = ((byte)(surface.Pixels[i] >> 16), (byte)(surface.Pixels[i] >> 8), (byte)surface.Pixels[i]);
        return new Picture(surface.Width, surface.Height, bytes);
    }
}
