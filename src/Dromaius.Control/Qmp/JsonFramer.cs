using System.Buffers;
using System.Text;

namespace Dromaius.Control.Qmp;

/// <summary>
/// Cuts a byte stream into JSON values by their brackets, as clients of the protocol send them (with or without newlines). Length
/// and nesting of a value are bounded.
/// </summary>
internal sealed class JsonFramer
{
    private const int MaxMessage = 64 << 20, MaxNesting = 1024;

    private readonly ArrayBufferWriter<byte> _message = new();
    private int _depth;
    private byte _quote;
    private bool _escaped;
    private bool _skipping; // after an error: the rest of the line is dropped

    /// <summary>Takes bytes up to the end of a value; returns how many were used.</summary>
    /// <param name="bytes">Input.</param>
    /// <param name="message">A whole value, or null when more input is needed.</param>
    /// <param name="error">What is wrong with the input, or null.</param>
    public int Take(ReadOnlySpan<byte> bytes, out byte[]? message, out string? error)
    {
        message = null;
        error = null;
        for (var i = 0; i < bytes.Length; i++)
        {
            var b = bytes[i];
            if (_skipping)
            {
                _skipping = b != '\n';
                continue;
            }

            if (b == 0xFF)
            {
                Reset(); // clients send it to get rid of a half command
                continue;
            }

            if (_message.WrittenCount == 0 && IsBlank(b))
                continue;
            if (_depth == 0 && _quote == 0 && IsWord(b))
            {
                _message.Write([b]);
                continue;
            }

            // A number or keyword outside of brackets ends where something else begins.
            if (_depth == 0 && _quote == 0 && _message.WrittenCount > 0)
                return End(i, out message);
            _message.Write([b]);
            if (_message.WrittenCount > MaxMessage)
                return Fail(i + 1, "JSON token size limit exceeded", out error);
            if (_quote != 0)
            {
                if (_escaped)
                    _escaped = false;
                else if (b == '\\')
                    _escaped = true;
                else if (b == _quote)
                    _quote = 0;
                else if (b < 0x20)
                    return Fail(b == '\n' ? i : i + 1, $"JSON parse error, stray '{Tail()}'", out error);
            }
            else if (b is (byte)'"' or (byte)'\'')
                _quote = b;
            else if (b is (byte)'{' or (byte)'[')
                _depth++;
            else if (b is (byte)'}' or (byte)']')
                _depth--;
            if (_depth > MaxNesting)
                return Fail(i + 1, "JSON nesting depth limit exceeded", out error);
            if (_depth <= 0 && _quote == 0)
                return End(i + 1, out message);
        }

        return bytes.Length;
    }

    public void Reset()
    {
        _message.ResetWrittenCount();
        _depth = 0;
        _quote = 0;
        _escaped = false;
        _skipping = false;
    }

    private static bool IsBlank(byte b) => b is (byte)' ' or (byte)'\n' or (byte)'\r' or (byte)'\t';

    private static bool IsWord(byte b) => char.IsAsciiLetterOrDigit((char)b) || b is (byte)'-' or (byte)'+' or (byte)'.';

    private int End(int used, out byte[]? message)
    {
        message = _message.WrittenSpan.ToArray();
        Reset();
        return used;
    }

    private int Fail(int used, string what, out string? error)
    {
        error = what;
        Reset();
        _skipping = true;
        return used;
    }

    /// <summary>The string that was not ended.</summary>
    private string Tail()
    {
        var text = _message.WrittenSpan;
        return Encoding.UTF8.GetString(text[text.LastIndexOf(_quote)..]);
    }
}
