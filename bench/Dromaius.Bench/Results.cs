using System.Globalization;

namespace Dromaius.Bench;

/// <summary>Times and check values by machine and kernel.</summary>
internal sealed class Results
{
    public const string Boot = "boot to userland";

    private readonly Dictionary<(string Machine, string Kernel), List<double>> _times = [];
    private readonly Dictionary<(string Machine, string Kernel), HashSet<string>> _checks = [];
    private readonly List<string> _problems = [];

    public IReadOnlyList<string> Problems => _problems;

    public void Fail(string problem)
    {
        Console.Error.WriteLine("  " + problem);
        _problems.Add(problem);
    }

    public void Add(string machine, string kernel, double nanoseconds, string? check)
    {
        if (!_times.TryGetValue((machine, kernel), out var list))
            _times.Add((machine, kernel), list = []);
        list.Add(nanoseconds);
        if (check == null)
            return;
        if (!_checks.TryGetValue((machine, kernel), out var checks))
            _checks.Add((machine, kernel), checks = []);
        checks.Add(check);
    }

    /// <summary>Takes the result out of a line such as "bench NAME NANOSECONDS check VALUE" or "bench NAME failed".</summary>
    /// <returns>Whether the line was one.</returns>
    public bool AddLine(string machine, string line)
    {
        var words = line.Trim().Split(' ');
        if (words is ["bench", var kernel, var time, "check", var check]
            && double.TryParse(time, NumberStyles.None, CultureInfo.InvariantCulture, out var nanoseconds))
        {
            Console.Error.WriteLine($"  {kernel,-18}{nanoseconds / 1e6,9:0.0} ms");
            Add(machine, kernel, nanoseconds, check);
            return true;
        }

        if (words is not ["bench", var broken, "failed"])
            return false;
        Fail($"{broken}: failed on {machine}");
        return true;
    }

    /// <summary>Says where a machine computed something else than the host, or not the same every time.</summary>
    public void CheckValuesAgree()
    {
        foreach (var ((machine, kernel), checks) in _checks)
        {
            if (_checks.TryGetValue(("native", kernel), out var right) && !right.SetEquals(checks))
                Fail($"{kernel}: {machine} computed {string.Join(' ', checks)}, the host {string.Join(' ', right)}");
        }
    }

    public double? Median(string machine, string kernel)
    {
        if (!_times.TryGetValue((machine, kernel), out var list))
            return null;
        var sorted = list.Order().ToList();
        var middle = sorted.Count / 2;
        return sorted.Count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
    }

    public double? Ratio(string kernel) => Median("qemu", kernel) / Median("dromaius", kernel);
}
