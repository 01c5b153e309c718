using Dromaius.Boards.Pc;
using Dromaius.Core.Devices;
using Dromaius.Core.Errors;

namespace Dromaius.Boards.Tests;

public class OptionTests
{
    [Fact]
    public void TopologyFillsCoresFirst()
    {
        Assert.Equal(new CpuTopology(1, 1, 1, 1, 1, 1), Resolve(new()));
        Assert.Equal(new CpuTopology(4, 1, 1, 4, 1, 4), Resolve(new() { Cpus = 4 }));
        Assert.Equal(new CpuTopology(4, 2, 1, 2, 1, 4), Resolve(new() { Cpus = 4, Sockets = 2 }));
        Assert.Equal(new CpuTopology(8, 2, 1, 2, 2, 8), Resolve(new() { Cores = 2, Threads = 2, Sockets = 2 }));
    }

    [Theory]
    [InlineData(0, null, null, "greater than zero")]
    [InlineData(4, 3, null, "product of the hierarchy must match maxcpus: sockets (3) * dies (1) * cores (1) * threads (1) != maxcpus (4)")]
    [InlineData(300, null, null, "Invalid SMP CPUs 300. The max CPUs supported by machine 'pc' is 255")]
    [InlineData(2, null, 1, "maxcpus must be equal to or greater than smp")]
    public void BadTopologies(int cpus, int? sockets, int? max, string message) => Assert.Contains(message,
        Assert.Throws<UserErrorException>(() => Resolve(new() { Cpus = cpus, Sockets = sockets, MaxCpus = max })).Message,
        StringComparison.Ordinal);

    [Fact]
    public void ApicIdsKeepFieldsApart()
    {
        var topology = new CpuTopology(12, 2, 1, 3, 2, 12);
        Assert.Equal([0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13], Enumerable.Range(0, 12).Select(topology.ApicId));
    }

    [Theory]
    [InlineData("isa-debug-exti", "'isa-debug-exti' is not a valid device model name (did you mean 'isa-debug-exit'?)")]
    [InlineData("zzz", "'zzz' is not a valid device model name")]
    public void UnknownDevices(string name, string message) =>
        Assert.Equal(message, Assert.Throws<UserErrorException>(() => PcDeviceTypes.Registry.Get(name)).Message);

    [Theory]
    [InlineData("foo", "1", "Property 'isa-debug-exit.foo' not found")]
    [InlineData("iobase", "zz", "Parameter 'iobase' expects integer")]
    [InlineData("id", "1", "Parameter 'id' expects an identifier")]
    public void BadProperties(string key, string value, string message) => Assert.Equal(message,
        Assert.Throws<UserErrorException>(() =>
            PcDeviceTypes.Registry.Create("isa-debug-exit", [new(key, value)], [], null!)).Message);

    [Fact]
    public void HelpListsDevices()
    {
        var listed = PcDeviceTypes.Registry.HelpText().Split('\n').Where(static line => line.StartsWith("name ", StringComparison.Ordinal)).ToList();
        Assert.Contains(listed, static line => line.StartsWith("name \"isa-debug-exit\", bus ISA, desc \"", StringComparison.Ordinal));
        Assert.All(listed, static line => Assert.Contains(", desc \"", line, StringComparison.Ordinal));
        Assert.Equal("isa-debug-exit options:\n  iobase=<uint32>        -  (default: 1281)\n  iosize=<uint32>        -  (default: 2)\n",
            PcDeviceTypes.Registry.HelpText("isa-debug-exit"));
        Assert.Equal("There are no options for pc-testdev.\n", PcDeviceTypes.Registry.HelpText("pc-testdev"));
    }

    [Fact]
    public void UnknownMachine() => Assert.StartsWith("unsupported machine type 'pcc' (did you mean 'pc'?)",
        Assert.Throws<UserErrorException>(() => MachineTypes.Get("pcc")).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData("hpet", "2", "Parameter 'hpet' expects 'on' or 'off'")]
    [InlineData("foo", "1", "Property 'pc-machine.foo' not found")]
    public void BadMachineProperties(string key, string value, string message) => Assert.StartsWith(message,
        Assert.Throws<UserErrorException>(() =>
            PcProperties.Parse(new MachineOptions { MachineProperties = [new(key, value)] }, "pc")).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData("1.5G", 1536UL << 20)]
    [InlineData("0x10", 16)]
    [InlineData("4k", 4096)]
    public void Sizes(string text, ulong expected)
    {
        Assert.True(PropertyValues.TryParseSize(text, out var size));
        Assert.Equal(expected, size);
    }

    private static CpuTopology Resolve(SmpOption option) => CpuTopology.Resolve(option, "pc", 255);
}
