using System.Buffers.Binary;

namespace Dromaius.Devices.Storage.Scsi;

/// <content>What the drive tells of itself and its disc: tables of contents, features, mode pages, DVD structures.</content>
public sealed partial class ScsiCdrom
{
    private const ushort ProfileCd = 0x08, ProfileDvd = 0x10;

    private void ReadToc(ScsiTask task)
    {
        var cdb = task.Cdb;
        var msf = (cdb[1] & 2) != 0;
        // Older drives took the format from the top bits of the control byte.
        var format = (cdb[2] & 0x0F) != 0 ? cdb[2] & 0x0F : cdb[9] >> 6;
        var first = cdb[6];
        var allocation = BinaryPrimitives.ReadUInt16BigEndian(cdb.AsSpan(7));
        switch (format)
        {
            case 0:
                if (first > 1 && first != 0xAA)
                    task.Fail(ScsiSense.InvalidField);
                else
                    task.Reply(Toc(first, msf), allocation);
                break;
            case 1:
                var session = new byte[12];
                session[1] = 10;
                session[2] = session[3] = 1;
                session[5] = 0x14;
                session[6] = 1;
                WriteAddress(session.AsSpan(8), 0, msf);
                task.Reply(session, allocation);
                break;
            case 2:
                task.Reply(FullToc(msf), allocation);
                break;
            default:
                task.Fail(ScsiSense.InvalidField);
                break;
        }
    }

    private byte[] Toc(int first, bool msf)
    {
        var data = new byte[first == 0xAA ? 12 : 20];
        data[1] = (byte)(data.Length - 2);
        data[2] = data[3] = 1;
        var at = 4;
        if (first != 0xAA)
        {
            // Track 1: data, copying forbidden.
            data[5] = 0x14;
            data[6] = 1;
            WriteAddress(data.AsSpan(8), 0, msf);
            at = 12;
        }

        data[at + 1] = 0x14;
        data[at + 2] = 0xAA;
        WriteAddress(data.AsSpan(at + 4), Sectors, msf);
        return data;
    }

    /// <summary>The lead-in as recorded: first track, last track, lead-out, and the track itself.</summary>
    private byte[] FullToc(bool msf)
    {
        var data = new byte[4 + (4 * 11)];
        data[1] = (byte)(data.Length - 2);
        data[2] = data[3] = 1;
        byte[] points = [0xA0, 0xA1, 0xA2, 1];
        Span<byte> address = stackalloc byte[4];
        for (var i = 0; i < points.Length; i++)
        {
            var entry = data.AsSpan(4 + (11 * i), 11);
            entry[0] = 1;
            entry[1] = 0x14;
            entry[3] = points[i];
            switch (points[i])
            {
                case 0xA0 or 0xA1:
                    entry[8] = 1;
                    break;
                default:
                    WriteAddress(address, points[i] == 0xA2 ? Sectors : 0, msf || points[i] == 1);
                    address.CopyTo(entry[7..]);
                    break;
            }
        }

        return data;
    }

    private void ReadSubChannel(ScsiTask task)
    {
        var allocation = BinaryPrimitives.ReadUInt16BigEndian(task.Cdb.AsSpan(7));
        if ((task.Cdb[2] & 0x40) == 0)
        {
            task.Reply([0, 0x15, 0, 0], allocation);
            return;
        }

        switch (task.Cdb[3])
        {
            case 1:
                var position = new byte[16];
                position[1] = 0x15;
                position[3] = 12;
                position[4] = 1;
                position[5] = 0x14;
                position[6] = position[7] = 1;
                task.Reply(position, allocation);
                break;
            case 2 or 3:
                var code = new byte[24];
                code[1] = 0x15;
                code[3] = 20;
                code[4] = task.Cdb[3];
                task.Reply(code, allocation);
                break;
            default:
                task.Fail(ScsiSense.InvalidField);
                break;
        }
    }

    private void ReadHeader(ScsiTask task, byte[] data)
    {
        var lba = BinaryPrimitives.ReadUInt32BigEndian(task.Cdb.AsSpan(2));
        if (lba >= Sectors)
        {
            task.Fail(ScsiSense.OutOfRange);
            return;
        }

        data[0] = 1;
        WriteAddress(data.AsSpan(4), lba, (task.Cdb[1] & 2) != 0);
    }

    private void GetConfiguration(ScsiTask task)
    {
        var cdb = task.Cdb;
        var kind = cdb[1] & 3;
        var start = BinaryPrimitives.ReadUInt16BigEndian(cdb.AsSpan(2));
        var allocation = BinaryPrimitives.ReadUInt16BigEndian(cdb.AsSpan(7));
        if (kind == 3)
        {
            task.Fail(ScsiSense.InvalidField);
            return;
        }

        var profile = !HasMedium ? (ushort)0 : IsDvd ? ProfileDvd : ProfileCd;
        var data = new List<byte>(new byte[8]);
        Feature(0x0000, 0, true, true, [0, (byte)ProfileDvd, (byte)(profile == ProfileDvd ? 1 : 0), 0, 0, (byte)ProfileCd,
            (byte)(profile == ProfileCd ? 1 : 0), 0]);
        Feature(0x0001, 2, true, true, [0, 0, 0, (byte)(IsPacket ? 2 : 1), 1, 0, 0, 0]);       // core
        Feature(0x0002, 1, true, true, [2, 0, 0, 0]);                                          // morphing
        Feature(0x0003, 0, true, true, [0x39, 0, 0, 0]);                                       // removable medium: tray, eject, lock
        Feature(0x0010, 0, false, HasMedium, [0, 0, 8, 0, 0, 1, 0, 0]);                        // random readable
        Feature(0x001D, 0, false, profile == ProfileCd, []);                                   // multi-read
        Feature(0x001E, 2, false, profile == ProfileCd, [0, 0, 0, 0]);                         // CD read
        Feature(0x001F, 0, false, profile == ProfileDvd, []);                                  // DVD read
        Feature(0x0100, 0, true, true, []);                                                    // power management
        Feature(0x0105, 0, true, true, []);                                                    // timeouts
        var bytes = data.ToArray();
        BinaryPrimitives.WriteUInt32BigEndian(bytes, (uint)(bytes.Length - 4));
        BinaryPrimitives.WriteUInt16BigEndian(bytes.AsSpan(6), profile);
        task.Reply(bytes, allocation);

        void Feature(ushort code, byte version, bool persistent, bool current, ReadOnlySpan<byte> body)
        {
            var wanted = kind switch
            {
                0 => code >= start,
                1 => code >= start && current,
                _ => code == start,
            };
            if (!wanted)
                return;
            data.AddRange([(byte)(code >> 8), (byte)code, (byte)(version << 2 | (persistent ? 2 : 0) | (current ? 1 : 0)), (byte)body.Length]);
            data.AddRange(body);
        }
    }

    private void ReadDiscInformation(ScsiTask task)
    {
        if ((task.Cdb[1] & 7) != 0)
        {
            task.Fail(ScsiSense.InvalidField);
            return;
        }

        var data = new byte[34];
        data[1] = 32;
        data[2] = 0x0E;                         // last session complete, disc finalised
        data[3] = data[4] = data[5] = data[6] = 1;
        data[7] = 0x20;                         // unrestricted use
        task.Reply(data, BinaryPrimitives.ReadUInt16BigEndian(task.Cdb.AsSpan(7)));
    }

    private void ReadTrackInformation(ScsiTask task)
    {
        var address = BinaryPrimitives.ReadUInt32BigEndian(task.Cdb.AsSpan(2));
        var valid = (task.Cdb[1] & 3) switch
        {
            0 => address < Sectors,
            1 => address == 1,
            2 => address == 1,
            _ => false,
        };
        if (!valid)
        {
            task.Fail(ScsiSense.InvalidField);
            return;
        }

        var data = new byte[36];
        data[1] = 34;
        data[2] = data[3] = 1;
        data[5] = 4;                            // data track
        data[6] = 1;                            // mode 1
        BinaryPrimitives.WriteUInt32BigEndian(data.AsSpan(24), (uint)Sectors);
        task.Reply(data, BinaryPrimitives.ReadUInt16BigEndian(task.Cdb.AsSpan(7)));
    }

    private void GetPerformance(ScsiTask task)
    {
        if (task.Cdb[10] != 0 || (task.Cdb[1] & 7) != 0)
        {
            task.Fail(ScsiSense.InvalidField);
            return;
        }

        // One descriptor: nominal read performance of the whole disc, 16x CD speed in 1000 bytes a second.
        var data = new byte[24];
        BinaryPrimitives.WriteUInt32BigEndian(data, 20);
        BinaryPrimitives.WriteUInt32BigEndian(data.AsSpan(12), 2822);
        BinaryPrimitives.WriteUInt32BigEndian(data.AsSpan(16), (uint)Math.Max(0, Sectors - 1));
        BinaryPrimitives.WriteUInt32BigEndian(data.AsSpan(20), 2822);
        task.Reply(data, 8L + (16 * BinaryPrimitives.ReadUInt16BigEndian(task.Cdb.AsSpan(8))));
    }

    private void ReadDvdStructure(ScsiTask task)
    {
        var cdb = task.Cdb;
        var allocation = BinaryPrimitives.ReadUInt16BigEndian(cdb.AsSpan(8));
        var format = cdb[7];
        if (cdb[1] != 0)
        {
            task.Fail(ScsiSense.InvalidField);
            return;
        }

        if (format != 0xFF)
        {
            if (!CheckReady(task))
                return;
            if (!IsDvd)
            {
                task.Fail(new ScsiSense(5, 0x30, 2)); // incompatible format
                return;
            }
        }

        switch (format)
        {
            case 0x00:
                if (cdb[6] != 0)
                {
                    task.Fail(ScsiSense.InvalidField);
                    return;
                }

                var physical = new byte[4 + 2048];
                BinaryPrimitives.WriteUInt16BigEndian(physical, 2048 + 2);
                physical[4] = 1;        // DVD-ROM, part version 1
                physical[5] = 0x0F;     // 120 mm, no maximum rate
                physical[6] = 1;        // one layer, read only
                BinaryPrimitives.WriteUInt32BigEndian(physical.AsSpan(8), 0x30000);
                BinaryPrimitives.WriteUInt32BigEndian(physical.AsSpan(12), (uint)(0x30000 + Sectors - 1));
                BinaryPrimitives.WriteUInt32BigEndian(physical.AsSpan(16), (uint)(Sectors - 1));
                task.Reply(physical, allocation);
                break;
            case 0x01:
                task.Reply([0, 6, 0, 0, 0, 0, 0, 0], allocation);
                break;
            case 0x03: // burst cutting area
                task.Fail(ScsiSense.InvalidField);
                break;
            case 0x04:
                var manufacturing = new byte[4 + 2048];
                BinaryPrimitives.WriteUInt16BigEndian(manufacturing, 2048 + 2);
                task.Reply(manufacturing, allocation);
                break;
            case 0xFF:
                // Each readable structure and its length.
                task.Reply([0, 14, 0, 0, 0x00, 0x40, 0x08, 0x04, 0x01, 0x40, 0x00, 0x08, 0x04, 0x40, 0x08, 0x04], allocation);
                break;
            default:
                task.Fail(ScsiSense.InvalidField);
                break;
        }
    }

    private void ModeSense(ScsiTask task, bool six)
    {
        var cdb = task.Cdb;
        var allocation = six ? cdb[4] : BinaryPrimitives.ReadUInt16BigEndian(cdb.AsSpan(7));
        var page = cdb[2] & 0x3F;
        var control = cdb[2] >> 6;
        if (control == 3)
        {
            task.Fail(ScsiSense.SavingNotSupported);
            return;
        }

        var pages = new List<byte>();
        Page(0x01, [0, 0x20, 0, 0, 0, 0]);
        Page(0x0E, [4, 0, 0, 0, 0, 75, 1, 0xFF, 2, 0xFF, 0, 0, 0, 0]);
        Page(0x1A, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        var locking = (byte)(Backend.IsTrayLocked ? 2 : 0);
        Page(0x2A, IsPacket
            ? [0x3B, 0, 0x70, 0x60, (byte)(0x29 | locking), 0, 0x0B, 0x06, 0, 2, 2, 0, 0x0B, 0x06, 0, 0, 0, 0]
            : [0x3B, 0, 0x7F, 0xFF, (byte)(0x2D | locking), 0, 0x22, 0x60, 0, 2, 8, 0, 0x0B, 0x00, 0, 0, 0x0B, 0x00, 0x0B, 0x00]);
        if (pages.Count == 0)
        {
            task.Fail(ScsiSense.InvalidField);
            return;
        }

        // No block descriptor; the medium type is told to old drivers: data CD, none, or tray open.
        var medium = (byte)(IsTrayOpen ? 0x71 : HasMedium ? 0x01 : 0x70);
        byte[] data;
        if (six)
        {
            data = [(byte)(3 + pages.Count), medium, 0, 0, .. pages];
        }
        else
        {
            data = [0, 0, medium, 0, 0, 0, 0, 0, .. pages];
            BinaryPrimitives.WriteUInt16BigEndian(data, (ushort)(data.Length - 2));
        }

        task.Reply(data, allocation);

        void Page(int code, byte[] body)
        {
            if (page != 0x3F && page != code)
                return;
            // Nothing is changeable.
            if (control == 1)
                Array.Clear(body);
            pages.Add((byte)code);
            pages.Add((byte)body.Length);
            pages.AddRange(body);
        }
    }
}
