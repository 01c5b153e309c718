using System.Buffers.Binary;
using Dromaius.Block;

namespace Dromaius.Devices.Storage.Ata;

/// <content>The command set.</content>
public sealed partial class AtaDisk
{
    protected override void ExecuteCommand(byte command)
    {
        _command = command;
        _wide = false;
        switch (command)
        {
            case 0x00: // NOP
                Fail(AtaError.Abrt);
                break;
            case 0x06: // DATA SET MANAGEMENT
                DataSetManagement();
                break;
            case 0x10 or (>= 0x11 and <= 0x1F): // RECALIBRATE
            case >= 0x70 and <= 0x7F: // SEEK
                Complete(Ready);
                break;
            case 0x20 or 0x21:
                BeginTransfer(Transfer.Read, false, false, 1);
                break;
            case 0x24:
                BeginTransfer(Transfer.Read, true, false, 1);
                break;
            case 0x25:
                BeginTransfer(Transfer.Read, true, true, 1);
                break;
            case 0xC8 or 0xC9:
                BeginTransfer(Transfer.Read, false, true, 1);
                break;
            case 0xC4:
            case 0x29:
                Multiple(Transfer.Read, command == 0x29);
                break;
            case 0x30 or 0x31 or 0x3C:
                BeginTransfer(Transfer.Write, false, false, 1);
                break;
            case 0x34:
                BeginTransfer(Transfer.Write, true, false, 1);
                break;
            case 0x35 or 0x3D:
                BeginTransfer(Transfer.Write, true, true, 1);
                break;
            case 0xCA or 0xCB:
                BeginTransfer(Transfer.Write, false, true, 1);
                break;
            case 0xC5:
            case 0x39 or 0xCE:
                Multiple(Transfer.Write, command != 0xC5);
                break;
            case 0x40 or 0x41 or 0x42: // READ VERIFY SECTOR(S) (EXT)
                Verify(command == 0x42);
                break;
            case 0x27 or 0xF8: // READ NATIVE MAX ADDRESS (EXT)
                ReadNativeMax(command == 0x27);
                break;
            case 0x2F: // READ LOG EXT
                ReadLog();
                break;
            case 0x90: // EXECUTE DEVICE DIAGNOSTIC
                SoftReset();
                Error = (AtaError)1;
                Complete(Ready);
                break;
            case 0x91: // INITIALIZE DEVICE PARAMETERS
                InitializeParameters();
                break;
            case 0x94 or 0xE0: // STANDBY IMMEDIATE
            case 0x96 or 0xE2: // STANDBY
                _power = 0x00;
                Complete(Ready);
                break;
            case 0x95 or 0xE1: // IDLE IMMEDIATE
            case 0x97 or 0xE3: // IDLE
                _power = 0xFF;
                Complete(Ready);
                break;
            case 0x98 or 0xE5: // CHECK POWER MODE
                SectorCount = _power;
                Complete(Ready);
                break;
            case 0x99 or 0xE6: // SLEEP
                _power = 0x00;
                Complete(Ready);
                break;
            case 0xB0:
                Smart();
                break;
            case 0xC6: // SET MULTIPLE MODE
                SetMultiple();
                break;
            case 0xE4: // READ BUFFER
                _transfer = Transfer.Reply;
                OfferPio(true, 0, Sector, true);
                break;
            case 0xE8: // WRITE BUFFER
                _transfer = Transfer.Parameters;
                OfferPio(false, 0, Sector, false);
                break;
            case 0xE7 or 0xEA: // FLUSH CACHE (EXT)
                _transfer = Transfer.Verify;
                _request.Operation = BlockOperation.Flush;
                _request.Offset = _request.Length = 0;
                _request.Segments = [];
                _trimRange = _trimRanges = 0;
                Backend.Submit(_request);
                break;
            case 0xEC: // IDENTIFY DEVICE
                Span<byte> words = stackalloc byte[Sector];
                Identify(words);
                Reply(words);
                break;
            case 0xEF:
                SetFeatures();
                break;
            case 0xF5: // SECURITY FREEZE LOCK
                _frozen = true;
                Complete(Ready);
                break;
            case 0xF1 or 0xF2 or 0xF4 or 0xF6: // SECURITY SET PASSWORD, UNLOCK, ERASE UNIT, DISABLE PASSWORD
                if (_frozen)
                {
                    Fail(AtaError.Abrt);
                    break;
                }

                _transfer = Transfer.Parameters;
                OfferPio(false, 0, Sector, false);
                break;
            default:
                Fail(AtaError.Abrt);
                break;
        }
    }

    private void Multiple(Transfer transfer, bool wide)
    {
        if (_multiple == 0)
            Fail(AtaError.Abrt);
        else
            BeginTransfer(transfer, wide, false, _multiple);
    }

    private void SetMultiple()
    {
        int n = SectorCount;
        if (n > MaxMultiple || (n & (n - 1)) != 0)
        {
            Fail(AtaError.Abrt);
            return;
        }

        _multiple = n;
        Complete(Ready);
    }

    private void Verify(bool wide)
    {
        _wide = wide;
        if (Address(out var lba, out var count))
        {
            SetAddress(lba + count - 1);
            Complete(Ready);
        }
        else
            Fail(AtaError.Idnf);
    }

    private void ReadNativeMax(bool wide)
    {
        _wide = wide;
        if (!wide)
            DeviceHead |= 0x40;
        SetAddress(wide ? TotalSectors - 1 : Math.Min(TotalSectors, 1L << 28) - 1);
        Complete(Ready);
    }

    private void InitializeParameters()
    {
        // Sector count holds sectors a track, the head bits the highest head.
        if (SectorCount == 0)
        {
            Fail(AtaError.Abrt);
            return;
        }

        _sectors = SectorCount;
        _heads = (DeviceHead & 0x0F) + 1;
        Complete(Ready);
    }

    private void DataSetManagement()
    {
        _remaining = SectorCount | SectorCountPrevious << 8;
        // Only TRIM, by DMA in the standard; the parameter blocks are few.
        if (!HasTrim || (Feature & 1) == 0 || _remaining is 0 or > BufferSectors)
        {
            Fail(AtaError.Abrt);
            return;
        }

        _transfer = Transfer.Parameters;
        WantDma(false, (long)_remaining * Sector);
    }

    private void SetFeatures()
    {
        switch (Feature)
        {
            case 0x02: // write cache on
                Backend.WriteCache = true;
                break;
            case 0x82: // write cache off: what is in it goes out first
                Backend.WriteCache = false;
                ExecuteCommand(0xE7);
                return;
            case 0x03:
                if (!SetTransferMode(SectorCount))
                {
                    Fail(AtaError.Abrt);
                    return;
                }

                break;
            case 0xAA:
                _readAhead = true;
                break;
            case 0x55:
                _readAhead = false;
                break;
            case 0x05 or 0x85: // advanced power management
            case 0x42 or 0xC2: // automatic acoustic management
            case 0x66 or 0xCC: // reverting to power-on defaults off and on
            case 0x67 or 0x96 or 0x9A:
            case 0x10 or 0x90: // Serial ATA features
                break;
            default:
                Fail(AtaError.Abrt);
                return;
        }

        Complete(Ready);
    }

    private bool SetTransferMode(byte mode)
    {
        var number = mode & 7;
        switch (mode >> 3)
        {
            case 0: // PIO default
            case 1: // PIO flow control
                return true;
            case 4 when number <= 2: // multiword DMA
                _dmaMode = (byte)(0x20 | number);
                return true;
            case 8 when number <= 5: // ultra DMA
                _dmaMode = (byte)(0x40 | number);
                return true;
            default:
                return false;
        }
    }

    /// <summary>The log directory, the NCQ error log and an empty device statistics log are there; others are not.</summary>
    private void ReadLog()
    {
        var count = SectorCount | SectorCountPrevious << 8;
        if (!IsSerial || LbaLow is not (0x00 or 0x10) || count != 1)
        {
            Fail(AtaError.Abrt);
            return;
        }

        Span<byte> page = stackalloc byte[Sector];
        page.Clear();
        if (LbaLow == 0)
        {
            page[0] = 1;
            page[0x20] = 1;
        }
        else
        {
            QueuedError.CopyTo(page);
            page[511] = Checksum(page);
        }

        Reply(page);
    }

    /// <summary>The first bytes of the NCQ error log, filled by the port that ran the queue.</summary>
    public byte[] QueuedError { get; } = new byte[16];

    private void Smart()
    {
        const byte KeyMid = 0x4F, KeyHigh = 0xC2;
        if (LbaMid != KeyMid || LbaHigh != KeyHigh || (!_smart && Feature != 0xD8))
        {
            Fail(AtaError.Abrt);
            return;
        }

        Span<byte> page = stackalloc byte[Sector];
        page.Clear();
        switch (Feature)
        {
            case 0xD0: // READ DATA
                SmartData(page);
                Reply(page);
                break;
            case 0xD1: // READ THRESHOLDS
                page[0] = 1;
                for (var i = 0; i < SmartAttributes.Length; i++)
                {
                    page[2 + (12 * i)] = SmartAttributes[i].Id;
                    page[3 + (12 * i)] = SmartAttributes[i].Threshold;
                }

                page[511] = Checksum(page);
                Reply(page);
                break;
            case 0xD2: // ATTRIBUTE AUTOSAVE
            case 0xD3: // SAVE ATTRIBUTES
            case 0xD4: // EXECUTE OFF-LINE IMMEDIATE: tests pass at once
                Complete(Ready);
                break;
            case 0xD5: // READ LOG
                if (LbaLow is not (0 or 1 or 6))
                {
                    Fail(AtaError.Abrt);
                    break;
                }

                page[0] = 1;
                page[511] = Checksum(page);
                Reply(page);
                break;
            case 0xD8:
                _smart = true;
                Complete(Ready);
                break;
            case 0xD9:
                _smart = false;
                Complete(Ready);
                break;
            case 0xDA: // RETURN STATUS: the key stays, no threshold exceeded
                Complete(Ready);
                break;
            default:
                Fail(AtaError.Abrt);
                break;
        }
    }

    private static readonly (byte Id, byte Flags, byte Value, byte Threshold)[] SmartAttributes =
    [
        (1, 0x0F, 100, 6),      // read error rate
        (3, 0x03, 100, 0),      // spin-up time
        (4, 0x32, 100, 20),     // start/stop count
        (5, 0x33, 100, 36),     // reallocated sectors
        (9, 0x32, 100, 0),      // power-on hours
        (12, 0x32, 100, 0),     // power cycles
        (190, 0x22, 69, 50),    // airflow temperature
    ];

    private static void SmartData(Span<byte> page)
    {
        page[0] = 1;
        for (var i = 0; i < SmartAttributes.Length; i++)
        {
            var at = page[(2 + (12 * i))..];
            (at[0], at[1], at[3], at[4]) = (SmartAttributes[i].Id, SmartAttributes[i].Flags, SmartAttributes[i].Value, SmartAttributes[i].Value);
        }

        page[362] = 0x02;       // off-line collection completed
        page[364] = 120;
        page[367] = 0x19;       // off-line capabilities
        page[368] = 3;          // attributes are saved
        page[370] = 1;          // error log
        page[372] = 2;          // minutes of a short test
        page[373] = 54;
        page[511] = Checksum(page);
    }

    private static byte Checksum(ReadOnlySpan<byte> page)
    {
        byte sum = 0;
        foreach (var b in page[..511])
            sum += b;
        return (byte)-sum;
    }

    /// <summary>The 256 words of IDENTIFY DEVICE.</summary>
    private void Identify(Span<byte> words)
    {
        words.Clear();
        var total = TotalSectors;
        var lba28 = (uint)Math.Min(total, (1L << 28) - 1);
        Set(words, 0, 0x0040);
        Set(words, 1, Geometry.Cylinders);
        Set(words, 3, Geometry.Heads);
        Set(words, 4, 512 * Geometry.Sectors);
        Set(words, 5, 512);
        Set(words, 6, Geometry.Sectors);
        IdentifyText(words, 10, 10, Serial);
        Set(words, 20, 3);
        Set(words, 21, 512);
        Set(words, 22, 4);
        IdentifyText(words, 23, 4, Version);
        IdentifyText(words, 27, 20, Model);
        Set(words, 47, 0x8000 | MaxMultiple);
        Set(words, 48, 1);                      // 32-bit data register
        Set(words, 49, 0x0F00);                 // LBA, DMA, IORDY, standby timer
        Set(words, 51, 0x0200);
        Set(words, 52, 0x0200);
        Set(words, 53, 7);
        Set(words, 54, Geometry.Cylinders);
        Set(words, 55, _heads);
        Set(words, 56, _sectors);
        var current = Math.Min((long)Geometry.Cylinders * _heads * _sectors, lba28);
        Set(words, 57, (int)(current & 0xFFFF));
        Set(words, 58, (int)(current >> 16));
        Set(words, 59, _multiple == 0 ? 0 : 0x100 | _multiple);
        Set(words, 60, (int)(lba28 & 0xFFFF));
        Set(words, 61, (int)(lba28 >> 16));
        Set(words, 63, 0x07 | ((_dmaMode & 0x20) != 0 ? 0x100 << (_dmaMode & 7) : 0));
        Set(words, 64, 3);
        for (var i = 65; i <= 68; i++)
            Set(words, i, 120);
        if (IsSerial)
        {
            Set(words, 75, 31);
            Set(words, 76, 0x0106);             // 1.5 and 3 Gbit/s, NCQ
        }

        Set(words, 80, 0xF0);
        Set(words, 81, 0x16);
        Set(words, 82, 0x4069);                 // NOP, look-ahead, write cache, power management, SMART
        Set(words, 83, 0x7400);                 // FLUSH CACHE (EXT), LBA48
        Set(words, 84, Wwn != 0 ? 0x4100 : 0x4000);
        Set(words, 85, 0x4008 | (_smart ? 1 : 0) | (Backend.WriteCache ? 1 << 5 : 0) | (_readAhead ? 1 << 6 : 0));
        Set(words, 86, 0x3400);
        Set(words, 87, Wwn != 0 ? 0x4100 : 0x4000);
        Set(words, 88, 0x3F | ((_dmaMode & 0x40) != 0 ? 0x100 << (_dmaMode & 7) : 0));
        Set(words, 93, IsSerial ? 0 : 0x6001);
        for (var i = 0; i < 4; i++)
            Set(words, 100 + i, (int)((total >> (16 * i)) & 0xFFFF));
        if (PhysicalBlockExponent > 0)
            Set(words, 106, 0x6000 | PhysicalBlockExponent);
        if (Wwn != 0)
        {
            for (var i = 0; i < 4; i++)
                Set(words, 108 + i, (int)((Wwn >> (48 - (16 * i))) & 0xFFFF));
        }

        Set(words, 128, _frozen ? 0x08 : 0);
        if (HasTrim)
            Set(words, 169, 1);
        Set(words, 217, RotationRate);
        Set(words, 255, 0xA5);
        byte sum = 0;
        foreach (var b in words)
            sum += b;
        words[511] = (byte)-sum;
    }

    private static void Set(Span<byte> words, int index, int value) =>
        BinaryPrimitives.WriteUInt16LittleEndian(words[(2 * index)..], (ushort)value);

    /// <summary>Text in words, first character in the high byte, padded with blanks.</summary>
    internal static void IdentifyText(Span<byte> words, int index, int count, string text)
    {
        for (var i = 0; i < 2 * count; i++)
            words[(2 * index) + (i ^ 1)] = i < text.Length && text[i] is >= ' ' and < '\x7F' ? (byte)text[i] : (byte)' ';
    }
}
