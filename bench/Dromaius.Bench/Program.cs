using System.Diagnostics;
using System.Globalization;
using Dromaius.Bench;

// Arguments: dromaius=PATH qemu=PATH kernel=PATH initrd=PATH programs-initrd=PATH native=FOLDER tree=FOLDER runs=N
//            disks-initrd=PATH qemu-img=PATH folder=PATH [kernels=NAMES] [cpu=MODEL] [output=FILE] [compiler=VERSION]
var options = args.Select(static a => a.Split('=', 2)).ToDictionary(static p => p[0], static p => p[1]);
var runs = int.Parse(options["runs"], CultureInfo.InvariantCulture);
var cpu = options.GetValueOrDefault("cpu", "max");
var names = options.GetValueOrDefault("kernels", "").Split([' ', ','], StringSplitOptions.RemoveEmptyEntries);
var guests = Enum.GetValues<GuestKind>();

var unknown = names.Except(guests.SelectMany(static g => Kernel.Programs(g, []))).ToList();
if (unknown.Count != 0)
{
    Console.Error.WriteLine($"no such kernel: {string.Join(' ', unknown)}");
    return 1;
}

var results = new Results();
string[] machines = ["native", "dromaius", "qemu"];
for (var run = 1; run <= runs; run++)
{
    // Who comes first changes, so that what the machine does otherwise falls on both.
    foreach (var machine in run % 2 == 1 ? machines : machines.Reverse())
    {
        Console.Error.WriteLine($"run {run} of {runs}: {machine}");
        var watch = Stopwatch.StartNew();
        foreach (var guest in guests)
        {
            var programs = Kernel.Programs(guest, names);
            if (programs.Count == 0)
                continue;
            if (guest == GuestKind.Disks)
            {
                if (machine != "native")
                    RunDisks(machine, programs);
            }
            else if (machine == "native")
                RunNative(guest, programs);
            else
                RunGuest(machine, guest, programs);
        }

        Console.Error.WriteLine($"  {watch.Elapsed.TotalSeconds:0.0} s together");
    }
}

results.CheckValuesAgree();
var versions = new Versions(
    Command.FirstLine(options["dromaius"], "--version"), Command.FirstLine(options["qemu"], "--version"),
    Path.GetFileName(File.ResolveLinkTarget(options["kernel"], true)?.FullName ?? options["kernel"]), options.GetValueOrDefault("compiler", ""));
var text = new Table(results).Markdown(runs, cpu, versions, names.Length != 0);
Console.WriteLine(text);
if (options.TryGetValue("output", out var output) && output.Length != 0)
    Table.WriteInto(output, text);
foreach (var problem in results.Problems)
    Console.Error.WriteLine(problem);
return results.Problems.Count == 0 ? 0 : 1;

void RunNative(GuestKind guest, List<string> programs)
{
    var root = guest == GuestKind.Programs ? options["tree"] : null;
    foreach (var program in programs)
    {
        foreach (var line in Command.Output(Path.Combine(root == null ? options["native"] : root + "/bench", program), [], root))
            results.AddLine("native", line);
    }
}

void RunDisks(string machine, List<string> programs)
{
    using var disks = new Disks(options["folder"], options["qemu-img"]);
    if (programs.Any(static p => p != Kernel.Convert))
        Guest.RunDisks(options[machine], options["kernel"], options["disks-initrd"], cpu, disks, results, machine);
    if (!programs.Contains(Kernel.Convert))
        return;
    // The image tool is the emulator by another name.
    string[] tool = machine == "qemu" ? [options["qemu-img"]] : [Path.Combine(Path.GetDirectoryName(options["dromaius"])!, "dromaius"), "img"];
    results.Add(machine, Kernel.Convert, disks.Convert(tool).TotalNanoseconds, null);
}

void RunGuest(string machine, GuestKind guest, List<string> programs) =>
    Guest.Run(
        options[machine], options["kernel"], options[guest == GuestKind.Programs ? "programs-initrd" : "initrd"], cpu,
        guest == GuestKind.Threads ? 2 : 1, programs, results, machine);
