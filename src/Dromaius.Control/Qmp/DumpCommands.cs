using System.Text.Json.Nodes;
using Dromaius.Boards;
using Dromaius.Core.Errors;
using Microsoft.Win32.SafeHandles;

namespace Dromaius.Control.Qmp;

/// <summary>Core files of the guest.</summary>
internal sealed class DumpCommands
{
    public const string Schema = """
        enum DumpGuestMemoryFormat = elf kdump-zlib kdump-lzo kdump-snappy win-dmp
        enum DumpStatus = none active completed failed
        struct DumpQueryResult = status: DumpStatus, completed: int, total: int
        struct DumpGuestMemoryCapability = formats: [DumpGuestMemoryFormat]
        command dump-guest-memory(paging: bool, protocol: str, detach?: bool, begin?: int, length?: int, format?: DumpGuestMemoryFormat)
        command query-dump -> DumpQueryResult
        command query-dump-guest-memory-capability -> DumpGuestMemoryCapability
        event DUMP_COMPLETED(result: DumpQueryResult, error?: str)
        """;

    private readonly IMachineControl _machine;
    private readonly DescriptorTable _descriptors;

    public DumpCommands(IMachineControl machine, DescriptorTable descriptors)
    {
        _machine = machine;
        _descriptors = descriptors;
        Table = new()
        {
            ["dump-guest-memory"] = Dump,
            ["query-dump"] = _ => Describe(machine.Dump),
            ["query-dump-guest-memory-capability"] = static _ => new JsonObject { ["formats"] = new JsonArray("elf") },
        };
    }

    public Dictionary<string, Func<QmpArguments, JsonNode?>> Table { get; }

    private static JsonObject Describe(DumpProgress p) => new() { ["total"] = p.Total, ["status"] = p.Status, ["completed"] = p.Completed };

    private JsonNode? Dump(QmpArguments a)
    {
        var progress = _machine.Dump;
        if (a.OptionalText("format") is { } format && format != "elf")
        {
            if (format != "win-dmp" && (a.Flag("paging") || a.Has("begin") || a.Has("length")))
                throw QmpErrorException.Generic("kdump-compressed format doesn't support paging or filter");
            throw QmpErrorException.Generic($"{format} is not available in this version (only elf)");
        }

        if (a.Has("begin") != a.Has("length"))
            throw QmpErrorException.Generic($"Parameter '{(a.Has("begin") ? "length" : "begin")}' is missing");
        if (progress.Status == "active")
            throw QmpErrorException.Generic("There is a dump in process, please wait.");
        var detach = a.Flag("detach");
        if (detach && a.Flag("paging"))
            throw QmpErrorException.Generic("Cannot detach while paging");
        if (a.Has("length") && a.Integer("length") <= 0)
            throw QmpErrorException.Generic("Parameter 'length' expects a non-zero value");
        var output = Open(a.Text("protocol"));
        var ran = _machine.State == RunState.Running;
        GuestDump dump;
        try
        {
            if (ran)
                _machine.Stop();
            dump = new GuestDump(_machine, (ulong)a.Integer("begin"), a.Has("length") ? (ulong)a.Integer("length") : null, a.Flag("paging"));
            if (dump.IsEmpty)
                throw QmpErrorException.Generic("Invalid parameter 'begin'");
        }
        catch
        {
            output.Dispose();
            if (ran)
                _machine.Continue();
            throw;
        }

        progress.Begin(dump.Total);
        if (detach && _machine.Blocks?.Loop is { } loop)
        {
            new Thread(() =>
            {
                var failure = Write(dump, output, progress);
                loop.Post(() => End(progress, failure, ran));
            }) { IsBackground = true, Name = "dump" }.Start();
            return null;
        }

        var error = Write(dump, output, progress);
        End(progress, error, ran);
        return error != null ? throw QmpErrorException.Generic(error) : null;
    }

    private static string? Write(GuestDump dump, FileStream output, DumpProgress progress)
    {
        try
        {
            using (output)
                dump.Write(output, done => progress.Completed = done);
            return null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return $"dump: failed to save memory: {HostErrors.Explain(e)}";
        }
    }

    private void End(DumpProgress progress, string? error, bool ran)
    {
        progress.End(error == null);
        var data = new JsonObject { ["result"] = Describe(progress) };
        if (error != null)
            data["error"] = error;
        _machine.RaiseEvent("DUMP_COMPLETED", data);
        if (ran && _machine.State == RunState.Paused)
            _machine.Continue();
    }

    private FileStream Open(string protocol)
    {
        if (protocol.StartsWith("fd:", StringComparison.Ordinal))
            return new FileStream(new SafeFileHandle(_descriptors.Take(protocol[3..]), true), FileAccess.Write, 0);
        if (!protocol.StartsWith("file:", StringComparison.Ordinal))
            throw QmpErrorException.Generic("Invalid parameter 'protocol'");
        var path = protocol[5..];
        try
        {
            return new FileStream(path, FileMode.Create, FileAccess.Write);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            throw QmpErrorException.Generic($"Could not open '{path}': {HostErrors.Explain(e)}");
        }
    }
}
