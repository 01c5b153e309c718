using Dromaius.Core.Memory;

namespace Dromaius.Jit.Tests;

/// <summary>Which bytes of a page belong to translations.</summary>
public sealed class CodePageTests : IDisposable
{
    private readonly RamBlock _ram = new("ram", 1 << 16);

    public void Dispose() => _ram.Dispose();

    [Fact]
    public void BytesBetweenUnitsAreFree()
    {
        var page = new CodePage(_ram, 0x3000);
        page.Add(Unit(0x3010, 20));
        page.Add(Unit(0x3100, 200));
        Assert.Equal([(0x10, 0x24), (0x100, 0x1C8)], Held(page));
        Assert.True(page.MayHold(0x0F, 2));
        Assert.True(page.MayHold(0, 0x1000));
        Assert.False(page.MayHold(0x24, 0x100 - 0x24));
        Assert.False(page.MayHold(0xFFF, 8));
    }

    [Fact]
    public void WhatIsGoneIsFreeAfterARecount()
    {
        var page = new CodePage(_ram, 0x3000);
        page.Add(Unit(0x3010, 20));
        page.Add(Unit(0x3018, 8));
        page.Units.RemoveAt(0);
        Assert.Equal([(0x10, 0x24)], Held(page));
        page.Recount();
        Assert.Equal([(0x18, 0x20)], Held(page));
    }

    /// <summary>A unit that runs over a page's end has a part in either page, or both in one that is mapped twice.</summary>
    [Fact]
    public void UnitsAcrossPages()
    {
        var unit = Unit(0x3FF0, 24, 0x7000, 8);
        var first = new CodePage(_ram, 0x3000);
        var second = new CodePage(_ram, 0x7000);
        first.Add(unit);
        second.Add(unit);
        Assert.Equal([(0xFF0, 0x1000)], Held(first));
        Assert.Equal([(0, 8)], Held(second));
        var both = new CodePage(_ram, 0x3000);
        both.Add(Unit(0x3FF0, 24, 0x3000, 8));
        Assert.Equal([(0, 8), (0xFF0, 0x1000)], Held(both));
    }

    private static List<(int Start, int End)> Held(CodePage page)
    {
        var runs = new List<(int, int)>();
        var start = -1;
        for (var at = 0; at <= 0x1000; at++)
        {
            var held = at < 0x1000 && page.MayHold(at, 1);
            if (held && start < 0)
                start = at;
            if (held || start < 0)
                continue;
            runs.Add((start, at));
            start = -1;
        }

        return runs;
    }

    private Unit Unit(ulong offset, int length, ulong offset2 = 0, int length2 = 0) => new()
    {
        Key = default, Length = length, Ram = _ram, Offset = offset, WatchLength = length, First = 0,
        Ram2 = length2 > 0 ? _ram : null, Offset2 = offset2, Length2 = length2,
    };
}
