using System.Net.Sockets;
using System.Text;
using Dromaius.Block.Graph;
using static Dromaius.Block.Nbd.NbdProtocol;

namespace Dromaius.Block.Nbd;

/// <summary>One client of a server: negotiation, then transfers, several at once.</summary>
internal sealed class NbdServerConnection(NbdServer server, Socket socket)
{
    private const int MaxParallel = 16, MaxOptionLength = 64 << 10, MaxExtents = 4096;
    private const uint AllocationId = 1;
    private readonly NetworkStream _stream = new(socket);
    private readonly Lock _sendLock = new();
    private readonly SemaphoreSlim _slots = new(MaxParallel);
    private bool _noZeroes, _structured, _allocation;
    private volatile NbdExport? _export;
    private string? _metaExport;

    /// <summary>The bitmaps that the client asked about; their contexts are numbered from 2 on.</summary>
    private List<DirtyBitmap> _bitmaps = [];

    private const int LongestShown = 80;

    private readonly record struct Request(ushort Flags, ushort Command, ulong Handle, long Offset, int Length, byte[] Data);

    /// <summary>What the client uses, once it has said so.</summary>
    public NbdExport? Export => _export;

    public void Close() => socket.Dispose();

    public void Run()
    {
        try
        {
            if (Negotiate())
            {
                while (ReadRequest() is { } request)
                    Begin(request);
            }
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException or BlockException or SocketException)
        {
            // A client that breaks the protocol, or off, is dropped.
        }

        for (var i = 0; i < MaxParallel; i++)
            _slots.Wait();
        try
        {
            if (_export is { IsWritable: true } export)
                export.Node.Flush();
        }
        catch (Exception e) when (e is BlockException or IOException or ObjectDisposedException)
        {
            // Nobody is left to be told.
        }

        socket.Dispose();
    }

    private bool Negotiate()
    {
        _stream.Write(Pack((InitMagic, 8), (OptionMagic, 8), (FixedNewstyle | NoZeroes, 2)));
        var flags = U32(Receive(4));
        if ((flags & ~3u) != 0)
            return false;
        _noZeroes = (flags & NoZeroes) != 0;
        while (true)
        {
            var head = Receive(16);
            if (U64(head) != OptionMagic)
                return false;
            var (option, length) = (U32(head, 8), U32(head, 12));
            if (length > MaxOptionLength)
                return false;
            var data = Receive((int)length);
            switch (option)
            {
                case OptionExportName:
                    return EnterByName(data);
                case OptionAbort:
                    Reply(option, ReplyAck);
                    return false;
                case OptionList:
                    SendList(data);
                    break;
                case OptionInfo or OptionGo:
                    if (SendInfo(option, data) && option == OptionGo)
                        return true;
                    break;
                case OptionStructured when data.Length == 0:
                    _structured = true;
                    Reply(option, ReplyAck);
                    break;
                case OptionListMeta or OptionSetMeta:
                    SendMeta(option, data);
                    break;
                default:
                    Reply(option, ErrorUnsupported);
                    break;
            }
        }
    }

    private ushort ExportFlags(NbdExport export)
    {
        var flags = HasFlags | SendFlush | SendFua | CanMultiConn | SendCache;
        flags |= export.IsWritable ? SendTrim | SendWriteZeroes | SendFastZero : NbdProtocol.ReadOnly;
        if (_structured)
            flags |= SendDf;
        return (ushort)flags;
    }

    private bool EnterByName(byte[] name)
    {
        _export = server.Find(Encoding.UTF8.GetString(name));
        if (_export == null)
            return false;
        var reply = Pack((_export.Node.Length, 8), (ExportFlags(_export), 2));
        _stream.Write(_noZeroes ? reply : [.. reply, .. new byte[124]]);
        return true;
    }

    private void SendList(byte[] data)
    {
        if (data.Length > 0)
        {
            Reply(OptionList, ErrorInvalid);
            return;
        }

        foreach (var export in server.Exports)
        {
            var name = Encoding.UTF8.GetBytes(export.Name);
            Reply(OptionList, ReplyServer, [.. Pack(((uint)name.Length, 4)), .. name, .. Encoding.UTF8.GetBytes(export.Description ?? "")]);
        }

        Reply(OptionList, ReplyAck);
    }

    private bool SendInfo(uint option, byte[] data)
    {
        if (data.Length < 6 || U32(data) > data.Length - 6)
        {
            Reply(option, ErrorInvalid);
            return false;
        }

        var length = (int)U32(data);
        var name = Encoding.UTF8.GetString(data, 4, length);
        var count = U16(data, 4 + length);
        if (data.Length != 6 + length + count * 2)
        {
            Reply(option, ErrorInvalid);
            return false;
        }

        if (server.Find(name) is not { } export)
        {
            Reply(option, ErrorUnknown, Encoding.UTF8.GetBytes($"export '{Shorten(name)}' not present"));
            return false;
        }

        if (export.Description is { } description)
            Reply(option, ReplyInfo, [.. Pack((InfoDescription, 2)), .. Encoding.UTF8.GetBytes(description)]);
        Reply(option, ReplyInfo, Pack((InfoBlockSize, 2), (1, 4), (4096, 4), (MaxTransfer, 4)));
        Reply(option, ReplyInfo, Pack((InfoExport, 2), (export.Node.Length, 8), (ExportFlags(export), 2)));
        Reply(option, ReplyAck);
        if (option == OptionGo)
        {
            _export = export;
            // Contexts are agreed on for one export.
            _allocation &= _metaExport == name;
            if (_metaExport != name)
                _bitmaps = [];
        }

        return true;
    }

    /// <summary>A name as messages show it.</summary>
    private static string Shorten(string name) => name.Length < LongestShown ? name : name[..LongestShown] + "...";

    private void SendMeta(uint option, byte[] data)
    {
        if (!_structured || data.Length < 8 || U32(data) > data.Length - 8)
        {
            Reply(option, ErrorInvalid);
            return;
        }

        var length = (int)U32(data);
        var name = Encoding.UTF8.GetString(data, 4, length);
        if (server.Find(name) is not { } export)
        {
            Reply(option, ErrorUnknown, Encoding.UTF8.GetBytes($"export '{Shorten(name)}' not present"));
            return;
        }

        var at = 4 + length;
        var queries = U32(data, at);
        at += 4;
        var wanted = option == OptionListMeta && queries == 0;
        List<DirtyBitmap> bitmaps = wanted ? [.. export.Bitmaps] : [];
        for (var i = 0; i < queries; i++)
        {
            if (at + 4 > data.Length || U32(data, at) > data.Length - at - 4)
            {
                Reply(option, ErrorInvalid);
                return;
            }

            var query = Encoding.UTF8.GetString(data, at + 4, (int)U32(data, at));
            wanted |= query == AllocationContext || (option == OptionListMeta && query == "base:");
            bitmaps.AddRange(export.Bitmaps.Where(b => !bitmaps.Contains(b)
                && (query == BitmapContext + b.Name || (option == OptionListMeta && query is "qemu:" or BitmapContext))));
            at += 4 + (int)U32(data, at);
        }

        if (option == OptionSetMeta)
            (_metaExport, _allocation, _bitmaps) = (name, wanted, bitmaps);
        if (wanted)
            Reply(option, ReplyMeta, [.. Pack((option == OptionSetMeta ? AllocationId : 0, 4)), .. Encoding.UTF8.GetBytes(AllocationContext)]);
        for (var i = 0; i < bitmaps.Count; i++)
            Reply(option, ReplyMeta, [.. Pack((option == OptionSetMeta ? AllocationId + 1 + i : 0, 4)), .. Encoding.UTF8.GetBytes(BitmapContext + bitmaps[i].Name)]);
        Reply(option, ReplyAck);
    }

    private void Reply(uint option, uint type, byte[]? body = null)
    {
        body ??= [];
        _stream.Write([.. Pack((OptionReplyMagic, 8), (option, 4), (type, 4), ((uint)body.Length, 4)), .. body]);
    }

    private Request? ReadRequest()
    {
        var head = new byte[28];
        if (_stream.ReadAtLeast(head, 28, throwOnEndOfStream: false) < 28)
            return null;
        if (U32(head) != RequestMagic)
            return null;
        var command = U16(head, 6);
        var length = U32(head, 24);
        if (command == Disconnect)
            return null;
        byte[] data = [];
        if (command == NbdProtocol.Write)
        {
            // What is longer than was agreed on cannot be told from garbage.
            if (length > MaxTransfer)
                return null;
            data = Receive((int)length);
        }

        return new Request(U16(head, 4), command, U64(head, 8), (long)U64(head, 16), (int)Math.Min(length, int.MaxValue), data);
    }

    private void Begin(Request request)
    {
        _slots.Wait();
        IoThreads.Run(() =>
        {
            try
            {
                Serve(request);
            }
            catch (Exception e) when (e is IOException or ObjectDisposedException)
            {
                // The connection is gone; the reader notices.
            }
            finally
            {
                _ = _slots.Release();
            }
        });
    }

    private void Serve(Request request)
    {
        try
        {
            Perform(request);
        }
        catch (BlockException e)
        {
            SendError(request, ErrorNumber(e.Error), e.Message);
        }
    }

    private void Perform(Request request)
    {
        var node = _export!.Node;
        var isChange = request.Command is NbdProtocol.Write or NbdProtocol.WriteZeroes or Trim;
        if (isChange && !_export.IsWritable)
            throw new BlockException(BlockError.NotPermitted);
        if (request.Command != NbdProtocol.Flush && (request.Offset < 0 || request.Offset > node.Length - request.Length))
            throw new BlockException(isChange ? BlockError.NoSpace : BlockError.Invalid, "Operation past EOF");
        switch (request.Command)
        {
            case NbdProtocol.Read:
                SendData(request, node);
                return;
            case NbdProtocol.Write:
                node.Write(request.Offset, request.Data);
                break;
            case NbdProtocol.Flush:
                node.Flush();
                break;
            case Trim:
                node.Discard(request.Offset, request.Length);
                break;
            case NbdProtocol.WriteZeroes when (request.Flags & FlagFastZero) != 0 && !node.ZeroesFast:
                throw new BlockException(BlockError.NotSupported);
            case NbdProtocol.WriteZeroes:
                node.WriteZeroes(request.Offset, request.Length, (request.Flags & FlagNoHole) == 0);
                break;
            case Cache:
                break;
            case NbdProtocol.BlockStatus when (_allocation || _bitmaps.Count > 0) && request.Length > 0:
                SendStatuses(request, node);
                return;
            default:
                throw new BlockException(BlockError.Invalid, "Unsupported request");
        }

        if (isChange && (request.Flags & FlagFua) != 0)
            node.Flush();
        SendDone(request);
    }

    private void SendDone(Request request)
    {
        lock (_sendLock)
            _stream.Write(_structured
                ? Pack((StructuredReplyMagic, 4), (ChunkDone, 2), (ChunkNone, 2), ((long)request.Handle, 8), (0, 4))
                : Pack((SimpleReplyMagic, 4), (0, 4), ((long)request.Handle, 8)));
    }

    private void SendError(Request request, uint error, string message)
    {
        var text = Encoding.UTF8.GetBytes(message);
        lock (_sendLock)
        {
            _stream.Write(_structured
                ? [.. Pack((StructuredReplyMagic, 4), (ChunkDone, 2), (ChunkError, 2), ((long)request.Handle, 8), ((uint)text.Length + 6, 4), (error, 4), ((uint)text.Length, 2)), .. text]
                : Pack((SimpleReplyMagic, 4), (error, 4), ((long)request.Handle, 8)));
        }
    }

    private void SendData(Request request, BlockNode node)
    {
        if (request.Length > MaxTransfer)
            throw new BlockException(BlockError.Invalid, "Request is too long");
        if (_structured && request.Length > 0 && (request.Flags & FlagDf) == 0)
        {
            SendSparse(request, node);
            return;
        }

        var data = new byte[request.Length];
        node.Read(request.Offset, data);
        lock (_sendLock)
        {
            _stream.Write(_structured
                ? Pack((StructuredReplyMagic, 4), (ChunkDone, 2), (ChunkData, 2), ((long)request.Handle, 8), ((uint)data.Length + 8, 4), (request.Offset, 8))
                : Pack((SimpleReplyMagic, 4), (0, 4), ((long)request.Handle, 8)));
            _stream.Write(data);
        }
    }

    /// <summary>Holes are told as such, not sent.</summary>
    private void SendSparse(Request request, BlockNode node)
    {
        var (at, end) = (request.Offset, request.Offset + request.Length);
        while (at < end)
        {
            var status = ChainStatus.Get(node, null, at, end - at);
            var n = (int)status.Length;
            var last = at + n == end ? ChunkDone : (ushort)0;
            if (status.IsZero)
            {
                lock (_sendLock)
                    _stream.Write(Pack((StructuredReplyMagic, 4), (last, 2), (ChunkHole, 2), ((long)request.Handle, 8), (12, 4), (at, 8), ((uint)n, 4)));
            }
            else
            {
                var data = new byte[n];
                node.Read(at, data);
                lock (_sendLock)
                {
                    _stream.Write(Pack((StructuredReplyMagic, 4), (last, 2), (ChunkData, 2), ((long)request.Handle, 8), ((uint)n + 8, 4), (at, 8)));
                    _stream.Write(data);
                }
            }

            at += n;
        }
    }

    private void SendStatuses(Request request, BlockNode node)
    {
        if (_allocation)
            SendStatus(request, node, _bitmaps.Count == 0);
        for (var i = 0; i < _bitmaps.Count; i++)
        {
            var bitmap = _bitmaps[i];
            SendExtents(request, (uint)(AllocationId + 1 + i), i == _bitmaps.Count - 1, (at, most) =>
                (bitmap.RunLength(at, most, out var dirty), dirty ? StateDirty : 0));
        }
    }

    private void SendStatus(Request request, BlockNode node, bool last) => SendExtents(request, AllocationId, last, (at, most) =>
    {
        var status = ChainStatus.Get(node, null, at, most);
        return (status.Length, (status.IsAllocated && status.IsData ? 0 : StateHole) | (status.IsZero ? StateZero : 0));
    });

    private void SendExtents(Request request, uint context, bool isLast, Func<long, long, (long Length, uint Flags)> state)
    {
        var extents = new List<(uint Length, uint Flags)>();
        var limit = (request.Flags & FlagReqOne) != 0 ? 1 : MaxExtents;
        var (at, end) = (request.Offset, request.Offset + request.Length);
        while (at < end)
        {
            var (length, flags) = state(at, end - at);
            if (extents.Count > 0 && extents[^1].Flags == flags)
                extents[^1] = (extents[^1].Length + (uint)length, flags);
            else if (extents.Count == limit)
                break;
            else
                extents.Add(((uint)length, flags));
            at += length;
        }

        var body = new List<byte>(Pack((context, 4)));
        foreach (var extent in extents)
            body.AddRange(Pack((extent.Length, 4), (extent.Flags, 4)));
        lock (_sendLock)
            _stream.Write([.. Pack((StructuredReplyMagic, 4), (isLast ? ChunkDone : 0, 2), (ChunkStatus, 2), ((long)request.Handle, 8), ((uint)body.Count, 4)), .. body]);
    }

    private byte[] Receive(int length)
    {
        var data = new byte[length];
        _stream.ReadExactly(data);
        return data;
    }
}
