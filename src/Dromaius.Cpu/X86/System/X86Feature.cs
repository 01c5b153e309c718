namespace Dromaius.Cpu.X86;

/// <summary>
/// CPUID features: the value is 32 * word + bit, the words being those of <see cref="FeatureWord"/> (Intel SDM volume 2, CPUID;
/// AMD APM volume 3, appendix E).
/// </summary>
public enum X86Feature
{
    // Leaf1Edx
    Fpu = 0, Vme = 1, De = 2, Pse = 3, Tsc = 4, Msr = 5, Pae = 6, Mce = 7, Cx8 = 8, Apic = 9, Sep = 11, Mtrr = 12,
    Pge = 13, Mca = 14, Cmov = 15, Pat = 16, Pse36 = 17, Pn = 18, Clflush = 19, Ds = 21, Acpi = 22, Mmx = 23,
    Fxsr = 24, Sse = 25, Sse2 = 26, Ss = 27, Ht = 28, Tm = 29, Ia64 = 30, Pbe = 31,

    // Leaf1Ecx
    Sse3 = 32, Pclmulqdq = 33, Dtes64 = 34, Monitor = 35, DsCpl = 36, Vmx = 37, Smx = 38, Est = 39, Tm2 = 40,
    Ssse3 = 41, Cid = 42, Fma = 44, Cx16 = 45, Xtpr = 46, Pdcm = 47, Pcid = 49, Dca = 50, Sse41 = 51, Sse42 = 52,
    X2Apic = 53, Movbe = 54, Popcnt = 55, TscDeadline = 56, Aes = 57, Xsave = 58, Avx = 60, F16c = 61, Rdrand = 62,
    Hypervisor = 63,

    // Leaf7Ebx
    FsGsBase = 64, TscAdjust = 65, Sgx = 66, Bmi1 = 67, Hle = 68, Avx2 = 69, Smep = 71, Bmi2 = 72, Erms = 73,
    Invpcid = 74, Rtm = 75, Mpx = 78, Avx512F = 80, Avx512Dq = 81, Rdseed = 82, Adx = 83, Smap = 84, Avx512Ifma = 85,
    Pcommit = 86, Clflushopt = 87, Clwb = 88, IntelPt = 89, Avx512Pf = 90, Avx512Er = 91, Avx512Cd = 92, ShaNi = 93,
    Avx512Bw = 94, Avx512Vl = 95,

    // Leaf7Ecx
    Avx512Vbmi = 97, Umip = 98, Pku = 99, Ospke = 100, Waitpkg = 101, Gfni = 104, Vaes = 105, Vpclmulqdq = 106,
    La57 = 112, Rdpid = 118, BusLockDetect = 120, Cldemote = 121, Movdiri = 123, Movdir64B = 124,

    // Leaf7Edx
    Fsrm = 132, MdClear = 138, Serialize = 142, TsxLdtrk = 144, SpecCtrl = 154, Stibp = 155, ArchCapabilities = 157,
    Ssbd = 159,

    // Ext1Edx
    Syscall = 171, Mp = 179, Nx = 180, MmxExt = 182, FxsrOpt = 185, Pdpe1Gb = 186, Rdtscp = 187, Lm = 189,
    ThreeDNowExt = 190, ThreeDNow = 191,

    // Ext1Ecx
    LahfLm = 192, CmpLegacy = 193, Svm = 194, ExtApic = 195, Cr8Legacy = 196, Abm = 197, Sse4a = 198,
    MisalignSse = 199, Prefetchw = 200, Osvw = 201, Ibs = 202, Xop = 203, Skinit = 204, Wdt = 205, Lwp = 207,
    Fma4 = 208, Tce = 209, NodeIdMsr = 211, Tbm = 213, TopoExt = 214, PerfCtrCore = 215, PerfCtrNb = 216,

    // LeafD1Eax
    Xsaveopt = 224, Xsavec = 225, Xgetbv1 = 226, Xsaves = 227,

    // Ext7Edx
    InvTsc = 264,

    // Ext8Ebx
    Clzero = 288, XsaveErPtr = 290, Wbnoinvd = 297, Ibpb = 300, AmdStibp = 304, AmdSsbd = 312, VirtSsbd = 313,
    AmdNoSsb = 314,

    // Leaf6Eax
    Arat = 322,
}

/// <summary>The CPUID registers that hold features.</summary>
public enum FeatureWord
{
    /// <summary>CPUID 1 EDX.</summary>
    Leaf1Edx,

    /// <summary>CPUID 1 ECX.</summary>
    Leaf1Ecx,

    /// <summary>CPUID 7.0 EBX.</summary>
    Leaf7Ebx,

    /// <summary>CPUID 7.0 ECX.</summary>
    Leaf7Ecx,

    /// <summary>CPUID 7.0 EDX.</summary>
    Leaf7Edx,

    /// <summary>CPUID 0x80000001 EDX, without the bits that repeat those of leaf 1.</summary>
    Ext1Edx,

    /// <summary>CPUID 0x80000001 ECX.</summary>
    Ext1Ecx,

    /// <summary>CPUID 0xD.1 EAX.</summary>
    LeafD1Eax,

    /// <summary>CPUID 0x80000007 EDX.</summary>
    Ext7Edx,

    /// <summary>CPUID 0x80000008 EBX.</summary>
    Ext8Ebx,

    /// <summary>CPUID 6 EAX.</summary>
    Leaf6Eax,
}

/// <summary>The option names of features, by word and bit; empty where there is none.</summary>
internal static class X86FeatureNames
{
    /// <summary>Indexed by 32 * word + bit.</summary>
    public static readonly string[] ByValue = Build();

    /// <summary>Other spellings that options accept.</summary>
    public static readonly (string Alias, X86Feature Feature)[] Aliases =
    [
        ("sse3", X86Feature.Sse3), ("sse4_1", X86Feature.Sse41), ("sse4-1", X86Feature.Sse41), ("sse4_2", X86Feature.Sse42),
        ("sse4-2", X86Feature.Sse42), ("lahf_lm", X86Feature.LahfLm), ("i64", X86Feature.Lm), ("xd", X86Feature.Nx),
        ("ffxsr", X86Feature.FxsrOpt), ("fxsr_opt", X86Feature.FxsrOpt), ("lzcnt", X86Feature.Abm),
        ("clfsh", X86Feature.Clflush), ("tsc_deadline", X86Feature.TscDeadline), ("tsc_adjust", X86Feature.TscAdjust),
        ("sha", X86Feature.ShaNi), ("pclmuldq", X86Feature.Pclmulqdq), ("cmp_legacy", X86Feature.CmpLegacy),
        ("prefetchw", X86Feature.Prefetchw),
    ];

    private static string[] Build()
    {
        string[] words =
        [
            "fpu vme de pse tsc msr pae mce cx8 apic - sep mtrr pge mca cmov pat pse36 pn clflush - ds acpi mmx fxsr " +
                "sse sse2 ss ht tm ia64 pbe",
            "pni pclmulqdq dtes64 monitor ds-cpl vmx smx est tm2 ssse3 cid - fma cx16 xtpr pdcm - pcid dca sse4.1 " +
                "sse4.2 x2apic movbe popcnt tsc-deadline aes xsave - avx f16c rdrand hypervisor",
            "fsgsbase tsc-adjust sgx bmi1 hle avx2 - smep bmi2 erms invpcid rtm - - mpx - avx512f avx512dq rdseed adx " +
                "smap avx512ifma pcommit clflushopt clwb intel-pt avx512pf avx512er avx512cd sha-ni avx512bw avx512vl",
            "- avx512vbmi umip pku ospke waitpkg - - gfni vaes vpclmulqdq - - - - - la57 - - - - - rdpid - " +
                "bus-lock-detect cldemote - movdiri movdir64b",
            "- - - - fsrm - - - - - md-clear - - - serialize - tsx-ldtrk - - - - - - - - - spec-ctrl stibp - " +
                "arch-capabilities - ssbd",
            "- - - - - - - - - - - syscall - - - - - - - mp nx - mmxext - - fxsr-opt pdpe1gb rdtscp - lm 3dnowext " +
                "3dnow",
            "lahf-lm cmp-legacy svm extapic cr8legacy abm sse4a misalignsse 3dnowprefetch osvw ibs xop skinit wdt - " +
                "lwp fma4 tce - nodeid-msr - tbm topoext perfctr-core perfctr-nb",
            "xsaveopt xsavec xgetbv1 xsaves",
            "- - - - - - - - invtsc",
            "clzero - xsaveerptr - - - - - - wbnoinvd - - ibpb - - - amd-stibp - - - - - - - amd-ssbd virt-ssbd " +
                "amd-no-ssb",
            "- - arat",
        ];
        var names = new string[words.Length * 32];
        Array.Fill(names, "");
        for (var i = 0; i < words.Length; i++)
        {
            var bits = words[i].Split(' ');
            for (var bit = 0; bit < bits.Length; bit++)
                names[(32 * i) + bit] = bits[bit] == "-" ? "" : bits[bit];
        }

        return names;
    }
}
