using System.Text;

namespace Dromaius.Control;

/// <summary>
/// A command line on a dumb terminal: echo, backspace, cursor keys, history, the usual Emacs keys. Escape sequences are those
/// of ECMA-48.
/// </summary>
internal sealed class LineEditor(Action<string> write, Action<string> submit, Func<string, IReadOnlyList<string>> complete)
{
    private readonly StringBuilder _line = new();
    private readonly List<string> _history = [];
    private string _prompt = "";
    private int _cursor;
    private int _historyAt;
    private int _escape;
    private bool _afterReturn;

    /// <summary>The lines entered before.</summary>
    public IReadOnlyList<string> History => _history;

    public void ShowPrompt(string prompt)
    {
        _prompt = prompt;
        _line.Clear();
        _cursor = 0;
        _historyAt = _history.Count;
        write(prompt);
    }

    public void Input(byte b)
    {
        if (_escape > 0)
        {
            EscapeSequence(b);
            return;
        }

        var afterReturn = _afterReturn;
        _afterReturn = b == '\r';
        switch (b)
        {
            case (byte)'\n' when afterReturn:
                break; // CR LF is one end of line
            case (byte)'\r' or (byte)'\n':
                Submit();
                break;
            case 27:
                _escape = 1;
                break;
            case 8 or 127:
                if (_cursor > 0)
                {
                    _line.Remove(--_cursor, 1);
                    Redraw();
                }

                break;
            case 1:
                MoveTo(0);
                break;
            case 5:
                MoveTo(_line.Length);
                break;
            case 2:
                MoveTo(Math.Max(0, _cursor - 1));
                break;
            case 6:
                MoveTo(Math.Min(_line.Length, _cursor + 1));
                break;
            case 4:
                Delete();
                break;
            case 11:
                _line.Length = _cursor;
                Redraw();
                break;
            case 21:
                _line.Remove(0, _cursor);
                _cursor = 0;
                Redraw();
                break;
            case 23:
                DeleteWord();
                break;
            case 16:
                Recall(-1);
                break;
            case 14:
                Recall(1);
                break;
            case 9:
                Complete();
                break;
            case >= 32 when _line.Length < 4096:
                Insert(((char)b).ToString());
                break;
        }
    }

    private void Submit()
    {
        var line = _line.ToString();
        write("\r\n");
        if (line.Trim().Length > 0 && (_history.Count == 0 || _history[^1] != line))
        {
            if (_history.Count == 64)
                _history.RemoveAt(0);
            _history.Add(line);
        }

        submit(line);
    }

    private void EscapeSequence(byte b)
    {
        if (_escape == 1)
        {
            _escape = b is (byte)'[' or (byte)'O' ? 2 : 0;
            return;
        }

        if (b is >= (byte)'0' and <= (byte)'9' or (byte)';')
        {
            _escape = b == '3' ? 3 : 2;
            return;
        }

        var deletes = _escape == 3;
        _escape = 0;
        switch (b)
        {
            case (byte)'A':
                Recall(-1);
                break;
            case (byte)'B':
                Recall(1);
                break;
            case (byte)'C':
                MoveTo(Math.Min(_line.Length, _cursor + 1));
                break;
            case (byte)'D':
                MoveTo(Math.Max(0, _cursor - 1));
                break;
            case (byte)'H':
                MoveTo(0);
                break;
            case (byte)'F':
                MoveTo(_line.Length);
                break;
            case (byte)'~' when deletes:
                Delete();
                break;
        }
    }

    private void Insert(string text)
    {
        var atEnd = _cursor == _line.Length;
        _line.Insert(_cursor, text);
        _cursor += text.Length;
        if (atEnd)
            write(text);
        else
            Redraw();
    }

    private void Delete()
    {
        if (_cursor < _line.Length)
        {
            _line.Remove(_cursor, 1);
            Redraw();
        }
    }

    private void DeleteWord()
    {
        var from = _cursor;
        while (from > 0 && _line[from - 1] == ' ')
            from--;
        while (from > 0 && _line[from - 1] != ' ')
            from--;
        _line.Remove(from, _cursor - from);
        _cursor = from;
        Redraw();
    }

    private void Recall(int step)
    {
        var at = _historyAt + step;
        if (at < 0 || at > _history.Count)
            return;
        _historyAt = at;
        _line.Clear();
        if (at < _history.Count)
            _line.Append(_history[at]);
        _cursor = _line.Length;
        Redraw();
    }

    private void Complete()
    {
        var start = _cursor;
        while (start > 0 && _line[start - 1] != ' ')
            start--;
        var typed = _line.ToString(0, _cursor);
        var choices = complete(typed);
        if (choices.Count == 1)
            Insert(choices[0][(_cursor - start)..] + " ");
        else if (choices.Count > 1)
        {
            var common = choices[0];
            foreach (var choice in choices)
            {
                var same = 0;
                while (same < common.Length && same < choice.Length && common[same] == choice[same])
                    same++;
                common = common[..same];
            }

            // As far as all agree; only then what they are.
            if (common.Length > _cursor - start)
            {
                Insert(common[(_cursor - start)..]);
                return;
            }

            write("\r\n" + string.Join("\r\n", choices) + "\r\n");
            Redraw();
        }
    }

    private void MoveTo(int cursor)
    {
        if (cursor < _cursor)
            write($"\x1b[{_cursor - cursor}D");
        else if (cursor > _cursor)
            write($"\x1b[{cursor - _cursor}C");
        _cursor = cursor;
    }

    private void Redraw()
    {
        write($"\r{_prompt}{_line}\x1b[K");
        if (_cursor < _line.Length)
            write($"\x1b[{_line.Length - _cursor}D");
    }
}
