using System.Text;

namespace Dromaius.Net.User;

/// <summary>Command lines as a shell splits them: words, quotes and backslashes, and no more.</summary>
internal static class ShellWords
{
    /// <summary>The words; null where a quote is left open.</summary>
    public static List<string>? Split(string text)
    {
        var words = new List<string>();
        StringBuilder? word = null;
        var quote = '\0';
        for (var i = 0; i < text.Length; i++)
        {
            var c = text[i];
            if (c == quote)
                quote = '\0';
            else if (quote == '\0' && c is '\'' or '"')
            {
                quote = c;
                word ??= new();
            }
            else if (c == '\\' && quote != '\'' && i + 1 < text.Length && (quote == '\0' || text[i + 1] is '"' or '\\' or '$' or '`'))
                (word ??= new()).Append(text[++i]);
            else if (quote == '\0' && c is ' ' or '\t' or '\n')
                End();
            else
                (word ??= new()).Append(c);
        }

        End();
        return quote == '\0' ? words : null;

        void End()
        {
            if (word != null)
                words.Add(word.ToString());
            word = null;
        }
    }
}
