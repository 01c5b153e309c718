using System.Buffers.Binary;
using System.Text;

namespace Dromaius.Devices.Firmware.Acpi;

/// <summary>
/// Collects ACPI tables in a blob with the commands by which firmware places them, patches the pointers between them and sums them
/// (the "etc/table-loader" file). Source: the fw_cfg table loader interface: 128-byte commands.
/// </summary>
public sealed class AcpiLinker
{
    public const string TablesFile = "etc/acpi/tables", RsdpFile = "etc/acpi/rsdp", LoaderFile = "etc/table-loader";

    private const int CommandSize = 128, FileNameSize = 56;
    private const uint Allocate = 1, AddPointer = 2, AddChecksum = 3;
    private const byte ZoneHigh = 1, ZoneFSegment = 2;

    private readonly MemoryStream _tables = new();
    private readonly MemoryStream _commands = new();

    public AcpiLinker() => AddAllocate(TablesFile, 64, ZoneHigh);

    /// <summary>The tables as placed so far.</summary>
    public byte[] Tables
    {
        get
        {
            var bytes = _tables.ToArray();
            Array.Resize(ref bytes, (bytes.Length + 0xFFF) & ~0xFFF);
            return bytes;
        }
    }

    public byte[] Commands => _commands.ToArray();
    public byte[]? Rsdp { get; private set; }

    /// <summary>Adds raw bytes and gives their offset.</summary>
    public int AddRaw(ReadOnlySpan<byte> data, int alignment)
    {
        while (_tables.Length % alignment != 0)
            _tables.WriteByte(0);
        var offset = (int)_tables.Length;
        _tables.Write(data);
        return offset;
    }

    /// <summary>Adds a table with a standard header; its pointers hold offsets in the blob and are listed here.</summary>
    public int AddTable(AcpiTable table, params (int Offset, int Size)[] pointers)
    {
        var offset = AddRaw(table.ToArray(), 8);
        foreach (var (at, size) in pointers)
            Pointer(TablesFile, offset + at, size);
        Checksum(TablesFile, offset + 9, offset, table.Length);
        return offset;
    }

    /// <summary>Writes the root pointer (ACPI Specification, section 5.2.5.3, revision 0).</summary>
    public void AddRsdp(int rsdt, string oemId)
    {
        var rsdp = new byte[20];
        "RSD PTR "u8.CopyTo(rsdp);
        Encoding.ASCII.GetBytes(oemId.PadRight(6)[..6]).CopyTo(rsdp, 9);
        BinaryPrimitives.WriteUInt32LittleEndian(rsdp.AsSpan(16), (uint)rsdt);
        Rsdp = rsdp;
        AddAllocate(RsdpFile, 16, ZoneFSegment);
        Pointer(RsdpFile, 16, 4);
        Checksum(RsdpFile, 8, 0, 20);
    }

    private void AddAllocate(string file, uint alignment, byte zone)
    {
        var command = Begin(Allocate, file);
        BinaryPrimitives.WriteUInt32LittleEndian(command.AsSpan(4 + FileNameSize), alignment);
        command[8 + FileNameSize] = zone;
        _commands.Write(command);
    }

    private void Pointer(string file, int offset, int size)
    {
        var command = Begin(AddPointer, file);
        Encoding.ASCII.GetBytes(TablesFile, command.AsSpan(4 + FileNameSize));
        BinaryPrimitives.WriteUInt32LittleEndian(command.AsSpan(4 + (2 * FileNameSize)), (uint)offset);
        command[8 + (2 * FileNameSize)] = (byte)size;
        _commands.Write(command);
    }

    private void Checksum(string file, int at, int start, int length)
    {
        var command = Begin(AddChecksum, file);
        BinaryPrimitives.WriteUInt32LittleEndian(command.AsSpan(4 + FileNameSize), (uint)at);
        BinaryPrimitives.WriteUInt32LittleEndian(command.AsSpan(8 + FileNameSize), (uint)start);
        BinaryPrimitives.WriteUInt32LittleEndian(command.AsSpan(12 + FileNameSize), (uint)length);
        _commands.Write(command);
    }

    private static byte[] Begin(uint kind, string file)
    {
        var command = new byte[CommandSize];
        BinaryPrimitives.WriteUInt32LittleEndian(command, kind);
        Encoding.ASCII.GetBytes(file, command.AsSpan(4));
        return command;
    }
}
