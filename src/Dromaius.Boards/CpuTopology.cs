using Dromaius.Core.Errors;

namespace Dromaius.Boards;

/// <summary>How many processors, and how they share packages.</summary>
public sealed record CpuTopology(int Cpus, int Sockets, int Dies, int Cores, int Threads, int MaxCpus)
{
    /// <summary>Fills what the option leaves out: cores before sockets, as machines since 6.2 do.</summary>
    public static CpuTopology Resolve(SmpOption option, string machine, int limit)
    {
        int?[] given = [option.Cpus, option.Sockets, option.Dies, option.Cores, option.Threads, option.MaxCpus];
        if (given.Any(static n => n <= 0))
            throw new UserErrorException("Invalid CPU topology: CPU topology parameters must be greater than zero");

        int cpus = option.Cpus ?? 0, max = option.MaxCpus ?? 0;
        int sockets = option.Sockets ?? 0, cores = option.Cores ?? 0, threads = option.Threads ?? 0, dies = option.Dies ?? 1;
        if (given.Any(static n => n > 1 << 20))
            throw new UserErrorException($"Invalid SMP CPUs {given.Max()}. The max CPUs supported by machine '{machine}' is {limit}");
        if (cpus == 0 && max == 0)
        {
            sockets = Math.Max(sockets, 1);
            cores = Math.Max(cores, 1);
            threads = Math.Max(threads, 1);
        }
        else
        {
            max = max == 0 ? cpus : max;
            if (cores == 0)
            {
                sockets = Math.Max(sockets, 1);
                threads = Math.Max(threads, 1);
                cores = max / Whole(sockets, dies, threads);
            }
            else if (sockets == 0)
            {
                threads = Math.Max(threads, 1);
                sockets = max / Whole(dies, cores, threads);
            }

            if (threads == 0)
                threads = max / Whole(sockets, dies, cores);
        }

        var product = (long)sockets * dies * cores * threads;
        var shown = $"sockets ({sockets}) * dies ({dies}) * cores ({cores}) * threads ({threads})";
        max = max == 0 ? (int)Math.Min(product, int.MaxValue) : max;
        cpus = cpus == 0 ? max : cpus;
        if (product != max)
            throw new UserErrorException("Invalid CPU topology: product of the hierarchy must match maxcpus: "
                + $"{shown} != maxcpus ({max})");
        if (max < cpus)
            throw new UserErrorException("Invalid CPU topology: maxcpus must be equal to or greater than smp: "
                + $"{shown} == maxcpus ({max}) < smp_cpus ({cpus})");
        if (cpus > limit)
            throw new UserErrorException($"Invalid SMP CPUs {cpus}. The max CPUs supported by machine '{machine}' is {limit}");
        if (max > limit)
            throw new UserErrorException($"Invalid SMP CPUs {max}. The max CPUs supported by machine '{machine}' is {limit}");
        return new CpuTopology(cpus, sockets, dies, cores, threads, max);
    }

    private static int Whole(int a, int b, int c) => (int)Math.Clamp((long)a * b * c, 1, int.MaxValue);

    /// <summary>Bits of the APIC id below the package number (SDM volume 3, "Detecting hardware multi-threading").</summary>
    public int ThreadBits => Bits(Threads);

    public int CoreBits => Bits(Cores);

    public int DieBits => Bits(Dies);

    /// <summary>The APIC id of a processor: socket, die, core and thread in bit fields.</summary>
    public int ApicId(int index)
    {
        var thread = index % Threads;
        var core = index / Threads % Cores;
        var die = index / (Threads * Cores) % Dies;
        var socket = index / (Threads * Cores * Dies);
        return (((((socket << DieBits) | die) << CoreBits) | core) << ThreadBits) | thread;
    }

    public int SocketOf(int index) => index / (Threads * Cores * Dies);

    private static int Bits(int count)
    {
        var bits = 0;
        while (1 << bits < count)
            bits++;
        return bits;
    }
}
