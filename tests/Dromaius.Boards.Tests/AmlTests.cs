using System.Diagnostics;
using Dromaius.Boards.Pc;
using Dromaius.Boards.Pc.Chipsets;
using Dromaius.Devices.Firmware.Acpi;

namespace Dromaius.Boards.Tests;

public class AmlTests
{
    private static readonly PcAcpiFacts Facts = new()
    {
        Topology = new CpuTopology(4, 1, 1, 4, 1, 4), PciHoleStart = 0x0800_0000, RamEnd = 0x0800_0000, Hpet = true,
        SystemManagement = true, SerialPorts = [0, 1], ParallelPorts = 1, PanicPort = 0x505, Places = new AcpiPlaces(0x600, 0xAFE0, 4, null),
    };

    [Theory]
    [InlineData(0, new byte[] { 0 })]
    [InlineData(1, new byte[] { 1 })]
    [InlineData(0x12, new byte[] { 0x0A, 0x12 })]
    [InlineData(0x1234, new byte[] { 0x0B, 0x34, 0x12 })]
    [InlineData(0x12345678, new byte[] { 0x0C, 0x78, 0x56, 0x34, 0x12 })]
    public void IntegersTakeTheShortestForm(ulong value, byte[] expected) => Assert.Equal(expected, Aml.Integer(value));

    [Fact]
    public void PathsHavePrefixes()
    {
        Assert.Equal("_SB_"u8.ToArray(), Aml.Path("_SB"));
        Assert.Equal([0x5C, 0x2E, .. "_SB_PCI0"u8], Aml.Path(@"\_SB.PCI0"));
        Assert.Equal([0x2F, 3, .. "AAAABBBBCCCC"u8], Aml.Path("AAAA.BBBB.CCCC"));
    }

    [Fact]
    public void EisaIdsAreCompressed() => Assert.Equal([0x0C, 0x41, 0xD0, 0x0A, 0x03], Aml.EisaId("PNP0A03"));

    [Theory]
    [InlineData(10)]
    [InlineData(0x3E)]
    [InlineData(0x3F)]
    [InlineData(0x40)]
    [InlineData(0xFFD)]
    [InlineData(0xFFE)]
    [InlineData(0x1000)]
    [InlineData(0xFFFFC)]
    [InlineData(0xFFFFD)]
    public void PackageLengthsCountThemselves(int body)
    {
        // Scope with a root name: opcode, length, name, body.
        var bytes = Aml.Scope(@"\", new byte[body]);
        var lead = bytes[1];
        var extra = lead >> 6;
        var length = extra == 0 ? lead & 0x3F : lead & 15;
        for (var i = 0; i < extra; i++)
            length |= bytes[2 + i] << (4 + (8 * i));
        Assert.Equal(bytes.Length - 1, length);
    }

    [Fact]
    public void LoaderCommandsPatchAndSumTheTables()
    {
        var linker = PcAcpi.Build(Facts, PcDsdt.Build(Facts));
        var files = RunLoader(linker, 0x7000_0000, 0xF_5000);
        var tables = files[AcpiLinker.TablesFile];
        var rsdp = files[AcpiLinker.RsdpFile];
        Assert.Equal(0, Sum(rsdp));
        var rsdt = BitConverter.ToUInt32(rsdp, 16) - 0x7000_0000;
        Assert.Equal("RSDT", Ascii(tables, (int)rsdt, 4));
        var length = BitConverter.ToInt32(tables, (int)rsdt + 4);
        Assert.Equal(0, Sum(tables.AsSpan((int)rsdt, length)));
        var seen = new List<string>();
        for (var at = (int)rsdt + 36; at < (int)rsdt + length; at += 4)
        {
            var table = (int)(BitConverter.ToUInt32(tables, at) - 0x7000_0000);
            seen.Add(Ascii(tables, table, 4));
            Assert.Equal(0, Sum(tables.AsSpan(table, BitConverter.ToInt32(tables, table + 4))));
        }

        Assert.Equal(["FACP", "APIC", "HPET", "WAET"], seen);
        var fadt = (int)(BitConverter.ToUInt32(tables, (int)rsdt + 36) - 0x7000_0000);
        Assert.Equal(244, BitConverter.ToInt32(tables, fadt + 4));
        Assert.Equal("DSDT", Ascii(tables, (int)(BitConverter.ToUInt32(tables, fadt + 40) - 0x7000_0000), 4));
        Assert.Equal("FACS", Ascii(tables, (int)(BitConverter.ToUInt32(tables, fadt + 36) - 0x7000_0000), 4));
        Assert.Equal(BitConverter.ToUInt32(tables, fadt + 40), (uint)BitConverter.ToUInt64(tables, fadt + 140));
        Assert.Equal(0x600u, BitConverter.ToUInt32(tables, fadt + 56));
        Assert.Equal(0x608u, BitConverter.ToUInt32(tables, fadt + 76));
        Assert.Equal(0xCF9UL, BitConverter.ToUInt64(tables, fadt + 120));
    }

    /// <summary>The reference compiler disassembles every table and compiles its own output of the DSDT again.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void TheReferenceDisassemblerTakesTheTables(bool q35)
    {
        if (!File.Exists("/usr/bin/iasl"))
            return;
        var folder = Directory.CreateTempSubdirectory("dromaius-aml");
        try
        {
            var facts = q35 ? Facts with { HasConfigWindow = true, Places = new AcpiPlaces(0x600, 0x620, 16, (0xB000_0000, 256 << 20)) } : Facts;
            var files = RunLoader(PcAcpi.Build(facts, q35 ? Q35Dsdt.Build(facts) : PcDsdt.Build(facts)), 0x7000_0000, 0xF_5000);
            var tables = files[AcpiLinker.TablesFile];
            var at = 64;
            while (at + 36 < tables.Length && tables[at] != 0)
            {
                var length = BitConverter.ToInt32(tables, at + 4);
                var name = Ascii(tables, at, 4).ToLowerInvariant();
                var path = Path.Combine(folder.FullName, name + ".aml");
                File.WriteAllBytes(path, tables[at..(at + length)]);
                var output = Run(folder.FullName, "-d", path);
                Assert.True(output.Contains("ASL Output:", StringComparison.Ordinal)
                    || output.Contains("Formatted output:", StringComparison.Ordinal), output);
                Assert.DoesNotContain("rror", output, StringComparison.Ordinal);
                Assert.DoesNotContain("Warning", output, StringComparison.Ordinal);
                if (name == "dsdt")
                {
                    var again = Run(folder.FullName, "-tc", "-p", "again", Path.ChangeExtension(path, ".dsl"));
                    Assert.Contains("0 Errors", again, StringComparison.Ordinal);
                    var source = File.ReadAllText(Path.ChangeExtension(path, ".dsl"));
                    Assert.Contains("Device (COM2)", source, StringComparison.Ordinal);
                    Assert.Contains("Processor (C003, 0x03", source, StringComparison.Ordinal);
                }

                at = (at + length + 7) & ~7;
            }
        }
        finally
        {
            folder.Delete(true);
        }
    }

    private static string Run(string folder, params string[] arguments)
    {
        var start = new ProcessStartInfo("/usr/bin/iasl", arguments)
        {
            WorkingDirectory = folder, RedirectStandardOutput = true, RedirectStandardError = true,
        };
        using var process = Process.Start(start)!;
        var error = process.StandardError.ReadToEndAsync();
        var output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return output + error.Result;
    }

    /// <summary>Does what firmware does with the commands.</summary>
    private static Dictionary<string, byte[]> RunLoader(AcpiLinker linker, uint tablesAt, uint rsdpAt)
    {
        var files = new Dictionary<string, byte[]>
        {
            [AcpiLinker.TablesFile] = (byte[])linker.Tables.Clone(), [AcpiLinker.RsdpFile] = (byte[])linker.Rsdp!.Clone(),
        };
        var bases = new Dictionary<string, uint> { [AcpiLinker.TablesFile] = tablesAt, [AcpiLinker.RsdpFile] = rsdpAt };
        var commands = linker.Commands;
        var allocated = new HashSet<string>();
        for (var at = 0; at < commands.Length; at += 128)
        {
            var file = Ascii(commands, at + 4, 56).TrimEnd('\0');
            switch (BitConverter.ToUInt32(commands, at))
            {
                case 1:
                    Assert.True(allocated.Add(file));
                    break;
                case 2:
                    var source = Ascii(commands, at + 60, 56).TrimEnd('\0');
                    var offset = BitConverter.ToInt32(commands, at + 116);
                    var size = commands[at + 120];
                    Assert.True(allocated.Contains(file) && allocated.Contains(source));
                    var value = size == 4 ? BitConverter.ToUInt32(files[file], offset) : BitConverter.ToUInt64(files[file], offset);
                    BitConverter.GetBytes(value + bases[source])[..size].CopyTo(files[file], offset);
                    break;
                case 3:
                    var place = BitConverter.ToInt32(commands, at + 60);
                    var start = BitConverter.ToInt32(commands, at + 64);
                    var length = BitConverter.ToInt32(commands, at + 68);
                    files[file][place] -= Sum(files[file].AsSpan(start, length));
                    break;
            }
        }

        return files;
    }

    private static byte Sum(ReadOnlySpan<byte> bytes)
    {
        byte sum = 0;
        foreach (var b in bytes)
            sum += b;
        return sum;
    }

    private static string Ascii(byte[] bytes, int at, int length) => System.Text.Encoding.ASCII.GetString(bytes, at, length);
}
