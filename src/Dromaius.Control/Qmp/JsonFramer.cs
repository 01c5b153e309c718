using System.Buffers;
using System.Text;

namespace Dromaius.Control.Qmp;

/// <summary>
/// Cuts a byte stream into JSON values by their brackets, as clients of the protocol send them (with or without newlines). A byte
/// that cannot belong to JSON ends the half value with an error at once, and the next bracket, comma, colon or control character
/// begins anew, so that a client can always force its way back into step. Length and nesting of a value are bounded.
/// </summary>
internal sealed class JsonFramer
{
    private const int MaxMessage = 64 << 20, MaxNesting = 1024;

    private readonly ArrayBufferWriter<byte> _message = new();
    private State _state;
    private int _depth;
    private int _token; // where the token that is being read begins
    private byte _quote;

    /// <summary>What is being read.</summary>
    private enum State
    {
        Between,
        Text,
        Escape,
        Keyword,

        // A number, by what may follow.
        Minus,
        Zero,
        Digits,
        Point,
        Fraction,
        Exponent,
        ExponentSign,
        ExponentDigits,

        /// <summary>After an error, up to where a value may begin.</summary>
        Recovery,
    }

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
            if (_state == State.Recovery)
            {
                if (!IsStructural(b) && b is (>= 0x20 or (byte)'\t') and < 0xFE)
                    continue;
                _state = State.Between;
            }

            if (IsScalar(_state))
            {
                var next = Continue(_state, b);
                if (next == State.Recovery)
                    return Stray(b, i + 1, out error);
                _state = next;
                if (next == State.Between && _depth == 0)
                    return End(i, out message);
            }

            if (_state == State.Between)
            {
                if (_message.WrittenCount == 0 && IsBlank(b))
                    continue;
                _token = _message.WrittenCount;
                _state = Begin(b);
                if (_state == State.Recovery)
                    return Stray(b, i + 1, out error);
                _quote = b;
            }
            else if (_state == State.Escape)
                _state = b >= 0x20 && b < 0xFE ? State.Text : State.Recovery;
            else if (_state == State.Text)
                _state = b == _quote ? State.Between : b == '\\' ? State.Escape : b is < 0x20 or >= 0xFE ? State.Recovery : State.Text;

            if (_state == State.Recovery)
                return Stray(b, i + 1, out error);
            _message.Write([b]);
            if (_message.WrittenCount > MaxMessage)
                return Fail(i + 1, "JSON token size limit exceeded", out error);
            if (_state != State.Between)
                continue;
            if (_token == _message.WrittenCount - 1)
                _depth += b is (byte)'{' or (byte)'[' ? 1 : b is (byte)'}' or (byte)']' ? -1 : 0;
            if (_depth > MaxNesting)
                return Fail(i + 1, "JSON nesting depth limit exceeded", out error);
            if (_depth <= 0)
                return End(i + 1, out message);
        }

        return bytes.Length;
    }

    public void Reset()
    {
        _message.ResetWrittenCount();
        _depth = 0;
        _state = State.Between;
    }

    private static bool IsBlank(byte b) => b is (byte)' ' or (byte)'\n' or (byte)'\r' or (byte)'\t';

    private static bool IsStructural(byte b) => b is (byte)'{' or (byte)'}' or (byte)'[' or (byte)']' or (byte)',' or (byte)':';

    /// <summary>A number or keyword, which only the byte behind it ends.</summary>
    private static bool IsScalar(State state) => state is >= State.Keyword and <= State.ExponentDigits;

    private static State Begin(byte b) => b switch
    {
        (byte)'"' or (byte)'\'' => State.Text,
        (byte)'-' => State.Minus,
        (byte)'0' => State.Zero,
        >= (byte)'1' and <= (byte)'9' => State.Digits,
        >= (byte)'a' and <= (byte)'z' => State.Keyword,
        _ => IsStructural(b) || IsBlank(b) ? State.Between : State.Recovery,
    };

    /// <summary>The state behind one more byte: Between if the scalar ended before it, Recovery if it must not stand there.</summary>
    private static State Continue(State state, byte b)
    {
        var digit = char.IsAsciiDigit((char)b);
        var exponent = b is (byte)'e' or (byte)'E';
        return state switch
        {
            State.Keyword => char.IsAsciiLetterLower((char)b) ? State.Keyword : State.Between,
            State.Minus => b == '0' ? State.Zero : digit ? State.Digits : State.Recovery,
            State.Zero when digit => State.Recovery,
            State.Zero or State.Digits => digit ? State.Digits : b == '.' ? State.Point : exponent ? State.Exponent : State.Between,
            State.Point => digit ? State.Fraction : State.Recovery,
            State.Fraction => digit ? State.Fraction : exponent ? State.Exponent : State.Between,
            State.Exponent when b is (byte)'+' or (byte)'-' => State.ExponentSign,
            State.Exponent or State.ExponentSign => digit ? State.ExponentDigits : State.Recovery,
            _ => digit ? State.ExponentDigits : State.Between,
        };
    }

    private int End(int used, out byte[]? message)
    {
        message = _message.WrittenSpan.ToArray();
        Reset();
        return used;
    }

    /// <summary>Shows the token up to the byte that must not be there; a zero ends what is shown.</summary>
    private int Stray(byte b, int used, out string? error)
    {
        _message.Write([b]);
        var token = _message.WrittenSpan[_token..];
        var end = token.IndexOf((byte)0);
        return Fail(used, $"JSON parse error, stray '{Encoding.UTF8.GetString(end < 0 ? token : token[..end])}'", out error);
    }

    private int Fail(int used, string what, out string? error)
    {
        error = what;
        Reset();
        _state = State.Recovery;
        return used;
    }
}
