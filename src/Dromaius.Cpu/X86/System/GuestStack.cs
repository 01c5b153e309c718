namespace Dromaius.Cpu.X86;

public sealed unsafe partial class X86Cpu
{
    /// <summary>
    /// A stack that a control transfer builds or takes apart: pointer updates stay here until <see cref="Commit"/>, so that a
    /// fault half-way leaves the processor as it was.
    /// </summary>
    private struct GuestStack
    {
        private readonly X86Cpu _cpu;
        private readonly Segment _segment;
        private readonly Privilege _privilege;
        private readonly uint _faultSelector;
        private readonly ulong _mask;
        private readonly bool _flat64;
        private ulong _pointer;

        /// <param name="cpu">The processor.</param>
        /// <param name="segment">The stack segment.</param>
        /// <param name="pointer">RSP.</param>
        /// <param name="privilege">On whose behalf memory is touched.</param>
        /// <param name="flat64">A 64-bit stack: no segmentation.</param>
        /// <param name="faultSelector">What #SS reports.</param>
        public GuestStack(X86Cpu cpu, in Segment segment, ulong pointer, Privilege privilege, bool flat64,
            uint faultSelector = 0)
        {
            _cpu = cpu;
            _segment = segment;
            _privilege = privilege;
            _faultSelector = faultSelector;
            _flat64 = flat64;
            _mask = flat64 ? ulong.MaxValue : segment.Big ? uint.MaxValue : 0xFFFFu;
            _pointer = pointer;
        }

        public readonly ulong Pointer => _pointer;

        public void Push(ulong value, int size)
        {
            Move((ulong)-size);
            _cpu.Store(Linear(size), size, value, _privilege);
        }

        public ulong Pop(int size)
        {
            var value = _cpu.Load(Linear(size), size, _privilege);
            Move((ulong)size);
            return value;
        }

        /// <summary>Reads above the top without moving it.</summary>
        public readonly ulong Peek(ulong offset, int size)
        {
            var copy = this;
            copy.Move(offset);
            return _cpu.Load(copy.Linear(size), size, _privilege);
        }

        /// <summary>Adds to the pointer. A 16-bit stack keeps the bits above; a 32-bit one clears the upper half.</summary>
        public void Move(ulong by) =>
            _pointer = _mask == 0xFFFF ? (_pointer & ~_mask) | ((_pointer + by) & _mask) : (_pointer + by) & _mask;

        /// <summary>Stores the pointer in RSP.</summary>
        public readonly void Commit() => _cpu.State->Gpr[4] = _pointer;

        private readonly ulong Linear(int size)
        {
            var offset = _pointer & _mask;
            if (_flat64)
            {
                if (!IsCanonical(offset) || !IsCanonical(offset + (ulong)size - 1))
                    throw _cpu.Ss(_faultSelector);
                return offset;
            }

            if (_segment.Unusable != 0 || !IsInLimit(_segment, (uint)offset, (uint)size))
                throw _cpu.Ss(_faultSelector);
            return (uint)(_segment.Base + offset);
        }
    }

    /// <summary>The stack that SS and RSP name now.</summary>
    private GuestStack CurrentStack() => new(this, State->Ss, State->Gpr[4], Privilege.Current, Code64);
}
