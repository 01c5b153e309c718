using Dromaius.Boards;
using Dromaius.Cli.SystemEmulation;
using Dromaius.Core.Errors;

namespace Dromaius.Cli.Tests;

public sealed class CommandLineTests
{
    [Fact]
    public void OneAndTwoDashesAreTheSame()
    {
        var settings = CommandLineParser.Parse(["--nographic", "-S", "--name", "a,,b", "-no-reboot"]);
        Assert.True(settings.NoGraphic);
        Assert.True(settings.StartPaused);
        Assert.Equal("a,b", settings.Name);
        Assert.Equal(RebootAction.Shutdown, settings.OnReboot);
    }

    [Theory]
    [InlineData("512", 512UL << 20)]
    [InlineData("2G", 2UL << 30)]
    [InlineData("size=1.5G", 3UL << 29)]
    [InlineData("65536K", 64UL << 20)]
    [InlineData("256,slots=2,maxmem=1G", 256UL << 20)]
    public void MemorySizes(string argument, ulong bytes) =>
        Assert.Equal(bytes, CommandLineParser.Parse(["-m", argument]).RamSize);

    [Fact]
    public void SmpKeys()
    {
        var smp = CommandLineParser.Parse(["-smp", "8,sockets=2,cores=2,threads=2,maxcpus=8"]).Smp;
        Assert.Equal(new SmpOption { Cpus = 8, Sockets = 2, Cores = 2, Threads = 2, MaxCpus = 8 }, smp);
    }

    [Fact]
    public void MachineTypeAndProperties()
    {
        var settings = CommandLineParser.Parse(["-M", "pc,accel=kvm:tcg,acpi=off", "-accel", "tcg,thread=single,tb-size=64"]);
        StandardOptions.ResolveAccelerators(settings);
        Assert.Equal("pc", settings.Machine);
        Assert.Equal([new("acpi", "off")], settings.MachineProperties);
        Assert.True(settings.SingleThread);
        Assert.Equal(64UL << 20, settings.CodeCacheSize);
    }

    [Fact]
    public void KvmFallsBackWhenAnotherAcceleratorIsGiven()
    {
        var settings = CommandLineParser.Parse(["-accel", "kvm", "-accel", "interpreter"]);
        StandardOptions.ResolveAccelerators(settings);
        Assert.Equal(AcceleratorKind.Interpreter, settings.Accelerator);
    }

    [Fact]
    public void DevicesKeepTheirText()
    {
        var device = Assert.Single(CommandLineParser.Parse(["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"]).Devices);
        Assert.Equal("isa-debug-exit", device.Name);
        Assert.Equal([new("iobase", "0xf4"), new("iosize", "0x04")], device.Properties);
        Assert.Equal("-device isa-debug-exit,iobase=0xf4,iosize=0x04", device.Text);
    }

    [Fact]
    public void RtcDates()
    {
        var rtc = CommandLineParser.Parse(["-rtc", "base=2006-06-17T16:01:21,clock=vm"]).Rtc;
        Assert.Equal(new DateTime(2006, 6, 17, 16, 1, 21, DateTimeKind.Utc), rtc.Date);
        Assert.True(rtc.FollowsVirtualTime);
    }

    [Fact]
    public void GlobalsBothWays()
    {
        var settings = CommandLineParser.Parse(["-global", "hpet.msi=on", "-global", "driver=mc146818rtc,property=lost_tick_policy,value=slew"]);
        Assert.Equal(["hpet", "mc146818rtc"], settings.Globals.Select(static g => g.Driver));
        Assert.Equal(["msi", "lost_tick_policy"], settings.Globals.Select(static g => g.Property));
    }

    [Theory]
    [InlineData("-foo: invalid option", "-foo")]
    [InlineData("-nographik: invalid option (did you mean 'nographic'", "-nographik")]
    [InlineData("-m: requires an argument", "-m")]
    [InlineData("-m foo: Parameter 'size' expects", "-m", "foo")]
    [InlineData("-smp abc: Parameter 'smp.cpus' expects integer", "-smp", "abc")]
    [InlineData("-smp 2,foo=3: Parameter 'smp.foo' is unexpected", "-smp", "2,foo=3")]
    [InlineData("-M foo: unsupported machine type", "-M", "foo")]
    [InlineData("-accel foo: invalid accelerator foo", "-accel", "foo")]
    [InlineData("-uuid zz: failed to parse UUID", "-uuid", "zz")]
    [InlineData("-boot order=z: Invalid boot device 'z'", "-boot", "order=z")]
    [InlineData("-rtc base=xx: invalid datetime format", "-rtc", "base=xx")]
    [InlineData("-d foo: unknown log item 'foo'", "-d", "foo")]
    [InlineData("-vga foo: Unknown vga type: foo", "-vga", "foo")]
    [InlineData("-netdev foo,id=n: Parameter 'type' does not accept value 'foo'", "-netdev", "foo,id=n")]
    [InlineData("-enable-kvm: KVM is not available", "-enable-kvm")]
    public void WhatIsWrongIsSaidInOneLine(string expected, params string[] args)
    {
        var error = Assert.Throws<UserErrorException>(() => CommandLineParser.Parse(args));
        Assert.StartsWith(expected, error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', error.Message);
    }

    [Fact]
    public void HelpListsEveryOption()
    {
        var help = HelpText.Options();
        foreach (var option in OptionTable.Groups.SelectMany(static g => g.Options).Where(static o => o.Help != null))
            Assert.Contains($"-{option.Name}", help);
        Assert.All(help.Split('\n'), static line => Assert.DoesNotContain('\t', line));
    }

    [Fact]
    public void EveryOptionCanBeFoundByItsName()
    {
        foreach (var option in OptionTable.Groups.SelectMany(static g => g.Options))
            Assert.Same(option, OptionTable.Find(option.Name));
        Assert.DoesNotContain(AbsentOptions.Known, static n => OptionTable.Find(n) != null);
    }

    [Fact]
    public void ConfigFilesAreOptions()
    {
        var path = Path.GetTempFileName();
        File.WriteAllText(path, """
            # a comment
            [machine]
              type = "pc"
            [memory]
              size = "1G"
            [device "exit"]
              driver = "isa-debug-exit"
              iobase = "0xf4"
            """);
        var settings = CommandLineParser.Parse(["-readconfig", path]);
        File.Delete(path);
        Assert.Equal("pc", settings.Machine);
        Assert.Equal(1UL << 30, settings.RamSize);
        Assert.Equal("isa-debug-exit", Assert.Single(settings.Devices).Name);
        Assert.Contains(new("id", "exit"), settings.Devices[0].Properties);
    }
}
