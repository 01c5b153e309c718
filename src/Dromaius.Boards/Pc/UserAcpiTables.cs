using System.Buffers.Binary;
using System.Text;
using Dromaius.Core.Devices;
using Dromaius.Core.Errors;

namespace Dromaius.Boards.Pc;

/// <summary>The tables of <c>-acpitable</c>: files with a header of their own (<c>file=</c>) or without (<c>data=</c>).</summary>
internal static class UserAcpiTables
{
    private const int Header = 36;
    private static readonly string[] Known =
        ["sig", "rev", "oem_id", "oem_table_id", "oem_rev", "asl_compiler_id", "asl_compiler_rev", "file", "data"];

    public static IReadOnlyList<byte[]> Read(IReadOnlyList<AcpiTableOption> options) => [.. options.Select(Read)];

    private static byte[] Read(AcpiTableOption option)
    {
        var values = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var (key, value) in option.Properties)
        {
            if (!Known.Contains(key))
                throw new UserErrorException($"{option.Text}: Invalid parameter '{key}'" + NearestNames.Hint(key, Known));
            values[key] = value;
        }

        if (values.ContainsKey("file") == values.ContainsKey("data"))
            throw new UserErrorException($"{option.Text}: '-acpitable' requires one of 'data' or 'file'");
        var hasHeader = values.ContainsKey("file");
        var body = (hasHeader ? values["file"] : values["data"]).Split(':').SelectMany(f => HostFile.Read(f, option.Text)).ToArray();
        var table = hasHeader ? body : [.. new byte[Header], .. body];
        if (table.Length < Header)
            throw new UserErrorException($"{option.Text}: ACPI table too short");
        if (!hasHeader)
        {
            Text(table, 0, "QEMU", 4);
            Text(table, 10, "QEMUQEQEMUQEMU", 14);
            table[8] = 1;
            table[24] = 1;
            Text(table, 28, "QEMU", 4);
            table[32] = 1;
        }

        BinaryPrimitives.WriteUInt32LittleEndian(table.AsSpan(4), (uint)table.Length);
        foreach (var (key, value) in values)
        {
            switch (key)
            {
                case "sig":
                    if (value.Length != 4)
                        throw new UserErrorException($"{option.Text}: sig must be 4 characters");
                    Text(table, 0, value, 4);
                    break;
                case "rev":
                    table[8] = (byte)Number(option, value);
                    break;
                case "oem_id":
                    Text(table, 10, value, 6);
                    break;
                case "oem_table_id":
                    Text(table, 16, value, 8);
                    break;
                case "oem_rev":
                    BinaryPrimitives.WriteUInt32LittleEndian(table.AsSpan(24), Number(option, value));
                    break;
                case "asl_compiler_id":
                    Text(table, 28, value, 4);
                    break;
                case "asl_compiler_rev":
                    BinaryPrimitives.WriteUInt32LittleEndian(table.AsSpan(32), Number(option, value));
                    break;
            }
        }

        table[9] = 0;
        byte sum = 0;
        foreach (var b in table)
            sum += b;
        table[9] = (byte)-sum;
        return table;
    }

    private static uint Number(AcpiTableOption option, string text) => PropertyValues.TryParseInteger(text, out var n)
        ? (uint)n
        : throw new UserErrorException($"{option.Text}: '{text}' is not a number");

    private static void Text(byte[] table, int at, string text, int length)
    {
        table.AsSpan(at, length).Clear();
        var bytes = Encoding.ASCII.GetBytes(text);
        bytes.AsSpan(0, Math.Min(bytes.Length, length)).CopyTo(table.AsSpan(at));
    }
}
