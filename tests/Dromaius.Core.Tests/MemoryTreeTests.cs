using Dromaius.Core.Memory;

namespace Dromaius.Core.Tests;

/// <summary>Who sees a change of the memory tree.</summary>
public sealed class MemoryTreeTests
{
    [Fact]
    public void ChangesReachTheSpacesThatSeeThemAndNoOthers()
    {
        using var ram = new RamBlock("ram", 4096);
        var root = MemoryRegion.Container("root", 1 << 20);
        var inner = MemoryRegion.Container("inner", 1 << 16);
        var region = MemoryRegion.RamRegion("ram", ram);
        root.Add(0, inner);
        inner.Add(0, region);
        var other = MemoryRegion.Container("other", 1 << 20);
        other.Add(0x1000, MemoryRegion.Alias("alias", inner, 0, 1 << 16));
        var gate = new Lock();
        var (near, aliased, stranger) = (new AddressSpace("near", root, gate), new AddressSpace("aliased", other, gate),
            new AddressSpace("stranger", MemoryRegion.Container("stranger", 16), gate));
        var seen = new List<string>();
        near.ViewChanged += () => seen.Add("near");
        aliased.ViewChanged += () => seen.Add("aliased");
        stranger.ViewChanged += () => seen.Add("stranger");
        region.Enabled = false;
        Assert.Equal(["aliased", "near"], seen.Order());
        Assert.True(near.View.Ranges.IsEmpty);
        using (MemoryTransaction.Begin())
        {
            region.Enabled = true;
            Assert.True(near.View.Ranges.IsEmpty);
        }

        Assert.Equal(1, near.View.Ranges.Length);
        Assert.Equal(4, seen.Count);
    }
}
