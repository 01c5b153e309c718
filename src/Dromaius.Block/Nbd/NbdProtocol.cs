using System.Buffers.Binary;

namespace Dromaius.Block.Nbd;

/// <summary>Numbers of the network block device protocol. Source: doc/proto.md of the NetworkBlockDevice project.</summary>
internal static class NbdProtocol
{
    public const long InitMagic = 0x4E42444D41474943, OptionMagic = 0x49484156454F5054, OptionReplyMagic = 0x0003E889045565A9;
    public const long OldMagic = 0x0000420281861253;
    public const uint RequestMagic = 0x25609513, SimpleReplyMagic = 0x67446698, StructuredReplyMagic = 0x668E33EF;
    public const ushort FixedNewstyle = 1, NoZeroes = 2;
    public const int DefaultPort = 10809;
    public const int MaxTransfer = 32 << 20, MaxName = 4096;

    public const uint OptionExportName = 1, OptionAbort = 2, OptionList = 3, OptionStartTls = 5, OptionInfo = 6, OptionGo = 7, OptionStructured = 8,
        OptionListMeta = 9, OptionSetMeta = 10;

    public const uint ReplyAck = 1, ReplyServer = 2, ReplyInfo = 3, ReplyMeta = 4, ErrorUnsupported = 0x80000001, ErrorByPolicy = 0x80000002,
        ErrorInvalid = 0x80000003, ErrorUnknown = 0x80000006, ErrorTooBig = 0x80000009;

    public const ushort InfoExport = 0, InfoName = 1, InfoDescription = 2, InfoBlockSize = 3;

    public const ushort HasFlags = 1, ReadOnly = 2, SendFlush = 4, SendFua = 8, SendTrim = 32, SendWriteZeroes = 64, SendDf = 128, CanMultiConn = 256,
        SendCache = 1024, SendFastZero = 2048;

    public const ushort Read = 0, Write = 1, Disconnect = 2, Flush = 3, Trim = 4, Cache = 5, WriteZeroes = 6, BlockStatus = 7;
    public const ushort FlagFua = 1, FlagNoHole = 2, FlagDf = 4, FlagReqOne = 8, FlagFastZero = 16;
    public const ushort ChunkDone = 1, ChunkNone = 0, ChunkData = 1, ChunkHole = 2, ChunkStatus = 5, ChunkError = 0x8001, ChunkErrorOffset = 0x8002;
    public const uint StateHole = 1, StateZero = 2, StateDirty = 1;
    public const string AllocationContext = "base:allocation", BitmapContext = "qemu:dirty-bitmap:";

    public static ushort U16(ReadOnlySpan<byte> data, int at = 0) => BinaryPrimitives.ReadUInt16BigEndian(data[at..]);

    public static uint U32(ReadOnlySpan<byte> data, int at = 0) => BinaryPrimitives.ReadUInt32BigEndian(data[at..]);

    public static ulong U64(ReadOnlySpan<byte> data, int at = 0) => BinaryPrimitives.ReadUInt64BigEndian(data[at..]);

    /// <summary>Puts numbers one behind the other.</summary>
    public static byte[] Pack(params ReadOnlySpan<(long Value, int Size)> fields)
    {
        var length = 0;
        foreach (var (_, size) in fields)
            length += size;
        var data = new byte[length];
        var at = 0;
        foreach (var (value, size) in fields)
        {
            for (var i = 0; i < size; i++)
                data[at + i] = (byte)(value >> (8 * (size - 1 - i)));
            at += size;
        }

        return data;
    }

    /// <summary>The protocol knows only some error numbers.</summary>
    public static uint ErrorNumber(BlockError error) => error switch
    {
        BlockError.NotPermitted or BlockError.ReadOnly => 1,
        BlockError.Invalid => 22,
        BlockError.NoSpace or BlockError.TooBig => 28,
        BlockError.NotSupported => 95,
        _ => 5,
    };
}
