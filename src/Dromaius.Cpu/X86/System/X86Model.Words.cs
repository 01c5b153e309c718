namespace Dromaius.Cpu.X86;

/// <summary>A CPUID register that holds features.</summary>
/// <param name="Leaf">EAX on input.</param>
/// <param name="Subleaf">ECX on input; null where it does not matter.</param>
/// <param name="Register">The name of the register.</param>
/// <param name="Features">Its bits.</param>
/// <param name="Filtered">What was asked for and cannot be had.</param>
public readonly record struct CpuidWord(uint Leaf, uint? Subleaf, string Register, uint Features, uint Filtered);

/// <content>Features by register, as management tools compare them.</content>
public sealed partial class X86Model
{
    /// <summary>Bits of leaf 1 EDX that AMD repeats in leaf 0x80000001 (APM volume 3, appendix E).</summary>
    private const uint RepeatedBits = 0x0183F3FF;

    private static readonly (FeatureWord Word, uint Leaf, uint? Subleaf, string Register)[] Places =
    [
        (FeatureWord.Leaf1Edx, 1, null, "EDX"), (FeatureWord.Leaf1Ecx, 1, null, "ECX"), (FeatureWord.Leaf7Ebx, 7, 0, "EBX"),
        (FeatureWord.Leaf7Ecx, 7, 0, "ECX"), (FeatureWord.Leaf7Edx, 7, 0, "EDX"), (FeatureWord.Ext1Edx, 0x80000001, null, "EDX"),
        (FeatureWord.Ext1Ecx, 0x80000001, null, "ECX"), (FeatureWord.LeafD1Eax, 0xD, 1, "EAX"), (FeatureWord.Ext7Edx, 0x80000007, null, "EDX"),
        (FeatureWord.Ext8Ebx, 0x80000008, null, "EBX"), (FeatureWord.Leaf6Eax, 6, null, "EAX"),
    ];

    private readonly uint[] _filtered = new uint[WordCount];

    /// <summary>The registers that hold features.</summary>
    public IEnumerable<CpuidWord> FeatureWords => Places.Select(p => new CpuidWord(p.Leaf, p.Subleaf, p.Register,
        Word(p.Word) | (p.Word == FeatureWord.Ext1Edx && IsAmd ? Word(FeatureWord.Leaf1Edx) & RepeatedBits : 0), _filtered[(int)p.Word]));

    /// <summary>Features that were asked for and cannot be had.</summary>
    public IEnumerable<string> UnavailableFeatures =>
        X86FeatureNames.ByValue.Where((name, i) => name != "" && (_filtered[i >> 5] >> (i & 31) & 1) != 0);
}
