using Dromaius.Core.Errors;

namespace Dromaius.Cpu.X86;

/// <summary>
/// A CPU model with its features: what CPUID says and what decodes. One model serves all processors of a machine.
/// </summary>
public sealed partial class X86Model
{
    private const int WordCount = 11;

    private readonly uint[] _words = new uint[WordCount];
    private readonly List<string> _warnings = [];

    private X86Model(string name) => Name = name;

    public string Name { get; }

    /// <summary>Twelve characters.</summary>
    public string Vendor { get; private set; } = "GenuineIntel";
    public int Family { get; private set; }
    public int ModelNumber { get; private set; }
    public int Stepping { get; private set; }

    /// <summary>The brand string, up to 48 characters.</summary>
    public string Brand { get; private set; } = "";

    /// <summary>Highest basic CPUID leaf.</summary>
    public uint Level { get; private set; }

    /// <summary>Highest extended CPUID leaf; 0 for none.</summary>
    public uint ExtendedLevel { get; private set; }

    /// <summary>Width of physical addresses.</summary>
    public int PhysicalBits { get; private set; } = 40;

    /// <summary>Cores of a package, set by the board.</summary>
    public int Cores { get; set; } = 1;

    /// <summary>Threads of a core, set by the board.</summary>
    public int Threads { get; set; } = 1;

    /// <summary>Dies of a package, set by the board.</summary>
    public int Dies { get; set; } = 1;

    /// <summary>What was asked for and cannot be had, to be printed as warnings.</summary>
    public IReadOnlyList<string> Warnings => _warnings;

    /// <summary>An AMD processor (or a clone of one) by its vendor string.</summary>
    public bool IsAmd => Vendor is "AuthenticAMD" or "HygonGenuine";

    /// <summary>What CPUID 1 gives in EAX, and EDX holds after reset.</summary>
    public uint Signature
    {
        get
        {
            var family = Family > 15 ? 0xF00u | ((uint)(Family - 15) << 20) : (uint)Family << 8;
            return family | ((uint)(ModelNumber & 0xF) << 4) | ((uint)(ModelNumber >> 4) << 16) | (uint)Stepping;
        }
    }

    /// <summary>The state components that XCR0 may enable.</summary>
    public ulong XsaveMask => !Has(X86Feature.Xsave) ? 1
        : XState.X87 | XState.Sse | (Has(X86Feature.Avx) ? XState.Avx : 0) | (Has(X86Feature.Pku) ? XState.Pkru : 0);

    /// <summary>Every feature by its option name, and whether the model has it.</summary>
    public IEnumerable<(string Name, bool Has)> Features =>
        X86FeatureNames.ByValue.Select((name, i) => (name, Has((X86Feature)i))).Where(static f => f.name != "");

    public bool Has(X86Feature feature) => (_words[(int)feature >> 5] >> ((int)feature & 31) & 1) != 0;

    internal uint Word(FeatureWord word) => _words[(int)word];

    private void Set(X86Feature feature, bool on)
    {
        var bit = 1u << ((int)feature & 31);
        if (on)
            _words[(int)feature >> 5] |= bit;
        else
            _words[(int)feature >> 5] &= ~bit;
    }

    /// <summary>A model by name with its own features, or null.</summary>
    public static X86Model? Find(string name) => Parse(name, out _);

    /// <summary>
    /// Makes the model that a <c>-cpu</c> option describes: a name, then <c>+feature</c>, <c>-feature</c> and
    /// <c>property=value</c>, separated by commas.
    /// </summary>
    /// <param name="option">The option's text.</param>
    /// <param name="error">One line about what is wrong, with the nearest valid names, when null is returned.</param>
    public static X86Model? Parse(string option, out string? error)
    {
        var parts = option.Split(',');
        if (parts[0] == "host")
        {
            error = "CPU model 'host' requires KVM or HVF";
            return null;
        }

        if (!TryFindEntry(parts[0], out var entry))
        {
            error = $"unable to find CPU model '{parts[0]}'" + NearestNames.Hint(parts[0], Names);
            return null;
        }

        var model = Create(entry);
        error = null;
        for (var i = 1; i < parts.Length && error == null; i++)
        {
            if (parts[i].Length > 0)
                error = model.Apply(parts[i]);
        }

        if (error != null)
            return null;
        model.FixDependencies();
        return model;
    }

    private static X86Model Create(in Entry entry)
    {
        var model = new X86Model(entry.Name)
        {
            Vendor = entry.Vendor,
            Family = entry.Family,
            ModelNumber = entry.Model,
            Stepping = entry.Stepping,
            Level = entry.Level,
            ExtendedLevel = entry.ExtendedLevel,
            Brand = entry.Brand,
        };
        foreach (var name in entry.Features.Split(' ', StringSplitOptions.RemoveEmptyEntries))
            model.Set(FeatureOf(name) ?? throw new InvalidOperationException(name), true);

        // Every model but the empty one says that it is emulated.
        model.Set(X86Feature.Hypervisor, entry.Features.Length > 0);
        return model;
    }

    /// <summary>The feature an option name means; case does not matter, underscores are dashes.</summary>
    private static X86Feature? FeatureOf(string name)
    {
        name = name.ToLowerInvariant();
        foreach (var (alias, feature) in X86FeatureNames.Aliases)
        {
            if (alias == name)
                return feature;
        }

        var index = Array.IndexOf(X86FeatureNames.ByValue, name.Replace('_', '-'));
        return index < 0 ? null : (X86Feature)index;
    }

    private string? Apply(string text)
    {
        if (text[0] is '+' or '-')
            return SetFeature(text[1..], text[0] == '+');
        var equals = text.IndexOf('=');
        if (equals < 0)
            return SetFeature(text, true);
        var name = text[..equals];
        var value = text[(equals + 1)..];
        if (TrySetProperty(name, value, out var error))
            return error;
        return value switch
        {
            "on" or "yes" or "true" or "y" => SetFeature(name, true),
            "off" or "no" or "false" or "n" => SetFeature(name, false),
            _ when FeatureOf(name) != null => $"Invalid parameter type for '{name}', expected: boolean",
            _ => Unknown(name),
        };
    }

    private string Unknown(string name) =>
        $"Property '{Name}-x86_64-cpu.{name}' not found"
        + NearestNames.Hint(name, X86FeatureNames.ByValue.Where(static n => n != ""));

    private string? SetFeature(string name, bool on)
    {
        if (IsIgnored(name))
            return null;
        if (FeatureOf(name) is not { } feature)
            return Unknown(name);
        if (on && !s_supported.Has(feature))
        {
            var spelled = $"{WordNames[(int)feature >> 5]}.{X86FeatureNames.ByValue[(int)feature]}";
            _filtered[(int)feature >> 5] |= 1u << ((int)feature & 31);
            _warnings.Add($"TCG doesn't support requested feature: {spelled} [bit {(int)feature & 31}]");
            return null;
        }

        Set(feature, on);
        return null;
    }

    private bool TrySetProperty(string name, string value, out string? error)
    {
        error = null;
        switch (name)
        {
            case "vendor":
                if (value.Length != 12)
                    error = $"Property '{Name}-x86_64-cpu.vendor' doesn't take value '{value}'";
                else
                    Vendor = value;
                return true;
            case "model-id" or "model_id":
                Brand = value.Length > 48 ? value[..48] : value;
                return true;
            case "family":
                error = Number(name, value, 0, 270, v => Family = (int)v);
                return true;
            case "model":
                error = Number(name, value, 0, 255, v => ModelNumber = (int)v);
                return true;
            case "stepping":
                error = Number(name, value, 0, 15, v => Stepping = (int)v);
                return true;
            case "level":
                error = Number(name, value, 0, uint.MaxValue, v => Level = (uint)v);
                return true;
            case "min-level":
                error = Number(name, value, 0, uint.MaxValue, v => Level = Math.Max(Level, (uint)v));
                return true;
            case "xlevel":
                error = Number(name, value, 0, uint.MaxValue, v => ExtendedLevel = (uint)v);
                return true;
            case "min-xlevel":
                error = Number(name, value, 0, uint.MaxValue, v => ExtendedLevel = Math.Max(ExtendedLevel, (uint)v));
                return true;
            case "phys-bits":
                error = Number(name, value, 32, 52, v => PhysicalBits = (int)v);
                return true;
            default:
                return IsIgnored(name);
        }
    }

    private string? Number(string name, string value, ulong least, ulong most, Action<ulong> set)
    {
        var ok = value.StartsWith("0x", StringComparison.OrdinalIgnoreCase)
            ? ulong.TryParse(value.AsSpan(2), System.Globalization.NumberStyles.HexNumber, null, out var number)
            : ulong.TryParse(value, out number);
        if (!ok)
            return $"Parameter '{name}' expects a number";
        if (number < least || number > most)
            return $"Property '{Name}.{name}' doesn't take value {value} (minimum: {least}, maximum: {most})";
        set(number);
        return null;
    }

    /// <summary>Takes away AVX and what stands upon it, for an engine without vectors of 256 bits.</summary>
    public void DropWideVectors()
    {
        if (!Has(X86Feature.Avx))
            return;
        _warnings.Add("This host has no AVX: the guest's processors have none either");
        Set(X86Feature.Avx, false);
        FixDependencies();
    }

    /// <summary>Takes away what is nothing without something else, and raises the level to what features need.</summary>
    private void FixDependencies()
    {
        if (!Has(X86Feature.Xsave))
        {
            foreach (var f in (ReadOnlySpan<X86Feature>)[X86Feature.Avx, X86Feature.Xsaveopt, X86Feature.Xsavec,
                X86Feature.Xgetbv1, X86Feature.Xsaves])
                Set(f, false);
        }

        if (!Has(X86Feature.Avx))
        {
            foreach (var f in (ReadOnlySpan<X86Feature>)[X86Feature.Avx2, X86Feature.Fma, X86Feature.F16c])
                Set(f, false);
        }

        if ((Word(FeatureWord.Leaf7Ebx) | Word(FeatureWord.Leaf7Ecx) | Word(FeatureWord.Leaf7Edx)) != 0)
            Level = Math.Max(Level, 7);
        if (_words[(int)FeatureWord.Leaf6Eax] != 0)
            Level = Math.Max(Level, 6);
        if (Has(X86Feature.Xsave))
            Level = Math.Max(Level, 0xD);
        if (_words[(int)FeatureWord.Ext1Edx] != 0 || _words[(int)FeatureWord.Ext1Ecx] != 0)
            ExtendedLevel = Math.Max(ExtendedLevel, 0x80000001);
        if (_words[(int)FeatureWord.Ext7Edx] != 0)
            ExtendedLevel = Math.Max(ExtendedLevel, 0x80000007);
        if (Has(X86Feature.Lm))
            ExtendedLevel = Math.Max(ExtendedLevel, 0x80000008);
        else
            PhysicalBits = Has(X86Feature.Pae) || Has(X86Feature.Pse36) ? 36 : 32;
    }
}
