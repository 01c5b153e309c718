using Dromaius.Boards;
using Dromaius.Core.Errors;
using Dromaius.Core.Options;

namespace Dromaius.Cli.SystemEmulation;

/// <summary>Objects beside devices.</summary>
internal static class ObjectOptions
{
    public static readonly OptionSpec[] All =
    [
        new("object", "TYPENAME[,PROP1=VALUE1,...]", """
            create a new object of type TYPENAME setting properties
            in the order they are specified
            filter-dump,id=str,netdev=dev[,file=filename][,maxlen=len][,queue=all|rx|tx]
                            dump the network traffic on netdev 'dev' to the file specified by
                            filename in libpcap format, at most maxlen bytes of each frame
            iothread,id=str
            memory-backend-ram,id=str,size=size
            memory-backend-memfd,id=str,size=size
                            memory of the machine (-machine memory-backend=id)
            throttle-group,id=str[,x-bps-total=n][,x-iops-total=n][,...]
                            limits that drives share
            secret,id=str,data=string|file=filename[,format=raw|base64]
                            a key of encrypted images
            """, static (s, a) =>
        {
            if (a.Value is "help" or "?")
                throw new HelpRequestException("List of user creatable objects:\n" + string.Concat(UserObjects.TypeNames.Select(static t => $"  {t}\n")));
            _ = UserObjects.CheckType(OptionList.Parse(a.Value, "qom-type"));
            s.Objects.Add(a);
        }),
    ];

    /// <summary>Makes what the options ask for: those that name networks after the networks, the others before everything.</summary>
    public static void Open(SystemSettings settings, UserObjects objects, bool later)
    {
        foreach (var argument in settings.Objects)
        {
            var list = OptionList.Parse(argument.Value, "qom-type");
            if (list.Take("qom-type") is "filter-dump" == later)
                CommandLineParser.InContextOf(argument, () => objects.Add(list));
        }

        if (!later && settings.MachineProperties.LastOrDefault(static p => p.Key == "memory-backend").Value is { } id)
            UseMemory(settings, objects, id);
    }

    private static void UseMemory(SystemSettings settings, UserObjects objects, string id)
    {
        if (objects.All.GetValueOrDefault(id) is not { IsMemory: true } memory)
            throw new UserErrorException($"Memory backend '{id}' not found");
        var size = OptionValue.Size("size", memory.Property("size")!);
        if (settings.RamArgument != null && settings.RamSize != size)
            throw new UserErrorException("Size specified by -m option must match size of explicitly specified 'memory-backend' property");
        settings.RamSize = size;
        objects.MachineMemory = id;
    }
}
