using Dromaius.Core.Devices;
using Dromaius.Core.Interrupts;
using Dromaius.Core.Memory;

namespace Dromaius.Devices.Storage.Ata;

/// <summary>
/// A parallel ATA channel: two devices on one cable behind the command block (1F0h) and control block (3F6h) ports. Source:
/// T13 ATA/ATAPI-7 volume 2 (T13/1532D), chapters 5 to 9.
/// </summary>
public sealed class IdeChannel : Device, IAtaTransport
{
    private const byte ControlNien = 0x02, ControlSrst = 0x04, ControlHob = 0x80;
    private const byte DiagnosticCommand = 0x90;

    private readonly AtaDevice?[] _devices = new AtaDevice?[2];
    private readonly bool[] _interrupt = new bool[2];
    private int _selected;
    private byte _control;

    /// <param name="number">0 for the primary channel.</param>
    public IdeChannel(int number)
    {
        Number = number;
        CommandPorts = MemoryRegion.Device("ide", 8, ReadCommand, WriteCommand);
        ControlPort = MemoryRegion.Device("ide-control", 1, (_, _) => ReadStatus(acknowledge: false), WriteControl, 1, 1);
    }

    public override string TypeName => "IDE";
    public int Number { get; }

    /// <summary>As <c>bus=</c> names it.</summary>
    public string Name => $"ide.{Number}";

    /// <summary>Ports 1F0h to 1F7h of the primary channel.</summary>
    public MemoryRegion CommandPorts { get; }

    /// <summary>Port 3F6h of the primary channel.</summary>
    public MemoryRegion ControlPort { get; }
    public IrqLine Irq { get; } = new();

    /// <summary>The DMA engine, if the controller has one.</summary>
    public BusMasterIde? BusMaster { get; set; }

    public AtaDevice? this[int unit] => _devices[unit];

    public void Attach(int unit, AtaDevice device)
    {
        _devices[unit] = device;
        device.Transport = this;
    }

    public void Detach(int unit)
    {
        _devices[unit]?.Abandon();
        _devices[unit] = null;
    }

    public override void Reset()
    {
        BusMaster?.Reset();
        foreach (var device in _devices)
            device?.Reset();
        _selected = 0;
        _control = 0;
        Array.Clear(_interrupt);
        UpdateIrq();
    }

    public void Interrupt(AtaDevice device)
    {
        _interrupt[device == _devices[0] ? 0 : 1] = true;
        UpdateIrq();
    }

    public void PioReady(AtaDevice device, bool toHost)
    {
        // The host moves it through the data port.
    }

    public void DmaRequested(AtaDevice device, bool toHost, long length) => BusMaster?.Request(device, toHost, length);

    public void DmaDone(AtaDevice device) => BusMaster?.Done(device);

    public void CommandDone(AtaDevice device)
    {
    }

    private bool IsAbsent => _devices[_selected] == null;

    private ulong ReadCommand(ulong offset, int size)
    {
        var device = _devices[_selected];
        if (offset == 0)
            return device?.PioRead(size) ?? 0;
        if (offset == 7)
            return ReadStatus(acknowledge: true);
        // For one that is not there the other shows which was chosen.
        if (offset == 6)
            device ??= _devices[_selected ^ 1];
        return device?.ReadRegister((int)offset, (_control & ControlHob) != 0) ?? 0;
    }

    private void WriteCommand(ulong offset, int size, ulong value)
    {
        switch (offset)
        {
            case 0:
                _devices[_selected]?.PioWrite(size, (uint)value);
                break;
            case 7:
                WriteCommandRegister((byte)value);
                break;
            default:
                // Both devices keep the registers; writing them drops the HOB bit.
                _control = (byte)(_control & ~ControlHob);
                foreach (var device in _devices)
                    device?.WriteRegister((int)offset, (byte)value);
                if (offset == 6)
                {
                    _selected = (int)(value >> 4) & 1;
                    UpdateIrq();
                }

                break;
        }
    }

    private void WriteCommandRegister(byte command)
    {
        _control = (byte)(_control & ~ControlHob);
        if ((_control & ControlSrst) != 0)
            return;
        if (command == DiagnosticCommand)
        {
            // Both run it; device 0 answers for both.
            _selected = 0;
            foreach (var device in _devices)
                device?.Execute(command);
            _interrupt[1] = false;
            UpdateIrq();
            return;
        }

        _interrupt[_selected] = false;
        UpdateIrq();
        _devices[_selected]?.Execute(command);
    }

    private byte ReadStatus(bool acknowledge)
    {
        if (IsAbsent)
            return 0;
        if ((_control & ControlSrst) != 0)
            return (byte)AtaStatus.Bsy;
        if (acknowledge)
        {
            _interrupt[_selected] = false;
            UpdateIrq();
        }

        return (byte)_devices[_selected]!.Status;
    }

    private void WriteControl(ulong offset, int size, ulong value)
    {
        var before = _control;
        _control = (byte)value;
        if ((before & ControlSrst) == 0 && (_control & ControlSrst) != 0)
        {
            foreach (var device in _devices)
                device?.Abandon();
        }
        else if ((before & ControlSrst) != 0 && (_control & ControlSrst) == 0)
        {
            BusMaster?.Abandon();
            foreach (var device in _devices)
                device?.SoftReset();
            Array.Clear(_interrupt);
            _selected = 0;
        }

        UpdateIrq();
    }

    private void UpdateIrq()
    {
        var level = _interrupt[_selected] && (_control & ControlNien) == 0;
        if (level && !Irq.Level)
            BusMaster?.NoteInterrupt();
        Irq.Level = level;
    }
}
