using System.Runtime.InteropServices;

namespace Dromaius.Core.Storage;

/// <summary>
/// Raw deflate with a chosen window, which <see cref="System.IO.Compression.DeflateStream"/> does not offer: qcow2 requires one of
/// 4 KiB. It calls the zlib that the runtime brings along.
/// </summary>
public static unsafe partial class ZlibCodec
{
    private const int Finish = 4, StreamEnd = 1, Deflated = 8;

    /// <summary>Compresses; the length, or -1 when it does not fit.</summary>
    public static int Deflate(ReadOnlySpan<byte> from, Span<byte> into, int windowBits, int level = -1)
    {
        fixed (byte* source = from)
        fixed (byte* target = into)
        {
            var stream = new ZStream { NextIn = source, AvailableIn = (uint)from.Length, NextOut = target, AvailableOut = (uint)into.Length };
            if (DeflateInit2(&stream, level, Deflated, windowBits, 9, 0) != 0)
                return -1;
            var result = Deflate(&stream, Finish);
            _ = DeflateEnd(&stream);
            return result == StreamEnd ? into.Length - (int)stream.AvailableOut : -1;
        }
    }

    /// <summary>Decompresses until the target is full or the stream ends; the length, or -1 for bad data.</summary>
    public static int Inflate(ReadOnlySpan<byte> from, Span<byte> into, int windowBits)
    {
        fixed (byte* source = from)
        fixed (byte* target = into)
        {
            var stream = new ZStream { NextIn = source, AvailableIn = (uint)from.Length, NextOut = target, AvailableOut = (uint)into.Length };
            if (InflateInit2(&stream, windowBits) != 0)
                return -1;
            var result = Inflate(&stream, Finish);
            _ = InflateEnd(&stream);
            var filled = into.Length - (int)stream.AvailableOut;
            return result == StreamEnd || (result == -5 && stream.AvailableOut == 0) ? filled : -1;
        }
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct ZStream
    {
        public byte* NextIn;
        public byte* NextOut;
        public byte* Message;
        public void* State;
        public uint AvailableIn;
        public uint AvailableOut;
    }

    [LibraryImport("libSystem.IO.Compression.Native", EntryPoint = "CompressionNative_DeflateInit2_")]
    private static partial int DeflateInit2(ZStream* stream, int level, int method, int windowBits, int memoryLevel, int strategy);

    [LibraryImport("libSystem.IO.Compression.Native", EntryPoint = "CompressionNative_Deflate")]
    private static partial int Deflate(ZStream* stream, int flush);

    [LibraryImport("libSystem.IO.Compression.Native", EntryPoint = "CompressionNative_DeflateEnd")]
    private static partial int DeflateEnd(ZStream* stream);

    [LibraryImport("libSystem.IO.Compression.Native", EntryPoint = "CompressionNative_InflateInit2_")]
    private static partial int InflateInit2(ZStream* stream, int windowBits);

    [LibraryImport("libSystem.IO.Compression.Native", EntryPoint = "CompressionNative_Inflate")]
    private static partial int Inflate(ZStream* stream, int flush);

    [LibraryImport("libSystem.IO.Compression.Native", EntryPoint = "CompressionNative_InflateEnd")]
    private static partial int InflateEnd(ZStream* stream);
}
