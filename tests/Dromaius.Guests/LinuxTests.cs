namespace Dromaius.Guests;

/// <summary>Debian's stock amd64 kernel with a busybox userland.</summary>
public sealed class LinuxTests
{
    private const int BootSeconds = 120;

    [Theory]
    [InlineData(1, "qemu64")]
    [InlineData(2, "qemu64")]
    [InlineData(4, "qemu64")]
    [InlineData(1, "max")]
    [InlineData(2, "max")]
    [InlineData(4, "max")]
    public void BootsToUserlandAndPowersOff(int cpus, string model)
    {
        using var guest = Boot("session=scripted", "-smp", $"{cpus}", "-cpu", model);
        guest.ExpectExit(0, BootSeconds);
        var lines = guest.Output.ReplaceLineEndings("\n").Split('\n');
        Assert.Contains($"{cpus}", lines[(Array.IndexOf(lines, "# nproc") + 1)..][0]);
        Assert.Contains("x86_64 GNU/Linux", guest.Output);
        Assert.Contains("reboot: Power down", guest.Output);
    }

    [Fact]
    public void ProcessorCountsAgree()
    {
        using var guest = Run("nproc --all; grep -c ^processor /proc/cpuinfo; ls -d /sys/devices/system/cpu/cpu[0-9]*; grep -m1 siblings /proc/cpuinfo",
            "-smp", "4,sockets=2,cores=1,threads=2");
        guest.ExpectExit(0, BootSeconds);
        Assert.Contains("4\n4\n", guest.Output.Replace("\r", ""));
        Assert.Contains("/sys/devices/system/cpu/cpu3", guest.Output);
        Assert.Contains("siblings\t: 2", guest.Output);
    }

    [Fact]
    public void RebootWithNoRebootEndsTheEmulator()
    {
        using var guest = Run("reboot -f", "-no-reboot");
        guest.ExpectExit(0, BootSeconds);
        Assert.Contains("reboot: Restarting system", guest.Output);
    }

    [Fact]
    public void RebootBootsAgain()
    {
        using var guest = Run("reboot -f");
        guest.WaitFor("userland after", 2 * BootSeconds, times: 2);
    }

    [Fact]
    public void PanicRebootsWhenTheKernelIsToldTo()
    {
        using var guest = Run("echo c > /proc/sysrq-trigger", "-no-reboot");
        guest.ExpectExit(0, BootSeconds);
        Assert.Contains("Kernel panic - not syncing: sysrq triggered crash", guest.Output);
    }

    [Fact]
    public void PanicOtherwiseHangsTheGuestOnly()
    {
        using var guest = Start("console=ttyS0 quiet panic=0 session=run run=\"echo c > /proc/sysrq-trigger\"");
        guest.WaitFor("end Kernel panic", BootSeconds);
        Thread.Sleep(500);
        Assert.False(guest.HasExited);
        guest.Send("\x01x");
        guest.ExpectExit(0, 10);
    }

    [Fact]
    public void ShellTalksOverTheSerialPort()
    {
        using var guest = Boot("session=shell");
        guest.WaitFor("# ", BootSeconds);
        guest.Send("echo $((6 * 7)) and $(uname -s)\n");
        guest.WaitFor("42 and Linux", 20);
        guest.Send("poweroff\n");
        guest.ExpectExit(0, 30);
    }

    [Fact]
    public void IdleGuestLeavesTheHostAlone()
    {
        using var guest = Boot("session=shell", "-smp", "2");
        guest.WaitFor("# ", BootSeconds);
        Thread.Sleep(3000);
        var before = guest.ProcessorTime;
        Thread.Sleep(10_000);
        var used = guest.ProcessorTime - before;
        Assert.True(used < TimeSpan.FromSeconds(0.3), $"used {used.TotalSeconds:0.00} s of 10 s");
    }

    [Fact]
    public void PowerButtonReachesTheGuest()
    {
        using var guest = Run("cat /proc/acpi/button/power/*/info 2>/dev/null; grep -c acpi /proc/interrupts; sleep 0.1");
        guest.ExpectExit(0, BootSeconds);
        Assert.Contains("status 0", guest.Output);
    }

    internal static Emulator Boot(string session, params IEnumerable<string> more) =>
        Start($"console=ttyS0 quiet panic=-1 {session}", more);

    /// <summary>Boots, runs a command and powers off.</summary>
    internal static Emulator Run(string command, params IEnumerable<string> more) =>
        Boot($"session=run run=\"{command}\"", more);

    internal static Emulator Start(string append, params IEnumerable<string> more) =>
        new([
            "-nographic", "-net", "none", "-m", "256", "-kernel", Artifacts.Guest("vmlinuz-amd64"), "-initrd", Artifacts.Guest("initramfs.gz"),
            "-append", append, .. more,
        ]);
}
