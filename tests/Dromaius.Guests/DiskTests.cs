using System.Diagnostics;
using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;

namespace Dromaius.Guests;

/// <summary>Debian from a disk: firmware, boot loader, kernel, systemd, login; and that the file system is whole afterwards.</summary>
public sealed class DiskTests : IDisposable
{
    private const int BootSeconds = 600;
    private readonly string _folder = Directory.CreateTempSubdirectory("dromaius-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void DebianFromVirtioBlock()
    {
        var image = Image();
        WriteAndCheck(image, "-smp", "2", "-drive", $"file={image},format=raw,if=virtio");
    }

    [Fact]
    public void DebianFromAhci()
    {
        var image = Image();
        WriteAndCheck(image, "-device", "ahci,id=ahci0", "-drive", $"file={image},format=raw,if=none,id=d0", "-device", "ide-hd,drive=d0,bus=ahci0.0");
    }

    [Fact]
    public void DebianFromNvme()
    {
        var image = Image();
        WriteAndCheck(image, "-drive", $"file={image},format=raw,if=none,id=d0", "-device", "nvme,drive=d0,serial=abc");
    }

    /// <summary>OVMF from flash, which it writes its variables to, on the Q35's own AHCI.</summary>
    [Fact]
    public void DebianThroughUefi()
    {
        const string Code = "/usr/share/OVMF/OVMF_CODE_4M.fd", Variables = "/usr/share/OVMF/OVMF_VARS_4M.fd";
        var image = Image();
        var variables = Path.Combine(_folder, "vars.fd");
        File.Copy(Variables, variables);
        LogInAndWrite(image, "-machine", "q35", "-smp", "2", "-drive", $"if=pflash,format=raw,readonly=on,file={Code}", "-drive", $"if=pflash,format=raw,file={variables}",
            "-drive", $"file={image},format=raw");
        Assert.False(File.ReadAllBytes(Variables).AsSpan().SequenceEqual(File.ReadAllBytes(variables)));
    }

    /// <summary>The PC's own controllers: two hard disks, a disc and a diskette.</summary>
    [Fact]
    public void DebianFromIde()
    {
        var cd = Path.Combine(_folder, "cd.iso");
        File.WriteAllBytes(cd, new byte[4 << 20]);
        var floppy = Path.Combine(_folder, "floppy.img");
        File.WriteAllBytes(floppy, new byte[1440 * 1024]);
        var second = Path.Combine(_folder, "hd.img");
        File.WriteAllBytes(second, new byte[64 << 20]);
        var image = Image();
        using var guest = new Emulator("-nographic", "-net", "none", "-m", "512", "-drive", $"file={image},format=raw",
            "-drive", $"file={second},format=raw", "-cdrom", cd, "-drive", $"file={floppy},format=raw,if=floppy");
        LogIn(guest);
        guest.Send("modprobe sr_mod; modprobe floppy; sleep 3; dd if=/dev/sr0 bs=64k | md5sum; dd if=/dev/fd0 bs=9k | md5sum; "
            + "dd if=/dev/urandom of=/dev/sdb bs=1M count=32 oflag=direct; dd if=/dev/sdb bs=1M count=64 iflag=direct | wc -c; echo is''done\n");
        guest.WaitFor("isdone", 200);
        Assert.Contains("b5cfa9d6c8febd618f91ac2843d50a1c", guest.Output); // 4 MiB of zeroes
        Assert.Contains("b37823c7a90d1917f719ba5927b23da8", guest.Output); // a diskette of them
        Assert.Contains("67108864", guest.Output);
        WriteAndPowerOff(guest);
        CheckFileSystem(image);
    }

    /// <summary>
    /// The emulator is killed while the guest writes one record after the other and says which of them it has flushed: the image is
    /// clean or can be repaired, and has every record that was flushed.
    /// </summary>
    [Theory]
    [InlineData("virtio", "vda", "cache=none", "lazy_refcounts=on")]
    [InlineData("ide", "sda", "cache=writeback", "cluster_size=4k")]
    public void WhatWasFlushedOutlivesTheEmulator(string bus, string disk, string cache, string options)
    {
        const int Records = 4096, RecordSize = 4096;
        var image = Path.Combine(_folder, "killed.qcow2");
        Run(Artifacts.Program("dromaius-img"), "create", "-q", "-f", "qcow2", "-o", options, image, $"{Records * RecordSize}");
        int flushed;
        // 1657 is prime to the number of records: each has its place.
        using (var guest = LinuxTests.Run($"sh /bench/load; sleep 1; i=1; while yes record $i | head -c {RecordSize} | "
            + $"dd of=/dev/{disk} bs={RecordSize} seek=$((i*1657%{Records})) conv=notrunc,fsync 2>/dev/null; do echo flushed $i.; i=$((i+1)); done",
            "-initrd", Artifacts.Guest("initramfs-disks.gz"), "-machine", "q35", "-drive", $"file={image},format=qcow2,if={bus},{cache}"))
        {
            guest.WaitFor("flushed 100.", BootSeconds);
            guest.Kill();
            flushed = Regex.Matches(guest.Output, @"flushed (\d+)\.").Max(static m => int.Parse(m.Groups[1].ValueSpan, CultureInfo.InvariantCulture));
        }

        Run(Artifacts.Program("dromaius-img"), "check", "-q", "-r", "all", image);
        var raw = Path.Combine(_folder, "killed.raw");
        Run(Artifacts.Program("dromaius-img"), "convert", "-O", "raw", image, raw);
        var bytes = File.ReadAllBytes(raw);
        for (var i = 1; i <= flushed; i++)
        {
            var line = Encoding.ASCII.GetBytes($"record {i}\n");
            var record = bytes.AsSpan(i * 1657 % Records * RecordSize, RecordSize);
            for (var at = 0; at < RecordSize; at += line.Length)
            {
                var length = Math.Min(line.Length, RecordSize - at);
                Assert.True(record.Slice(at, length).SequenceEqual(line.AsSpan(0, length)), $"record {i} of {flushed} is not there");
            }
        }
    }

    /// <summary>A copy of the disk that the test may write.</summary>
    private string Image()
    {
        var copy = Path.Combine(_folder, "debian.img");
        Run("cp", "--sparse=always", Artifacts.Guest("debian.img"), copy);
        return copy;
    }

    private static void LogIn(Emulator guest)
    {
        guest.WaitFor("login: ", BootSeconds);
        guest.Send("root\n");
        guest.WaitFor("Password: ", 60);
        guest.Send("dromaius\n");
        guest.WaitFor(":~# ", 120);
    }

    /// <summary>Boots from the image, writes a file with a known sum, powers off and checks the file system.</summary>
    private static void LogInAndWrite(string image, params string[] drive)
    {
        using var guest = new Emulator(["-nographic", "-net", "none", "-m", "512", .. drive]);
        LogIn(guest);
        WriteAndPowerOff(guest);
        CheckFileSystem(image);
    }

    private static void WriteAndPowerOff(Emulator guest)
    {
        guest.Send("yes dromaius | head -c 50000000 >/root/file; sync; echo 3 >/proc/sys/vm/drop_caches; sha256sum /root/file; dmesg -l err,crit\n");
        guest.WaitFor("/root/file", 200, times: 3);
        guest.Send("poweroff\n");
        ExpectSum(guest);
    }

    private static void ExpectSum(Emulator guest)
    {
        guest.ExpectExit(0, 120);
        Assert.Contains("b6c28f6afef6516e5450ba91919cd024667b6033052a7ba66d9ba840226a75ec", guest.Output);
        Assert.DoesNotContain("I/O error", guest.Output);
    }

    /// <summary>The same without systemd: the image knows this machine and only writes, reads back and powers off.</summary>
    private static void WriteAndCheck(string image, params string[] drive)
    {
        using var guest = new Emulator(["-nographic", "-net", "none", "-m", "512", "-uuid", "44524f4d-0000-4000-8000-00000000c4ec", .. drive]);
        guest.WaitFor("/root/file", BootSeconds);
        ExpectSum(guest);
        CheckFileSystem(image);
    }

    private static void CheckFileSystem(string image)
    {
        const long RootStart = 133120 * 512L;
        Run("e2fsck", "-f", "-n", $"{image}?offset={RootStart}");
    }

    private static void Run(string program, params string[] arguments)
    {
        using var process = Process.Start(new ProcessStartInfo(program, arguments)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            Environment = { ["PATH"] = "/usr/sbin:/sbin:" + Environment.GetEnvironmentVariable("PATH") },
        })!;
        var output = process.StandardOutput.ReadToEnd() + process.StandardError.ReadToEnd();
        process.WaitForExit();
        Assert.True(process.ExitCode == 0, $"{program}: {output}");
    }
}
