using System.Runtime.InteropServices;
using Dromaius.Jit;
using Dromaius.Jit.Ir;

namespace Dromaius.Cpu.X86;

/// <summary>
/// Repeated string instructions and port strings (Intel SDM volume 1, section 7.3.9). Each works on runs of elements that lie in one page
/// of memory, stores RCX, RSI and RDI after every run, and leaves between runs when something asks: the instruction then goes on
/// where it stopped. All take a packed <see cref="StringCall"/> and give 1 when the instruction is complete, else 0.
/// </summary>
public static unsafe class StringHelpers
{
    public static readonly Helper Move = new("repMovs", &MoveImpl, HelperEffects.All);
    public static readonly Helper Store = new("repStos", &StoreImpl, HelperEffects.All);
    public static readonly Helper Load = new("repLods", &LoadImpl, HelperEffects.All);
    public static readonly Helper Compare = new("repCmps", &CompareImpl, HelperEffects.All);
    public static readonly Helper Scan = new("repScas", &ScanImpl, HelperEffects.All);
    public static readonly Helper Input = new("repIns", &InputImpl, HelperEffects.All);
    public static readonly Helper Output = new("repOuts", &OutputImpl, HelperEffects.All);

    private const int Rax = X86Layout.Rax, Rcx = X86Layout.Rcx, Rdx = X86Layout.Rdx, Rsi = X86Layout.Rsi, Rdi = X86Layout.Rdi;

    [UnmanagedCallersOnly]
    private static ulong MoveImpl(void* state, ulong a, ulong b, ulong c, ulong d) => Run(state, a);

    [UnmanagedCallersOnly]
    private static ulong StoreImpl(void* state, ulong a, ulong b, ulong c, ulong d) => Run(state, a);

    [UnmanagedCallersOnly]
    private static ulong LoadImpl(void* state, ulong a, ulong b, ulong c, ulong d) => Run(state, a);

    [UnmanagedCallersOnly]
    private static ulong CompareImpl(void* state, ulong a, ulong b, ulong c, ulong d) => Run(state, a);

    [UnmanagedCallersOnly]
    private static ulong ScanImpl(void* state, ulong a, ulong b, ulong c, ulong d) => Run(state, a);

    [UnmanagedCallersOnly]
    private static ulong InputImpl(void* state, ulong a, ulong b, ulong c, ulong d) => Run(state, a);

    [UnmanagedCallersOnly]
    private static ulong OutputImpl(void* state, ulong a, ulong b, ulong c, ulong d) => Run(state, a);

    private static ulong Run(void* state, ulong packed)
    {
        var cpu = X86Cpu.Of(state);
        var s = (X86State*)state;
        var (ccOp, ccDst, ccSrc) = (s->CcOp, s->CcDst, s->CcSrc);
        try
        {
            return new StringRun(cpu, StringCall.Unpack(packed)).Execute() ? 1UL : 0;
        }
        catch (GuestFaultException fault)
        {
            // Flags are those before the instruction; the registers stand at the element that faulted.
            s->CcOp = ccOp;
            s->CcDst = ccDst;
            s->CcSrc = ccSrc;
            cpu.QueueFault(fault);
            return 0;
        }
    }

    /// <summary>One execution of a string instruction.</summary>
    private readonly ref struct StringRun(X86Cpu cpu, StringCall call)
    {
        private readonly X86Cpu _cpu = cpu;
        private readonly X86State* _state = cpu.State;
        private readonly StringCall _call = call;
        private readonly int _size = call.Size;
        private readonly bool _down = (cpu.State->Eflags & Eflags.Df) != 0;
        private readonly ulong _mask = call.AddressSize switch { 2 => 0xFFFF, 4 => 0xFFFFFFFF, _ => ulong.MaxValue };

        private bool IsPort => _call.Op is StringOp.Input or StringOp.Output;

        private bool Repeated => !IsPort || _call.WhileEqual;

        private bool UsesSource => _call.Op is StringOp.Move or StringOp.Load or StringOp.Compare or StringOp.Output;

        private bool UsesDestination => _call.Op is not (StringOp.Load or StringOp.Output);

        public bool Execute()
        {
            if (!Repeated)
            {
                Elements(1, out _);
                return true;
            }

            while (true)
            {
                var count = _state->Gpr[Rcx] & _mask;
                if (count == 0)
                    return true;
                var done = Elements(_call.Single ? 1 : count, out var stop);
                SetRegister(Rcx, count - done);
                if (stop || count == done)
                    return true;
                if (_call.Single)
                    return false;
                if (Volatile.Read(ref _state->Engine.ExitRequest) != 0)
                {
                    _state->Engine.ExitReason = ExitReason.Reenter;
                    return false;
                }
            }
        }

        /// <summary>Works on one run of at least one and at most so many elements.</summary>
        /// <param name="stop">The condition of REPE or REPNE ended the instruction.</param>
        private ulong Elements(ulong count, out bool stop)
        {
            stop = false;
            if (IsPort)
            {
                _cpu.CheckPortAccess((ushort)_state->Gpr[Rdx], _size);
                OnePort();
                return 1;
            }

            var source = UsesSource ? Locate(_call.Source, Rsi, AccessKind.Read, ref count) : 0;
            var destination = UsesDestination
                ? Locate(Seg.Es, Rdi, _call.Op is StringOp.Move or StringOp.Store ? AccessKind.Write : AccessKind.Read, ref count)
                : 0;
            switch (_call.Op)
            {
                case StringOp.Move:
                    count = MoveRun(source, destination, count);
                    break;
                case StringOp.Store:
                    count = StoreRun(destination, count);
                    break;
                case StringOp.Load:
                    var value = _cpu.Load(source, _size);
                    SetLow(Rax, _size, value);
                    count = 1;
                    break;
                case StringOp.Compare:
                    count = CompareRun(source, destination, count, out stop);
                    break;
                default:
                    count = ScanRun(destination, count, out stop);
                    break;
            }

            Advance(count);
            return count;
        }

        private void OnePort()
        {
            ulong one = 1;
            var port = (ushort)_state->Gpr[Rdx];
            if (_call.Op == StringOp.Input)
            {
                var address = Locate(Seg.Es, Rdi, AccessKind.Write, ref one);
                _cpu.Probe(address, _size, AccessKind.Write);
                _cpu.Store(address, _size, _cpu.PortIn(port, _size));
            }
            else
            {
                var address = Locate(_call.Source, Rsi, AccessKind.Read, ref one);
                _cpu.PortOut(port, _size, (uint)_cpu.Load(address, _size));
            }

            Advance(1);
        }

        /// <summary>The linear address of the next element, checked; the count is cut to what the segment and the address size allow.</summary>
        private ulong Locate(Seg segment, int register, AccessKind kind, ref ulong count)
        {
            var offset = _state->Gpr[register] & _mask;
            var room = _down ? offset / (ulong)_size + 1 : (_mask - offset) / (ulong)_size;
            count = Math.Max(1, Math.Min(count, room));
            if (!_call.Checked)
                return segment is Seg.Fs or Seg.Gs ? _cpu.SegmentOf(segment)->Base + offset : offset;
            var linear = _cpu.CheckSegmentAccess(segment, offset, (uint)_size, kind);
            const int expandDown = 4, code = 8;
            var descriptor = _cpu.SegmentOf(segment);
            if (_down || (descriptor->Type & (expandDown | code)) == expandDown)
                count = 1;
            else
                count = Math.Max(1, Math.Min(count, (descriptor->Limit - offset + 1) / (ulong)_size));
            return linear;
        }

        private void Advance(ulong count)
        {
            var distance = count * (ulong)_size;
            if (_down)
                distance = 0 - distance;
            if (UsesSource)
                SetRegister(Rsi, _state->Gpr[Rsi] + distance);
            if (UsesDestination)
                SetRegister(Rdi, _state->Gpr[Rdi] + distance);
        }

        private void SetRegister(int register, ulong value) => SetLow(register, _call.AddressSize, value);

        private void SetLow(int register, int size, ulong value)
        {
            ref var target = ref _state->Gpr[register];
            target = size switch
            {
                1 => (target & ~0xFFUL) | (byte)value,
                2 => (target & ~0xFFFFUL) | (ushort)value,
                4 => (uint)value,
                _ => value,
            };
        }

        /// <summary>Host memory of a run of elements from an address on, and how many fit; false where elements must go one by one.</summary>
        private bool TryRun(ulong linear, AccessKind kind, out byte* host, ref ulong count)
        {
            if (!_cpu.TryHostRange(linear, kind, out host, out var contiguous) || contiguous < _size)
                return false;
            // Downwards, the page reaches from its start to the end of the first element.
            var room = _down
                ? (linear & 0xFFF) / (ulong)_size + 1
                : (ulong)(contiguous / _size);
            count = Math.Min(count, room);
            return true;
        }

        private ulong MoveRun(ulong source, ulong destination, ulong count)
        {
            var run = count;
            if (!TryRun(source, AccessKind.Read, out var from, ref run)
                || !TryRun(destination, AccessKind.Write, out var to, ref run))
            {
                _cpu.Store(destination, _size, _cpu.Load(source, _size));
                return 1;
            }

            var bytes = (long)run * _size;
            if (_down)
            {
                // Backwards over itself only when the ranges meet; otherwise the order cannot be seen.
                from -= bytes - _size;
                to -= bytes - _size;
                if (to >= from || to + bytes <= from)
                    Buffer.MemoryCopy(from, to, bytes, bytes);
                else
                    CopyElements(from + bytes - _size, to + bytes - _size, run, -_size);
                return run;
            }

            if (to <= from || from + bytes <= to)
                Buffer.MemoryCopy(from, to, bytes, bytes);
            else if (to - from >= _size)
                Repeat(from, to, bytes);
            else
                CopyElements(from, to, run, _size);
            return run;
        }

        /// <summary>A forward copy onto its own tail repeats the distance between the two.</summary>
        private static void Repeat(byte* from, byte* to, long bytes)
        {
            var distance = to - from;
            while (bytes > 0)
            {
                var part = Math.Min(distance, bytes);
                Buffer.MemoryCopy(from, to, part, part);
                to += part;
                bytes -= part;
                // What has been written continues the pattern: the next part can be twice as long.
                distance += part;
            }
        }

        private void CopyElements(byte* from, byte* to, ulong count, int step)
        {
            for (; count > 0; count--, from += step, to += step)
                WriteElement(to, ReadElement(from));
        }

        private ulong StoreRun(ulong destination, ulong count)
        {
            var value = _state->Gpr[Rax];
            if (!TryRun(destination, AccessKind.Write, out var to, ref count))
            {
                _cpu.Store(destination, _size, value);
                return 1;
            }

            if (_down)
                to -= (long)(count - 1) * _size;
            switch (_size)
            {
                case 1: new Span<byte>(to, (int)count).Fill((byte)value); break;
                case 2: new Span<ushort>(to, (int)count).Fill((ushort)value); break;
                case 4: new Span<uint>(to, (int)count).Fill((uint)value); break;
                default: new Span<ulong>(to, (int)count).Fill(value); break;
            }

            return count;
        }

        private ulong CompareRun(ulong source, ulong destination, ulong count, out bool stop)
        {
            var run = count;
            if (!TryRun(source, AccessKind.Read, out var left, ref run)
                || !TryRun(destination, AccessKind.Read, out var right, ref run))
            {
                stop = Judge(_cpu.Load(source, _size), _cpu.Load(destination, _size));
                return 1;
            }

            var step = _down ? -_size : _size;
            if (_call.WhileEqual && !_down && run > 1)
            {
                var equal = (ulong)new ReadOnlySpan<byte>(left, (int)run * _size)
                    .CommonPrefixLength(new ReadOnlySpan<byte>(right, (int)run * _size)) / (ulong)_size;
                var last = Math.Min(equal, run - 1);
                stop = Judge(ReadElement(left + ((long)last * _size)), ReadElement(right + ((long)last * _size)));
                return last + 1;
            }

            for (ulong i = 1; ; i++, left += step, right += step)
            {
                stop = Judge(ReadElement(left), ReadElement(right));
                if (stop || i == run)
                    return i;
            }
        }

        private ulong ScanRun(ulong destination, ulong count, out bool stop)
        {
            var value = _state->Gpr[Rax];
            var run = count;
            if (!TryRun(destination, AccessKind.Read, out var at, ref run))
            {
                stop = Judge(value, _cpu.Load(destination, _size));
                return 1;
            }

            if (_size == 1 && !_down)
            {
                var bytes = new ReadOnlySpan<byte>(at, (int)run);
                var found = _call.WhileEqual ? bytes.IndexOfAnyExcept((byte)value) : bytes.IndexOf((byte)value);
                var last = found < 0 ? run - 1 : (ulong)found;
                stop = Judge(value, at[last]);
                return last + 1;
            }

            var step = _down ? -_size : _size;
            for (ulong i = 1; ; i++, at += step)
            {
                stop = Judge(value, ReadElement(at));
                if (stop || i == run)
                    return i;
            }
        }

        /// <summary>Sets the flags of a - b and says whether the repetition ends.</summary>
        private bool Judge(ulong a, ulong b)
        {
            var difference = (a - b) & (ulong.MaxValue >> (64 - (8 * _size)));
            _state->CcOp = (ulong)CcOp.Sub + (ulong)int.Log2(_size);
            _state->CcDst = difference;
            _state->CcSrc = b;
            return difference == 0 != _call.WhileEqual;
        }

        private ulong ReadElement(byte* at) => _size switch
        {
            1 => *at,
            2 => *(ushort*)at,
            4 => *(uint*)at,
            _ => *(ulong*)at,
        };

        private void WriteElement(byte* at, ulong value)
        {
            switch (_size)
            {
                case 1: *at = (byte)value; break;
                case 2: *(ushort*)at = (ushort)value; break;
                case 4: *(uint*)at = (uint)value; break;
                default: *(ulong*)at = value; break;
            }
        }
    }
}
