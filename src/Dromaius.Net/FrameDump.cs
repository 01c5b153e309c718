using System.Buffers.Binary;
using Dromaius.Core.Errors;

namespace Dromaius.Net;

/// <summary>Which way a recorder looks.</summary>
public enum DumpQueue
{
    All,

    /// <summary>Frames that the end receives.</summary>
    Rx,

    /// <summary>Frames that the end sends.</summary>
    Tx,
}

/// <summary>Records frames in a file of the classic libpcap format, link type Ethernet (<c>filter-dump</c>).</summary>
public sealed class FrameDump : IDisposable
{
    private const uint Magic = 0xA1B2_C3D4;
    private readonly FileStream _file;
    private readonly int _length;
    private readonly DumpQueue _queue;

    /// <param name="path">The file, made anew.</param>
    /// <param name="length">Bytes to keep of each frame.</param>
    /// <param name="queue">Which way it looks.</param>
    public FrameDump(string path, int length = 65536, DumpQueue queue = DumpQueue.All)
    {
        _length = length;
        _queue = queue;
        try
        {
            _file = new FileStream(path, FileMode.Create, FileAccess.Write, FileShare.Read, 64 << 10);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new UserErrorException($"net dump: can't open {path}");
        }

        Span<byte> header = stackalloc byte[24];
        header.Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(header, Magic);
        BinaryPrimitives.WriteUInt16LittleEndian(header[4..], 2);
        BinaryPrimitives.WriteUInt16LittleEndian(header[6..], 4);
        BinaryPrimitives.WriteInt32LittleEndian(header[16..], length);
        BinaryPrimitives.WriteInt32LittleEndian(header[20..], 1);
        _file.Write(header);
        _file.Flush();
    }

    /// <summary>Stops recording without closing the file.</summary>
    public bool IsOff { get; set; }

    internal void Record(ReadOnlySpan<byte> frame, bool outgoing)
    {
        if (IsOff || (_queue == DumpQueue.Rx && outgoing) || (_queue == DumpQueue.Tx && !outgoing))
            return;
        var microseconds = (DateTime.UtcNow - DateTime.UnixEpoch).Ticks / TimeSpan.TicksPerMicrosecond;
        var kept = Math.Min(frame.Length, _length);
        Span<byte> header = stackalloc byte[16];
        BinaryPrimitives.WriteInt32LittleEndian(header, (int)(microseconds / 1_000_000));
        BinaryPrimitives.WriteInt32LittleEndian(header[4..], (int)(microseconds % 1_000_000));
        BinaryPrimitives.WriteInt32LittleEndian(header[8..], kept);
        BinaryPrimitives.WriteInt32LittleEndian(header[12..], frame.Length);
        try
        {
            _file.Write(header);
            _file.Write(frame[..kept]);
            // Whoever looks at the file while the machine runs sees whole frames.
            _file.Flush();
        }
        catch (IOException)
        {
            IsOff = true;
        }
    }

    public void Dispose() => _file.Dispose();
}
