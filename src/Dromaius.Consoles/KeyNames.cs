using System.Globalization;

namespace Dromaius.Consoles;

/// <summary>
/// Keys by the names that monitors and viewers use. A key's code is its set 1 make code, E0nn for those with a prefix.
/// </summary>
public static class KeyNames
{
    private static readonly Dictionary<string, int> Codes = Build();
    private static readonly Dictionary<int, string> Names = Invert();

    /// <summary>All names, in no order of meaning.</summary>
    public static IEnumerable<string> All => Codes.Keys;

    /// <summary>The code of a name; names of keys that no PC keyboard has are known and have the code 0.</summary>
    public static bool TryGetCode(string name, out int code) => Codes.TryGetValue(name, out code);

    /// <summary>The name of a code, or null.</summary>
    public static string? NameOf(int code) => Names.GetValueOrDefault(code);

    /// <summary>A code from the form that has 80h for the prefix (<c>number</c> keys of QMP, extended keys of RFB).</summary>
    public static int FromNumber(int number) => number > 0xFF ? number : (number & 0x80) != 0 ? 0xE000 | (number & 0x7F) : number;

    /// <summary>A name, or a number in hexadecimal with 0x.</summary>
    public static bool TryParse(string text, out int code)
    {
        if (TryGetCode(text, out code))
            return true;
        if (!text.StartsWith("0x", StringComparison.OrdinalIgnoreCase)
            || !int.TryParse(text.AsSpan(2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var number))
            return false;
        code = FromNumber(number);
        return true;
    }

    private static Dictionary<int, string> Invert()
    {
        var names = new Dictionary<int, string>();
        foreach (var (name, code) in Codes)
            names.TryAdd(code, name);
        return names;
    }

    private static Dictionary<string, int> Build()
    {
        var codes = new Dictionary<string, int>(StringComparer.Ordinal);
        void Row(int first, string names)
        {
            foreach (var name in names.Split(' '))
                codes[name] = first++;
        }

        Row(0x01, "esc 1 2 3 4 5 6 7 8 9 0 minus equal backspace tab q w e r t y u i o p bracket_left bracket_right ret ctrl");
        Row(0x1E, "a s d f g h j k l semicolon apostrophe grave_accent shift backslash z x c v b n m comma dot slash shift_r");
        Row(0x37, "kp_multiply alt spc caps_lock f1 f2 f3 f4 f5 f6 f7 f8 f9 f10 num_lock scroll_lock kp_7 kp_8 kp_9 kp_subtract");
        Row(0x4B, "kp_4 kp_5 kp_6 kp_add kp_1 kp_2 kp_3 kp_0 kp_decimal sysrq");
        Row(0x56, "less f11 f12");
        Row(0x64, "f13 f14 f15 f16 f17 f18 f19 f20 f21 f22 f23");
        (string Name, int Code)[] others =
        [
            ("asterisk", 0x37), ("kp_enter", 0xE01C), ("kp_divide", 0xE035), ("ctrl_r", 0xE01D), ("alt_r", 0xE038), ("print", 0xE037),
            ("pause", 0xE046), ("home", 0xE047), ("up", 0xE048), ("pgup", 0xE049), ("left", 0xE04B), ("right", 0xE04D),
            ("end", 0xE04F), ("down", 0xE050), ("pgdn", 0xE051), ("insert", 0xE052), ("delete", 0xE053), ("meta_l", 0xE05B),
            ("meta_r", 0xE05C), ("compose", 0xE05D), ("menu", 0xE05D), ("power", 0xE05E), ("sleep", 0xE05F), ("wake", 0xE063),
            ("kp_equals", 0x59), ("kp_comma", 0x7E), ("ro", 0x73), ("yen", 0x7D), ("henkan", 0x79), ("muhenkan", 0x7B),
            ("hiragana", 0x77), ("katakanahiragana", 0x70), ("lang1", 0x72), ("lang2", 0x71), ("f24", 0x76),
            ("help", 0xE075), ("undo", 0xE007), ("copy", 0xE078), ("paste", 0xE065), ("find", 0xE041), ("cut", 0xE03C),
            ("stop", 0xE068), ("again", 0xE005), ("props", 0xE006), ("front", 0xE00C), ("open", 0x64), ("lf", 0x5B),
            ("audionext", 0xE019), ("audioprev", 0xE010), ("audiostop", 0xE024), ("audioplay", 0xE022), ("audiomute", 0xE020),
            ("volumeup", 0xE030), ("volumedown", 0xE02E), ("mediaselect", 0xE06D), ("mail", 0xE06C), ("calculator", 0xE021),
            ("computer", 0xE06B), ("ac_home", 0xE032), ("ac_back", 0xE06A), ("ac_forward", 0xE069), ("ac_refresh", 0xE067),
            ("ac_bookmarks", 0xE066), ("unmapped", 0),
        ];
        foreach (var (name, code) in others)
            codes[name] = code;
        return codes;
    }
}
