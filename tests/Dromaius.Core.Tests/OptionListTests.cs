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
}
