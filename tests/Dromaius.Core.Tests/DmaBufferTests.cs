using Dromaius.Core.Memory;

namespace Dromaius.Core.Tests;

/// <summary>Scattered guest memory: RAM in place, everything else bounced.</summary>
public sealed class DmaBufferTests
{
    [Fact]
    public void ReachesRamInPlaceAndBouncesTheRest()
    {
        var root = MemoryRegion.Container("root", 1 << 20);
        using var ram = new RamBlock("ram", 8192);
        root.Add(0, MemoryRegion.RamRegion("ram", ram));
        var space = new AddressSpace("dma", root, new Lock());
        var buffer = new DmaBuffer(space, toGuest: true);
        buffer.Add(8190, 4);
        Assert.Equal(4, buffer.Length);
        Assert.Equal(2, buffer.Segments.Count);
        buffer.Segments[0].Span.Fill(0x55);
        buffer.Segments[1].Span.Fill(0x66);
        ram.SetFlag(1, PageFlags.DisplayClean);
        buffer.Complete();
        Assert.Equal(0x55, ram.Span(8191, 1)[0]);
        unsafe
        {
            Assert.Equal(0, ram.Flags[1]);
        }

        var outward = new DmaBuffer(space, toGuest: false);
        outward.Add(8191, 2);
        Assert.Equal(0x55, outward.Segments[0].Span[0]);
        Assert.Equal(0xFF, outward.Segments[1].Span[0]);
    }

    /// <summary>A guest names much more than there is: the host's memory does not grow with it.</summary>
    [Fact]
    public void BouncesNoMoreThanItMust()
    {
        const int length = 256 << 20;
        var space = new AddressSpace("dma", MemoryRegion.Container("root", 1UL << 32), new Lock());
        foreach (var toGuest in new[] { true, false })
        {
            var buffer = new DmaBuffer(space, toGuest);
            buffer.Add(0, length);
            Assert.Equal(length, buffer.Length);
            Assert.Equal(length, buffer.Segments.Sum(static s => (long)s.Length));
            var arrays = new HashSet<byte[]>(ReferenceEqualityComparer.Instance);
            foreach (var segment in buffer.Segments)
            {
                if (System.Runtime.InteropServices.MemoryMarshal.TryGetArray<byte>(segment, out var part))
                    arrays.Add(part.Array!);
            }

            Assert.InRange(arrays.Sum(static a => (long)a.Length), 1, 2 << 20);
            buffer.Complete();
        }
    }
}
