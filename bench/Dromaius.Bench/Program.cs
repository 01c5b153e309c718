using System.Diagnostics;
using System.Globalization;
using Dromaius.Bench;

// Arguments: dromaius=PATH qemu=PATH kernel=PATH initrd=PATH native=FOLDER runs=N output=FILE [cpu=MODEL]
var options = args.Select(static a => a.Split('=', 2)).ToDictionary(static p => p[0], static p => p[1]);
var runs = int.Parse(options["runs"], CultureInfo.InvariantCulture);
var table = new Results();

Console.Error.WriteLine("native");
for (var run = 0; run < runs; run++)
{
    foreach (var program in Directory.GetFiles(options["native"]).Order(StringComparer.Ordinal))
        table.AddLines("native", Command.Output(program));
}

string[] emulators = options.ContainsKey("qemu") ? ["dromaius", "qemu"] : ["dromaius"];
for (var run = 1; run <= runs; run++)
{
    foreach (var name in emulators)
    {
        Console.Error.Write($"run {run} of {runs}: {name} ... ");
        var watch = Stopwatch.StartNew();
        Guest.Run(options[name], options["kernel"], options["initrd"], options.GetValueOrDefault("cpu", "max"), name, table);
        Console.Error.WriteLine($"{watch.Elapsed.TotalSeconds:0.0} s");
    }
}

table.CheckValuesAgree();
var text = table.Markdown(runs, options.GetValueOrDefault("cpu", "max"), Command.FirstLine(options.GetValueOrDefault("qemu", ""), "--version"));
Console.WriteLine(text);
if (options.TryGetValue("output", out var output))
    Results.WriteInto(output, text);
return table.Disagreements == 0 ? 0 : 1;
