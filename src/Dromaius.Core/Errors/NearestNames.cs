namespace Dromaius.Core.Errors;

/// <summary>Finds what the user may have meant.</summary>
public static class NearestNames
{
    /// <summary>" (did you mean 'a' or 'b'?)" to append to a message, or the empty string when nothing is near.</summary>
    public static string Hint(string name, IEnumerable<string> candidates)
    {
        var near = Find(name, candidates);
        return near.Count == 0 ? "" : $" (did you mean {string.Join(" or ", near.Select(static n => $"'{n}'"))}?)";
    }

    /// <summary>Up to three candidates, nearest first.</summary>
    public static IReadOnlyList<string> Find(string name, IEnumerable<string> candidates)
    {
        if (name.Length == 0)
            return [];
        var limit = Math.Max(2, name.Length / 3);
        return [.. candidates.Distinct()
            .Select(c => (Name: c, Distance: Score(name, c)))
            .Where(c => c.Distance <= limit)
            .OrderBy(static c => c.Distance)
            .ThenBy(static c => c.Name, StringComparer.Ordinal)
            .Take(3)
            .Select(static c => c.Name)];
    }

    /// <summary>Edit distance; a candidate that holds the name whole counts as near.</summary>
    private static int Score(string name, string candidate)
    {
        var distance = Distance(name.ToLowerInvariant(), candidate.ToLowerInvariant());
        return name.Length >= 3 && candidate.Contains(name, StringComparison.OrdinalIgnoreCase) ? Math.Min(distance, 1) : distance;
    }

    /// <summary>Levenshtein distance with transpositions of neighbours.</summary>
    private static int Distance(string a, string b)
    {
        var d = new int[a.Length + 1, b.Length + 1];
        for (var i = 0; i <= a.Length; i++)
            d[i, 0] = i;
        for (var j = 0; j <= b.Length; j++)
            d[0, j] = j;
        for (var i = 1; i <= a.Length; i++)
        {
            for (var j = 1; j <= b.Length; j++)
            {
                var cost = a[i - 1] == b[j - 1] ? 0 : 1;
                d[i, j] = Math.Min(Math.Min(d[i - 1, j] + 1, d[i, j - 1] + 1), d[i - 1, j - 1] + cost);
                if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                    d[i, j] = Math.Min(d[i, j], d[i - 2, j - 2] + 1);
            }
        }

        return d[a.Length, b.Length];
    }
}
