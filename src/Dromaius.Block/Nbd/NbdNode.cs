using System.Net.Sockets;
using System.Text;
using static Dromaius.Block.Nbd.NbdProtocol;

namespace Dromaius.Block.Nbd;

/// <summary>A disk on a server of the network block device protocol. Several transfers are under way at once on one connection.</summary>
public sealed class NbdNode : BlockNode
{
    private readonly NbdAddress _address;
    private readonly Socket _socket;
    private readonly NetworkStream _stream;
    private readonly Lock _sendLock = new();
    private readonly object _waitLock = new();
    private readonly Dictionary<ulong, Waiting> _waiting = [];
    private readonly NbdExportInfo _info;
    private readonly bool _readOnly;
    private ulong _nextHandle;
    private bool _broken;

    public NbdNode(NbdAddress address, bool readOnly, bool autoReadOnly)
    {
        _address = address;
        _socket = address.Connect();
        try
        {
            _stream = new NetworkStream(_socket);
            _info = new NbdHandshake(_stream).Enter(address.Export);
        }
        catch (Exception e)
        {
            _socket.Dispose();
            throw e as BlockException ?? new BlockException(BlockError.Io, $"Failed to read data: {e.Message}", e);
        }

        var serverReadOnly = (_info.Flags & NbdProtocol.ReadOnly) != 0;
        if (serverReadOnly && !readOnly && !autoReadOnly)
        {
            _socket.Dispose();
            throw new BlockException(BlockError.Access, "request on write denied without write permission");
        }

        _readOnly = readOnly || serverReadOnly;
        AllowsDiscard = true;
        new Thread(Receive, 256 << 10) { IsBackground = true, Name = "nbd client" }.Start();
    }

    public override string Driver => "nbd";
    public override long Length => _info.Size;
    public override bool IsReadOnly => _readOnly;
    public override string FileName => _address.ToString();

    public override void Read(long offset, Span<byte> into)
    {
        CheckRange(offset, into.Length);
        while (!into.IsEmpty)
        {
            var part = into[..Math.Min(into.Length, MaxTransfer)];
            var data = Transfer(NbdProtocol.Read, 0, offset, part.Length, []).Data!;
            data.AsSpan(0, part.Length).CopyTo(part);
            offset += part.Length;
            into = into[part.Length..];
        }
    }

    protected override void WriteCore(long offset, ReadOnlySpan<byte> from)
    {
        CheckRange(offset, from.Length);
        CheckWritable();
        while (!from.IsEmpty)
        {
            var part = from[..Math.Min(from.Length, MaxTransfer)];
            _ = Transfer(NbdProtocol.Write, 0, offset, part.Length, part);
            offset += part.Length;
            from = from[part.Length..];
        }
    }

    protected override void WriteZeroesCore(long offset, long length, bool mayUnmap)
    {
        CheckRange(offset, length);
        CheckWritable();
        if ((_info.Flags & SendWriteZeroes) == 0)
        {
            base.WriteZeroesCore(offset, length, mayUnmap);
            return;
        }

        ForEachPart(offset, length, (at, n) => Transfer(NbdProtocol.WriteZeroes, mayUnmap ? (ushort)0 : FlagNoHole, at, n, []));
    }

    protected override void DiscardCore(long offset, long length)
    {
        CheckRange(offset, length);
        if (!_readOnly && AllowsDiscard && (_info.Flags & SendTrim) != 0)
            ForEachPart(offset, length, (at, n) => Transfer(Trim, 0, at, n, []));
    }

    public override void Flush()
    {
        if (!_readOnly && (_info.Flags & SendFlush) != 0)
            _ = Transfer(NbdProtocol.Flush, 0, 0, 0, []);
    }

    public override BlockStatus Status(long offset, long length)
    {
        if (_info.AllocationContext is not { } || length <= 0)
            return new BlockStatus(length, true, false, offset);
        var n = (int)Math.Min(length, 1 << 30) & ~511;
        if (n == 0)
            return new BlockStatus(length, true, false, offset);
        var extent = Transfer(NbdProtocol.BlockStatus, FlagReqOne, offset, n, []).Extent;
        if (extent is not { } e)
            return new BlockStatus(length, true, false, offset);
        return new BlockStatus(Math.Min(e.Length, length), true, (e.Flags & StateZero) != 0, offset, false, (e.Flags & StateHole) == 0 && (e.Flags & StateZero) != 0);
    }

    protected override void Dispose(bool disposing)
    {
        try
        {
            lock (_sendLock)
                _stream.Write(Pack((RequestMagic, 4), (0, 2), (Disconnect, 2), (0, 8), (0, 8), (0, 4)));
        }
        catch (IOException)
        {
            // It is gone already.
        }

        _socket.Dispose();
    }

    private static void ForEachPart(long offset, long length, Action<long, int> action)
    {
        while (length > 0)
        {
            var n = (int)Math.Min(length, 1 << 30);
            action(offset, n);
            offset += n;
            length -= n;
        }
    }

    /// <summary>Sends a request and waits for its reply.</summary>
    private Waiting Transfer(ushort command, ushort flags, long offset, int length, ReadOnlySpan<byte> payload)
    {
        var waiting = new Waiting(offset) { Data = command == NbdProtocol.Read ? new byte[length] : null };
        ulong handle;
        lock (_waitLock)
        {
            if (_broken)
                throw new BlockException(BlockError.Io);
            handle = ++_nextHandle;
            _waiting.Add(handle, waiting);
        }

        try
        {
            lock (_sendLock)
            {
                _stream.Write(Pack((RequestMagic, 4), (flags, 2), (command, 2), ((long)handle, 8), (offset, 8), ((uint)length, 4)));
                if (!payload.IsEmpty)
                    _stream.Write(payload);
            }
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException)
        {
            Break();
        }

        lock (_waitLock)
        {
            while (!waiting.IsDone)
                Monitor.Wait(_waitLock);
        }

        if (waiting.Error != 0)
            throw new BlockException((BlockError)waiting.Error);
        return waiting;
    }

    private void Receive()
    {
        try
        {
            while (true)
                ReceiveOne();
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException or BlockException)
        {
            Break();
        }
    }

    private void ReceiveOne()
    {
        var head = new byte[20];
        _stream.ReadExactly(head, 0, 16);
        switch (U32(head))
        {
            case SimpleReplyMagic:
                var simple = Find(U64(head, 8));
                simple.Error = U32(head, 4);
                if (simple.Error == 0 && simple.Data is { } data)
                    _stream.ReadExactly(data);
                Finish(U64(head, 8));
                break;
            case StructuredReplyMagic:
                _stream.ReadExactly(head, 16, 4);
                ReceiveChunk(U16(head, 4), U16(head, 6), U64(head, 8), U32(head, 16));
                break;
            default:
                throw new BlockException(BlockError.Io, "Unexpected reply from server");
        }
    }

    private void ReceiveChunk(ushort flags, ushort type, ulong handle, uint length)
    {
        var waiting = Find(handle);
        if (length > MaxTransfer + 64)
            throw new BlockException(BlockError.Io, "Reply is too long");
        switch (type)
        {
            case ChunkData when waiting.Data is { } data && length >= 8:
                var position = new byte[8];
                _stream.ReadExactly(position);
                var at = (long)U64(position) - waiting.Offset;
                if (at < 0 || at > data.Length - (length - 8))
                    throw new BlockException(BlockError.Io, "Reply is outside the request");
                _stream.ReadExactly(data, (int)at, (int)length - 8);
                break;
            case ChunkHole when waiting.Data is { } data && length == 12:
                var hole = new byte[12];
                _stream.ReadExactly(hole);
                var start = (long)U64(hole) - waiting.Offset;
                if (start < 0 || start > data.Length - (long)U32(hole, 8))
                    throw new BlockException(BlockError.Io, "Reply is outside the request");
                data.AsSpan((int)start, (int)U32(hole, 8)).Clear();
                break;
            default:
                var body = new byte[length];
                _stream.ReadExactly(body);
                if (type == ChunkStatus && length >= 12 && U32(body) == _info.AllocationContext && U32(body, 4) > 0)
                    waiting.Extent = (U32(body, 4), U32(body, 8));
                else if ((type & 0x8000) != 0 && length >= 4)
                    waiting.Error = U32(body) is 0 ? 5 : U32(body);
                break;
        }

        if ((flags & ChunkDone) != 0)
            Finish(handle);
    }

    private Waiting Find(ulong handle)
    {
        lock (_waitLock)
            return _waiting.GetValueOrDefault(handle) ?? throw new BlockException(BlockError.Io, "Reply to no request");
    }

    private void Finish(ulong handle)
    {
        lock (_waitLock)
        {
            if (_waiting.Remove(handle, out var waiting))
                waiting.IsDone = true;
            Monitor.PulseAll(_waitLock);
        }
    }

    /// <summary>The connection is lost: everything under way fails.</summary>
    private void Break()
    {
        lock (_waitLock)
        {
            _broken = true;
            foreach (var waiting in _waiting.Values)
            {
                waiting.Error = 5;
                waiting.IsDone = true;
            }

            _waiting.Clear();
            Monitor.PulseAll(_waitLock);
        }
    }

    private sealed class Waiting(long offset)
    {
        public long Offset => offset;
        public byte[]? Data { get; init; }
        public uint Error { get; set; }
        public (long Length, uint Flags)? Extent { get; set; }
        public bool IsDone { get; set; }
    }
}

/// <summary>What a server says of an export.</summary>
public sealed record NbdExportInfo
{
    public string Name { get; init; } = "";
    public string? Description { get; init; }
    public long Size { get; init; }
    public ushort Flags { get; init; }
    public (uint Min, uint Preferred, uint Max)? BlockSize { get; init; }

    /// <summary>The id of <c>base:allocation</c>, if it was agreed on.</summary>
    public uint? AllocationContext { get; init; }
    public IReadOnlyList<string> Contexts { get; init; } = [];

    internal static string Text(ReadOnlySpan<byte> bytes) => Encoding.UTF8.GetString(bytes);
}
