using Dromaius.Core.Devices;
using Dromaius.Core.Memory;

namespace Dromaius.Devices.Isa;

/// <summary>
/// The PC AT's two 8237A DMA controllers and their page registers: channels 0 to 3 move bytes, 5 to 7 words; 4 is the
/// cascade. Sources: Intel 8237A datasheet (231466); IBM PC AT technical reference, "DMA channels".
/// </summary>
public sealed class I8237 : Device
{
    /// <summary>Which page register belongs to a channel, by offset from port 80h.</summary>
    private static readonly int[] PageOf = [7, 3, 1, 2, 15, 11, 9, 10];

    private readonly AddressSpace _memory;
    private readonly Controller[] _controllers = [new(), new()];
    private readonly byte[] _pages = new byte[16];
    private readonly byte[] _highPages = new byte[16];

    public I8237(AddressSpace memory)
    {
        _memory = memory;
        BytePorts = MemoryRegion.Device("dma-byte", 16, (offset, _) => _controllers[0].Read((int)offset),
            (offset, _, value) => Write(0, (int)offset, (byte)value), 1, 1);
        WordPorts = MemoryRegion.Device("dma-word", 32, (offset, _) => _controllers[1].Read((int)offset >> 1),
            (offset, _, value) => Write(1, (int)offset >> 1, (byte)value), 1, 1);
        PagePorts = MemoryRegion.Device("dma-page", 16, (offset, _) => _pages[offset & 15],
            (offset, _, value) => _pages[offset & 15] = (byte)value, 1, 1);
        HighPagePorts = MemoryRegion.Device("dma-high-page", 16, (offset, _) => _highPages[offset & 15],
            (offset, _, value) => _highPages[offset & 15] = (byte)value, 1, 1);
        Reset();
    }

    public override string TypeName => "i8257";

    /// <summary>Ports 00h to 0Fh.</summary>
    public MemoryRegion BytePorts { get; }

    /// <summary>Ports C0h to DFh, registers two apart.</summary>
    public MemoryRegion WordPorts { get; }

    /// <summary>Ports 80h to 8Fh.</summary>
    public MemoryRegion PagePorts { get; }

    /// <summary>Ports 480h to 48Fh: address bits 31 to 24.</summary>
    public MemoryRegion HighPagePorts { get; }

    public override void Reset()
    {
        foreach (var controller in _controllers)
            controller.MasterClear();
        Array.Clear(_pages);
        Array.Clear(_highPages);
    }

    /// <summary>A device's request line, as the status register shows it.</summary>
    public void SetRequest(int channel, bool level)
    {
        if ((uint)channel < 8)
            _controllers[channel >> 2].SetRequest(channel & 3, level);
    }

    /// <summary>The channel is unmasked and its controller works: a transfer would move something.</summary>
    public bool IsReady(int channel) => (uint)channel < 8 && _controllers[channel >> 2].IsReady(channel & 3);

    /// <summary>Memory to device. Stops at terminal count.</summary>
    /// <returns>How many bytes were moved.</returns>
    public int Read(int channel, Span<byte> to, out bool terminal)
    {
        var n = 0;
        terminal = false;
        var unit = channel < 4 ? 1 : 2;
        while (n + unit <= to.Length && IsReady(channel) && !terminal)
        {
            var address = Step(channel, out var verify, out terminal);
            if (verify)
                to.Slice(n, unit).Clear();
            else
                _ = _memory.Read(address, to.Slice(n, unit));
            n += unit;
        }

        return n;
    }

    /// <summary>Device to memory. Stops at terminal count.</summary>
    /// <returns>How many bytes were moved.</returns>
    public int Write(int channel, ReadOnlySpan<byte> from, out bool terminal)
    {
        var n = 0;
        terminal = false;
        var unit = channel < 4 ? 1 : 2;
        while (n + unit <= from.Length && IsReady(channel) && !terminal)
        {
            var address = Step(channel, out var verify, out terminal);
            if (!verify)
                _ = _memory.Write(address, from.Slice(n, unit));
            n += unit;
        }

        return n;
    }

    /// <summary>One unit of a channel: its address; moves on.</summary>
    private ulong Step(int channel, out bool verify, out bool terminal)
    {
        var controller = _controllers[channel >> 2];
        var address = Address(channel, controller.Address(channel & 3));
        verify = controller.IsVerify(channel & 3);
        terminal = controller.Advance(channel & 3);
        return address;
    }

    private ulong Address(int channel, ushort low)
    {
        var page = PageOf[channel];
        var high = (ulong)_highPages[page] << 24;
        // Word channels count words; their page register's lowest bit is not used.
        return channel < 4
            ? high | (ulong)_pages[page] << 16 | low
            : high | (ulong)(_pages[page] & 0xFE) << 16 | (ulong)low << 1;
    }

    private void Write(int number, int register, byte value)
    {
        var controller = _controllers[number];
        controller.Write(register, value);
        if (number == 0 && register == 9 && controller.WantsMemoryCopy)
            CopyMemory(controller);
    }

    /// <summary>Memory to memory: channel 0 reads, channel 1 writes until its terminal count.</summary>
    private void CopyMemory(Controller controller)
    {
        Span<byte> one = stackalloc byte[1];
        var terminal = false;
        while (!terminal)
        {
            _ = _memory.Read(Address(0, controller.Address(0)), one);
            controller.AdvanceSource();
            var to = Address(1, controller.Address(1));
            terminal = controller.Advance(1);
            controller.Temporary = one[0];
            _ = _memory.Write(to, one);
        }

        controller.EndMemoryCopy();
    }

    private sealed class Controller
    {
        private const byte ModeAutoInit = 0x10, ModeDecrement = 0x20;
        private const byte CommandMemory = 1, CommandHold = 2, CommandDisable = 4;

        private readonly ushort[] _baseAddress = new ushort[4];
        private readonly ushort[] _baseCount = new ushort[4];
        private readonly ushort[] _address = new ushort[4];
        private readonly ushort[] _count = new ushort[4];
        private readonly byte[] _mode = new byte[4];
        private byte _command;
        private byte _terminal;
        private byte _requests;     // devices' lines
        private byte _softRequests;
        private byte _mask;
        private bool _high;         // first/last flip-flop

        public byte Temporary { get; set; }

        public bool WantsMemoryCopy => (_command & (CommandMemory | CommandDisable)) == CommandMemory && (_softRequests & 1) != 0;

        public void MasterClear()
        {
            _command = _terminal = _softRequests = 0;
            Temporary = 0;
            _mask = 0x0F;
            _high = false;
        }

        public void SetRequest(int channel, bool level) =>
            _requests = (byte)(level ? _requests | 1 << channel : _requests & ~(1 << channel));

        public bool IsReady(int channel) => (_mask & 1 << channel) == 0 && (_command & CommandDisable) == 0;

        public bool IsVerify(int channel) => (_mode[channel] & 0x0C) == 0;

        public ushort Address(int channel) => _address[channel];

        /// <summary>Counts one transfer; true at terminal count.</summary>
        public bool Advance(int channel)
        {
            MoveAddress(channel);
            if (_count[channel]-- != 0)
                return false;
            _terminal |= (byte)(1 << channel);
            _softRequests &= (byte)~(1 << channel);
            if ((_mode[channel] & ModeAutoInit) != 0)
            {
                _address[channel] = _baseAddress[channel];
                _count[channel] = _baseCount[channel];
            }
            else
                _mask |= (byte)(1 << channel);
            return true;
        }

        /// <summary>The source address of a memory copy moves unless it is held.</summary>
        public void AdvanceSource()
        {
            if ((_command & CommandHold) == 0)
                MoveAddress(0);
            _count[0]--;
        }

        public void EndMemoryCopy() => _softRequests &= 0xFE;

        private void MoveAddress(int channel)
        {
            if ((_mode[channel] & ModeDecrement) != 0)
                _address[channel]--;
            else
                _address[channel]++;
        }

        public byte Read(int register)
        {
            switch (register)
            {
                case < 8:
                    var value = (register & 1) == 0 ? _address[register >> 1] : _count[register >> 1];
                    var b = (byte)(_high ? value >> 8 : value);
                    _high = !_high;
                    return b;
                case 8:
                    var status = (byte)(_terminal | (_requests | _softRequests) << 4);
                    _terminal = 0;
                    return status;
                case 13:
                    return Temporary;
                case 15:
                    return (byte)(0xF0 | _mask);
                default:
                    return 0;
            }
        }

        public void Write(int register, byte value)
        {
            switch (register)
            {
                case < 8:
                    WriteChannel(register, value);
                    break;
                case 8:
                    _command = value;
                    break;
                case 9:
                    SetBit(ref _softRequests, value);
                    break;
                case 10:
                    SetBit(ref _mask, value);
                    break;
                case 11:
                    _mode[value & 3] = (byte)(value & 0xFC);
                    break;
                case 12:
                    _high = false;
                    break;
                case 13:
                    MasterClear();
                    break;
                case 14:
                    _mask = 0;
                    break;
                case 15:
                    _mask = (byte)(value & 0x0F);
                    break;
            }
        }

        private void WriteChannel(int register, byte value)
        {
            var channel = register >> 1;
            var isAddress = (register & 1) == 0;
            ref var stored = ref (isAddress ? _baseAddress : _baseCount)[channel];
            stored = (ushort)(_high ? (stored & 0xFF) | value << 8 : (stored & 0xFF00) | value);
            (isAddress ? _address : _count)[channel] = stored;
            _high = !_high;
        }

        private static void SetBit(ref byte bits, byte value)
        {
            var bit = (byte)(1 << (value & 3));
            bits = (byte)((value & 4) != 0 ? bits | bit : bits & ~bit);
        }
    }
}
