namespace Dromaius.Cpu.X86;

/// <summary>A segment, system or gate descriptor in memory (Intel SDM volume 3, sections 3.4.5, 3.5 and 5.8).</summary>
internal readonly struct Descriptor(ulong raw, ulong high = 0, ulong address = 0)
{
    // System types.
    public const int Tss16 = 1, Ldt = 2, Tss16Busy = 3, CallGate16 = 4, TaskGate = 5, InterruptGate16 = 6, TrapGate16 = 7,
        Tss32 = 9, Tss32Busy = 11, CallGate32 = 12, InterruptGate32 = 14, TrapGate32 = 15;

    public ulong Raw { get; } = raw;

    /// <summary>The second half of a 16-byte system descriptor of long mode.</summary>
    public ulong High { get; } = high;

    /// <summary>Linear address it was read from.</summary>
    public ulong Address { get; } = address;

    public uint Base => (uint)((Raw >> 16) & 0xFFFFFF) | ((uint)(Raw >> 56) << 24);

    /// <summary>Base of a system segment in long mode.</summary>
    public ulong Base64 => Base | (High << 32);

    public uint Limit
    {
        get
        {
            var limit = (uint)(Raw & 0xFFFF) | ((uint)(Raw >> 32) & 0xF0000);
            return (Raw & (1UL << 55)) != 0 ? (limit << 12) | 0xFFF : limit;
        }
    }

    /// <summary>As <see cref="Segment.Attributes"/> has them.</summary>
    public ushort Attributes => (ushort)((Raw >> 40) & 0xF0FF);
    public int Type => (int)(Raw >> 40) & 0xF;
    public bool IsSystem => (Raw & (1UL << 44)) == 0;
    public int Dpl => (int)(Raw >> 45) & 3;
    public bool Present => (Raw & (1UL << 47)) != 0;
    public bool Long => (Raw & (1UL << 53)) != 0;
    public bool Big => (Raw & (1UL << 54)) != 0;
    public bool IsCode => !IsSystem && (Type & 8) != 0;
    public bool IsConforming => (Type & 4) != 0;
    public bool IsReadable => !IsSystem && ((Type & 8) == 0 || (Type & 2) != 0);
    public bool IsWritableData => !IsSystem && (Type & 0xA) == 2;
    public bool Accessed => (Type & 1) != 0;

    // Gates.
    public ushort GateSelector => (ushort)(Raw >> 16);
    public uint GateOffset => (uint)(Raw & 0xFFFF) | ((uint)(Raw >> 48) << 16);
    public ulong GateOffset64 => GateOffset | (High << 32);
    public int GateParameters => (int)(Raw >> 32) & 0x1F;
    public int GateStack => (int)(Raw >> 32) & 7;

    public Segment ToSegment(ushort selector) => new()
    {
        Base = Base,
        Limit = Limit,
        Attributes = Attributes,
        Selector = selector,
    };
}
