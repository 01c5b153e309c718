using Dromaius.Jit.Ir.SoftFloat;

namespace Dromaius.Cpu.X86;

/// <summary>Constants with significands of 128 bits, truncated, the last bit sticky.</summary>
internal static class FpuConstants
{
    public static readonly FpValue Log2Of10 = Make(1, 0xD49A784BCD1B8AFE, 0x492BF6FF4DAFDB4D);
    public static readonly FpValue Log2OfE = Make(0, 0xB8AA3B295C17F0BB, 0xBE87FED0691D3E89);
    public static readonly FpValue Pi = Make(1, 0xC90FDAA22168C234, 0xC4C6628B80DC1CD1);
    public static readonly FpValue Log10Of2 = Make(-2, 0x9A209A84FBCFF798, 0x8F8959AC0B7C9179);
    public static readonly FpValue LnOf2 = Make(-1, 0xB17217F7D1CF79AB, 0xC9E3B39803F2F6AF);

    /// <summary>atan(k/16) for k from 0 to 16.</summary>
    public static readonly FpValue[] ArcTangents =
    [
        FpValue.Zero(false),
        Make(-5, 0xFFAADDB967EF4E36, 0xCB2792DC0E2E0D51),
        Make(-4, 0xFEADD4D5617B6E32, 0xC897989F3E888EF7),
        Make(-3, 0xBDCBDA5E72D81134, 0x7B0B4F881C9C7487),
        Make(-3, 0xFADBAFC96406EB15, 0x6DC79EF5F7A217E5),
        Make(-2, 0x9B13B9B83F5E5E69, 0xC5ABB498D27AF329),
        Make(-2, 0xB7B0CA0F26F78473, 0x8AA32122DCFE4483),
        Make(-2, 0xD327761E611FE5B6, 0x427C95E9001E7137),
        Make(-2, 0xED63382B0DDA7B45, 0x6FE445ECBC3A8D03),
        Make(-1, 0x832BF4A6D9867E2A, 0x4B6A09CB61A515C1),
        Make(-1, 0x8F005D5EF7F59F9B, 0x5C835E1665C43747),
        Make(-1, 0x9A2F80E671BDDA20, 0x4226F8E2204FF3BD),
        Make(-1, 0xA4BC7D1934F70924, 0x19A87F2A457DAC9F),
        Make(-1, 0xAEAC4C38B4D8C080, 0x14725E2F3E52070B),
        Make(-1, 0xB8053E2BC2319E73, 0xCB2DA55210A4443D),
        Make(-1, 0xC0CE85B8AC526640, 0x89DD62C46E92FA25),
        Make(-1, 0xC90FDAA22168C234, 0xC4C6628B80DC1CD1),
    ];

    private static FpValue Make(int exp, ulong hi, ulong lo) => FpValue.Normalized(false, exp, hi, lo);
}
