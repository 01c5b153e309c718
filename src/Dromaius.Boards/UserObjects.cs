using System.Text;
using Dromaius.Block;
using Dromaius.Block.Graph;
using Dromaius.Core.Errors;
using Dromaius.Core.Options;
using Dromaius.Net;

namespace Dromaius.Boards;

/// <summary>An object that is no device: its type, id and properties.</summary>
public sealed record UserObject(string Type, string Id, IReadOnlyList<KeyValuePair<string, string>> Properties)
{
    public bool IsMemory => Type.StartsWith("memory-backend-", StringComparison.Ordinal);

    /// <summary>A property as the user wrote it, or null.</summary>
    public string? Property(string name) => Properties.LastOrDefault(p => p.Key == name).Value;
}

/// <summary>What <c>-object</c> and <c>object-add</c> make: secrets, threads, memory, recorders of networks. Used under the machine lock.</summary>
public sealed class UserObjects(NetworkSet? networks, BlockGraph? blocks = null)
{
    /// <summary>The types with the properties that each takes.</summary>
    private static readonly Dictionary<string, string[]> Types = new()
    {
        ["filter-dump"] = ["netdev", "file", "maxlen", "queue", "status", "position", "insert"],
        ["iothread"] = ["poll-max-ns", "poll-grow", "poll-shrink", "aio-max-batch", "thread-pool-min", "thread-pool-max"],
        ["memory-backend-file"] =
        [
            "mem-path", "align", "discard-data", "pmem", "readonly", "size", "share", "prealloc", "prealloc-threads", "merge", "dump", "host-nodes", "policy",
            "reserve", "x-use-canonical-path-for-ramblock-id",
        ],
        ["memory-backend-memfd"] =
            ["size", "share", "prealloc", "prealloc-threads", "merge", "dump", "host-nodes", "policy", "reserve", "seal", "x-use-canonical-path-for-ramblock-id"],
        ["memory-backend-ram"] =
            ["size", "share", "prealloc", "prealloc-threads", "merge", "dump", "host-nodes", "policy", "reserve", "x-use-canonical-path-for-ramblock-id"],
        ["secret"] = ["data", "file", "format"],
        ["throttle-group"] =
        [
            "limits", .. ThrottleKinds.SelectMany(static k => (string[])["x-" + k.Option, $"x-{k.Option}-max", $"x-{k.Option}-max-length"]), "x-iops-size",
        ],
    };

    private readonly record struct ThrottleKind(string Option, Func<ThrottleConfig, ThrottleLimit, ThrottleConfig> Set);

    /// <summary>The limits of a throttle group by name.</summary>
    private static ThrottleKind[] ThrottleKinds =>
    [
        new("bps-total", static (c, l) => c with { BytesTotal = l }), new("bps-read", static (c, l) => c with { BytesRead = l }),
        new("bps-write", static (c, l) => c with { BytesWrite = l }), new("iops-total", static (c, l) => c with { OperationsTotal = l }),
        new("iops-read", static (c, l) => c with { OperationsRead = l }), new("iops-write", static (c, l) => c with { OperationsWrite = l }),
    ];

    private readonly Dictionary<string, UserObject> _objects = new(StringComparer.Ordinal);

    public IReadOnlyDictionary<string, UserObject> All => _objects;

    public static IEnumerable<string> TypeNames => Types.Keys;

    /// <summary>The names of the properties of a type; null when there is none of that name.</summary>
    public static IReadOnlyList<string>? PropertiesOf(string type) => Types.GetValueOrDefault(type);

    /// <summary>The object whose memory is the machine's, or null.</summary>
    public string? MachineMemory { get; set; }

    /// <summary>Makes an object of its properties, <c>qom-type</c> and <c>id</c> among them.</summary>
    public void Add(OptionList options)
    {
        var type = CheckType(options);
        var id = options.TakeRequired("id");
        if (!IsIdentifier(id))
            throw new UserErrorException("Parameter 'id' expects an identifier");
        if (_objects.ContainsKey(id))
            throw new UserErrorException($"attempt to add duplicate property '{id}' to object (type 'container')");
        var made = new UserObject(type, id, [.. options.Items.Where(static i => i.Key is not ("qom-type" or "id"))]);
        if (type == "memory-backend-file")
            throw new UserErrorException("memory in files is not available in this version (try memory-backend-ram)");
        if (type == "filter-dump")
            (networks ?? throw new UserErrorException($"invalid object type: {type}")).AddDump(id, options);
        else
        {
            foreach (var (key, _) in made.Properties)
            {
                if (!Types[type].Contains(key) && !(type == "throttle-group" && key.StartsWith("limits.", StringComparison.Ordinal)) && !(key.StartsWith("host-nodes.", StringComparison.Ordinal) && made.IsMemory))
                    throw new UserErrorException($"Parameter '{key}' is unexpected");
            }

            if (type == "secret")
                ImageSecrets.Set(id, Secret(made));
            else if (made.IsMemory && OptionValue.Size("size", options.TakeRequired("size")) == 0)
                throw new UserErrorException($"property 'size' of {type} doesn't take value '0'");
            else if (type == "throttle-group")
                SetLimits(id, made.Properties);
            else if (type == "iothread")
            {
                foreach (var (key, value) in made.Properties)
                    _ = OptionValue.Number(key, value, 0, long.MaxValue);
            }
        }

        _objects.Add(id, made);
    }

    /// <summary>The type that options name; it must be one of ours.</summary>
    public static string CheckType(OptionList options)
    {
        var type = options.TakeRequired("qom-type");
        return Types.ContainsKey(type) ? type : throw new UserErrorException($"Parameter 'qom-type' does not accept value '{type}'{NearestNames.Hint(type, Types.Keys)}");
    }

    public void Remove(string id)
    {
        if (!_objects.TryGetValue(id, out var made))
            throw new UserErrorException($"object '{id}' not found");
        if (id == MachineMemory)
            throw new UserErrorException($"object '{id}' is in use, can not be deleted");
        if (made.Type == "throttle-group")
            Guard(() => blocks?.RemoveThrottleGroup(id));
        _ = _objects.Remove(id);
        if (made.Type == "filter-dump")
            networks?.RemoveFilter(id);
        else if (made.Type == "secret")
            ImageSecrets.Remove(id);
    }

    /// <summary>Gives a throttle group its limits, by the names that <c>limits.</c> and <c>x-</c> properties share.</summary>
    public void SetLimits(string id, IEnumerable<KeyValuePair<string, string>> properties)
    {
        var values = new Dictionary<string, long>();
        foreach (var (key, text) in properties)
        {
            var name = key.StartsWith("limits.", StringComparison.Ordinal) ? key[7..] : key.StartsWith("x-", StringComparison.Ordinal) ? key[2..] : key;
            values[name] = OptionValue.Number(key, text, 0, long.MaxValue);
        }

        var config = new ThrottleConfig { OperationSize = Take("iops-size", 0) };
        foreach (var kind in ThrottleKinds)
            config = kind.Set(config, new ThrottleLimit(Take(kind.Option, 0), Take(kind.Option + "-max", 0), Take(kind.Option + "-max-length", 1)));
        if (values.Count > 0)
            throw new UserErrorException($"Parameter '{values.First().Key}' is unexpected");
        Guard(() => (blocks ?? throw new UserErrorException("the machine has no drives")).SetThrottleGroup(id, config));

        long Take(string name, long usual) => values.Remove(name, out var value) ? value : usual;
    }

    private static void Guard(Action action)
    {
        try
        {
            action();
        }
        catch (BlockException e)
        {
            throw new UserErrorException(e.Message);
        }
    }

    private static byte[] Secret(UserObject made)
    {
        var (data, file) = (made.Property("data"), made.Property("file"));
        if (data != null && file != null)
            throw new UserErrorException("'file' and 'data' are mutually exclusive");
        if (data == null && file == null)
            throw new UserErrorException("Must provide 'file' or 'data'");
        try
        {
            var bytes = data != null ? Encoding.UTF8.GetBytes(data) : File.ReadAllBytes(file!);
            return made.Property("format") switch
            {
                null or "raw" => bytes,
                "base64" => Convert.FromBase64String(Encoding.ASCII.GetString(bytes)),
                var other => throw new UserErrorException($"Parameter 'format' does not accept value '{other}'"),
            };
        }
        catch (FormatException)
        {
            throw new UserErrorException("Base64 data is not valid");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new UserErrorException($"Unable to read {file}: {e.Message}");
        }
    }

    /// <summary>What an id looks like.</summary>
    public static bool IsIdentifier(string id) =>
        id.Length > 0 && char.IsAsciiLetter(id[0]) && id.All(static c => char.IsAsciiLetterOrDigit(c) || c is '-' or '.' or '_');
}
