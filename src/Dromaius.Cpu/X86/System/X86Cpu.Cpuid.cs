namespace Dromaius.Cpu.X86;

/// <content>CPUID (Intel SDM volume 2, CPUID; AMD APM volume 3, appendix E).</content>
public sealed unsafe partial class X86Cpu
{
    private const uint HypervisorBase = 0x40000000;

    /// <summary>APIC id: number of the processor in the topology. Set by the board.</summary>
    public uint ApicId { get; set; }

    private readonly record struct CpuidResult(uint Eax, uint Ebx, uint Ecx, uint Edx);

    internal void Cpuid()
    {
        var r = ReadCpuid((uint)State->Gpr[0], (uint)State->Gpr[1]);
        State->Gpr[0] = r.Eax;
        State->Gpr[3] = r.Ebx;
        State->Gpr[1] = r.Ecx;
        State->Gpr[2] = r.Edx;
    }

    private CpuidResult ReadCpuid(uint leaf, uint subleaf)
    {
        var m = Model;
        if (leaf >= 0x80000000)
            return leaf <= m.ExtendedLevel ? ExtendedLeaf(leaf, subleaf) : BasicLeaf(m.Level, subleaf);
        if (leaf >= HypervisorBase && m.Has(X86Feature.Hypervisor))
            return HypervisorLeaf(leaf);

        // A leaf beyond the last gives the last, as Intel's processors do.
        return BasicLeaf(Math.Min(leaf, m.Level), subleaf);
    }

    private static uint Ascii(string text, int offset)
    {
        var value = 0u;
        for (var i = 0; i < 4; i++)
            value |= (offset + i < text.Length ? (uint)(byte)text[offset + i] : 0) << (8 * i);
        return value;
    }

    private CpuidResult BasicLeaf(uint leaf, uint subleaf)
    {
        var m = Model;
        switch (leaf)
        {
            case 0:
                return new(m.Level, Ascii(m.Vendor, 0), Ascii(m.Vendor, 8), Ascii(m.Vendor, 4));
            case 1:
                return VersionLeaf();
            case 2 when !m.IsAmd:
                // Descriptors: 32 KiB L1 data and instruction, 2 MiB L2, 64-byte lines.
                return new(1, 0, 0x4D, 0x2C307D);
            case 4 when !m.IsAmd:
                return CacheLeaf(subleaf);
            case 5 when m.Has(X86Feature.Monitor):
                return new(64, 64, 3, 0);
            case 6:
                return new(m.Word(FeatureWord.Leaf6Eax), 0, 0, 0);
            case 7 when subleaf == 0:
                var pku = (State->Cr4 & Cr.Pke) != 0 ? 1u << 4 : 0;
                return new(0, m.Word(FeatureWord.Leaf7Ebx), m.Word(FeatureWord.Leaf7Ecx) | pku, m.Word(FeatureWord.Leaf7Edx));
            case 0xB:
                return TopologyLeaf(subleaf);
            case 0xD when m.Has(X86Feature.Xsave):
                return XsaveLeaf(subleaf);
            default:
                return default;
        }
    }

    private int LogicalPerPackage => Model.Dies * Model.Cores * Model.Threads;

    private CpuidResult VersionLeaf()
    {
        var m = Model;
        var ebx = ApicId << 24;
        if (m.Has(X86Feature.Clflush))
            ebx |= 8 << 8;
        var edx = m.Word(FeatureWord.Leaf1Edx);
        if (LogicalPerPackage > 1)
        {
            ebx |= (uint)Math.Min(LogicalPerPackage, 255) << 16;
            edx |= 1u << 28;
        }

        if (Apic is { } apic && (apic.BaseMsr & 0x800) == 0)
            edx &= ~(1u << 9);
        var ecx = m.Word(FeatureWord.Leaf1Ecx);
        if ((State->Cr4 & Cr.OsXsave) != 0)
            ecx |= 1u << 27;
        return new(m.Signature, ebx, ecx, edx);
    }

    /// <summary>Leaf 4: deterministic cache parameters.</summary>
    private CpuidResult CacheLeaf(uint subleaf)
    {
        var cores = Math.Min(Field(Model.Dies) * Field(Model.Cores), 64) - 1;
        return subleaf switch
        {
            0 => Cache(1, 1, Model.Threads, 8, 64, cores),
            1 => Cache(2, 1, Model.Threads, 8, 64, cores),
            2 => Cache(3, 2, Model.Threads, 16, 4096, cores),
            3 => Cache(3, 3, LogicalPerPackage, 16, 16384, cores),
            _ => default,
        };
    }

    private static CpuidResult Cache(uint type, uint level, int sharing, uint ways, uint sets, int cores)
    {
        var eax = type | (level << 5) | (1u << 8) | ((uint)(Field(sharing) - 1) << 14) | ((uint)cores << 26);
        return new(eax, 63 | ((ways - 1) << 22), sets - 1, level == 3 ? 6u : 1u);
    }

    /// <summary>Next power of two, as APIC id fields are sized.</summary>
    private static int Field(int count) => 1 << Width(count);

    private static int Width(int count)
    {
        var bits = 0;
        while (1 << bits < count)
            bits++;
        return bits;
    }

    /// <summary>Leaf 0xB: extended topology enumeration.</summary>
    private CpuidResult TopologyLeaf(uint subleaf)
    {
        var threadBits = Width(Model.Threads);
        var packageBits = threadBits + Width(Model.Cores) + Width(Model.Dies);
        return subleaf switch
        {
            0 => new((uint)threadBits, (uint)Model.Threads, 0x100, ApicId),
            1 => new((uint)packageBits, (uint)LogicalPerPackage, 0x201, ApicId),
            _ => new(0, 0, subleaf & 0xFF, ApicId),
        };
    }

    /// <summary>Leaf 0xD: the XSAVE area and its components.</summary>
    private CpuidResult XsaveLeaf(uint subleaf)
    {
        var mask = Model.XsaveMask;
        return subleaf switch
        {
            0 => new((uint)mask, (uint)XState.Size(State->Xcr0, false), (uint)XState.Size(mask, false), 0),
            1 => new(Model.Word(FeatureWord.LeafD1Eax),
                Model.Has(X86Feature.Xsavec) ? (uint)XState.Size(State->Xcr0, true) : 0, 0, 0),
            2 when (mask & XState.Avx) != 0 => new(XState.AvxSize, XState.AvxOffset, 0, 0),
            9 when (mask & XState.Pkru) != 0 => new(XState.PkruSize, XState.PkruOffset, 0, 0),
            _ => default,
        };
    }

    private static CpuidResult HypervisorLeaf(uint leaf)
    {
        const string signature = "DromaiusEmul";
        return leaf == HypervisorBase
            ? new(HypervisorBase + 1, Ascii(signature, 0), Ascii(signature, 4), Ascii(signature, 8))
            : default;
    }

    private CpuidResult ExtendedLeaf(uint leaf, uint subleaf)
    {
        var m = Model;
        switch (leaf)
        {
            case 0x80000000:
                return m.IsAmd
                    ? new(m.ExtendedLevel, Ascii(m.Vendor, 0), Ascii(m.Vendor, 8), Ascii(m.Vendor, 4))
                    : new(m.ExtendedLevel, 0, 0, 0);
            case 0x80000001:
                return ExtendedFeatures();
            case >= 0x80000002 and <= 0x80000004:
                var at = (int)(leaf - 0x80000002) * 16;
                return new(Ascii(m.Brand, at), Ascii(m.Brand, at + 4), Ascii(m.Brand, at + 8), Ascii(m.Brand, at + 12));
            case 0x80000005 when m.IsAmd:
                return new(0x01FF01FF, 0x01FF01FF, 0x40020140, 0x40020140);
            case 0x80000006:
                return m.IsAmd ? new(0, 0x42004200, 0x02008140, 0x00808140) : new(0, 0, 0x02008040, 0);
            case 0x80000007:
                return new(0, 0, 0, m.Word(FeatureWord.Ext7Edx));
            case 0x80000008:
                return AddressSizes();
            case 0x8000001D when m.Has(X86Feature.TopoExt):
                return CacheLeaf(subleaf) with { Edx = 0 };
            case 0x8000001E when m.Has(X86Feature.TopoExt):
                return new(ApicId, (ApicId >> Width(m.Threads)) | ((uint)(m.Threads - 1) << 8), 0, 0);
            default:
                return default;
        }
    }

    private CpuidResult ExtendedFeatures()
    {
        var m = Model;
        var ecx = m.Word(FeatureWord.Ext1Ecx);
        var edx = m.Word(FeatureWord.Ext1Edx);
        if (m.IsAmd)
        {
            // AMD repeats most of leaf 1 here.
            edx |= m.Word(FeatureWord.Leaf1Edx) & 0x0183F3FF;
            if (LogicalPerPackage > 1)
                ecx |= 2;
        }

        return new(m.Signature, 0, ecx, edx);
    }

    private CpuidResult AddressSizes()
    {
        var m = Model;
        var linear = m.Has(X86Feature.Lm) ? 48u : 32u;
        var ecx = m.IsAmd && LogicalPerPackage > 1
            ? (uint)(LogicalPerPackage - 1) | ((uint)Width(LogicalPerPackage) << 12)
            : 0;
        return new((uint)m.PhysicalBits | (linear << 8), m.Word(FeatureWord.Ext8Ebx), ecx, 0);
    }

    /// <summary>CPUID's answer, for displays and tests: EAX, EBX, ECX, EDX.</summary>
    public (uint Eax, uint Ebx, uint Ecx, uint Edx) QueryCpuid(uint leaf, uint subleaf)
    {
        var r = ReadCpuid(leaf, subleaf);
        return (r.Eax, r.Ebx, r.Ecx, r.Edx);
    }
}
