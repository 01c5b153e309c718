using System.Buffers;

namespace Dromaius.Control;

/// <summary>Cuts a byte stream into JSON values by their brackets, as QMP clients send them (with or without newlines).</summary>
internal sealed class JsonFramer
{
    private const int MaxMessage = 64 << 20;

    private readonly ArrayBufferWriter<byte> _message = new();
    private int _depth;
    private bool _inString;
    private bool _escaped;

    /// <summary>Takes bytes up to the end of a message; returns how many were used.</summary>
    /// <param name="bytes">Input.</param>
    /// <param name="message">A whole message, or null when more input is needed.</param>
    /// <param name="junk">True: the message is text outside of any object.</param>
    public int Take(ReadOnlySpan<byte> bytes, out byte[]? message, out bool junk)
    {
        message = null;
        junk = false;
        for (var i = 0; i < bytes.Length; i++)
        {
            var b = bytes[i];
            if (_message.WrittenCount == 0 && b is (byte)' ' or (byte)'\n' or (byte)'\r' or (byte)'\t')
                continue;

            if (_message.WrittenCount >= MaxMessage)
                Reset();
            _message.Write([b]);
            if (_inString)
            {
                if (_escaped)
                    _escaped = false;
                else if (b == '\\')
                    _escaped = true;
                else if (b == '"')
                    _inString = false;
            }
            else if (b == '"')
                _inString = true;
            else if (b is (byte)'{' or (byte)'[')
                _depth++;
            else if (b is (byte)'}' or (byte)']')
                _depth--;

            // Outside of brackets and strings a message is complete; one that did not end with a bracket is no object.
            if (_depth > 0 || _inString)
                continue;
            junk = b is not ((byte)'}' or (byte)']');
            message = _message.WrittenSpan.ToArray();
            Reset();
            return i + 1;
        }

        return bytes.Length;
    }

    public void Reset()
    {
        _message.ResetWrittenCount();
        _depth = 0;
        _inString = false;
        _escaped = false;
    }
}
