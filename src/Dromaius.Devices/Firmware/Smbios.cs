using System.Buffers.Binary;
using System.Text;

namespace Dromaius.Devices.Firmware;

/// <summary>
/// Writes SMBIOS structures and the 2.1 and 3.0 entry points; firmware places and sums them. Source: DMTF DSP0134, sections 5 to 7.
/// </summary>
public sealed class Smbios
{
    public const string TablesFile = "etc/smbios/smbios-tables", AnchorFile = "etc/smbios/smbios-anchor";

    private readonly MemoryStream _tables = new();
    private int _count;
    private int _largest;

    public byte[] Tables => _tables.ToArray();

    /// <summary>Adds a structure: its formatted part behind the header, then its strings.</summary>
    public void Add(byte type, ushort handle, Structure structure)
    {
        var start = _tables.Length;
        var body = structure.Body;
        Span<byte> header = stackalloc byte[4];
        header[0] = type;
        header[1] = (byte)(4 + body.Length);
        BinaryPrimitives.WriteUInt16LittleEndian(header[2..], handle);
        _tables.Write(header);
        _tables.Write(body);
        foreach (var text in structure.Strings)
        {
            _tables.Write(Encoding.UTF8.GetBytes(text));
            _tables.WriteByte(0);
        }

        if (structure.Strings.Count == 0)
            _tables.WriteByte(0);
        _tables.WriteByte(0);
        Note(start);
    }

    /// <summary>Adds structures as they are, header and strings included.</summary>
    public void AddRaw(ReadOnlySpan<byte> structure)
    {
        var start = _tables.Length;
        _tables.Write(structure);
        Note(start);
    }

    /// <summary>The 32-bit entry point (section 5.2.1), version 2.8.</summary>
    public byte[] EntryPoint21()
    {
        var anchor = new byte[31];
        "_SM_"u8.CopyTo(anchor);
        anchor[5] = 31;
        anchor[6] = 2;
        anchor[7] = 8;
        BinaryPrimitives.WriteUInt16LittleEndian(anchor.AsSpan(8), (ushort)_largest);
        "_DMI_"u8.CopyTo(anchor.AsSpan(16));
        BinaryPrimitives.WriteUInt16LittleEndian(anchor.AsSpan(22), (ushort)_tables.Length);
        BinaryPrimitives.WriteUInt16LittleEndian(anchor.AsSpan(28), (ushort)_count);
        anchor[30] = 0x28;
        anchor[21] = Sum(anchor.AsSpan(16, 15));
        anchor[4] = Sum(anchor);
        return anchor;
    }

    /// <summary>The 64-bit entry point (section 5.2.2), version 3.0.</summary>
    public byte[] EntryPoint30()
    {
        var anchor = new byte[24];
        "_SM3_"u8.CopyTo(anchor);
        anchor[6] = 24;
        anchor[7] = 3;
        anchor[10] = 1;
        BinaryPrimitives.WriteUInt32LittleEndian(anchor.AsSpan(12), (uint)_tables.Length);
        anchor[5] = Sum(anchor);
        return anchor;
    }

    private void Note(long start)
    {
        _count++;
        _largest = Math.Max(_largest, (int)(_tables.Length - start));
    }

    private static byte Sum(ReadOnlySpan<byte> bytes)
    {
        byte sum = 0;
        foreach (var b in bytes)
            sum += b;
        return (byte)-sum;
    }

    /// <summary>The formatted part of a structure and the strings it names.</summary>
    public sealed class Structure
    {
        private readonly List<byte> _body = [];
        private readonly List<string> _strings = [];

        public byte[] Body => [.. _body];
        public IReadOnlyList<string> Strings => _strings;

        public Structure U8(int value)
        {
            _body.Add((byte)value);
            return this;
        }

        public Structure U16(int value) => U8(value).U8(value >> 8);

        public Structure U32(uint value) => U16((ushort)value).U16((ushort)(value >> 16));

        public Structure U64(ulong value) => U32((uint)value).U32((uint)(value >> 32));

        public Structure Bytes(ReadOnlySpan<byte> value)
        {
            _body.AddRange(value);
            return this;
        }

        /// <summary>The number of a string; 0 for none.</summary>
        public Structure Text(string? text)
        {
            if (string.IsNullOrEmpty(text))
                return U8(0);
            _strings.Add(text);
            return U8(_strings.Count);
        }
    }
}
