using System.Buffers.Binary;

namespace Dromaius.Devices.Storage;

/// <content>The admin command set.</content>
public sealed partial class Nvme
{
    private const int IdentifySize = 4096, AsyncEventLimit = 3;
    private readonly uint[] _features = new uint[16];
    private int _asyncEvents;

    private void ResetAdmin()
    {
        Array.Clear(_features);
        _features[4] = 0x157; // temperature threshold, kelvins
        _asyncEvents = 0;
    }

    private void RunAdmin(NvmeSubmissionQueue queue, ReadOnlySpan<byte> command)
    {
        var id = IdOf(command);
        var result = 0u;
        ushort status;
        switch (command[0])
        {
            case 0x00:
                status = DeleteSubmission((int)(Dword(command, 10) & 0xFFFF));
                break;
            case 0x01:
                status = CreateSubmission(command);
                break;
            case 0x02:
                status = GetLogPage(command);
                break;
            case 0x04:
                status = DeleteCompletion((int)(Dword(command, 10) & 0xFFFF));
                break;
            case 0x05:
                status = CreateCompletion(command);
                break;
            case 0x06:
                status = Identify(command);
                break;
            case 0x08: // Abort: commands end too soon for it
                (status, result) = (Success, 1);
                break;
            case 0x09 or 0x0A:
                status = Features(command, command[0] == 0x09, out result);
                break;
            case 0x0C:
                // Stays open until there is something to tell, which is never.
                if (_asyncEvents <= AsyncEventLimit)
                {
                    _asyncEvents++;
                    return;
                }

                status = 0x4105;
                break;
            default:
                status = InvalidOpcode;
                break;
        }

        Complete(queue, id, status, result);
    }

    private ushort CreateCompletion(ReadOnlySpan<byte> command)
    {
        var id = (int)(Dword(command, 10) & 0xFFFF);
        var size = (int)(Dword(command, 10) >> 16) + 1;
        var flags = Dword(command, 11);
        var address = BinaryPrimitives.ReadUInt64LittleEndian(command[24..]);
        if (id is 0 or > MaxQueues || _completion[id] != null)
            return InvalidQueue;
        if (size is < 2 or > MaxEntries)
            return InvalidQueueSize;
        if (flags >> 16 >= Vectors)
            return InvalidVector;
        if ((flags & 1) == 0 || address == 0 || (address & (ulong)(PageSize - 1)) != 0)
            return InvalidField;
        _completion[id] = new NvmeCompletionQueue(id, address, size, (int)(flags >> 16), (flags & 2) != 0);
        return Success;
    }

    private ushort CreateSubmission(ReadOnlySpan<byte> command)
    {
        var id = (int)(Dword(command, 10) & 0xFFFF);
        var size = (int)(Dword(command, 10) >> 16) + 1;
        var flags = Dword(command, 11);
        var completionId = (int)(flags >> 16);
        var address = BinaryPrimitives.ReadUInt64LittleEndian(command[24..]);
        if (completionId is 0 or > MaxQueues || _completion[completionId] is not { } completion)
            return InvalidCompletionQueue;
        if (id is 0 or > MaxQueues || _submission[id] != null)
            return InvalidQueue;
        if (size is < 2 or > MaxEntries)
            return InvalidQueueSize;
        if ((flags & 1) == 0 || address == 0 || (address & (ulong)(PageSize - 1)) != 0)
            return InvalidField;
        completion.Users++;
        _submission[id] = new NvmeSubmissionQueue(id, address, size, completion);
        return Success;
    }

    private ushort DeleteSubmission(int id)
    {
        if (id is 0 or > MaxQueues || _submission[id] is not { } queue)
            return InvalidQueue;
        queue.Completion.Users--;
        _submission[id] = null;
        return Success;
    }

    private ushort DeleteCompletion(int id)
    {
        if (id is 0 or > MaxQueues || _completion[id] is not { } queue)
            return InvalidQueue;
        if (queue.Users > 0)
            return InvalidDeletion;
        _completion[id] = null;
        UpdatePin();
        return Success;
    }

    private ushort Features(ReadOnlySpan<byte> command, bool set, out uint result)
    {
        const int WriteCache = 6, QueueCount = 7;
        var feature = (int)(Dword(command, 10) & 0xFF);
        var value = Dword(command, 11);
        result = 0;
        if (feature is 0 or 3 or > 0x0B)
            return InvalidField;
        switch (feature)
        {
            case WriteCache:
                if (set)
                    _backend.WriteCache = (value & 1) != 0;
                result = set ? 0 : _backend.WriteCache ? 1u : 0;
                break;
            case QueueCount:
                result = (MaxQueues - 1) | ((MaxQueues - 1) << 16);
                break;
            default:
                if (set)
                    _features[feature] = value;
                else
                    result = _features[feature];
                break;
        }

        return Success;
    }

    private ushort GetLogPage(ReadOnlySpan<byte> command)
    {
        var page = Dword(command, 10) & 0xFF;
        var length = 4 * (((long)(Dword(command, 10) >> 16) & 0xFFF) + ((long)(Dword(command, 11) & 0xFFFF) << 16) + 1);
        var offset = Dword(command, 12) | (ulong)Dword(command, 13) << 32;
        if (page is < 1 or > 3)
            return 0x4109; // invalid log page
        var log = new byte[page == 1 ? 256 : 512];
        if (page == 2)
        {
            BinaryPrimitives.WriteUInt16LittleEndian(log.AsSpan(1), 0x143);
            log[3] = 100;                       // available spare, per cent
            log[4] = 10;
            var units = _backend.Statistics;
            BinaryPrimitives.WriteInt64LittleEndian(log.AsSpan(32), (units.ReadBytes + 511_999) / 512_000);
            BinaryPrimitives.WriteInt64LittleEndian(log.AsSpan(48), (units.WriteBytes + 511_999) / 512_000);
            BinaryPrimitives.WriteInt64LittleEndian(log.AsSpan(64), units.ReadOperations);
            BinaryPrimitives.WriteInt64LittleEndian(log.AsSpan(80), units.WriteOperations);
        }
        else if (page == 3)
        {
            log[0] = 1;
            "1.0     "u8.CopyTo(log.AsSpan(8));
        }

        if (offset >= (ulong)log.Length)
            return InvalidField;
        return Reply(command, log.AsSpan((int)offset, (int)Math.Min(length, log.Length - (long)offset)));
    }

    private ushort Reply(ReadOnlySpan<byte> command, ReadOnlySpan<byte> data)
    {
        if (Map(command, data.Length, true) is not { } memory)
            return InvalidField;
        foreach (var segment in memory.Segments)
        {
            data[..segment.Length].CopyTo(segment.Span);
            data = data[segment.Length..];
        }

        memory.Complete();
        return Success;
    }

    private ushort Identify(ReadOnlySpan<byte> command)
    {
        var space = Dword(command, 1);
        var data = new byte[IdentifySize];
        switch (Dword(command, 10) & 0xFF)
        {
            case 0:
                if (space == 1)
                    IdentifyNamespace(data);
                else if (space != uint.MaxValue)
                    return InvalidNamespace;
                break;
            case 1:
                IdentifyController(data);
                break;
            case 2:
                if (space >= 0xFFFF_FFFE)
                    return InvalidNamespace;
                if (space < 1)
                    data[0] = 1;
                break;
            case 3:
                if (space != 1)
                    return InvalidNamespace;
                // One descriptor: a UUID made of the serial number.
                data[0] = 3;
                data[1] = 16;
                Text(data.AsSpan(4, 16), Serial);
                break;
            default:
                return InvalidField;
        }

        return Reply(command, data);
    }

    private void IdentifyNamespace(Span<byte> data)
    {
        for (var i = 0; i < 24; i += 8)
            BinaryPrimitives.WriteInt64LittleEndian(data[i..], Blocks);
                data[128 + 2] = (byte)int.Log2(BlockSize);
    }

    private void IdentifyController(Span<byte> data)
    {
        BinaryPrimitives.WriteUInt16LittleEndian(data, VendorId);
        BinaryPrimitives.WriteUInt16LittleEndian(data[2..], 0x1AF4);
        Text(data.Slice(4, 20), Serial);
        Text(data.Slice(24, 40), "DROMAIUS NVMe Ctrl");
        Text(data.Slice(64, 8), "1.0");
        data[72] = 6;
        data[77] = MaxTransferShift;
        BinaryPrimitives.WriteUInt32LittleEndian(data[80..], Version);
        data[258] = 3;
        data[259] = AsyncEventLimit;
        data[260] = 0x03;                       // one firmware slot, read only
        BinaryPrimitives.WriteUInt16LittleEndian(data[266..], 0x157);
        BinaryPrimitives.WriteUInt16LittleEndian(data[268..], 0x175);
        data[512] = 0x66;
        data[513] = 0x44;
        BinaryPrimitives.WriteUInt32LittleEndian(data[516..], 1);
        data[520] = 0x0C;                       // data set management, write zeroes
        data[525] = 1;                          // volatile write cache
        var name = $"nqn.2026-11.org.dromaius:{Serial}";
        Text(data.Slice(768, Math.Min(name.Length, 223)), name);
        BinaryPrimitives.WriteUInt16LittleEndian(data[2048..], 0x9C4);
        data[2052] = 0x10;
        data[2056] = 0x04;
    }

    private static void Text(Span<byte> to, string text)
    {
        to.Fill((byte)' ');
        for (var i = 0; i < Math.Min(to.Length, text.Length); i++)
            to[i] = text[i] < 0x80 ? (byte)text[i] : (byte)'?';
    }
}
