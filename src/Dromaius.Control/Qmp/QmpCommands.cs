using System.Text.Json.Nodes;

namespace Dromaius.Control.Qmp;

/// <summary>The commands of the protocol, in groups that declare and do them. Used under the machine lock.</summary>
public sealed class QmpCommands
{
    private readonly Dictionary<string, Func<QmpArguments, JsonNode?>> _commands = new(StringComparer.Ordinal);

    /// <param name="machine">What is controlled.</param>
    /// <param name="receiveDescriptor">The next descriptor that came with the client's bytes, or -1.</param>
    public QmpCommands(IMachineControl machine, Func<int> receiveDescriptor)
    {
        var descriptors = new DescriptorTable(receiveDescriptor);
        Add(DescriptorCommands.Schema, new DescriptorCommands(descriptors).Table);
        Add(DumpCommands.Schema, new DumpCommands(machine, descriptors).Table);
        Add(RunCommands.Schema, new RunCommands(machine).Table);
        Add(ScreenCommands.Schema, new ScreenCommands(machine).Table);
        Add(MachineCommands.Schema, new MachineCommands(machine).Table);
        Add(MemoryCommands.Schema, new MemoryCommands(machine).Table);
        Add(ObjectCommands.Schema, new ObjectCommands(machine).Table);
        var (images, jobs) = (new BlockCommands(machine).Table, new JobCommands(machine).Table);
        Add(BlockCommands.Schema, images);
        Add(JobCommands.Schema, jobs);
        var bitmaps = new BitmapCommands(machine);
        Add(BitmapCommands.Schema, bitmaps.Table);
        Add(NodeCommands.Schema, new NodeCommands(machine).Table);
        Add(ExportCommands.Schema, new ExportCommands(machine).Table);
        Add(TransactionCommand.Schema, new TransactionCommand(machine, images, jobs, bitmaps).Table);
        Add(CharacterCommands.Schema, new CharacterCommands(machine).Table);
        Add(NetworkCommands.Schema, new NetworkCommands(machine).Table);
        Add(AbsentCommands.Schema, AbsentCommands.Table);
        Add(IntrospectionSchema, new()
        {
            ["query-commands"] = _ => new JsonArray([.. Schema.Commands.Select(static c => (JsonNode)new JsonObject { ["name"] = c.Name })]),
            ["query-qmp-schema"] = _ => Schema.Describe(),
        });
    }

    private const string IntrospectionSchema = """
        struct CommandInfo = name: str
        enum SchemaMetaType = builtin enum array object alternate command event
        struct SchemaInfo = name: str, meta-type: SchemaMetaType
        command query-commands -> [CommandInfo]
        command query-qmp-schema -> [SchemaInfo]
        enum QMPCapability = oob
        command qmp_capabilities(enable?: [QMPCapability])
        """;

    internal QmpSchema Schema { get; } = new();

    /// <summary>Runs a command whose arguments were checked; null is an empty result.</summary>
    internal JsonNode? Execute(QmpEntity command, JsonObject arguments) => _commands[command.Name](new QmpArguments(arguments));

    private void Add(string schema, Dictionary<string, Func<QmpArguments, JsonNode?>> table)
    {
        Schema.Declare(schema);
        foreach (var (name, run) in table)
            _commands.Add(name, run);
    }

    /// <summary>For commands without a result.</summary>
    internal static JsonNode? Do(Action action)
    {
        action();
        return null;
    }
}
