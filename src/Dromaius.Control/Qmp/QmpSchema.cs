using System.Text.Json.Nodes;

namespace Dromaius.Control.Qmp;

/// <summary>A member of an object type.</summary>
internal sealed record QmpMember(string Name, string Type, bool IsOptional);

internal enum QmpKind
{
    Builtin,
    Enum,
    Object,
    Array,
    Alternate,
    Command,
    Event,
}

/// <summary>A type, command or event of the protocol.</summary>
internal sealed class QmpEntity
{
    public required string Name { get; init; }
    public required QmpKind Kind { get; init; }

    /// <summary>Of objects, commands and events.</summary>
    public IReadOnlyList<QmpMember> Members { get; init; } = [];

    /// <summary>Of enumerations.</summary>
    public IReadOnlyList<string> Values { get; init; } = [];

    /// <summary>Of alternates.</summary>
    public IReadOnlyList<string> Choices { get; init; } = [];

    /// <summary>The member whose value chooses further members, or null.</summary>
    public string? Tag { get; init; }

    /// <summary>The types that hold the further members, by the tag's value.</summary>
    public IReadOnlyDictionary<string, string> Variants { get; init; } = new Dictionary<string, string>();

    /// <summary>What a command returns; null for nothing.</summary>
    public string? Result { get; init; }

    /// <summary>The command may overtake others (<c>exec-oob</c>).</summary>
    public bool AllowsOutOfBand { get; init; }

    /// <summary>A command whose arguments are checked by what uses them.</summary>
    public bool IsOpen { get; init; }
}

/// <summary>
/// The types, commands and events of the protocol. Each group of commands declares its own in lines of
/// <code>
/// enum NAME = value value ...
/// struct NAME = member: Type, optional?: [ElementType]
/// union NAME(tag) = member: Type, ... | value: Struct, value: Struct
/// alternate NAME = Type Type ...
/// command NAME(argument: Type, optional?: Type) -> Type        (oob command: may be sent out of band; open command: unchecked)
/// event NAME(member: Type)
/// </code>
/// so that what checks requests and what clients are told is one and the same.
/// </summary>
internal sealed class QmpSchema
{
    private static readonly (string Name, string Json)[] Builtins =
    [
        ("str", "string"), ("int", "int"), ("number", "number"), ("bool", "boolean"), ("null", "null"), ("any", "value"),
    ];

    /// <summary>Integer types by range; clients are told <c>int</c>.</summary>
    private static readonly Dictionary<string, (decimal Min, decimal Max, string CName)> Integers = new()
    {
        ["int"] = (long.MinValue, ulong.MaxValue, "int64_t"), ["int8"] = (sbyte.MinValue, sbyte.MaxValue, "int8_t"), ["int16"] = (short.MinValue, short.MaxValue, "int16_t"),
        ["int32"] = (int.MinValue, int.MaxValue, "int32_t"), ["int64"] = (long.MinValue, long.MaxValue, "int64_t"),
        ["uint8"] = (0, byte.MaxValue, "uint8_t"), ["uint16"] = (0, ushort.MaxValue, "uint16_t"),
        ["uint32"] = (0, uint.MaxValue, "uint32_t"), ["uint64"] = (long.MinValue, ulong.MaxValue, "uint64_t"),
        ["size"] = (long.MinValue, ulong.MaxValue, "uint64_t"),
    };

    private readonly Dictionary<string, QmpEntity> _types = new(StringComparer.Ordinal);
    private readonly SortedDictionary<string, QmpEntity> _commands = new(StringComparer.Ordinal);
    private readonly SortedDictionary<string, QmpEntity> _events = new(StringComparer.Ordinal);

    public IEnumerable<QmpEntity> Commands => _commands.Values;

    public IEnumerable<QmpEntity> Events => _events.Values;

    public QmpEntity? FindCommand(string name) => _commands.GetValueOrDefault(name);

    /// <summary>Adds the declarations of a group.</summary>
    public void Declare(string text)
    {
        foreach (var raw in text.Split('\n'))
        {
            var line = raw.Trim();
            if (line.Length == 0)
                continue;
            var oob = line.StartsWith("oob ", StringComparison.Ordinal);
            var open = line.StartsWith("open ", StringComparison.Ordinal);
            if (oob || open)
                line = line[(line.IndexOf(' ') + 1)..];
            var space = line.IndexOf(' ');
            var (word, rest) = (line[..space], line[(space + 1)..]);
            switch (word)
            {
                case "command":
                    AddCommand(rest, oob, open);
                    break;
                case "event":
                    AddEvent(rest);
                    break;
                default:
                    AddType(word, rest);
                    break;
            }
        }
    }

    private void AddCommand(string rest, bool oob, bool open)
    {
        var arrow = rest.IndexOf("->", StringComparison.Ordinal);
        var head = (arrow < 0 ? rest : rest[..arrow]).Trim();
        var (name, members) = Head(head);
        _commands.Add(name, new QmpEntity
        {
            Name = name, Kind = QmpKind.Command, Members = members, AllowsOutOfBand = oob, IsOpen = open,
            Result = arrow < 0 ? null : rest[(arrow + 2)..].Trim(),
        });
    }

    private void AddEvent(string rest)
    {
        var (name, members) = Head(rest);
        _events.Add(name, new QmpEntity { Name = name, Kind = QmpKind.Event, Members = members });
    }

    private static (string Name, List<QmpMember> Members) Head(string head)
    {
        var paren = head.IndexOf('(');
        return paren < 0 ? (head, []) : (head[..paren], Members(head[(paren + 1)..head.LastIndexOf(')')]));
    }

    private void AddType(string word, string rest)
    {
        var equals = rest.IndexOf('=');
        var name = rest[..equals].Trim();
        var body = rest[(equals + 1)..].Trim();
        string? tag = null;
        if (name.IndexOf('(') is > 0 and var paren)
            (name, tag) = (name[..paren], name[(paren + 1)..^1]);
        var bar = body.IndexOf('|');
        _types.Add(name, word switch
        {
            "enum" => new QmpEntity { Name = name, Kind = QmpKind.Enum, Values = body.Split(' ') },
            "alternate" => new QmpEntity { Name = name, Kind = QmpKind.Alternate, Choices = body.Split(' ') },
            "struct" or "union" => new QmpEntity
            {
                Name = name, Kind = QmpKind.Object, Tag = tag, Members = Members(bar < 0 ? body : body[..bar]),
                Variants = bar < 0 ? new Dictionary<string, string>() : Members(body[(bar + 1)..]).ToDictionary(static m => m.Name, static m => m.Type),
            },
            _ => throw new InvalidOperationException($"unknown declaration '{word}'"),
        });
    }

    private static List<QmpMember> Members(string text)
    {
        var list = new List<QmpMember>();
        foreach (var item in text.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))
        {
            var colon = item.IndexOf(':');
            var name = item[..colon];
            list.Add(new QmpMember(name.TrimEnd('?'), item[(colon + 1)..].Trim(), name.EndsWith('?')));
        }

        return list;
    }

    /// <summary>Checks the arguments of a command; throws the error that clients get.</summary>
    public void Check(QmpEntity command, JsonObject arguments)
    {
        if (!command.IsOpen)
            CheckMembers(command, arguments, "");
    }

    private void CheckMembers(QmpEntity type, JsonObject value, string path)
    {
        var known = new HashSet<string>(StringComparer.Ordinal);
        CheckKnown(type, value, path, known);
        foreach (var (name, _) in value)
        {
            if (!known.Contains(name))
                throw QmpErrorException.Generic($"Parameter '{path}{name}' is unexpected");
        }
    }

    private void CheckKnown(QmpEntity type, JsonObject value, string path, HashSet<string> known)
    {
        foreach (var member in type.Members)
        {
            known.Add(member.Name);
            if (value.TryGetPropertyValue(member.Name, out var item))
                CheckValue(member.Type, item, path + member.Name, member.Name);
            else if (!member.IsOptional)
                throw QmpErrorException.Generic($"Parameter '{path}{member.Name}' is missing");
        }

        if (type.Tag is { } tag && value[tag] is JsonValue chosen && chosen.TryGetValue<string>(out var name)
            && type.Variants.TryGetValue(name, out var variant))
            CheckKnown(_types[variant], value, path, known);
    }

    private void CheckValue(string type, JsonNode? value, string path, string? name)
    {
        if (type[0] == '[')
        {
            if (value is not JsonArray array)
                throw WrongType(path, "array");
            for (var i = 0; i < array.Count; i++)
                CheckValue(type[1..^1], array[i], $"{path}[{i}]", null);
            return;
        }

        if (Integers.TryGetValue(type, out var range))
        {
            if (value is not JsonValue number || !TryInteger(number, out var n))
                throw WrongType(path, "integer");
            if (n < range.Min || n > range.Max)
                throw QmpErrorException.Generic($"Parameter '{path}' expects {range.CName}");
            return;
        }

        switch (type)
        {
            case "str":
                if (value is not JsonValue text || !text.TryGetValue<string>(out _))
                    throw WrongType(path, "string");
                return;
            case "bool":
                if (value is not JsonValue flag || !flag.TryGetValue<bool>(out _))
                    throw WrongType(path, "boolean");
                return;
            case "number":
                if (value is not JsonValue real || (!real.TryGetValue<double>(out _) && !TryInteger(real, out _)))
                    throw WrongType(path, "number");
                return;
            case "null":
                if (value != null)
                    throw WrongType(path, "null");
                return;
            case "any":
                return;
        }

        CheckDeclared(_types[type], value, path, name);
    }

    private void CheckDeclared(QmpEntity type, JsonNode? value, string path, string? name)
    {
        switch (type.Kind)
        {
            case QmpKind.Enum:
                if (value is not JsonValue v || !v.TryGetValue<string>(out var text))
                    throw WrongType(path, "string");
                if (!type.Values.Contains(text))
                    throw QmpErrorException.Generic($"Parameter '{name ?? "null"}' does not accept value '{text}'");
                break;
            case QmpKind.Alternate:
                foreach (var choice in type.Choices)
                {
                    try
                    {
                        CheckValue(choice, value, path, name);
                        return;
                    }
                    catch (QmpErrorException)
                    {
                        // the next one may take it
                    }
                }

                throw WrongType(path, type.Name);
            default:
                if (value is not JsonObject members)
                    throw WrongType(path, "object");
                CheckMembers(type, members, path + ".");
                break;
        }
    }

    private static QmpErrorException WrongType(string path, string expected) =>
        QmpErrorException.Generic($"Invalid parameter type for '{path}', expected: {expected}");

    internal static bool TryInteger(JsonValue value, out decimal number)
    {
        if (value.TryGetValue<long>(out var signed))
            number = signed;
        else if (value.TryGetValue<ulong>(out var unsigned))
            number = unsigned;
        else
        {
            number = 0;
            return false;
        }

        return true;
    }

    /// <summary>What <c>query-qmp-schema</c> returns: types under numbers, so that clients do not rely on their names.</summary>
    public JsonArray Describe()
    {
        var list = new JsonArray();
        var names = new Dictionary<string, string>(StringComparer.Ordinal);
        var lists = new HashSet<string>(StringComparer.Ordinal);
        var waiting = new Queue<string>();

        string Ref(string type)
        {
            if (type[0] == '[')
            {
                var element = Ref(type[1..^1]);
                // Integers of several ranges are one type to clients, and so are lists of them.
                names[type] = $"[{element}]";
                if (lists.Add(element))
                    list.Add((JsonNode)new JsonObject { ["name"] = $"[{element}]", ["element-type"] = element, ["meta-type"] = "array" });
                return names[type];
            }

            if (Integers.ContainsKey(type))
                return "int";
            if (Array.Exists(Builtins, b => b.Name == type))
                return type;
            if (!names.TryGetValue(type, out var name))
            {
                name = names[type] = names.Count.ToString(System.Globalization.CultureInfo.InvariantCulture);
                waiting.Enqueue(type);
            }

            return name;
        }

        JsonArray DescribeMembers(IReadOnlyList<QmpMember> members)
        {
            var array = new JsonArray();
            foreach (var member in members)
            {
                var item = new JsonObject { ["name"] = member.Name, ["type"] = Ref(member.Type) };
                if (member.IsOptional)
                    item["default"] = null;
                array.Add((JsonNode)item);
            }

            return array;
        }

        // Arguments without a name of their own are types as well; the empty one is shared.
        const string Empty = "q_empty";
        string Arguments(QmpEntity entity)
        {
            if (entity.Members.Count == 0)
                return Describe(Empty, []);
            return Describe("q_obj_" + entity.Name, entity.Members);
        }

        string Describe(string key, IReadOnlyList<QmpMember> members)
        {
            if (names.TryGetValue(key, out var name))
                return name;
            name = names[key] = names.Count.ToString(System.Globalization.CultureInfo.InvariantCulture);
            list.Add((JsonNode)new JsonObject { ["name"] = name, ["members"] = DescribeMembers(members), ["meta-type"] = "object" });
            return name;
        }

        foreach (var command in Commands)
        {
            var item = new JsonObject
            {
                ["name"] = command.Name, ["ret-type"] = command.Result == null ? Describe(Empty, []) : Ref(command.Result), ["meta-type"] = "command",
                ["arg-type"] = Arguments(command),
            };
            if (command.AllowsOutOfBand)
                item["allow-oob"] = true;
            list.Add((JsonNode)item);
        }

        foreach (var e in Events)
            list.Add((JsonNode)new JsonObject { ["name"] = e.Name, ["meta-type"] = "event", ["arg-type"] = Arguments(e) });
        while (waiting.TryDequeue(out var type))
            list.Add((JsonNode)DescribeType(_types[type], names[type], Ref, DescribeMembers));
        foreach (var (name, json) in Builtins)
            list.Add((JsonNode)new JsonObject { ["name"] = name, ["json-type"] = json, ["meta-type"] = "builtin" });
        return list;
    }

    private static JsonObject DescribeType(QmpEntity type, string name, Func<string, string> reference,
        Func<IReadOnlyList<QmpMember>, JsonArray> members)
    {
        var item = new JsonObject { ["name"] = name };
        switch (type.Kind)
        {
            case QmpKind.Enum:
                item["meta-type"] = "enum";
                item["members"] = new JsonArray([.. type.Values.Select(static v => (JsonNode)new JsonObject { ["name"] = v })]);
                item["values"] = new JsonArray([.. type.Values.Select(static v => (JsonNode)JsonValue.Create(v))]);
                break;
            case QmpKind.Alternate:
                item["meta-type"] = "alternate";
                item["members"] = new JsonArray([.. type.Choices.Select(c => (JsonNode)new JsonObject { ["type"] = reference(c) })]);
                break;
            default:
                item["meta-type"] = "object";
                item["members"] = members(type.Members);
                if (type.Tag == null)
                    break;
                item["tag"] = type.Tag;
                item["variants"] = new JsonArray([.. type.Variants.Select(v =>
                    (JsonNode)new JsonObject { ["case"] = v.Key, ["type"] = reference(v.Value) })]);
                break;
        }

        return item;
    }
}
