using System.Buffers.Binary;

namespace Dromaius.Devices.Firmware.Acpi;

/// <summary>Resource descriptors for <see cref="Aml.Resources"/>. Source: ACPI Specification 6.4, section 6.4.</summary>
public static class AmlResource
{
    /// <summary>Edge-triggered ISA interrupt (section 6.4.2.1, two-byte form).</summary>
    public static byte[] Irq(int number)
    {
        var mask = (ushort)(1 << number);
        return [0x22, (byte)mask, (byte)(mask >> 8)];
    }

    /// <summary>Fixed ports, 16-bit decode (section 6.4.2.5).</summary>
    public static byte[] Io(ushort start, byte length, byte alignment = 1) =>
        [0x47, 1, (byte)start, (byte)(start >> 8), (byte)start, (byte)(start >> 8), alignment, length];

    /// <summary>A fixed 32-bit memory range (section 6.4.3.4).</summary>
    public static byte[] Memory32Fixed(uint start, uint length, bool writable)
    {
        var bytes = new byte[12];
        bytes[0] = 0x86;
        bytes[1] = 9;
        bytes[3] = (byte)(writable ? 1 : 0);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(4), start);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(8), length);
        return bytes;
    }

    /// <summary>Level-triggered, active-high, shared interrupts (section 6.4.3.6); with several, one is chosen.</summary>
    public static byte[] Interrupt(params uint[] numbers) => Interrupts(0x01 | 0x08, numbers);

    /// <summary>An edge-triggered, active-high interrupt of its own.</summary>
    public static byte[] EdgeInterrupt(uint number) => Interrupts(0x01 | 0x02, [number]);

    private static byte[] Interrupts(byte flags, uint[] numbers)
    {
        var bytes = new byte[5 + (4 * numbers.Length)];
        bytes[0] = 0x89;
        BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(1), (ushort)(bytes.Length - 3));
        bytes[3] = flags;
        bytes[4] = (byte)numbers.Length;
        for (var i = 0; i < numbers.Length; i++)
            BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(5 + (4 * i)), numbers[i]);
        return bytes;
    }

    /// <summary>Bus numbers that a bridge passes on (section 6.4.3.5.3).</summary>
    public static byte[] BusRange(ushort first, ushort last) => WordRange(2, 0, first, last);

    /// <summary>Ports that a bridge passes on.</summary>
    public static byte[] IoRange(ushort first, ushort last) => WordRange(1, 3, first, last);

    /// <summary>32-bit memory that a bridge passes on (section 6.4.3.5.2); none when the last address is below the first.</summary>
    public static byte[] MemoryRange32(uint first, uint last, bool cacheable)
    {
        var length = last >= first ? last - first + 1 : 0;
        if (length == 0)
            first = last = 0;
        var bytes = new byte[26];
        bytes[0] = 0x87;
        BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(1), 23);
        Flags(bytes, 0, (byte)(1 | (cacheable ? 2 : 0)));
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(10), first);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(14), last);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(22), length);
        return bytes;
    }

    /// <summary>64-bit memory that a bridge passes on (section 6.4.3.5.1).</summary>
    public static byte[] MemoryRange64(ulong first, ulong last)
    {
        var bytes = new byte[46];
        bytes[0] = 0x8A;
        BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(1), 43);
        Flags(bytes, 0, 3);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(14), first);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(22), last);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(38), last - first + 1);
        return bytes;
    }

    private static byte[] WordRange(byte type, byte typeFlags, ushort first, ushort last)
    {
        var bytes = new byte[16];
        bytes[0] = 0x88;
        BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(1), 13);
        Flags(bytes, type, typeFlags);
        BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(8), first);
        BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(10), last);
        BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(14), (ushort)(last - first + 1));
        return bytes;
    }

    /// <summary>Resource type, general flags (minimum and maximum fixed, producer) and type flags.</summary>
    private static void Flags(byte[] bytes, byte type, byte typeFlags)
    {
        bytes[3] = type;
        bytes[4] = 0x0C;
        bytes[5] = typeFlags;
    }
}
