using Dromaius.Core.Errors;
using Dromaius.Core.Options;

namespace Dromaius.Core.Tests;

/// <summary>Arguments of options in both of their spellings.</summary>
public sealed class OptionListTests
{
    [Fact]
    public void JsonSaysTheSame()
    {
        var list = OptionList.Parse("{\"type\":\"user\",\"restrict\":true,\"mtu\":1500,\"addr\":{\"type\":\"inet\"},\"hostfwd\":[{\"str\":\"a\"},{\"str\":\"b\"}]}", "type");
        Assert.Equal(["type=user", "restrict=on", "mtu=1500", "addr.type=inet", "hostfwd=a", "hostfwd=b"], list.Items.Select(static i => $"{i.Key}={i.Value}"));
    }

    [Fact]
    public void JsonTakesSingleQuotes() =>
        Assert.Equal(["driver=VGA", "id=it's"], OptionList.Parse("{'driver': 'VGA', \"id\": 'it\\'s'}", "driver").Items.Select(static i => $"{i.Key}={i.Value}"));

    [Theory]
    [InlineData("4", 0x20)]
    [InlineData("0x4", 0x20)]
    [InlineData("0x2.0x1", 0x11)]
    [InlineData("0x1f.7", 0xFF)]
    public void PciAddresses(string text, int expected)
    {
        Assert.True(Devices.PropertyValues.TryParsePciAddress(text, out var devfn));
        Assert.Equal(expected, devfn);
    }

    [Theory]
    [InlineData("{")]
    [InlineData("{\"a\":}")]
    [InlineData("{\"a\":1}}")]
    public void BrokenJsonIsRefused(string text) => Assert.Throws<UserErrorException>(() => OptionList.Parse(text, "type"));

    [Fact]
    public void DeepJsonIsRefused() =>
        Assert.Contains("nesting", Assert.Throws<UserErrorException>(() => OptionList.Parse("{'a':" + new string('[', 200_000), "type")).Message);

    [Fact]
    public void IniFilesHaveSections()
    {
        var sections = IniFile.Parse("f", ["# nothing", "[device \"d0\"]", "  driver = \"VGA\"", "", "[memory]", "size=64M"]);
        Assert.Equal(["device d0 2", "memory  5"], sections.Select(static s => $"{s.Name} {s.Id} {s.Line}"));
        Assert.Equal(new("driver", "VGA"), Assert.Single(sections[0].Items));
        Assert.Equal("f:1: no group defined", Assert.Throws<UserErrorException>(() => IniFile.Parse("f", ["a=b"])).Message);
        Assert.Equal("f:2: parse error", Assert.Throws<UserErrorException>(() => IniFile.Parse("f", ["[x]", "word"])).Message);
    }
}
