using System.Buffers.Binary;
using Dromaius.Block;
using Dromaius.Core.Memory;

namespace Dromaius.Devices.Storage.Ata;

/// <summary>
/// An ATA disk: PIO, multiple and DMA transfers with CHS, 28-bit and 48-bit addresses. Source: T13 ATA/ATAPI-7 volume 1
/// (T13/1532D), chapter 6; ACS-3 for DATA SET MANAGEMENT.
/// </summary>
public sealed partial class AtaDisk : AtaDevice
{
    public const int Sector = 512;
    public const int MaxMultiple = 16;
    private const int BufferSectors = BufferSize / Sector;
    private const AtaStatus Ready = AtaStatus.Drdy | AtaStatus.Dsc;

    private enum Transfer : byte
    {
        None,

        /// <summary>The buffer holds a reply, not sectors.</summary>
        Reply,

        /// <summary>The host sends parameters.</summary>
        Parameters,
        Read,
        Write,
        Verify,
    }

    private BlockRequest _request;
    private Transfer _transfer;
    private byte _command;
    private bool _wide;         // 48-bit command
    private long _lba;
    private int _remaining;     // sectors of the command that have not reached, or left, the medium
    private int _block;         // sectors of a data block
    private int _chunk;         // sectors in the buffer
    private int _moved;         // of these, how many the host has moved
    private int _multiple;
    private bool _smart;
    private bool _readAhead;
    private bool _frozen;
    private byte _power;
    private byte _dmaMode;      // IDENTIFY word 63 and 88 selection: bit 4 set for multiword, bit 6 for ultra
    private int _heads, _sectors;
    private DmaBuffer? _memory;

    /// <param name="backend">The drive.</param>
    /// <param name="geometry">Default translation.</param>
    public AtaDisk(BlockBackend backend, DiskGeometry geometry)
        : base(backend)
    {
        Geometry = geometry;
        _request = new BlockRequest { Completed = OnCompleted };
        backend.MediumChanged += () => SetGeometry();
        SetGeometry();
    }

    public override string TypeName => "ide-hd";
    public DiskGeometry Geometry { get; }
    public string Model { get; init; } = "DROMAIUS HARDDISK";
    public string Serial { get; init; } = "DM00001";
    public string Version { get; init; } = "2.5+";
    public ulong Wwn { get; init; }

    /// <summary>Speaks Serial ATA: IDENTIFY tells of NCQ.</summary>
    public bool IsSerial { get; init; }

    /// <summary>Nominal rotation rate, as IDENTIFY word 217 has it; 1 for solid state, 0 for unknown.</summary>
    public ushort RotationRate { get; init; }
    public int PhysicalBlockExponent { get; init; }

    /// <summary>The drive can be told what is no longer used.</summary>
    public bool HasTrim { get; init; } = true;

    public long TotalSectors => Backend.Length / Sector;

    public override void Reset()
    {
        _multiple = MaxMultiple;
        _smart = true;
        _readAhead = true;
        _frozen = false;
        _power = 0xFF;
        _dmaMode = 0x45;
        SetGeometry();
        base.Reset();
    }

    public override void Abandon()
    {
        if (_transfer != Transfer.None)
        {
            // It may still be under way: the next command has a request of its own.
            Backend.Cancel(_request);
            _request = new BlockRequest { Completed = OnCompleted };
        }

        _transfer = Transfer.None;
        _memory = null;
        base.Abandon();
    }

    protected override void SetSignature()
    {
        SectorCount = LbaLow = 1;
        LbaMid = LbaHigh = 0;
        DeviceHead = 0xA0;
        Status = Ready;
    }

    public override void RunDma(DmaBuffer memory)
    {
        if (!IsDma || _memory != null)
            return;
        if (_transfer == Transfer.Parameters)
        {
            TakeParameters(memory);
            return;
        }

        var sectors = (int)Math.Min(memory.Length / Sector, _remaining);
        if (sectors == 0)
            return;
        _memory = memory;
        DmaBusy();
        Start(_transfer == Transfer.Read ? BlockOperation.Read : BlockOperation.Write, sectors, memory.Segments);
    }

    protected override void PioBlockDone(bool toHost)
    {
        switch (_transfer)
        {
            case Transfer.Reply:
                _transfer = Transfer.None;
                Complete(Ready, interrupt: false);
                break;
            case Transfer.Parameters:
                _transfer = Transfer.None;
                ParametersArrived();
                break;
            case Transfer.Read:
                _moved += Math.Min(_block, _chunk - _moved);
                if (_moved < _chunk)
                    OfferBlock(true);
                else if (_remaining > 0)
                    FillBuffer();
                else
                    EndTransfer(interrupt: false);
                break;
            case Transfer.Write:
                _moved += Math.Min(_block, _chunk - _moved);
                if (_moved < _chunk)
                    OfferBlock(true);
                else
                    Start(BlockOperation.Write, _chunk, [Buffer.AsMemory(0, _chunk * Sector)]);
                break;
            default:
                Complete(Ready);
                break;
        }
    }

    private void BeginTransfer(Transfer transfer, bool wide, bool dma, int block)
    {
        _wide = wide;
        _block = block;
        if (!Address(out _lba, out _remaining))
        {
            Fail(AtaError.Idnf | AtaError.Abrt);
            return;
        }

        _transfer = transfer;
        if (dma)
            WantDma(transfer == Transfer.Read, (long)_remaining * Sector);
        else if (transfer == Transfer.Read)
            FillBuffer();
        else
            CollectBlock(first: true);
    }

    /// <summary>Prefetches as much of a PIO read as the buffer holds.</summary>
    private void FillBuffer()
    {
        _chunk = Math.Min(_remaining, BufferSectors);
        Start(BlockOperation.Read, _chunk, [Buffer.AsMemory(0, _chunk * Sector)]);
    }

    /// <summary>Opens the buffer for the next part of a PIO write.</summary>
    private void CollectBlock(bool first)
    {
        _chunk = Math.Min(_remaining, BufferSectors);
        _moved = 0;
        // The first block of a write is announced by DRQ alone.
        OfferBlock(!first);
    }

    private void OfferBlock(bool interrupt) =>
        OfferPio(_transfer == Transfer.Read, _moved * Sector, Math.Min(_block, _chunk - _moved) * Sector, interrupt);

    private void Start(BlockOperation operation, int sectors, IReadOnlyList<Memory<byte>> segments)
    {
        Status = (Status & ~AtaStatus.Drq) | AtaStatus.Bsy;
        _request.Operation = operation;
        _request.Offset = _lba * Sector;
        _request.Length = (long)sectors * Sector;
        _request.Segments = segments;
        _request.ForceUnitAccess = _command is 0x3D or 0xCE; // the FUA commands
        Backend.Submit(_request);
    }

    private void OnCompleted(BlockRequest request)
    {
        if (request.Error != BlockError.None)
        {
            FailTransfer(request);
            return;
        }

        if (request.Operation is not (BlockOperation.Read or BlockOperation.Write))
        {
            _transfer = Transfer.None;
            NextRange();
            return;
        }

        var sectors = (int)(request.Length / Sector);
        _lba += sectors;
        _remaining -= sectors;
        if (IsDma)
        {
            _memory?.Complete();
            _memory = null;
            if (_remaining > 0)
            {
                // The host's memory was shorter than the command: the device waits for more.
                Status = (Status & ~AtaStatus.Bsy) | AtaStatus.Drq;
                Transport?.DmaRequested(this, _transfer == Transfer.Read, (long)_remaining * Sector);
                return;
            }

            DmaOver();
            EndTransfer(interrupt: true);
        }
        else if (_transfer == Transfer.Read)
        {
            _moved = 0;
            OfferBlock(true);
        }
        else if (_remaining > 0)
            CollectBlock(first: false);
        else
            EndTransfer(interrupt: true);
    }

    private void EndTransfer(bool interrupt)
    {
        _transfer = Transfer.None;
        SectorCount = SectorCountPrevious = 0;
        SetAddress(_lba);
        Complete(Ready, interrupt);
    }

    private void FailTransfer(BlockRequest request)
    {
        _memory = null;
        if (IsDma)
            DmaOver();
        var transfers = request.Operation is BlockOperation.Read or BlockOperation.Write;
        if (transfers)
            SetAddress(_lba);
        _transfer = Transfer.None;
        Fail(request.Error switch
        {
            BlockError.Io when request.Operation == BlockOperation.Read => AtaError.Unc,
            BlockError.Invalid => AtaError.Idnf,
            _ => AtaError.Abrt,
        });
    }

    private void Fail(AtaError error)
    {
        _transfer = Transfer.None;
        Error = error;
        Complete(Ready | AtaStatus.Err);
    }

    /// <summary>The address and count of the command; false if they are not on the disk.</summary>
    private bool Address(out long lba, out int count)
    {
        if (_wide)
        {
            lba = LbaLow | (long)LbaMid << 8 | (long)LbaHigh << 16 | (long)LbaLowPrevious << 24 | (long)LbaMidPrevious << 32
                | (long)LbaHighPrevious << 40;
            count = SectorCount | SectorCountPrevious << 8;
            if (count == 0)
                count = 65536;
        }
        else
        {
            count = SectorCount == 0 ? 256 : SectorCount;
            if ((DeviceHead & 0x40) != 0)
                lba = LbaLow | LbaMid << 8 | LbaHigh << 16 | (DeviceHead & 0x0F) << 24;
            else
            {
                var cylinder = LbaMid | LbaHigh << 8;
                lba = ((((long)cylinder * _heads) + (DeviceHead & 0x0F)) * _sectors) + LbaLow - 1;
                if (LbaLow == 0)
                    lba = -1;
            }
        }

        return lba >= 0 && lba <= TotalSectors - count;
    }

    /// <summary>Tells an address in the form that the command used.</summary>
    private void SetAddress(long lba)
    {
        if (_wide)
        {
            (LbaLow, LbaMid, LbaHigh) = ((byte)lba, (byte)(lba >> 8), (byte)(lba >> 16));
            (LbaLowPrevious, LbaMidPrevious, LbaHighPrevious) = ((byte)(lba >> 24), (byte)(lba >> 32), (byte)(lba >> 40));
        }
        else if ((DeviceHead & 0x40) != 0)
        {
            (LbaLow, LbaMid, LbaHigh) = ((byte)lba, (byte)(lba >> 8), (byte)(lba >> 16));
            DeviceHead = (byte)((DeviceHead & 0xF0) | (int)(lba >> 24) & 0x0F);
        }
        else
        {
            var track = lba / _sectors;
            var cylinder = track / _heads;
            LbaLow = (byte)((lba % _sectors) + 1);
            LbaMid = (byte)cylinder;
            LbaHigh = (byte)(cylinder >> 8);
            DeviceHead = (byte)((DeviceHead & 0xF0) | (int)(track % _heads));
        }
    }

    private void SetGeometry()
    {
        _heads = Geometry.Heads;
        _sectors = Geometry.Sectors;
    }

    private void Reply(ReadOnlySpan<byte> data)
    {
        data.CopyTo(Buffer);
        _transfer = Transfer.Reply;
        OfferPio(true, 0, data.Length, true);
    }

    /// <summary>Parameters by DMA: what the host's memory does not hold is zero.</summary>
    private void TakeParameters(DmaBuffer memory)
    {
        var to = Buffer.AsSpan(0, _remaining * Sector);
        foreach (var segment in memory.Segments)
        {
            var n = Math.Min(segment.Length, to.Length);
            segment.Span[..n].CopyTo(to);
            to = to[n..];
        }

        to.Clear();
        DmaOver();
        PioBlockDone(false);
    }

    private void ParametersArrived()
    {
        if (_command == 0x06)
            StartTrim();
        else if (_command is 0xF1 or 0xF2 or 0xF4 or 0xF6)
            Fail(AtaError.Abrt);
        else
            Complete(Ready);
    }

    private int _trimRange;
    private int _trimRanges;

    /// <summary>DATA SET MANAGEMENT: ranges of 48-bit address and 16-bit length, one after the other.</summary>
    private void StartTrim()
    {
        _trimRange = 0;
        _trimRanges = _remaining * (Sector / 8);
        Status |= AtaStatus.Bsy;
        NextRange();
    }

    private void NextRange()
    {
        while (_trimRange < _trimRanges)
        {
            var entry = BinaryPrimitives.ReadUInt64LittleEndian(Buffer.AsSpan(8 * _trimRange++));
            var lba = (long)(entry & 0xFFFF_FFFF_FFFF);
            var count = (long)(entry >> 48);
            if (count == 0)
                continue;
            if (lba > TotalSectors - count)
            {
                _trimRanges = 0;
                Fail(AtaError.Idnf);
                return;
            }

            _transfer = Transfer.Write;
            _request.Operation = BlockOperation.Discard;
            _request.Offset = lba * Sector;
            _request.Length = count * Sector;
            _request.Segments = [];
            Backend.Submit(_request);
            return;
        }

        _trimRanges = 0;
        Complete(Ready);
    }
}
