namespace Dromaius.Core.Options;

/// <summary>The nearest valid names to a misspelt one.</summary>
public static class Suggestion
{
    /// <summary>" (did you mean 'x' or 'y'?)", or nothing when no name is near.</summary>
    public static string Text(string wrong, IEnumerable<string> valid)
    {
        var near = Nearest(wrong, valid);
        return near.Count switch
        {
            0 => "",
            1 => $" (did you mean '{near[0]}'?)",
            _ => $" (did you mean {string.Join(", ", near.Take(near.Count - 1).Select(n => $"'{n}'"))} or '{near[^1]}'?)",
        };
    }

    /// <summary>At most three names, nearest first.</summary>
    public static List<string> Nearest(string wrong, IEnumerable<string> valid)
    {
        var lower = wrong.ToLowerInvariant();
        var limit = Math.Max(1, Math.Min(3, (lower.Length + 1) / 3));
        return valid
            .Distinct()
            .Select(name => (Name: name, Cost: Cost(lower, name.ToLowerInvariant())))
            .Where(c => c.Cost <= limit)
            .OrderBy(c => c.Cost).ThenBy(c => c.Name, StringComparer.Ordinal)
            .Take(3)
            .Select(c => c.Name)
            .ToList();
    }

    private static int Cost(string wrong, string name)
    {
        var distance = Distance(wrong, name);
        if (wrong.Length >= 3 && (name.StartsWith(wrong, StringComparison.Ordinal) || name.Contains('-' + wrong, StringComparison.Ordinal)))
            return Math.Min(distance, 1);
        return distance;
    }

    /// <summary>Edit distance with swaps of neighbours (optimal string alignment).</summary>
    public static int Distance(string a, string b)
    {
        var before = new int[b.Length + 1];
        var last = new int[b.Length + 1];
        var row = new int[b.Length + 1];
        for (var j = 0; j <= b.Length; j++)
            last[j] = j;
        for (var i = 1; i <= a.Length; i++)
        {
            row[0] = i;
            for (var j = 1; j <= b.Length; j++)
            {
                var same = a[i - 1] == b[j - 1];
                row[j] = Math.Min(Math.Min(last[j] + 1, row[j - 1] + 1), last[j - 1] + (same ? 0 : 1));
                if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                    row[j] = Math.Min(row[j], before[j - 2] + 1);
            }

            (before, last, row) = (last, row, before);
        }

        return last[b.Length];
    }
}
