using Dromaius.Block;
using Dromaius.Core.Devices;
using Dromaius.Core.Memory;

namespace Dromaius.Devices.Storage.Ata;

[Flags]
public enum AtaStatus : byte
{
    None = 0,
    Err = 0x01,
    Drq = 0x08,

    /// <summary>Device seek complete; service for packet devices.</summary>
    Dsc = 0x10,
    Df = 0x20,
    Drdy = 0x40,
    Bsy = 0x80,
}

[Flags]
public enum AtaError : byte
{
    None = 0,
    Amnf = 0x01,
    Nm = 0x02,
    Abrt = 0x04,
    Mcr = 0x08,
    Idnf = 0x10,
    Mc = 0x20,
    Unc = 0x40,
    Icrc = 0x80,
}

/// <summary>What carries a device's commands and data: a parallel ATA channel or an AHCI port.</summary>
public interface IAtaTransport
{
    /// <summary>The device asserts its interrupt.</summary>
    void Interrupt(AtaDevice device);

    /// <summary>A data block waits in the device (<see cref="AtaDevice.PioRead"/>) or for the host (<see cref="AtaDevice.PioWrite"/>).</summary>
    void PioReady(AtaDevice device, bool toHost);

    /// <summary>
    /// The device wants to move bytes by DMA. The transport answers, now or when its engine is started, with
    /// <see cref="AtaDevice.RunDma"/>.
    /// </summary>
    void DmaRequested(AtaDevice device, bool toHost, long length);

    /// <summary>The transfer asked for is over, or was given up.</summary>
    void DmaDone(AtaDevice device);

    /// <summary>The command is over; the status register is valid.</summary>
    void CommandDone(AtaDevice device);
}

/// <summary>
/// The task file of an ATA device and its data phases; commands are those of <see cref="AtaDisk"/> and
/// <see cref="AtapiDrive"/>. Source: T13 ATA/ATAPI-7 volume 1 (T13/1532D).
/// </summary>
public abstract class AtaDevice : Device
{
    /// <summary>Bytes of one prefetched or collected run.</summary>
    protected const int BufferSize = 128 << 10;

    private int _position;
    private int _end;
    private bool _pioToHost;

    protected AtaDevice(BlockBackend backend) => Backend = backend;

    public BlockBackend Backend { get; }
    public IAtaTransport? Transport { get; set; }

    // The task file; each register but the device register is two bytes deep for 48-bit addresses.
    public AtaStatus Status { get; protected set; }
    public AtaError Error { get; protected set; }
    public byte Feature { get; private set; }
    public byte SectorCount { get; protected set; }
    public byte LbaLow { get; protected set; }
    public byte LbaMid { get; protected set; }
    public byte LbaHigh { get; protected set; }
    public byte FeaturePrevious { get; private set; }
    public byte SectorCountPrevious { get; protected set; }
    public byte LbaLowPrevious { get; protected set; }
    public byte LbaMidPrevious { get; protected set; }
    public byte LbaHighPrevious { get; protected set; }

    /// <summary>Device/head; bit 4 says which of the two is selected.</summary>
    public byte DeviceHead { get; protected set; }

    protected byte[] Buffer { get; } = new byte[BufferSize];

    public bool IsBusy => (Status & AtaStatus.Bsy) != 0;

    /// <summary>The command in progress transfers by DMA and waits for, or is in, the transfer.</summary>
    public bool IsDma { get; private set; }

    /// <summary>Bytes left of the current data block.</summary>
    public int PioLeft => _end - _position;

    /// <summary>Registers 1 to 6 of the command block.</summary>
    public void WriteRegister(int register, byte value)
    {
        if ((Status & (AtaStatus.Bsy | AtaStatus.Drq)) != 0 && register != 6)
            return;
        switch (register)
        {
            case 1:
                (FeaturePrevious, Feature) = (Feature, value);
                break;
            case 2:
                (SectorCountPrevious, SectorCount) = (SectorCount, value);
                break;
            case 3:
                (LbaLowPrevious, LbaLow) = (LbaLow, value);
                break;
            case 4:
                (LbaMidPrevious, LbaMid) = (LbaMid, value);
                break;
            case 5:
                (LbaHighPrevious, LbaHigh) = (LbaHigh, value);
                break;
            case 6:
                DeviceHead = (byte)(value | 0xA0);
                break;
        }
    }

    /// <summary>Sets the whole task file from a register FIS.</summary>
    public void LoadTaskFile(ReadOnlySpan<byte> fis)
    {
        Feature = fis[3];
        LbaLow = fis[4];
        LbaMid = fis[5];
        LbaHigh = fis[6];
        DeviceHead = (byte)(fis[7] | 0xA0);
        LbaLowPrevious = fis[8];
        LbaMidPrevious = fis[9];
        LbaHighPrevious = fis[10];
        FeaturePrevious = fis[11];
        SectorCount = fis[12];
        SectorCountPrevious = fis[13];
    }

    /// <param name="register">1 to 6; the status has <see cref="Status"/>.</param>
    /// <param name="previous">High order byte: the control register's HOB bit.</param>
    public byte ReadRegister(int register, bool previous) => register switch
    {
        1 => (byte)Error,
        2 => previous ? SectorCountPrevious : SectorCount,
        3 => previous ? LbaLowPrevious : LbaLow,
        4 => previous ? LbaMidPrevious : LbaMid,
        5 => previous ? LbaHighPrevious : LbaHigh,
        6 => DeviceHead,
        _ => 0,
    };

    /// <summary>The command register was written.</summary>
    public void Execute(byte command)
    {
        const byte DeviceReset = 0x08;
        if ((Status & (AtaStatus.Bsy | AtaStatus.Drq)) != 0 && command != DeviceReset)
            return;
        Error = AtaError.None;
        Status = (Status & ~(AtaStatus.Err | AtaStatus.Df)) | AtaStatus.Bsy;
        EndPio();
        ExecuteCommand(command);
    }

    /// <summary>Reads from the data register.</summary>
    public uint PioRead(int size)
    {
        if (!_pioToHost || (Status & AtaStatus.Drq) == 0)
            return 0;
        var value = 0u;
        for (var i = 0; i < size && _position < _end; i++)
            value |= (uint)Buffer[_position++] << (8 * i);
        if (_position >= _end)
            BlockMoved(true);
        return value;
    }

    public void PioWrite(int size, uint value)
    {
        if (_pioToHost || (Status & AtaStatus.Drq) == 0)
            return;
        for (var i = 0; i < size && _position < _end; i++)
            Buffer[_position++] = (byte)(value >> (8 * i));
        if (_position >= _end)
            BlockMoved(false);
    }

    /// <summary>Moves the whole current data block at once (AHCI); bytes that do not fit are dropped or zero.</summary>
    public void PioMove(IReadOnlyList<Memory<byte>> segments)
    {
        foreach (var segment in segments)
        {
            var n = Math.Min(segment.Length, _end - _position);
            if (_pioToHost)
                Buffer.AsSpan(_position, n).CopyTo(segment.Span);
            else
                segment.Span[..n].CopyTo(Buffer.AsSpan(_position));
            _position += n;
        }

        if (!_pioToHost)
            Buffer.AsSpan(_position, _end - _position).Clear();
        _position = _end;
        BlockMoved(_pioToHost);
    }

    /// <summary>The transport's answer to a wish for DMA: memory for some or all of it.</summary>
    public abstract void RunDma(DmaBuffer memory);

    /// <summary>SRST, power-on, or EXECUTE DEVICE DIAGNOSTIC from the neighbour: signature and ready.</summary>
    public void SoftReset()
    {
        Abandon();
        EndPio();
        Error = (AtaError)1; // diagnostic code: passed
        SetSignature();
    }

    /// <summary>Gives up what is in flight, without a word.</summary>
    public virtual void Abandon()
    {
        if (IsDma)
        {
            IsDma = false;
            Transport?.DmaDone(this);
        }
    }

    public override void Reset()
    {
        Feature = FeaturePrevious = 0;
        SectorCountPrevious = LbaLowPrevious = LbaMidPrevious = LbaHighPrevious = 0;
        SoftReset();
    }

    protected abstract void ExecuteCommand(byte command);

    /// <summary>The host has read, or written, the whole data block.</summary>
    protected abstract void PioBlockDone(bool toHost);

    /// <summary>Registers that tell what kind of device this is.</summary>
    protected abstract void SetSignature();

    /// <summary>Offers a part of the buffer to the data register.</summary>
    protected void OfferPio(bool toHost, int start, int length, bool interrupt)
    {
        _pioToHost = toHost;
        _position = start;
        _end = start + length;
        Status = (Status & ~AtaStatus.Bsy) | AtaStatus.Drq;
        if (interrupt)
            Transport?.Interrupt(this);
        Transport?.PioReady(this, toHost);
    }

    protected void WantDma(bool toHost, long length)
    {
        IsDma = true;
        Status = (Status & ~AtaStatus.Bsy) | AtaStatus.Drq;
        Transport?.DmaRequested(this, toHost, length);
    }

    /// <summary>The DMA transfer has begun.</summary>
    protected void DmaBusy() => Status = (Status & ~AtaStatus.Drq) | AtaStatus.Bsy;

    protected void DmaOver()
    {
        IsDma = false;
        Transport?.DmaDone(this);
    }

    /// <summary>Ends a command.</summary>
    protected void Complete(AtaStatus status, bool interrupt = true)
    {
        EndPio();
        Status = status;
        Transport?.CommandDone(this);
        if (interrupt)
            Transport?.Interrupt(this);
    }

    protected void EndPio()
    {
        _position = _end = 0;
        Status &= ~AtaStatus.Drq;
    }

    private void BlockMoved(bool toHost)
    {
        Status = (Status & ~AtaStatus.Drq) | AtaStatus.Bsy;
        PioBlockDone(toHost);
    }
}
