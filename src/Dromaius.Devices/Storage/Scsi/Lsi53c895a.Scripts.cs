namespace Dromaius.Devices.Storage.Scsi;

/// <content>
/// The SCRIPTS processor. It runs until it stops, waits for the bus, or has done a slice of work; then a timer goes on, so that a
/// script that never ends costs time but holds nobody up.
/// </content>
public sealed partial class Lsi53c895a
{
    /// <summary>Instructions of a slice; moved bytes count as some, too.</summary>
    private const int SliceWork = 1000, BytesOfWork = 1024;
    private const long SlicePause = 50_000;

    /// <summary>CCNTL0: a phase mismatch jumps instead of interrupting; which register says where to.</summary>
    private const byte MismatchJumps = 0x80, JumpByDirection = 0x40;

    /// <summary>CCNTL1: addresses above 4 GiB in direct and in table indirect moves, and the form of the latter.</summary>
    private const byte Direct64 = 1, Table64 = 2, Table40 = 4;
    private const byte WideResidue = 1;

    private bool _running;

    /// <summary>Inside <see cref="Run"/>: stores of the script to our own registers must not enter again.</summary>
    private bool _executing;

    /// <summary>Stopped until the target asks for something.</summary>
    private bool _waitingForBus;

    /// <summary>In WAIT RESELECT: only SIGP ends it.</summary>
    private bool _waitingForSignal;
    private bool _carry;
    private int _work;

    // The block move under way.
    private bool _moving;
    private Phase _movePhase;
    private ulong _moveAddress;
    private uint _moveCount, _moved, _moveTop;

    private void StartScript()
    {
        _running = true;
        _waitingForBus = _waitingForSignal = _moving = false;
        Run();
    }

    private void StopScript()
    {
        _running = _waitingForBus = _waitingForSignal = _moving = false;
        _continue.Cancel();
    }

    /// <summary>The target is ready again.</summary>
    private void Resume()
    {
        if (!_waitingForBus || !_running)
            return;
        _waitingForBus = false;
        Run();
    }

    private void Run()
    {
        if (_executing)
            return;
        _executing = true;
        _work = 0;
        while (IsActive && _work < SliceWork)
        {
            _work++;
            if (!IsBusMaster)
                Raise(DmaInterrupt.BusFault);
            else if (_moving)
                ContinueMove();
            else
                Execute();
            if (IsActive && !_moving && (At(Reg.Dcntl) & DcntlSingleStep) != 0)
                Raise(DmaInterrupt.SingleStep);
        }

        _executing = false;
        if (IsActive)
            _continue.Arm(_clock.Now + SlicePause);
    }

    private bool IsActive => _running && !_waitingForBus && !_waitingForSignal;

    private uint Fetch()
    {
        var dsp = Get32(Reg.Dsp);
        Set32(Reg.Dsp, dsp + 4);
        return Memory.LoadU32((ulong)Get32(Reg.Sfs) << 32 | dsp);
    }

    private void Execute()
    {
        var start = Get32(Reg.Dsp);
        var instruction = Fetch();
        var operand = Fetch();
        Set32(Reg.Dbc, instruction);
        Set32(Reg.Dsps, operand);
        switch (instruction >> 30)
        {
            case 0:
                BlockMove(start, instruction, operand);
                break;
            case 1 when (instruction >> 27 & 7) < 5:
                InputOutput(instruction, operand);
                break;
            case 1:
                ReadWrite(instruction);
                break;
            case 2:
                TransferControl(start, instruction, operand);
                break;
            case 3 when (instruction & 0x2000_0000) == 0:
                MemoryMove(instruction, operand);
                break;
            default:
                LoadStore(instruction, operand);
                break;
        }
    }

    /// <summary>A 24-bit displacement.</summary>
    private static uint SignExtend(uint value) => (uint)((int)(value << 8) >> 8);

    /// <summary>The time of a selection that nobody answered runs out where the script needs the bus.</summary>
    private bool IsSelectionOver()
    {
        if (!_selectionFailed)
            return false;
        _selectionFailed = false;
        Raise(ScsiInterrupt.SelectionTimeout);
        return true;
    }

    private void BlockMove(uint start, uint instruction, uint operand)
    {
        const uint Indirect = 1 << 29, TableIndirect = 1 << 28;
        var control = At(Reg.Ccntl1);
        var high = Get32(Reg.Sbms);
        uint low;
        _moveCount = instruction & 0xFF_FFFF;
        _moveTop = instruction >> 24;
        Set32(Reg.Esa, 0);
        if ((instruction & TableIndirect) != 0)
        {
            var entry = Get32(Reg.Dsa) + SignExtend(operand);
            Set32(Reg.Esa, entry);
            var length = Memory.LoadU32(entry);
            low = Memory.LoadU32(entry + 4UL);
            _moveCount = length & 0xFF_FFFF;
            _moveTop = length >> 24;
            if ((control & Table64) != 0)
                high = (control & Table40) != 0 ? _moveTop & 0x7F : Selected(_moveTop & 0x1F);
        }
        else if ((instruction & Indirect) != 0)
            low = Memory.LoadU32(operand);
        else
        {
            low = operand;
            if ((control & Direct64) != 0)
                high = Fetch();
        }

        Set32(Reg.Ia, start);
        _moveAddress = (ulong)high << 32 | low;
        _movePhase = (Phase)(instruction >> 24 & 7);
        _moved = 0;
        _moving = true;
        ContinueMove();
    }

    /// <summary>The upper half of an address by its selector: a scratch register or one of the selector registers.</summary>
    private uint Selected(uint selector) => selector switch
    {
        < 16 => Get32(Reg.ScratchC + (int)(4 * selector)),
        < 22 => Get32(Reg.Mmrs + (int)(4 * (selector - 16))),
        _ => 0,
    };

    /// <summary>Moves until the count is reached, the target is busy or wants another phase.</summary>
    private void ContinueMove()
    {
        if (IsSelectionOver())
            return;
        // A target selected without attention goes on to its command.
        if (_phase == Phase.MessageOut && !_attention && _movePhase == Phase.Command)
            _phase = Phase.Command;
        while (_moveCount > 0 && _unit != null && _requesting && _phase == _movePhase)
        {
            var connection = _connection;
            var n = MovePhase(_moveAddress, _moveCount);
            if (!_moving || (n == 0 && connection == _connection))
                break;
            _moveAddress += n;
            _moveCount -= n;
            _moved += n;
            _work += (int)(n / BytesOfWork);
        }

        if (!_moving)
            return;
        Dbc = _moveCount;
        Set32(Reg.Dnad, (uint)_moveAddress);
        Set32(Reg.Dnad64, (uint)(_moveAddress >> 32));
        Set32(Reg.Ua, (uint)_moveAddress);
        Set32(Reg.Rbc, _moveCount | _moveTop << 24);
        Set32(Reg.Sbc, _moved);
        if (_moveCount > 0 && (_unit == null || !_requesting))
        {
            // Without a target the script hangs until the driver steps in.
            _waitingForBus = true;
            return;
        }

        _moving = false;
        Set32(Reg.Csbc, Get32(Reg.Csbc) + _moved);
        if (_moveCount > 0)
            Mismatch();
    }

    /// <summary>The target wants another phase than the move.</summary>
    private void Mismatch()
    {
        // No byte is left in the FIFO: its count is that of the transfer.
        At(Reg.Dfifo) = (byte)_moveCount;
        At(Reg.Ctest5) = (byte)((At(Reg.Ctest5) & 0xFCu) | (_moveCount >> 8 & 3));
        var control = At(Reg.Ccntl0);
        if ((control & MismatchJumps) == 0)
        {
            Raise(ScsiInterrupt.PhaseMismatch);
            return;
        }

        var isOut = (control & JumpByDirection) != 0 ? ((int)_movePhase & 1) == 0 : (At(Reg.Scntl2) & WideResidue) == 0;
        Set32(Reg.Dsp, Get32(isOut ? Reg.Pmjad1 : Reg.Pmjad2));
    }

    private void InputOutput(uint instruction, uint operand)
    {
        const uint Relative = 1 << 26, TableIndirect = 1 << 25, WithAttention = 1 << 24, Carry = 1 << 10, Attention = 1 << 3;
        var id = instruction;
        if ((instruction & TableIndirect) != 0)
        {
            id = Memory.LoadU32(Get32(Reg.Dsa) + SignExtend(instruction));
            At(Reg.Scntl3) = (byte)(id >> 24);
            At(Reg.Sxfer) = (byte)(id >> 8);
        }

        var alternative = (instruction & Relative) != 0 ? Get32(Reg.Dsp) + SignExtend(operand) : operand;
        Set32(Reg.Dnad, alternative);
        switch (instruction >> 27 & 7)
        {
            case 0:
                if (_unit != null)
                    Set32(Reg.Dsp, alternative);
                else
                    Select((int)(id >> 16 & 0x0F), (instruction & WithAttention) != 0);
                break;
            case 1: // WAIT DISCONNECT: a target that would not let go is left
                if (!IsSelectionOver() && _unit != null)
                    Abandon();
                break;
            case 2: // WAIT RESELECT
                if (IsSelectionOver())
                    break;
                if ((At(Reg.Istat0) & Istat0SignalProcess) != 0)
                    Set32(Reg.Dsp, alternative);
                else
                    _waitingForSignal = true;
                break;
            default: // SET, CLEAR
                var set = (instruction >> 27 & 7) == 3;
                if ((instruction & Carry) != 0)
                    _carry = set;
                if ((instruction & Attention) != 0)
                    _attention = set;
                break;
        }
    }

    private void ReadWrite(uint instruction)
    {
        const uint UseSfbr = 1 << 23;
        const int FromSfbr = 5, ToSfbr = 6;
        var register = (int)(instruction >> 16 & 0x7F | instruction & 0x80);
        var opcode = (int)(instruction >> 27 & 7);
        var operation = instruction >> 24 & 7;
        int data = opcode == 7 && (instruction & UseSfbr) != 0 ? At(Reg.Sfbr) : (byte)(instruction >> 8);
        int value = opcode == FromSfbr ? At(Reg.Sfbr) : operation != 0 ? ReadByte(register) : 0;
        switch (operation)
        {
            case 0:
                value = data;
                break;
            case 1:
                value = value << 1 | (_carry ? 1 : 0);
                _carry = (value & 0x100) != 0;
                break;
            case 2:
                value |= data;
                break;
            case 3:
                value ^= data;
                break;
            case 4:
                value &= data;
                break;
            case 5:
                var low = (value & 1) != 0;
                value = value >> 1 | (_carry ? 0x80 : 0);
                _carry = low;
                break;
            default:
                value += data + (operation == 7 && _carry ? 1 : 0);
                _carry = value > 0xFF;
                break;
        }

        if (opcode == ToSfbr)
            At(Reg.Sfbr) = (byte)value;
        else
            WriteByte(register, (byte)value);
    }

    private void TransferControl(uint start, uint instruction, uint operand)
    {
        const uint Relative = 1 << 23, TestCarry = 1 << 21, OnTheFly = 1 << 20, JumpIfTrue = 1 << 19, TestData = 1 << 18, TestPhase = 1 << 17, Wait = 1 << 16;
        const uint Tests = TestCarry | JumpIfTrue | TestData | TestPhase;
        if ((instruction & Tests) == 0)
            return;
        if ((instruction & Wait) != 0)
        {
            if (IsSelectionOver())
                return;
            if (!_requesting)
            {
                // The target has to say what it wants; without one the script hangs until the driver steps in.
                Set32(Reg.Dsp, start);
                _waitingForBus = true;
                return;
            }
        }

        var wanted = (instruction & JumpIfTrue) != 0;
        var mask = ~instruction >> 8 & 0xFF;
        var matches = ((instruction & TestCarry) == 0 || _carry == wanted)
            && ((instruction & TestPhase) == 0 || _phase == (Phase)(instruction >> 24 & 7) == wanted)
            && ((instruction & TestData) == 0 || (At(Reg.Sfbr) & mask) == (instruction & mask) == wanted);
        if (!matches)
            return;
        var target = (instruction & Relative) != 0 ? Get32(Reg.Dsp) + SignExtend(operand) : operand;
        switch (instruction >> 27 & 7)
        {
            case 0:
                Set32(Reg.Dsp, target);
                break;
            case 1:
                Set32(Reg.Temp, Get32(Reg.Dsp));
                Set32(Reg.Dsp, target);
                break;
            case 2:
                Set32(Reg.Dsp, Get32(Reg.Temp));
                break;
            case 3 when (instruction & OnTheFly) != 0:
                At(Reg.Istat0) |= Istat0OnTheFly;
                UpdateInterrupt();
                break;
            case 3:
                Raise(DmaInterrupt.Script);
                break;
            default:
                Raise(DmaInterrupt.IllegalInstruction);
                break;
        }
    }

    private void MemoryMove(uint instruction, uint source)
    {
        var to = (ulong)Get32(Reg.Mmws) << 32 | Fetch();
        var from = (ulong)Get32(Reg.Mmrs) << 32 | source;
        var count = (int)(instruction & 0xFF_FFFF);
        if (count == 0)
        {
            Raise(DmaInterrupt.IllegalInstruction);
            return;
        }

        _work += count / BytesOfWork;
        Span<byte> part = stackalloc byte[Math.Min(count, 4096)];
        while (count > 0)
        {
            var n = Math.Min(count, part.Length);
            _ = Memory.Read(from, part[..n]);
            _ = Memory.Write(to, part[..n]);
            from += (uint)n;
            to += (uint)n;
            count -= n;
        }
    }

    private void LoadStore(uint instruction, uint operand)
    {
        const uint DsaRelative = 1 << 28, Load = 1 << 24;
        const int LongestAccess = 4;
        var count = (int)(instruction & 7);
        var register = (int)(instruction >> 16 & 0xFF);
        if (count is 0 or > LongestAccess || register + count > Registers)
        {
            Raise(DmaInterrupt.IllegalInstruction);
            return;
        }

        var load = (instruction & Load) != 0;
        var address = (instruction & DsaRelative) != 0
            ? (ulong)Get32(Reg.Drs) << 32 | (Get32(Reg.Dsa) + SignExtend(operand))
            : (ulong)Get32(load ? Reg.Mmrs : Reg.Mmws) << 32 | operand;
        Span<byte> data = stackalloc byte[LongestAccess];
        data = data[..count];
        if (load)
        {
            _ = Memory.Read(address, data);
            for (var i = 0; i < count; i++)
                WriteByte(register + i, data[i]);
            return;
        }

        for (var i = 0; i < count; i++)
            data[i] = ReadByte(register + i);
        _ = Memory.Write(address, data);
    }
}
