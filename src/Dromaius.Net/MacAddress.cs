using System.Globalization;

namespace Dromaius.Net;

/// <summary>An Ethernet hardware address.</summary>
public readonly record struct MacAddress(ulong Value)
{
    public const int Length = 6;

    public static MacAddress Broadcast { get; } = new(0xFFFF_FFFF_FFFF);

    public bool IsGroup => (Value & 0x0100_0000_0000) != 0;

    public static MacAddress Read(ReadOnlySpan<byte> bytes)
    {
        var value = 0UL;
        for (var i = 0; i < Length; i++)
            value = (value << 8) | bytes[i];
        return new MacAddress(value);
    }

    public void Write(Span<byte> bytes)
    {
        for (var i = 0; i < Length; i++)
            bytes[i] = this[i];
    }

    /// <summary>A byte of it, the first one on the wire at 0.</summary>
    public byte this[int index] => (byte)(Value >> (40 - (8 * index)));

    /// <summary>Six numbers in hexadecimal with colons or dashes between them.</summary>
    public static bool TryParse(string text, out MacAddress mac)
    {
        mac = default;
        var parts = text.Split(text.Contains('-') ? '-' : ':');
        if (parts.Length != Length)
            return false;
        var value = 0UL;
        foreach (var part in parts)
        {
            if (part.Length > 2 || !byte.TryParse(part, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var b))
                return false;
            value = (value << 8) | b;
        }

        mac = new MacAddress(value);
        return true;
    }

    public override string ToString() => $"{this[0]:x2}:{this[1]:x2}:{this[2]:x2}:{this[3]:x2}:{this[4]:x2}:{this[5]:x2}";
}
