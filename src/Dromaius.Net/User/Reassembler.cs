namespace Dromaius.Net.User;

/// <summary>Puts fragmented IP packets together again (RFC 815): few at a time, and none for long.</summary>
internal sealed class Reassembler
{
    private const int MaxPackets = 16, MaxLength = 65535, MaxMilliseconds = 30_000;
    private readonly List<Packet> _packets = [];

    /// <summary>Adds a fragment; gives the packet's payload when it is whole, valid until the next call.</summary>
    public ReadOnlySpan<byte> Add(UInt128 key, int offset, ReadOnlySpan<byte> data, bool last, long now)
    {
        if (offset + data.Length > MaxLength || data.IsEmpty || (!last && data.Length % 8 != 0))
            return default;
        _packets.RemoveAll(p => now - p.Started > MaxMilliseconds);
        var packet = _packets.Find(p => p.Key == key);
        if (packet == null)
        {
            if (_packets.Count >= MaxPackets)
                _packets.RemoveAt(0);
            packet = new Packet { Key = key, Started = now };
            _packets.Add(packet);
        }

        data.CopyTo(packet.Data.AsSpan(offset));
        var end = offset + data.Length;
        for (var unit = offset / 8; unit < (end + 7) / 8; unit++)
        {
            if (!packet.Have[unit])
            {
                packet.Have[unit] = true;
                packet.Units++;
            }
        }

        if (last)
            packet.Length = end;
        if (packet.Length == 0 || packet.Units < (packet.Length + 7) / 8)
            return default;
        _packets.Remove(packet);
        // Fragments beyond the last one are a contradiction.
        return packet.Units == (packet.Length + 7) / 8 ? packet.Data.AsSpan(0, packet.Length) : default;
    }

    private sealed class Packet
    {
        public UInt128 Key { get; init; }
        public long Started { get; init; }
        public byte[] Data { get; } = new byte[MaxLength + 1];
        public bool[] Have { get; } = new bool[(MaxLength + 8) / 8];
        public int Units { get; set; }
        public int Length { get; set; }
    }
}
