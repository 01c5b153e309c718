using Dromaius.Core.Devices;

namespace Dromaius.Control.Hmp;

/// <summary>What the user typed is wrong; the monitor adds where help is.</summary>
internal sealed class MonitorSyntaxException(string message) : Exception(message);

/// <summary>
/// Expressions of the monitor: numbers, characters in quotes, registers with <c>$</c>, parentheses, and <c>+ -</c>, below them
/// <c>&amp; | ^</c>, below them <c>* / %</c>, and the signs <c>+ - ~</c>.
/// </summary>
internal ref struct MonitorExpression
{
    private const int DeepestNesting = 100;

    private readonly ReadOnlySpan<char> _text;
    private readonly Func<string, ulong?> _register;
    private int _at;
    private int _depth;

    private MonitorExpression(ReadOnlySpan<char> text, Func<string, ulong?> register)
    {
        _text = text;
        _register = register;
    }

    /// <summary>Parses the expression at the start of a text.</summary>
    /// <param name="text">The text.</param>
    /// <param name="register">The value of a register, or null for a name that is none's.</param>
    /// <param name="length">How much of the text belongs to it.</param>
    public static ulong Parse(ReadOnlySpan<char> text, Func<string, ulong?> register, out int length)
    {
        var parser = new MonitorExpression(text, register);
        var value = parser.Sum();
        length = parser._at;
        return value;
    }

    private char Peek()
    {
        while (_at < _text.Length && char.IsWhiteSpace(_text[_at]))
            _at++;
        return _at < _text.Length ? _text[_at] : '\0';
    }

    private ulong Sum()
    {
        var value = Logic();
        while (Peek() is ('+' or '-') and var op)
        {
            _at++;
            var right = Logic();
            value = op == '+' ? value + right : value - right;
        }

        return value;
    }

    private ulong Logic()
    {
        var value = Product();
        while (Peek() is ('&' or '|' or '^') and var op)
        {
            _at++;
            var right = Product();
            value = op switch
            {
                '&' => value & right,
                '|' => value | right,
                _ => value ^ right,
            };
        }

        return value;
    }

    private ulong Product()
    {
        var value = Unary();
        while (Peek() is ('*' or '/' or '%') and var op)
        {
            _at++;
            var right = Unary();
            if (op != '*' && right == 0)
                throw new MonitorSyntaxException("division by zero");
            value = op switch
            {
                '*' => value * right,
                '/' => value / right,
                _ => value % right,
            };
        }

        return value;
    }

    private ulong Unary()
    {
        if (++_depth > DeepestNesting)
            throw new MonitorSyntaxException("expression is nested too deeply");
        var value = Operand();
        _depth--;
        return value;
    }

    private ulong Operand()
    {
        switch (Peek())
        {
            case '+':
                _at++;
                return Unary();
            case '-':
                _at++;
                return 0 - Unary();
            case '~':
                _at++;
                return ~Unary();
            case '(':
                _at++;
                var inner = Sum();
                if (Peek() != ')')
                    throw new MonitorSyntaxException("')' expected");
                _at++;
                return inner;
            case '\'':
                if (_at + 2 >= _text.Length || _text[_at + 2] != '\'')
                    throw new MonitorSyntaxException("missing terminating ' character");
                _at += 3;
                return _text[_at - 2];
            case '$':
                _at++;
                return Register();
            case '\0':
                throw new MonitorSyntaxException("unexpected end of expression");
            default:
                return Number();
        }
    }

    private ulong Register()
    {
        var start = _at;
        while (_at < _text.Length && (char.IsAsciiLetterOrDigit(_text[_at]) || _text[_at] is '.' or '_'))
            _at++;
        return _register(_text[start.._at].ToString()) ?? throw new MonitorSyntaxException("unknown register");
    }

    private ulong Number()
    {
        var start = _at;
        while (_at < _text.Length && char.IsAsciiLetterOrDigit(_text[_at]))
            _at++;
        var text = _text[start.._at].ToString();
        if (text.Length == 0 || !char.IsAsciiDigit(text[0]))
            throw new MonitorSyntaxException($"invalid char '{_text[start]}' in expression");
        return PropertyValues.TryParseInteger(text, out var value) ? value : throw new MonitorSyntaxException("number too large");
    }
}
