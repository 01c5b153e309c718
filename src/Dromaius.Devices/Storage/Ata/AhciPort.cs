using System.Buffers.Binary;
using System.Numerics;
using Dromaius.Block;
using Dromaius.Core.Errors;
using Dromaius.Core.Memory;

namespace Dromaius.Devices.Storage.Ata;

/// <summary>
/// A port of <see cref="Ahci"/>: fetches commands from its list, moves their data and posts frames. Queued reads and writes
/// go to the drive side by side; everything else runs one at a time. Source: AHCI 1.3.1, sections 3.3, 4.2 and 5; frames from
/// Serial ATA 3.1, section 10.3.
/// </summary>
public sealed class AhciPort : IAtaTransport
{
    private const uint CommandStart = 1, CommandSpinUp = 2, CommandPowerOn = 4, CommandOverride = 8, CommandFisReceive = 0x10;
    private const uint CommandFisRunning = 0x4000, CommandRunning = 0x8000, CommandAtapi = 0x0100_0000, CommandWritable = 0x0F00_001Fu & ~CommandOverride;
    private const uint IntD2H = 1, IntPioSetup = 2, IntSetDeviceBits = 8, IntConnect = 0x40, IntTaskFile = 0x4000_0000;
    private const int FisPioSetup = 0x20, FisD2H = 0x40, FisSetDeviceBits = 0x58;
    private const byte RegisterH2D = 0x27;
    private const int MaxPrd = 65535;
    private const int Sector = AtaDisk.Sector;

    private readonly Ahci _hba;
    private readonly Queued?[] _queued = new Queued?[Ahci.Slots];
    private uint _listLow, _listHigh, _fisLow, _fisHigh;
    private uint _interrupt, _interruptEnable, _command, _control, _error, _active, _issue;
    private int _slot = -1;             // of the command that the device works on
    private bool _deviceInterrupt;
    private long _moved;                // bytes of that command's data so far
    private bool _taskFileError;

    internal AhciPort(Ahci hba, int number)
    {
        _hba = hba;
        Number = number;
    }

    public int Number { get; }
    public AtaDevice? Device { get; private set; }

    internal bool IsInterrupting => (_interrupt & _interruptEnable) != 0;

    private bool IsRunning => (_command & CommandRunning) != 0 && _hba.IsBusMaster;

    public void Attach(AtaDevice device)
    {
        Device = device;
        device.Transport = this;
    }

    internal void ResetPort()
    {
        Abandon();
        _interrupt = _interruptEnable = 0;
        _command = CommandSpinUp | CommandPowerOn;
        _control = _error = _active = _issue = 0;
        _listLow = _listHigh = _fisLow = _fisHigh = 0;
        ResetDevice();
    }

    internal uint Read(int register) => register switch
    {
        0x00 => _listLow,
        0x04 => _listHigh,
        0x08 => _fisLow,
        0x0C => _fisHigh,
        0x10 => _interrupt,
        0x14 => _interruptEnable,
        0x18 => _command | (Device is AtapiDrive ? CommandAtapi : 0) | ((uint)Math.Max(_slot, 0) << 8),
        0x20 => TaskFile,
        0x24 => Device switch
        {
            null => uint.MaxValue,
            AtapiDrive => 0xEB14_0101,
            _ => 0x0000_0101,
        },
        // Device present, communication established, generation 1, interface active.
        0x28 => Device == null || (_control & 0xF) == 4 ? 0 : 0x113u,
        0x2C => _control,
        0x30 => _error,
        0x34 => _active,
        0x38 => _issue,
        _ => 0,
    };

    internal void Write(int register, uint value)
    {
        switch (register)
        {
            case 0x00:
                _listLow = value & ~0x3FFu;
                break;
            case 0x04:
                _listHigh = value;
                break;
            case 0x08:
                _fisLow = value & ~0xFFu;
                break;
            case 0x0C:
                _fisHigh = value;
                break;
            case 0x10:
                _interrupt &= ~value;
                _hba.UpdateInterrupt();
                break;
            case 0x14:
                _interruptEnable = value & 0xFDC0_00FF;
                _hba.UpdateInterrupt();
                break;
            case 0x18:
                WriteCommand(value);
                break;
            case 0x2C:
                WriteControl(value);
                break;
            case 0x30:
                _error &= ~value;
                break;
            case 0x34:
                _active |= value;
                break;
            case 0x38:
                _issue |= value;
                RunCommands();
                break;
        }
    }

    public void Interrupt(AtaDevice device) => _deviceInterrupt = true;

    public void PioReady(AtaDevice device, bool toHost)
    {
        if (_slot < 0)
            return;
        if (device is AtapiDrive && !toHost && _moved < 0)
        {
            // The packet itself comes from the command table.
            _moved = 0;
            Span<byte> packet = stackalloc byte[16];
            _ = _hba.Memory.Read(TableOf(_slot) + 0x40, packet);
            for (var i = 0; i < 12; i += 4)
                device.PioWrite(4, BinaryPrimitives.ReadUInt32LittleEndian(packet[i..]));
            return;
        }

        var length = device.PioLeft;
        _moved = Math.Max(_moved, 0);
        var memory = Map(_slot, _moved, length, toHost);
        PostPioSetup(toHost, length);
        _moved += length;
        // Before the data goes: with it the command may end and the next one begin.
        StoreCount();
        memory.Complete();
        device.PioMove(memory.Segments);
    }

    public void DmaRequested(AtaDevice device, bool toHost, long length)
    {
        if (_slot < 0)
            return;
        _moved = Math.Max(_moved, 0);
        var memory = Map(_slot, _moved, length, toHost);
        if (memory.Length == 0)
        {
            // The table is too short for the command.
            _interrupt |= 0x0100_0000;
            _hba.UpdateInterrupt();
            return;
        }

        _moved += memory.Length;
        device.RunDma(memory);
    }

    public void DmaDone(AtaDevice device) => StoreCount();

    public void CommandDone(AtaDevice device)
    {
        if (_slot < 0)
            return;
        var slot = _slot;
        _slot = -1;
        _issue &= ~(1u << slot);
        PostD2H(interrupt: true);
        if ((device.Status & AtaStatus.Err) != 0)
            FailTaskFile();
        _hba.UpdateInterrupt();
        RunCommands();
    }

    private uint TaskFile
    {
        get
        {
            if (Device is not { } device)
                return 0x7F;
            var status = (uint)device.Status | (uint)device.Error << 8;
            return status;
        }
    }

    private ulong ListBase => _listLow | (ulong)_listHigh << 32;

    private ulong FisBase => _fisLow | (ulong)_fisHigh << 32;

    private ulong TableOf(int slot) => _hba.Memory.Load(ListBase + (ulong)(32 * slot) + 8, 8) & ~0x7FUL;

    private void WriteCommand(uint value)
    {
        _command = (_command & ~CommandWritable) | (value & CommandWritable);
        if ((value & CommandOverride) != 0 && Device != null && _slot < 0)
            _taskFileError = false;
        _command = (value & CommandFisReceive) != 0 ? _command | CommandFisRunning : _command & ~CommandFisRunning;
        if ((value & CommandStart) != 0)
        {
            _taskFileError = false;
            _command |= CommandRunning;
            RunCommands();
        }
        else if ((_command & CommandRunning) != 0)
        {
            _command &= ~CommandRunning;
            Abandon();
            _issue = _active = 0;
        }
    }

    private void WriteControl(uint value)
    {
        var before = _control & 0xF;
        _control = value;
        // COMRESET ends when the detection field goes back from 1 to 0.
        if (before == 1 && (value & 0xF) == 0 && Device != null)
        {
            Abandon();
            _active = _issue = 0;
            ResetDevice();
            _error |= 0x0400_0000;
            _interrupt |= IntConnect;
            PostD2H(interrupt: false);
            _hba.UpdateInterrupt();
        }
    }

    private void ResetDevice()
    {
        _taskFileError = false;
        Device?.SoftReset();
    }

    private void Abandon()
    {
        _slot = -1;
        Device?.Abandon();
        for (var i = 0; i < _queued.Length; i++)
        {
            if (_queued[i] is { } queued)
                ((AtaDisk)Device!).Backend.Cancel(queued.Request);
            _queued[i] = null;
        }
    }

    /// <summary>Starts what is issued: queued commands all at once, others when the device is free.</summary>
    private void RunCommands()
    {
        while (IsRunning && Device is { } device && !_taskFileError && _slot < 0 && !device.IsBusy)
        {
            var next = _issue;
            for (var i = 0; i < _queued.Length; i++)
            {
                if (_queued[i] != null)
                    next &= ~(1u << i);
            }

            if (next == 0)
                return;
            RunSlot(device, BitOperations.TrailingZeroCount(next));
        }
    }

    private void RunSlot(AtaDevice device, int slot)
    {
        Span<byte> fis = stackalloc byte[20];
        var flags = (uint)_hba.Memory.Load(ListBase + (ulong)(32 * slot), 4);
        _ = _hba.Memory.Read(TableOf(slot), fis);
        _hba.Memory.StoreU32(ListBase + (ulong)(32 * slot) + 4, 0);
        if (fis[0] != RegisterH2D)
        {
            GuestLog.GuestError(_hba.TypeName, $"frame type {fis[0]:x2} is no command");
            _issue &= ~(1u << slot);
            return;
        }

        if ((fis[1] & 0x80) == 0)
        {
            // Device control: software reset on the falling edge of SRST.
            const byte Srst = 4;
            _issue &= ~(1u << slot);
            if ((fis[15] & Srst) != 0)
                device.Abandon();
            else
            {
                ResetDevice();
                PostD2H(interrupt: false);
            }

            return;
        }

        if (fis[2] is 0x60 or 0x61 && device is AtaDisk disk)
        {
            RunQueued(disk, slot, fis);
            return;
        }

        _slot = slot;
        _moved = (flags & 0x20) != 0 ? -1 : 0;
        _deviceInterrupt = false;
        device.LoadTaskFile(fis);
        device.Execute(fis[2]);
    }

    /// <summary>READ and WRITE FPDMA QUEUED.</summary>
    private void RunQueued(AtaDisk disk, int slot, ReadOnlySpan<byte> fis)
    {
        var lba = fis[4] | (long)fis[5] << 8 | (long)fis[6] << 16 | (long)fis[8] << 24 | (long)fis[9] << 32 | (long)fis[10] << 40;
        var count = fis[3] | fis[11] << 8;
        if (count == 0)
            count = 65536;
        var tag = fis[12] >> 3;
        var read = fis[2] == 0x60;
        if (lba > disk.TotalSectors - count || tag != slot)
        {
            FailQueued(disk, tag, AtaError.Idnf | AtaError.Abrt);
            return;
        }

        var memory = Map(slot, 0, (long)count * Sector, read);
        if (memory.Length < (long)count * Sector)
        {
            FailQueued(disk, tag, AtaError.Abrt);
            return;
        }

        var queued = new Queued(memory, new BlockRequest
        {
            Operation = read ? BlockOperation.Read : BlockOperation.Write,
            Offset = lba * Sector,
            Length = (long)count * Sector,
            Segments = memory.Segments,
            ForceUnitAccess = !read && (fis[7] & 0x80) != 0,
            Completed = _ => QueuedDone(disk, slot),
        });
        _queued[slot] = queued;
        // Accepted: the slot is free for the bus, the tag stays active until the data has moved.
        _issue &= ~(1u << slot);
        disk.Backend.Submit(queued.Request);
    }

    private void QueuedDone(AtaDisk disk, int slot)
    {
        if (_queued[slot] is not { } queued)
            return;
        _queued[slot] = null;
        if (queued.Request.Error != BlockError.None)
        {
            FailQueued(disk, slot, queued.Request.Operation == BlockOperation.Read ? AtaError.Unc : AtaError.Abrt);
            return;
        }

        queued.Memory.Complete();
        _hba.Memory.StoreU32(ListBase + (ulong)(32 * slot) + 4, (uint)queued.Request.Length);
        PostSetDeviceBits((byte)disk.Status, 0, 1u << slot);
        RunCommands();
    }

    private void FailQueued(AtaDisk disk, int tag, AtaError error)
    {
        // The error log names the tag; the host reads it and starts the port afresh.
        disk.QueuedError[0] = (byte)tag;
        disk.QueuedError[2] = (byte)(disk.Status | AtaStatus.Err);
        disk.QueuedError[3] = (byte)error;
        PostSetDeviceBits((byte)(disk.Status | AtaStatus.Err), (byte)error, 0);
        FailTaskFile();
        _hba.UpdateInterrupt();
    }

    private void FailTaskFile()
    {
        _taskFileError = true;
        _interrupt |= IntTaskFile;
    }

    /// <summary>The guest memory of a command's table from a position on.</summary>
    private DmaBuffer Map(int slot, long skip, long length, bool toGuest)
    {
        var memory = new DmaBuffer(_hba.Memory, toGuest);
        Span<byte> entry = stackalloc byte[16];
        var count = (int)Math.Min(_hba.Memory.Load(ListBase + (ulong)(32 * slot) + 2, 2), MaxPrd);
        var table = TableOf(slot) + 0x80;
        for (var i = 0; i < count && memory.Length < length; i++)
        {
            _ = _hba.Memory.Read(table + (ulong)(16 * i), entry);
            var address = BinaryPrimitives.ReadUInt64LittleEndian(entry);
            var size = (long)(BinaryPrimitives.ReadUInt32LittleEndian(entry[12..]) & 0x3F_FFFF) + 1;
            if (skip >= size)
            {
                skip -= size;
                continue;
            }

            var n = (int)Math.Min(size - skip, length - memory.Length);
            memory.Add(address + (ulong)skip, n);
            skip = 0;
        }

        return memory;
    }

    private void StoreCount()
    {
        if (_slot >= 0)
            _hba.Memory.StoreU32(ListBase + (ulong)(32 * _slot) + 4, (uint)Math.Max(_moved, 0));
    }

    private void FillRegisters(Span<byte> fis)
    {
        var device = Device!;
        fis[2] = (byte)device.Status;
        fis[3] = (byte)device.Error;
        for (var i = 0; i < 4; i++)
            fis[4 + i] = device.ReadRegister(3 + i, false);
        for (var i = 0; i < 3; i++)
            fis[8 + i] = device.ReadRegister(3 + i, true);
        fis[12] = device.ReadRegister(2, false);
        fis[13] = device.ReadRegister(2, true);
    }

    private bool CanPost => (_command & CommandFisReceive) != 0 && _hba.IsBusMaster && Device != null;

    private void PostD2H(bool interrupt)
    {
        if (!CanPost)
            return;
        Span<byte> fis = stackalloc byte[20];
        fis.Clear();
        fis[0] = 0x34;
        fis[1] = (byte)(interrupt ? 0x40 : 0);
        FillRegisters(fis);
        _ = _hba.Memory.Write(FisBase + FisD2H, fis);
        if (interrupt)
            _interrupt |= IntD2H;
    }

    private void PostPioSetup(bool toHost, int length)
    {
        if (!CanPost)
            return;
        Span<byte> fis = stackalloc byte[20];
        fis.Clear();
        fis[0] = 0x5F;
        fis[1] = (byte)((toHost ? 0x20 : 0) | (_deviceInterrupt ? 0x40 : 0));
        FillRegisters(fis);
        fis[15] = (byte)Device!.Status;
        BinaryPrimitives.WriteUInt16LittleEndian(fis[16..], (ushort)length);
        _ = _hba.Memory.Write(FisBase + FisPioSetup, fis);
        if (_deviceInterrupt)
            _interrupt |= IntPioSetup;
        _deviceInterrupt = false;
    }

    private void PostSetDeviceBits(byte status, byte error, uint finished)
    {
        _active &= ~finished;
        if (CanPost)
        {
            Span<byte> fis = stackalloc byte[8];
            fis[0] = 0xA1;
            fis[1] = 0x40;
            fis[2] = (byte)(status & 0x77);
            fis[3] = error;
            BinaryPrimitives.WriteUInt32LittleEndian(fis[4..], finished);
            _ = _hba.Memory.Write(FisBase + FisSetDeviceBits, fis);
            _interrupt |= IntSetDeviceBits;
        }

        _hba.UpdateInterrupt();
    }

    /// <summary>A queued command in flight.</summary>
    private sealed record Queued(DmaBuffer Memory, BlockRequest Request);
}
