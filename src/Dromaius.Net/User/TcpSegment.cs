namespace Dromaius.Net.User;

[Flags]
internal enum TcpFlags : byte
{
    None = 0,
    Fin = 1,
    Syn = 2,
    Rst = 4,
    Psh = 8,
    Ack = 0x10,
}

/// <summary>A segment that came in.</summary>
internal readonly ref struct TcpSegment
{
    private const byte OptionEnd = 0, OptionNop = 1, OptionMss = 2, OptionWindowScale = 3;

    public uint Sequence { get; init; }
    public uint Acknowledged { get; init; }
    public TcpFlags Flags { get; init; }
    public ushort Window { get; init; }
    public ReadOnlySpan<byte> Options { get; init; }
    public ReadOnlySpan<byte> Data { get; init; }

    public bool Has(TcpFlags flag) => (Flags & flag) != 0;

    /// <summary>Sequence numbers it occupies.</summary>
    public uint Length => (uint)Data.Length + (Has(TcpFlags.Syn) ? 1u : 0) + (Has(TcpFlags.Fin) ? 1u : 0);

    /// <summary>The options of a connection's first segment: maximum segment size, and window scale or -1.</summary>
    public (int Mss, int Scale) ReadOptions()
    {
        var (mss, scale) = (536, -1);
        for (var rest = Options; !rest.IsEmpty && rest[0] != OptionEnd;)
        {
            if (rest[0] == OptionNop)
            {
                rest = rest[1..];
                continue;
            }

            if (rest.Length < 2 || rest[1] < 2 || rest[1] > rest.Length)
                break;
            if (rest[0] == OptionMss && rest[1] == 4)
                mss = (rest[2] << 8) | rest[3];
            else if (rest[0] == OptionWindowScale && rest[1] == 3)
                scale = Math.Min((int)rest[2], 14);
            rest = rest[rest[1]..];
        }

        return (Math.Max(mss, 88), scale);
    }
}
