using System.Buffers.Binary;
using Dromaius.Boards.Pc;
using Dromaius.Boards.Pc.Loaders;
using Dromaius.Core.Errors;
using Dromaius.Devices.Firmware;
using Iced.Intel;

namespace Dromaius.Boards.Tests;

public sealed class LoaderTests : IDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("dromaius-loader");
    private static readonly PcMemoryLayout Layout = PcMemoryLayout.Split(128 << 20, null);

    public void Dispose() => _folder.Delete(true);

    [Fact]
    public void MissingKernel() => Fails("could not open kernel file '/nonexistent': No such file or directory",
        new MachineOptions { Kernel = "/nonexistent" });

    [Fact]
    public void EmptyKernel() => Fails("the file is empty", Options([]));

    [Fact]
    public void FolderAsKernel() => Fails("Is a directory", new MachineOptions { Kernel = _folder.FullName });

    [Fact]
    public void NotAKernel() => Fails("invalid kernel header", Options("root:x:0:0:root:/root:/bin/bash\n"u8.ToArray()));

    [Fact]
    public void TruncatedLinux() => Fails("truncated", Options(Linux(1 << 20)[..100_000]));

    [Fact]
    public void LinuxSetupOnly() => Fails("truncated", Options(Linux(1 << 20)[..0x1000]));

    [Fact]
    public void TruncatedElf() => Fails("truncated", Options(Elf(3, 0x100000)[..60]));

    [Fact]
    public void Arm64Elf() => Fails("another architecture (AArch64)", Options(Elf(183, 0x100000)));

    [Fact]
    public void Arm64Image()
    {
        var image = new byte[4096];
        "ARM\u0064"u8.CopyTo(image.AsSpan(0x38));
        Fails("another architecture (AArch64)", Options(image));
    }

    [Fact]
    public void BigEndianElf()
    {
        var elf = Elf(3, 0x100000);
        elf[5] = 2;
        Fails("big-endian", Options(elf));
    }

    [Fact]
    public void ElfWithoutEntryNote() => Fails("PVH", Options(Elf(62, 0x100000)));

    [Fact]
    public void ElfBeyondRam() => Fails("memory", Options(Multiboot(Elf(3, 0x4000_0000))));

    [Fact]
    public void MissingInitrd() => Fails("could not open initrd file '/nonexistent': No such file or directory",
        Options(Linux(1 << 20)) with { Initrd = "/nonexistent" });

    [Fact]
    public void EmptyInitrd() => Fails("the file is empty", Options(Linux(1 << 20)) with { Initrd = Write("initrd", []) });

    [Fact]
    public void BigInitrd() => Fails("initrd is too large, cannot support. (max: ",
        Options(Linux(1 << 20)) with { Initrd = Write("initrd", new byte[130 << 20]) });

    [Fact]
    public void LongCommandLine() => Fails("at most", Options(Linux(1 << 20)) with { Append = new string('x', 3000) });

    [Fact]
    public void RandomBytesNeverThrowAnythingElse()
    {
        var random = new Random(4711);
        for (var i = 0; i < 300; i++)
        {
            var file = (i % 4) switch
            {
                0 => Linux(0x4000), 1 => Elf(3, 0x100000), 2 => Multiboot(Elf(3, 0x100000)), _ => Elf(62, 0x100000),
            };
            for (var j = 0; j < 12; j++)
                file[random.Next(Math.Min(file.Length, 0x300))] = (byte)random.Next(256);
            try
            {
                KernelLoader.Load(Options(file[..random.Next(file.Length / 2, file.Length)]), Layout);
            }
            catch (UserErrorException e)
            {
                Assert.DoesNotContain('\n', e.Message);
            }
        }
    }

    [Fact]
    public void LinuxIsPreparedAsTheProtocolSays()
    {
        var initrd = Write("initrd", new byte[5000]);
        var boot = KernelLoader.Load(Options(Linux(1 << 20)) with { Initrd = initrd, Append = "console=ttyS0 vga=0x317" }, Layout);
        var setup = Item(boot, FwCfgKey.SetupData);
        Assert.Equal(0xB0, setup[0x210]);
        Assert.Equal(0x81, setup[0x211]);
        Assert.Equal(0x20000u, U32(setup, 0x228));
        Assert.Equal(5000u, U32(setup, 0x21C));
        var initrdAt = U32(setup, 0x218);
        Assert.Equal(0u, initrdAt & 0xFFF);
        Assert.True(initrdAt + 5000 <= (128 << 20) - 0x40000);
        Assert.Equal(0x317, BinaryPrimitives.ReadUInt16LittleEndian(setup.AsSpan(0x1FA)));
        Assert.Equal("console=ttyS0 vga=0x317\0"u8.ToArray(), Item(boot, FwCfgKey.CommandLineData));
        CheckRom(boot.Rom);
    }

    [Fact]
    public void MultibootInformationHasModulesAndCommandLine()
    {
        var module = Write("env", "NR_CPUS=2\n"u8.ToArray());
        var kernel = Write("kernel", Multiboot(Elf(3, 0x400000)));
        var boot = KernelLoader.Load(new MachineOptions { Kernel = kernel, Initrd = $"{module} a b", Append = "x y" }, Layout);
        var page = Item(boot, FwCfgKey.SetupData);
        var tail = Item(boot, FwCfgKey.InitrdData);
        var tailAt = U32(Item(boot, FwCfgKey.InitrdAddress), 0);
        string Text(uint at) => System.Text.Encoding.UTF8.GetString(tail.AsSpan((int)(at - tailAt))).Split('\0')[0];
        Assert.Equal(0x24Fu, U32(page, 0));
        Assert.Equal($"{kernel} x y", Text(U32(page, 16)));
        Assert.Equal(1u, U32(page, 20));
        var list = (int)(U32(page, 24) - tailAt);
        Assert.Equal("NR_CPUS=2\n"u8.ToArray(), tail[(int)(U32(tail, list) - tailAt)..(int)(U32(tail, list + 4) - tailAt)]);
        Assert.Equal($"{module} a b", Text(U32(tail, list + 8)));
        Assert.Equal(20u, U32(page, 0x100));
        CheckRom(boot.Rom);
    }

    [Theory]
    [InlineData("a,b c,d", new[] { "a", "b c", "d" })]
    [InlineData("a,,b", new[] { "a,b" })]
    [InlineData("", new string[0])]
    public void ModuleListsSplitAtSingleCommas(string text, string[] expected) =>
        Assert.Equal(expected, MultibootLoader.SplitModules(text));

    /// <summary>The stub decodes as the instructions its source says, in real mode up to the far jump and 32-bit after.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void StubDecodes(bool pvh)
    {
        var stub = new ProtectedModeStub
        {
            Address = 0x90000, EntryOffset = 0, MapSizeField = 48, CountEntries = pvh, RootPointerField = pvh ? 32 : null, Entry = 0x100000, Magic = 42,
        };
        var page = stub.Build();
        var start = stub.Jump.Offset;
        var mnemonics = new List<Mnemonic>();
        var at = (ulong)start;
        var bits = 16;
        while (true)
        {
            var decoder = Decoder.Create(bits, page.AsSpan((int)at).ToArray(), at);
            decoder.Decode(out var instruction);
            Assert.False(instruction.IsInvalid);
            mnemonics.Add(instruction.Mnemonic);
            if (instruction.IsJccShort)
                Assert.InRange(instruction.NearBranchTarget, start, at + 0x100);
            at = instruction.NextIP;
            if (instruction.IsJmpFar)
            {
                Assert.Equal(stub.Address + at, instruction.FarBranch32);
                bits = 32;
            }

            if (instruction.Mnemonic == Mnemonic.Jmp && instruction.Op0Kind == OpKind.Register)
                break;
        }

        Assert.Contains(Mnemonic.Lgdt, mnemonics);
        Assert.Contains(Mnemonic.Ltr, mnemonics);
    }

    [Theory]
    [InlineData(0x100000, 0x80000)]
    [InlineData(0x8000, 0x80000)]
    [InlineData(0x7F000, 0x7D000)]
    public void StubStaysClearOfTheKernel(uint kernelAt, uint expected) =>
        Assert.Equal(expected, ProtectedModeStub.Place(kernelAt, 0x10000));

    private static void CheckRom(byte[] rom)
    {
        Assert.Equal(0x55, rom[0]);
        Assert.Equal(0xAA, rom[1]);
        Assert.Equal(rom.Length, rom[2] * 512);
        Assert.Equal(0, (byte)rom.Sum(static b => b));
        Assert.Equal("$PnP"u8.ToArray(), rom[0x20..0x24]);
        Assert.Equal(0, (byte)rom[0x20..0x40].Sum(static b => b));
        // The initialisation entry jumps to its code.
        var decoder = Decoder.Create(16, rom[3..], 3);
        decoder.Decode(out var jump);
        Assert.Equal(0x40UL, jump.NearBranchTarget);
        // The boot entry ends in a far jump and its loop closes.
        var entry = BinaryPrimitives.ReadUInt16LittleEndian(rom.AsSpan(0x3A));
        decoder = Decoder.Create(16, rom[entry..], entry);
        Instruction instruction;
        do
        {
            decoder.Decode(out instruction);
            Assert.False(instruction.IsInvalid);
        }
        while (!instruction.IsJmpFar);
    }

    private void Fails(string message, MachineOptions options)
    {
        var e = Assert.Throws<UserErrorException>(() => KernelLoader.Load(options, Layout));
        Assert.Contains(message, e.Message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', e.Message);
    }

    private MachineOptions Options(byte[] kernel) => new() { Kernel = Write("kernel", kernel) };

    private string Write(string name, byte[] data)
    {
        var path = Path.Combine(_folder.FullName, name);
        File.WriteAllBytes(path, data);
        return path;
    }

    private static byte[] Item(KernelBoot boot, ushort key) => boot.Items.Single(i => i.Key == key).Data;

    private static uint U32(byte[] data, int at) => BinaryPrimitives.ReadUInt32LittleEndian(data.AsSpan(at));

    /// <summary>A file with the header of a protocol 2.15 bzImage.</summary>
    private static byte[] Linux(int size)
    {
        const int SetupSectors = 27;
        var setup = (SetupSectors + 1) * 512;
        var file = new byte[setup + size];
        file[0x1F1] = SetupSectors;
        BinaryPrimitives.WriteUInt32LittleEndian(file.AsSpan(0x1F4), (uint)size / 16);
        BinaryPrimitives.WriteUInt16LittleEndian(file.AsSpan(0x1FE), 0xAA55);
        "HdrS"u8.CopyTo(file.AsSpan(0x202));
        BinaryPrimitives.WriteUInt16LittleEndian(file.AsSpan(0x206), 0x20F);
        file[0x211] = 1;
        BinaryPrimitives.WriteUInt32LittleEndian(file.AsSpan(0x22C), 0x7FFF_FFFF);
        BinaryPrimitives.WriteUInt32LittleEndian(file.AsSpan(0x238), 2047);
        return file;
    }

    /// <summary>A 32-bit ELF executable with one segment.</summary>
    private static byte[] Elf(ushort machine, uint physical)
    {
        var file = new byte[0x1100];
        "\u007FELF"u8.CopyTo(file);
        file[4] = file[5] = file[6] = 1;
        BinaryPrimitives.WriteUInt16LittleEndian(file.AsSpan(16), 2);
        BinaryPrimitives.WriteUInt16LittleEndian(file.AsSpan(18), machine);
        BinaryPrimitives.WriteUInt32LittleEndian(file.AsSpan(24), physical);
        BinaryPrimitives.WriteUInt32LittleEndian(file.AsSpan(28), 52);
        BinaryPrimitives.WriteUInt16LittleEndian(file.AsSpan(42), 32);
        BinaryPrimitives.WriteUInt16LittleEndian(file.AsSpan(44), 1);
        uint[] header = [1, 0x1000, physical, physical, 0x100, 0x200, 7, 0x1000];
        for (var i = 0; i < header.Length; i++)
            BinaryPrimitives.WriteUInt32LittleEndian(file.AsSpan(52 + (4 * i)), header[i]);
        return file;
    }

    private static byte[] Multiboot(byte[] elf)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(elf.AsSpan(0x1000), 0x1BAD_B002);
        BinaryPrimitives.WriteUInt32LittleEndian(elf.AsSpan(0x1008), unchecked((uint)-0x1BAD_B002));
        return elf;
    }
}
