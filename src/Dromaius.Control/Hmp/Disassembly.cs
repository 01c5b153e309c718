using System.Globalization;
using System.Text;
using Iced.Intel;

namespace Dromaius.Control.Hmp;

/// <summary>Instructions as text, for <c>x /i</c>.</summary>
internal static class Disassembly
{
    private const int LongestInstruction = 15, BytesShown = 8;

    /// <param name="count">How many instructions.</param>
    /// <param name="address">Where the first begins.</param>
    /// <param name="bits">16, 32 or 64.</param>
    /// <param name="read">Reads memory; false where there is none.</param>
    public static string Show(int count, ulong address, int bits, Func<ulong, byte[], bool> read)
    {
        var text = new StringBuilder();
        var formatter = new GasFormatter();
        formatter.Options.SpaceAfterOperandSeparator = true;
        formatter.Options.HexPrefix = "0x";
        formatter.Options.HexSuffix = "";
        formatter.Options.UppercaseHex = false;
        formatter.Options.SmallHexNumbersInDecimal = false;
        formatter.Options.FirstOperandCharIndex = 9;
        formatter.Options.GasSpaceAfterMemoryOperandComma = true;
        formatter.Options.GasShowMnemonicSizeSuffix = true;
        var output = new StringOutput();
        var width = bits == 64 ? "x16" : "x8";
        for (var i = 0; i < count; i++)
        {
            var bytes = Fetch(address, read);
            var head = "0x" + address.ToString(width, CultureInfo.InvariantCulture);
            var decoder = Iced.Intel.Decoder.Create(bits, bytes, address);
            var instruction = decoder.Decode();
            if (bytes.Length == 0 || (instruction.IsInvalid && decoder.LastError == DecoderError.NoMoreBytes))
            {
                text.Append(head).Append(": unable to read memory\n");
                break;
            }

            if (instruction.IsInvalid)
            {
                AppendLine(text, head, bytes.AsSpan(0, 1), $".byte    0x{bytes[0]:x2}");
                address++;
                continue;
            }

            formatter.Format(instruction, output);
            AppendLine(text, head, bytes.AsSpan(0, instruction.Length), output.ToStringAndReset());
            address += (ulong)instruction.Length;
        }

        return text.ToString();
    }

    private static byte[] Fetch(ulong address, Func<ulong, byte[], bool> read)
    {
        var bytes = new byte[LongestInstruction];
        if (read(address, bytes))
            return bytes;
        // Near the end of what is mapped: take what there is.
        var one = new byte[1];
        for (var i = 0; i < bytes.Length; i++)
        {
            if (!read(address + (ulong)i, one))
                return bytes[..i];
            bytes[i] = one[0];
        }

        return bytes;
    }

    private static void AppendLine(StringBuilder text, string head, ReadOnlySpan<byte> bytes, string instruction)
    {
        text.Append(head).Append(":  ");
        for (var i = 0; i < Math.Max(bytes.Length, BytesShown); i++)
        {
            if (i == BytesShown)
                text.Append(' ').Append(instruction).Append('\n').Append(head).Append(":  ");
            if (i < bytes.Length)
                text.Append(CultureInfo.InvariantCulture, $"{bytes[i]:x2} ");
            else
                text.Append("   ");
        }

        if (bytes.Length <= BytesShown)
            text.Append(' ').Append(instruction);
        text.Append('\n');
    }
}
