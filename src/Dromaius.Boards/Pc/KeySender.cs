using Dromaius.Core.Time;
using Dromaius.Devices.Input;
using Timer = Dromaius.Core.Time.Timer;

namespace Dromaius.Boards.Pc;

/// <summary>Presses keys by the names that monitors use, for a time.</summary>
internal static class KeySender
{
    /// <summary>Names to set 1 make codes, with 0xE0 in front where there is a prefix.</summary>
    private static readonly Dictionary<string, int> Codes = Build();

    /// <summary>False if some name is unknown.</summary>
    public static bool Send(Ps2Keyboard keyboard, Clock clock, IReadOnlyList<string> keys, int holdMilliseconds)
    {
        var codes = new List<int>();
        foreach (var key in keys)
        {
            if (!TryCode(key, out var code))
                return false;
            codes.Add(code);
        }

        foreach (var code in codes)
            keyboard.Key(code, true);
        Timer? release = null;
        release = clock.CreateTimer(() =>
        {
            for (var i = codes.Count - 1; i >= 0; i--)
                keyboard.Key(codes[i], false);
        });
        release.Arm(clock.Now + (holdMilliseconds * 1_000_000L));
        return true;
    }

    private static bool TryCode(string key, out int code)
    {
        if (Codes.TryGetValue(key, out code))
            return true;
        return key.StartsWith("0x", StringComparison.OrdinalIgnoreCase)
            && int.TryParse(key.AsSpan(2), System.Globalization.NumberStyles.AllowHexSpecifier,
                System.Globalization.CultureInfo.InvariantCulture, out code);
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
        Row(0x37, "asterisk alt spc caps_lock f1 f2 f3 f4 f5 f6 f7 f8 f9 f10 num_lock scroll_lock kp_7 kp_8 kp_9 kp_subtract");
        Row(0x4B, "kp_4 kp_5 kp_6 kp_add kp_1 kp_2 kp_3 kp_0 kp_decimal sysrq");
        Row(0x56, "less f11 f12");
        codes["kp_multiply"] = 0x37;
        codes["kp_enter"] = 0xE01C;
        codes["kp_divide"] = 0xE035;
        codes["ctrl_r"] = 0xE01D;
        codes["alt_r"] = 0xE038;
        codes["altgr"] = 0xE038;
        codes["print"] = ScanCodes.PrintScreen;
        codes["pause"] = ScanCodes.Pause;
        codes["home"] = 0xE047;
        codes["up"] = 0xE048;
        codes["pgup"] = 0xE049;
        codes["left"] = 0xE04B;
        codes["right"] = 0xE04D;
        codes["end"] = 0xE04F;
        codes["down"] = 0xE050;
        codes["pgdn"] = 0xE051;
        codes["insert"] = 0xE052;
        codes["delete"] = 0xE053;
        codes["meta_l"] = 0xE05B;
        codes["meta_r"] = 0xE05C;
        codes["menu"] = 0xE05D;
        codes["compose"] = 0xE05D;
        return codes;
    }
}
