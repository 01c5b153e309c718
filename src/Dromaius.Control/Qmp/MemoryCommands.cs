using System.Text.Json.Nodes;
using Dromaius.Core.Errors;

namespace Dromaius.Control.Qmp;

/// <summary>Guest memory: sizes, and into files.</summary>
internal sealed class MemoryCommands
{
    public const string Schema = """
        struct MemoryInfo = base-memory: size, plugged-memory?: size
        enum HostMemPolicy = default preferred bind interleave
        struct Memdev = id?: str, size: size, merge: bool, dump: bool, prealloc: bool, share: bool, reserve?: bool, host-nodes: [uint16], policy: HostMemPolicy
        command query-memory-size-summary -> MemoryInfo
        command query-memdev -> [Memdev]
        command memsave(val: int, size: int, filename: str, cpu-index?: int)
        command pmemsave(val: int, size: int, filename: str)
        """;

    private readonly IMachineControl _machine;

    public MemoryCommands(IMachineControl machine)
    {
        _machine = machine;
        Table = new()
        {
            ["query-memory-size-summary"] = _ => new JsonObject { ["base-memory"] = machine.RamSize, ["plugged-memory"] = 0 },
            ["query-memdev"] = _ => new JsonArray(new JsonObject
            {
                ["share"] = false, ["reserve"] = true, ["prealloc"] = false, ["host-nodes"] = new JsonArray(), ["size"] = machine.RamSize,
                ["merge"] = true, ["dump"] = true, ["policy"] = "default", ["id"] = machine.Objects?.MachineMemory ?? machine.Description?.Type.DefaultRamId ?? "ram",
            }),
            ["memsave"] = a =>
            {
                var cpu = a.Integer("cpu-index");
                if (cpu < 0 || cpu >= machine.Cpus.Count)
                    throw QmpErrorException.Generic("Parameter 'cpu-index' expects a CPU number");
                Save(machine, a.Text("filename"), (ulong)a.Integer("val"), a.Integer("size"), (int)cpu);
                return null;
            },
            ["pmemsave"] = a =>
            {
                Save(_machine!, a.Text("filename"), (ulong)a.Integer("val"), a.Integer("size"), -1);
                return null;
            },
        };
    }

    public Dictionary<string, Func<QmpArguments, JsonNode?>> Table { get; }

    /// <summary>Writes memory to a file.</summary>
    /// <param name="machine">Whose memory.</param>
    /// <param name="file">The host's file.</param>
    /// <param name="address">Where to begin.</param>
    /// <param name="size">How many bytes.</param>
    /// <param name="cpu">Through this processor's page tables; -1 for physical memory.</param>
    public static void Save(IMachineControl machine, string file, ulong address, long size, int cpu)
    {
        try
        {
            using var output = new FileStream(file, FileMode.Create, FileAccess.Write);
            var buffer = new byte[1 << 12];
            while (size > 0)
            {
                var n = (int)Math.Min(size, buffer.Length - (long)(address & 0xFFF));
                var part = buffer.AsSpan(0, n);
                if (cpu < 0)
                    _ = machine.Memory.Read(address, part);
                else if (!machine.TryReadVirtual(cpu, address, part))
                    throw QmpErrorException.Generic($"Invalid addr 0x{address:x16}/size {size} specified");
                output.Write(part);
                address += (ulong)n;
                size -= n;
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            throw QmpErrorException.Generic($"Could not open '{file}': {HostErrors.Explain(e)}");
        }
    }
}
