using System.Text;

namespace Dromaius.Cpu.X86;

/// <content>The models, and their listing.</content>
public sealed partial class X86Model
{
    private readonly record struct Entry(string Name, string Vendor, int Family, int Model, int Stepping, uint Level,
        uint ExtendedLevel, string Brand, string Features, string Note = "");

    private const string Intel = "GenuineIntel", Amd = "AuthenticAMD", Hygon = "HygonGenuine";

    // Sets of features that models share.
    private const string Feature486 = "fpu vme pse ";
    private const string FeaturePentium = Feature486 + "de tsc msr mce cx8 mmx apic ";
    private const string FeaturePentium2 = FeaturePentium + "pae sep mtrr pge mca cmov pat pse36 fxsr ";
    private const string FeaturePentium3 = FeaturePentium2 + "sse ";
    private const string FeaturePpro = "fpu de pse tsc msr mce cx8 pge cmov pat fxsr mmx sse sse2 pae sep apic ";
    private const string Feature64 = FeaturePpro + "mtrr clflush mca pse36 ";
    private const string FeatureCore = Feature64 + "vme ss ht tsc-adjust ";
    private const string FeatureConroe = Feature64 + "vme pni ssse3 lahf-lm lm nx syscall cx16 ";
    private const string FeaturePenryn = FeatureConroe + "sse4.1 ";
    private const string FeatureNehalem = FeaturePenryn + "sse4.2 popcnt ";
    private const string FeatureWestmere = FeatureNehalem + "aes pclmulqdq arat ";
    private const string FeatureSandyBridge = FeatureWestmere + "avx xsave xsaveopt x2apic tsc-deadline rdtscp ";
    private const string FeatureIvyBridge = FeatureSandyBridge + "f16c rdrand fsgsbase smep erms ";
    private const string FeatureHaswell = FeatureIvyBridge + "fma movbe pcid bmi1 bmi2 avx2 invpcid abm ";
    private const string FeatureBroadwell = FeatureHaswell + "rdseed adx smap 3dnowprefetch ";
    private const string FeatureSkylake = FeatureBroadwell + "xsavec xgetbv1 ";

    private const string FeaturePhenom = Feature64 + "vme ht pni cx16 popcnt mmxext nx fxsr-opt pdpe1gb rdtscp lm syscall "
        + "lahf-lm abm ";

    private const string FeatureEpyc = Feature64 + "vme pni pclmulqdq ssse3 fma cx16 sse4.1 sse4.2 movbe popcnt aes xsave avx "
        + "f16c rdrand syscall nx mmxext fxsr-opt pdpe1gb rdtscp lm lahf-lm cr8legacy abm misalignsse 3dnowprefetch "
        + "fsgsbase bmi1 avx2 smep bmi2 rdseed adx smap clflushopt sha-ni xsaveopt xsavec xgetbv1 arat ";

    private const string FeatureServer = FeatureSkylake + "pdpe1gb clflushopt clwb ";
    private const string FeatureIcelake = FeatureServer + "umip rdpid ";
    private const string FeatureRome = FeatureEpyc + "clwb umip rdpid ";

    private const string FeatureAtomServer = FeatureWestmere + "xsave xsaveopt xsavec xgetbv1 tsc-deadline rdtscp x2apic movbe rdrand "
        + "fsgsbase smep erms rdseed smap clflushopt sha-ni 3dnowprefetch pdpe1gb ";

    private const string FeatureOpteron1 = Feature64 + "vme pni lm syscall nx ";
    private const string FeatureOpteron2 = FeatureOpteron1 + "cx16 lahf-lm ";
    private const string FeatureOpteron3 = FeatureOpteron2 + "popcnt abm misalignsse rdtscp ";
    private const string FeatureOpteron4 = FeatureOpteron3 + "pclmulqdq ssse3 sse4.1 sse4.2 aes xsave avx pdpe1gb 3dnowprefetch ";
    private const string FeatureOpteron5 = FeatureOpteron4 + "f16c fma ";

    private const string FeatureMax = Feature64 + "vme pni pclmulqdq ssse3 fma cx16 sse4.1 sse4.2 x2apic movbe popcnt "
        + "tsc-deadline aes xsave avx f16c rdrand pcid fsgsbase tsc-adjust bmi1 avx2 smep bmi2 erms invpcid rdseed "
        + "adx smap clflushopt clwb sha-ni umip pku rdpid fsrm syscall nx mmxext pdpe1gb rdtscp lm lahf-lm abm 3dnowprefetch "
        + "xsaveopt xsavec xgetbv1 arat ";

    /// <summary>Beyond <see cref="FeatureMax"/>: what may be asked for by name.</summary>
    private const string FeatureOptional = "hypervisor pn ds acpi ss ht tm pbe monitor invtsc cmp-legacy cr8legacy misalignsse fxsr-opt "
        + "xsaves clzero topoext spec-ctrl stibp ssbd ibpb md-clear arch-capabilities ds-cpl est tm2 xtpr ";

    private const string QemuBrand = "QEMU Virtual CPU version 2.5+";

    private static readonly Entry[] Entries =
    [
        new("486", Intel, 4, 8, 0, 1, 0, "", Feature486),
        new("Broadwell", Intel, 6, 61, 2, 0xD, 0x80000008, "Intel Core Processor (Broadwell)", FeatureBroadwell),
        new("Broadwell-noTSX", Intel, 6, 61, 2, 0xD, 0x80000008, "Intel Core Processor (Broadwell, no TSX)", FeatureBroadwell),
        new("Cascadelake-Server", Intel, 6, 85, 6, 0xD, 0x80000008, "Intel Xeon Processor (Cascadelake)", FeatureServer),
        new("Conroe", Intel, 6, 15, 3, 10, 0x80000008, "Intel Celeron_4x0 (Conroe/Merom Class Core 2)", FeatureConroe),
        new("Cooperlake", Intel, 6, 85, 10, 0xD, 0x80000008, "Intel Xeon Processor (Cooperlake)", FeatureServer),
        new("Denverton", Intel, 6, 95, 1, 0x15, 0x80000008, "Intel Atom Processor (Denverton)", FeatureAtomServer),
        new("Dhyana", Hygon, 24, 0, 1, 0xD, 0x8000001E, "Hygon Dhyana Processor", FeatureEpyc),
        new("EPYC", Amd, 23, 1, 2, 0xD, 0x8000001E, "AMD EPYC Processor", FeatureEpyc),
        new("EPYC-Milan", Amd, 25, 1, 1, 0xD, 0x8000001E, "AMD EPYC-Milan Processor", FeatureRome + "pcid invpcid erms fsrm "),
        new("EPYC-Rome", Amd, 23, 49, 0, 0xD, 0x8000001E, "AMD EPYC-Rome Processor", FeatureRome),
        new("Haswell", Intel, 6, 60, 4, 0xD, 0x80000008, "Intel Core Processor (Haswell)", FeatureHaswell),
        new("Haswell-noTSX", Intel, 6, 60, 1, 0xD, 0x80000008, "Intel Core Processor (Haswell, no TSX)", FeatureHaswell),
        new("Icelake-Server", Intel, 6, 134, 0, 0xD, 0x80000008, "Intel Xeon Processor (Icelake)", FeatureIcelake),
        new("IvyBridge", Intel, 6, 58, 9, 0xD, 0x80000008, "Intel Xeon E3-12xx v2 (Ivy Bridge)", FeatureIvyBridge),
        new("KnightsMill", Intel, 6, 133, 0, 0xD, 0x80000008, "Intel Xeon Phi Processor (Knights Mill)",
            FeatureBroadwell + "pdpe1gb "),
        new("Nehalem", Intel, 6, 26, 3, 11, 0x80000008, "Intel Core i7 9xx (Nehalem Class Core i7)", FeatureNehalem),
        new("Opteron_G1", Amd, 15, 6, 1, 5, 0x80000008, "AMD Opteron 240 (Gen 1 Class Opteron)", FeatureOpteron1),
        new("Opteron_G2", Amd, 15, 6, 1, 5, 0x80000008, "AMD Opteron 22xx (Gen 2 Class Opteron)", FeatureOpteron2),
        new("Opteron_G3", Amd, 16, 2, 3, 5, 0x80000008, "AMD Opteron 23xx (Gen 3 Class Opteron)", FeatureOpteron3),
        new("Opteron_G4", Amd, 21, 1, 2, 0xD, 0x8000001A, "AMD Opteron 62xx class CPU", FeatureOpteron4),
        new("Opteron_G5", Amd, 21, 2, 0, 0xD, 0x8000001A, "AMD Opteron 63xx class CPU", FeatureOpteron5),
        new("Penryn", Intel, 6, 23, 3, 10, 0x80000008, "Intel Core 2 Duo P9xxx (Penryn Class Core 2)", FeaturePenryn),
        new("SandyBridge", Intel, 6, 42, 1, 0xD, 0x80000008, "Intel Xeon E312xx (Sandy Bridge)", FeatureSandyBridge),
        new("Skylake-Client", Intel, 6, 94, 3, 0xD, 0x80000008, "Intel Core Processor (Skylake)", FeatureSkylake),
        new("Skylake-Client-noTSX-IBRS", Intel, 6, 94, 3, 0xD, 0x80000008, "Intel Core Processor (Skylake, IBRS, no TSX)",
            FeatureSkylake),
        new("Skylake-Server", Intel, 6, 85, 4, 0xD, 0x80000008, "Intel Xeon Processor (Skylake)", FeatureServer),
        new("Snowridge", Intel, 6, 134, 1, 0x1B, 0x80000008, "Intel Atom Processor (SnowRidge)", FeatureAtomServer + "clwb umip "),
        new("Westmere", Intel, 6, 44, 1, 11, 0x80000008, "Westmere E56xx/L56xx/X56xx (Nehalem-C)", FeatureWestmere),
        new("athlon", Amd, 6, 2, 3, 2, 0x80000008, QemuBrand, Feature64 + "vme ht mmxext "),
        new("core2duo", Intel, 6, 15, 11, 10, 0x80000008, "Intel(R) Core(TM)2 Duo CPU     T7700  @ 2.40GHz",
            Feature64 + "vme ss ht pni ssse3 cx16 lm syscall nx lahf-lm "),
        new("coreduo", Intel, 6, 14, 8, 10, 0x80000008, "Genuine Intel(R) CPU           T2600  @ 2.16GHz",
            Feature64 + "vme ss ht pni nx "),
        new("kvm32", Intel, 15, 6, 1, 5, 0x80000008, "Common 32-bit KVM processor", Feature64 + "vme pni "),
        new("kvm64", Intel, 15, 6, 1, 0xD, 0x80000008, "Common KVM processor", Feature64 + "vme pni cx16 lm syscall nx "),
        new("n270", Intel, 6, 28, 2, 10, 0x8000000A, "Intel(R) Atom(TM) CPU N270   @ 1.60GHz",
            Feature64 + "vme ss ht pni ssse3 movbe nx lahf-lm "),
        new("pentium", Intel, 5, 4, 3, 1, 0, "", FeaturePentium),
        new("pentium2", Intel, 6, 5, 2, 2, 0, "", FeaturePentium2),
        new("pentium3", Intel, 6, 7, 3, 3, 0, "", FeaturePentium3),
        new("phenom", Amd, 16, 2, 3, 5, 0x8000001A, "AMD Phenom(tm) 9550 Quad-Core Processor", FeaturePhenom),
        new("qemu32", Intel, 6, 6, 3, 4, 0x80000004, QemuBrand, FeaturePpro + "pni "),
        new("qemu64", Amd, 15, 107, 1, 0xD, 0x8000000A, QemuBrand, Feature64 + "pni cx16 lm syscall nx lahf-lm "),
        new("base", Intel, 6, 0, 0, 0, 0, "", "", "base CPU model type with no features enabled"),
        new("max", Amd, 15, 107, 1, 0xD, 0x8000000A, "Dromaius Virtual CPU", FeatureMax,
            "Enables all features supported by the accelerator in the current host"),
    ];

    private static readonly X86Model s_supported = Create(Entries[^1] with { Features = FeatureMax + FeatureOptional });

    private static readonly string[] WordNames =
    [
        "CPUID.01H:EDX", "CPUID.01H:ECX", "CPUID.07H:EBX", "CPUID.07H:ECX", "CPUID.07H:EDX", "CPUID.80000001H:EDX",
        "CPUID.80000001H:ECX", "CPUID.0DH:EAX", "CPUID.80000007H:EDX", "CPUID.80000008H:EBX", "CPUID.06H:EAX",
    ];

    /// <summary>Properties that scripts pass and that change nothing here.</summary>
    private static readonly HashSet<string> IgnoredProperties =
    [
        "check", "enforce", "migratable", "kvm", "pmu", "host-phys-bits", "host-phys-bits-limit", "legacy-cache", "l3-cache",
        "lmce", "full-cpuid-auto-level", "fill-mtrr-mask", "kvm-no-smi-migration", "host-cache-info", "vmware-cpuid-freq",
        "tcg-cpuid", "tsc-frequency", "kvm-pv-eoi", "kvmclock", "kvm-asyncpf", "kvm-steal-time",
        "kvm-hint-dedicated",

        // What a hypervisor would tell Windows of itself.
        "hv-relaxed", "hv-vapic", "hv-spinlocks", "hv-vpindex", "hv-runtime", "hv-crash", "hv-time", "hv-synic", "hv-stimer", "hv-stimer-direct",
        "hv-tlbflush", "hv-tlbflush-ext", "hv-tlbflush-direct", "hv-ipi", "hv-vendor-id", "hv-reset", "hv-frequencies", "hv-reenlightenment",
        "hv-evmcs", "hv-avic", "hv-apicv", "hv-emsr-bitmap", "hv-xmm-input", "hv-passthrough", "hv-enforce-cpuid", "hv-no-nonarch-coresharing",
        "hv-syndbg",
    ];

    private static bool IsIgnored(string property) => IgnoredProperties.Contains(property.Replace('_', '-'));

    /// <summary>The names of all models.</summary>
    public static IEnumerable<string> Names => Entries.Select(static e => e.Name);

    private static bool TryFindEntry(string name, out Entry entry)
    {
        // "-v1" names the first version of a model; suffixes of machine type names are dropped as well.
        foreach (var suffix in (ReadOnlySpan<string>)["-x86_64-cpu", "-i386-cpu"])
        {
            if (name.EndsWith(suffix, StringComparison.Ordinal))
                name = name[..^suffix.Length];
        }

        if (name is [.., '-', 'v', >= '1' and <= '9'])
            name = name[..^3];

        // Versions with mitigations or without transactional memory differ in nothing that is emulated.
        foreach (var suffix in (ReadOnlySpan<string>)["-IBRS", "-IBPB", "-noTSX"])
        {
            if (!Array.Exists(Entries, e => e.Name == name) && name.EndsWith(suffix, StringComparison.Ordinal))
                name = name[..^suffix.Length];
        }

        entry = Array.Find(Entries, e => e.Name == name);
        return entry.Name != null;
    }

    /// <summary>What <c>-cpu help</c> prints.</summary>
    public static string Help()
    {
        var text = new StringBuilder("Available CPUs:\n");
        foreach (var entry in Entries)
            text.Append($"x86 {entry.Name,-20}  {(entry.Note != "" ? entry.Note : entry.Brand)}".TrimEnd()).Append('\n');
        text.Append("\nRecognized CPUID flags:\n");
        var names = X86FeatureNames.ByValue.Where(static n => n != "").Order(StringComparer.Ordinal);
        var line = " ";
        foreach (var name in names)
        {
            if (line.Length + name.Length + 1 >= 75)
            {
                text.Append(line).Append('\n');
                line = " ";
            }

            line += " " + name;
        }

        return text.Append(line).Append('\n').ToString();
    }
}
