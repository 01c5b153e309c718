using System.Buffers.Binary;

namespace Dromaius.Devices.Storage.Scsi;

/// <content>What the disk tells of itself: capacity, vital product data, mode pages.</content>
public sealed partial class ScsiDisk
{
    private const int PageControlChangeable = 1, PageControlDefault = 2, PageControlSaved = 3;
    private const byte ErrorRecoveryPage = 0x01, GeometryPage = 0x04, FlexibleDiskPage = 0x05, CachingPage = 0x08, AllPages = 0x3F;
    private const byte WriteCacheEnabled = 4;

    private void StartReadCapacity10(ScsiTask task)
    {
        // Without PMI the address must be zero.
        if ((task.Cdb[8] & 1) == 0 && BinaryPrimitives.ReadUInt32BigEndian(task.Cdb.AsSpan(2)) != 0)
        {
            task.Fail(ScsiSense.InvalidField);
            return;
        }

        var data = new byte[8];
        BinaryPrimitives.WriteUInt32BigEndian(data, (uint)Math.Min(Math.Max(Blocks - 1, 0), uint.MaxValue));
        BinaryPrimitives.WriteInt32BigEndian(data.AsSpan(4), BlockSize);
        task.Reply(data, data.Length);
    }

    private void StartReadCapacity16(ScsiTask task)
    {
        const byte ProvisioningManaged = 0x80;
        var data = new byte[32];
        BinaryPrimitives.WriteInt64BigEndian(data, Math.Max(Blocks - 1, 0));
        BinaryPrimitives.WriteInt32BigEndian(data.AsSpan(8), BlockSize);
        data[13] = (byte)int.Log2(Math.Max(PhysicalBlockSize / BlockSize, 1));
        data[14] = DiscardGranularity > 0 ? ProvisioningManaged : (byte)0;
        task.Reply(data, BinaryPrimitives.ReadUInt32BigEndian(task.Cdb.AsSpan(10)));
    }

    protected override byte[]? VitalPage(byte page)
    {
        const byte BlockLimits = 0xB0, Characteristics = 0xB1, Provisioning = 0xB2;
        const int MaxDescriptors = 255;
        switch (page)
        {
            case BlockLimits:
                var limits = new byte[60];
                var most = (uint)Math.Min(MaxIoSize / BlockSize, uint.MaxValue);
                limits[0] = 1; // WRITE SAME of 0 blocks is refused
                BinaryPrimitives.WriteUInt16BigEndian(limits.AsSpan(2), (ushort)Math.Min(MinIoSize / BlockSize, ushort.MaxValue));
                BinaryPrimitives.WriteUInt32BigEndian(limits.AsSpan(4), most);
                BinaryPrimitives.WriteUInt32BigEndian(limits.AsSpan(8), (uint)(OptIoSize / BlockSize));
                BinaryPrimitives.WriteUInt32BigEndian(limits.AsSpan(16), (uint)Math.Min(MaxUnmapSize / BlockSize, uint.MaxValue));
                BinaryPrimitives.WriteUInt32BigEndian(limits.AsSpan(20), MaxDescriptors);
                BinaryPrimitives.WriteUInt32BigEndian(limits.AsSpan(24), (uint)(DiscardGranularity / BlockSize));
                BinaryPrimitives.WriteUInt64BigEndian(limits.AsSpan(32), most);
                return limits;
            case Characteristics:
                var characteristics = new byte[60];
                BinaryPrimitives.WriteUInt16BigEndian(characteristics, RotationRate);
                return characteristics;
            case Provisioning:
                // UNMAP and both lengths of WRITE SAME unmap; thin if there is something to give back.
                return [0, 0xE0, (byte)(DiscardGranularity > 0 ? 2 : 1), 0];
            default:
                return null;
        }
    }

    private void StartModeSense(ScsiTask task, bool six)
    {
        const byte NoBlockDescriptor = 8, ProtectedFlag = 0x80, FuaFlag = 0x10;
        var cdb = task.Cdb;
        var allocation = six ? cdb[4] : BinaryPrimitives.ReadUInt16BigEndian(cdb.AsSpan(7));
        var control = cdb[2] >> 6;
        var wanted = (byte)(cdb[2] & AllPages);
        if (control == PageControlSaved)
        {
            task.Fail(ScsiSense.SavingNotSupported);
            return;
        }

        var data = new List<byte>(new byte[six ? 4 : 8]);
        if ((cdb[1] & NoBlockDescriptor) == 0 && Blocks > 0)
        {
            var descriptor = new byte[8];
            if (Blocks <= 0xFF_FFFF)
                BinaryPrimitives.WriteUInt32BigEndian(descriptor, (uint)Blocks);
            BinaryPrimitives.WriteInt32BigEndian(descriptor.AsSpan(4), BlockSize);
            data.AddRange(descriptor);
        }

        var described = data.Count - (six ? 4 : 8);
        var before = data.Count;
        foreach (var page in (ReadOnlySpan<byte>)[ErrorRecoveryPage, GeometryPage, FlexibleDiskPage, CachingPage])
        {
            if (wanted == AllPages || wanted == page)
            {
                var body = ModePage(page, control);
                data.AddRange([page, (byte)body.Length]);
                data.AddRange(body);
            }
        }

        if (data.Count == before)
        {
            task.Fail(ScsiSense.InvalidField);
            return;
        }

        var flags = (byte)((Backend.IsReadOnly ? ProtectedFlag : 0) | (AnnouncesFua ? FuaFlag : 0));
        var reply = data.ToArray();
        if (six)
            (reply[0], reply[2], reply[3]) = ((byte)(reply.Length - 1), flags, (byte)described);
        else
        {
            BinaryPrimitives.WriteUInt16BigEndian(reply, (ushort)(reply.Length - 2));
            (reply[3], reply[7]) = (flags, (byte)described);
        }

        task.Reply(reply, allocation);
    }

    /// <summary>A mode page behind its two bytes of header.</summary>
    private byte[] ModePage(byte page, int control)
    {
        var changeable = control == PageControlChangeable;
        switch (page)
        {
            case ErrorRecoveryPage:
                var recovery = new byte[10];
                if (!changeable)
                    recovery[0] = 0x80; // automatic write reallocation
                return recovery;
            case GeometryPage:
                var rigid = new byte[22];
                if (changeable)
                    return rigid;
                rigid[0] = (byte)(_geometry.Cylinders >> 16);
                BinaryPrimitives.WriteUInt16BigEndian(rigid.AsSpan(1), (ushort)_geometry.Cylinders);
                rigid[3] = (byte)_geometry.Heads;
                // Write precompensation and reduced current start behind the last cylinder.
                rigid.AsSpan(0, 3).CopyTo(rigid.AsSpan(4));
                rigid.AsSpan(0, 3).CopyTo(rigid.AsSpan(7));
                BinaryPrimitives.WriteUInt16BigEndian(rigid.AsSpan(10), 200);  // step rate, 100 ns
                rigid.AsSpan(12, 3).Fill(0xFF);                                // landing zone
                BinaryPrimitives.WriteUInt16BigEndian(rigid.AsSpan(18), 5400); // medium rotation rate
                return rigid;
            case FlexibleDiskPage:
                var flexible = new byte[30];
                if (changeable)
                    return flexible;
                BinaryPrimitives.WriteUInt16BigEndian(flexible, 5000);         // transfer rate, kbit/s
                flexible[2] = (byte)_geometry.Heads;
                flexible[3] = (byte)_geometry.Sectors;
                BinaryPrimitives.WriteUInt16BigEndian(flexible.AsSpan(4), (ushort)BlockSize);
                BinaryPrimitives.WriteUInt16BigEndian(flexible.AsSpan(6), (ushort)_geometry.Cylinders);
                BinaryPrimitives.WriteUInt16BigEndian(flexible.AsSpan(8), (ushort)_geometry.Cylinders);
                BinaryPrimitives.WriteUInt16BigEndian(flexible.AsSpan(10), (ushort)_geometry.Cylinders);
                BinaryPrimitives.WriteUInt16BigEndian(flexible.AsSpan(12), 1); // step rate
                flexible[14] = 1;                                              // step pulse width
                BinaryPrimitives.WriteUInt16BigEndian(flexible.AsSpan(15), 1); // head settle delay
                flexible[17] = flexible[18] = 1;                               // motor on and off delays
                BinaryPrimitives.WriteUInt16BigEndian(flexible.AsSpan(26), 5400);
                return flexible;
            default:
                var caching = new byte[18];
                if (changeable || (control == PageControlDefault) || Backend.WriteCache)
                    caching[0] = WriteCacheEnabled;
                return caching;
        }
    }

    private void StartModeSelect(ScsiTask task)
    {
        const int PageFormat = 0x10, SavePages = 1;
        var cdb = task.Cdb;
        if ((cdb[1] & (PageFormat | SavePages)) != PageFormat)
            task.Fail((cdb[1] & SavePages) != 0 ? ScsiSense.SavingNotSupported : ScsiSense.InvalidField);
        else
            task.Expect(cdb[0] == ModeSelect6 ? cdb[4] : BinaryPrimitives.ReadUInt16BigEndian(cdb.AsSpan(7)));
    }

    /// <summary>Takes the parameter list: all of it is checked before any of it holds. Only the write cache can be changed.</summary>
    private void FinishModeSelect(ScsiTask task)
    {
        var six = task.Cdb[0] == ModeSelect6;
        var list = task.Buffer.AsSpan(0, (int)task.Position);
        if (list.IsEmpty)
            return;
        var header = six ? 4 : 8;
        var skip = list.Length < header ? 0 : six ? list[3] : BinaryPrimitives.ReadUInt16BigEndian(list[6..]);
        if (list.Length < header || skip is not (0 or 8) || header + skip > list.Length)
        {
            task.Fail(ScsiSense.ParameterLength);
            return;
        }

        if (skip == 8)
        {
            var count = BinaryPrimitives.ReadUInt32BigEndian(list[header..]) & 0xFF_FFFF;
            var size = BinaryPrimitives.ReadUInt32BigEndian(list[(header + 4)..]) & 0xFF_FFFF;
            if ((size != 0 && size != BlockSize) || (count != 0 && count != 0xFF_FFFF && count != Blocks))
            {
                task.Fail(ScsiSense.InvalidParameter);
                return;
            }
        }

        bool? cache = null;
        for (var pages = list[(header + skip)..]; !pages.IsEmpty;)
        {
            const int SubPage = 0x40;
            if (pages.Length < 2 || 2 + pages[1] > pages.Length)
            {
                task.Fail(ScsiSense.ParameterLength);
                return;
            }

            var page = (byte)(pages[0] & AllPages);
            var body = pages.Slice(2, pages[1]);
            if ((pages[0] & SubPage) != 0 || page is not (ErrorRecoveryPage or GeometryPage or FlexibleDiskPage or CachingPage) || !IsAllowed(page, body))
            {
                task.Fail(ScsiSense.InvalidParameter);
                return;
            }

            if (page == CachingPage)
                cache = (body[0] & WriteCacheEnabled) != 0;
            pages = pages[(2 + body.Length)..];
        }

        if (cache is { } on)
            Backend.WriteCache = on;
    }

    /// <summary>Nothing changes but what can be changed.</summary>
    private bool IsAllowed(byte page, ReadOnlySpan<byte> body)
    {
        var current = ModePage(page, 0);
        var mask = ModePage(page, PageControlChangeable);
        if (body.Length != current.Length)
            return false;
        for (var i = 0; i < body.Length; i++)
        {
            if (((body[i] ^ current[i]) & ~mask[i]) != 0)
                return false;
        }

        return true;
    }
}
