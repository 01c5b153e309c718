namespace Dromaius.Guests;

/// <summary>Small multiboot programs that end through isa-debug-exit: status = value * 2 + 1.</summary>
public sealed class ProgramTests
{
    [Fact]
    public void MultibootProgramPrintsAndExits()
    {
        using var guest = Start("hello.elf");
        guest.ExpectExit((0x20 << 1) | 1, 30);
        Assert.Contains("hello from multiboot", guest.Output);
    }

    [Fact]
    public void TripleFaultResetsTheMachine()
    {
        using var guest = Start("triple-fault.elf", "-no-reboot");
        guest.ExpectExit(0, 30);
        Assert.Contains("about to fault", guest.Output);
    }

    [Fact]
    public void JumpIntoNothingDoesNotEndTheEmulator()
    {
        using var guest = Start("jump-nowhere.elf", "-no-reboot");
        guest.WaitFor("about to jump", 30);
        Thread.Sleep(1000);
        Assert.True(!guest.HasExited || guest.WaitForExit(1) == 0, guest.Output);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void RandomDeviceAccessesDoNotEndTheEmulator(int seed)
    {
        using var guest = Start("random-io.elf", "-append", $"{seed}", "-action", "reboot=shutdown");
        guest.WaitFor("random accesses", 30);

        // It may switch the machine off or reset it by chance; what must not happen is another status than 0 or its own.
        var status = guest.WaitForExit(120);
        Assert.True(status is 0 or ((0x10 << 1) | 1) || (status & 1) == 1 && status < 134, $"status {status}:\n{guest.Output}");
        Assert.DoesNotContain("internal error", guest.Output);
    }

    [Theory]
    [InlineData("tcg")]
    [InlineData("tcg,thread=single")]
    [InlineData("interpreter")]
    public void SelfModifyingCodeRunsAsWritten(string accelerator)
    {
        using var guest = Start("self-modify.elf", "-accel", accelerator);
        guest.ExpectExit((0x2A << 1) | 1, 30);
    }

    private static Emulator Start(string program, params IEnumerable<string> more) =>
        new([
            "-display", "none", "-net", "none", "-serial", "stdio", "-m", "64", "-device", "isa-debug-exit,iobase=0xf4,iosize=0x04",
            "-kernel", Artifacts.Guest(program), .. more,
        ]);
}
