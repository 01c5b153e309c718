using System.Text;
using static Dromaius.Block.Nbd.NbdProtocol;

namespace Dromaius.Block.Nbd;

/// <summary>The client's side of the negotiation.</summary>
public sealed class NbdHandshake
{
    private const int MaxReplies = 10_000;
    private readonly Stream _stream;
    private readonly bool _isOld;
    private readonly long _oldSize;
    private readonly ushort _oldFlags;
    private readonly bool _noZeroes;

    public NbdHandshake(Stream stream)
    {
        _stream = stream;
        var head = Receive(16);
        if (U64(head) != InitMagic)
            throw new BlockException(BlockError.Invalid, "Bad initial magic received");
        if (U64(head, 8) == OldMagic)
        {
            var old = Receive(8 + 4 + 124);
            (_isOld, _oldSize, _oldFlags) = (true, (long)U64(old), U16(old, 10));
            return;
        }

        if (U64(head, 8) != OptionMagic)
            throw new BlockException(BlockError.Invalid, "Bad server magic received");
        var flags = U16(Receive(2));
        _noZeroes = (flags & NoZeroes) != 0;
        _stream.Write(Pack((FixedNewstyle | (_noZeroes ? NoZeroes : 0), 4)));
    }

    /// <summary>Begins to use an export.</summary>
    public NbdExportInfo Enter(string export)
    {
        if (_isOld)
            return new NbdExportInfo { Size = CheckSize(_oldSize), Flags = _oldFlags };
        var structured = Simple(OptionStructured);
        uint? context = null;
        var name = Encoding.UTF8.GetBytes(export);
        if (structured)
        {
            foreach (var (type, body) in Exchange(OptionSetMeta, MetaQuery(name, AllocationContext)))
            {
                if (type == ReplyMeta && body.Length >= 4 && NbdExportInfo.Text(body.AsSpan(4)) == AllocationContext)
                    context = U32(body);
            }
        }

        var info = Ask(OptionGo, export) ?? EnterByName(name);
        return info with { AllocationContext = context };
    }

    /// <summary>Everything that the server offers.</summary>
    public IReadOnlyList<NbdExportInfo> List()
    {
        if (_isOld)
            throw new BlockException(BlockError.NotSupported, "Server does not support export lists");
        var structured = Simple(OptionStructured);
        var names = new List<(string Name, string? Description)>();
        foreach (var (type, body) in Exchange(OptionList, []))
        {
            if (type == ErrorUnsupported || type == ErrorByPolicy)
                throw new BlockException(BlockError.NotPermitted, "Server does not support export lists");
            if (type != ReplyServer || body.Length < 4 || U32(body) > body.Length - 4)
                continue;
            var length = (int)U32(body);
            names.Add((NbdExportInfo.Text(body.AsSpan(4, length)), body.Length > 4 + length ? NbdExportInfo.Text(body.AsSpan(4 + length)) : null));
        }

        var list = new List<NbdExportInfo>();
        foreach (var (name, description) in names)
        {
            var info = Ask(OptionInfo, name) ?? new NbdExportInfo();
            var contexts = new List<string>();
            if (structured)
            {
                foreach (var (type, body) in Exchange(OptionListMeta, MetaQuery(Encoding.UTF8.GetBytes(name), null)))
                {
                    if (type == ReplyMeta && body.Length >= 4)
                        contexts.Add(NbdExportInfo.Text(body.AsSpan(4)));
                }
            }

            list.Add(info with { Name = name, Description = description ?? info.Description, Contexts = contexts });
        }

        Send(OptionAbort, []);
        return list;
    }

    private NbdExportInfo? Ask(uint option, string export)
    {
        var name = Encoding.UTF8.GetBytes(export);
        byte[] data = [.. Pack(((uint)name.Length, 4)), .. name, .. Pack((2, 2), (InfoBlockSize, 2), (InfoDescription, 2))];
        var info = new NbdExportInfo { Name = export };
        var found = false;
        foreach (var (type, body) in Exchange(option, data))
        {
            if (type == ErrorUnsupported)
                return null;
            if ((type & 0x80000000) != 0)
            {
                var message = body.Length > 0 ? NbdExportInfo.Text(body) : "";
                throw new BlockException(BlockError.Invalid, type == ErrorUnknown
                    ? "Requested export not available"
                    : $"Server refused: {message}") { Hint = message.Length > 0 ? $"server reported: {message}" : null };
            }

            if (type != ReplyInfo || body.Length < 2)
                continue;
            switch (U16(body))
            {
                case InfoExport when body.Length >= 12:
                    info = info with { Size = CheckSize((long)U64(body, 2)), Flags = U16(body, 10) };
                    found = true;
                    break;
                case InfoBlockSize when body.Length >= 14:
                    info = info with { BlockSize = (U32(body, 2), U32(body, 6), U32(body, 10)) };
                    break;
                case InfoDescription:
                    info = info with { Description = NbdExportInfo.Text(body.AsSpan(2)) };
                    break;
            }
        }

        return found ? info : throw new BlockException(BlockError.Invalid, "Server sent no export information");
    }

    private NbdExportInfo EnterByName(byte[] name)
    {
        Send(OptionExportName, name);
        var reply = Receive(10);
        if (!_noZeroes)
            _ = Receive(124);
        return new NbdExportInfo { Size = CheckSize((long)U64(reply)), Flags = U16(reply, 8) };
    }

    private bool Simple(uint option)
    {
        var acknowledged = false;
        foreach (var (type, _) in Exchange(option, []))
            acknowledged = type == ReplyAck;
        return acknowledged;
    }

    private static byte[] MetaQuery(byte[] name, string? context)
    {
        byte[] head = [.. Pack(((uint)name.Length, 4)), .. name, .. Pack((context == null ? 0u : 1u, 4))];
        if (context == null)
            return head;
        var query = Encoding.UTF8.GetBytes(context);
        return [.. head, .. Pack(((uint)query.Length, 4)), .. query];
    }

    /// <summary>Sends an option; the replies up to an acknowledgement or an error, which is the last.</summary>
    private List<(uint Type, byte[] Body)> Exchange(uint option, byte[] data)
    {
        Send(option, data);
        var replies = new List<(uint, byte[])>();
        while (replies.Count < MaxReplies)
        {
            var head = Receive(20);
            var length = U32(head, 16);
            if (U64(head) != OptionReplyMagic || U32(head, 8) != option || length > MaxName * 4)
                throw new BlockException(BlockError.Invalid, "Unexpected option reply");
            var type = U32(head, 12);
            replies.Add((type, Receive((int)length)));
            if (type == ReplyAck || (type & 0x80000000) != 0)
                return replies;
        }

        throw new BlockException(BlockError.Invalid, "The server does not come to an end");
    }

    private void Send(uint option, byte[] data) =>
        _stream.Write([.. Pack((OptionMagic, 8), (option, 4), ((uint)data.Length, 4)), .. data]);

    private byte[] Receive(int length)
    {
        var data = new byte[length];
        try
        {
            _stream.ReadExactly(data);
        }
        catch (EndOfStreamException e)
        {
            throw new BlockException(BlockError.Io, "Failed to read data: Unexpected end-of-file before all data were read", e);
        }

        return data;
    }

    private static long CheckSize(long size) => size >= 0 ? size : throw new BlockException(BlockError.TooBig, "export length is too large");
}
