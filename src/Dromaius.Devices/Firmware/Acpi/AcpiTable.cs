using System.Buffers.Binary;
using System.Text;

namespace Dromaius.Devices.Firmware.Acpi;

/// <summary>Writes one table behind the standard header (ACPI Specification 6.4, section 5.2.6); firmware sums it.</summary>
public sealed class AcpiTable
{
    public const int HeaderLength = 36;

    private readonly MemoryStream _bytes = new();

    public AcpiTable(string signature, byte revision, string oemId, string oemTableId)
    {
        Ascii(signature, 4).U32(0).U8(revision).U8(0).Ascii(oemId, 6).Ascii(oemTableId, 8).U32(1).Ascii("DROM", 4).U32(1);
    }

    public int Length => (int)_bytes.Length;

    public AcpiTable U8(byte value)
    {
        _bytes.WriteByte(value);
        return this;
    }

    public AcpiTable U16(ushort value) => U8((byte)value).U8((byte)(value >> 8));

    public AcpiTable U32(uint value) => U16((ushort)value).U16((ushort)(value >> 16));

    public AcpiTable U64(ulong value) => U32((uint)value).U32((uint)(value >> 32));

    public AcpiTable Bytes(ReadOnlySpan<byte> value)
    {
        _bytes.Write(value);
        return this;
    }

    public AcpiTable Pad(int count) => Bytes(new byte[count]);

    /// <summary>Text padded with spaces.</summary>
    public AcpiTable Ascii(string text, int length) => Bytes(Encoding.ASCII.GetBytes(text.PadRight(length)[..length]));

    /// <summary>A generic address structure in I/O space (section 5.2.3.2).</summary>
    public AcpiTable IoAddress(uint port, int bits) => Address(1, port, bits);

    public AcpiTable MemoryAddress(ulong address, int bits = 0) => Address(0, address, bits);

    public byte[] ToArray()
    {
        var bytes = _bytes.ToArray();
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(4), (uint)bytes.Length);
        return bytes;
    }

    private AcpiTable Address(byte space, ulong address, int bits)
    {
        // Access size: 1 byte, 2 word, 3 double word; 0 undefined.
        var access = bits switch
        {
            8 => 1,
            16 => 2,
            32 => 3,
            _ => 0,
        };
        return U8(space).U8((byte)bits).U8(0).U8((byte)access).U64(address);
    }
}
