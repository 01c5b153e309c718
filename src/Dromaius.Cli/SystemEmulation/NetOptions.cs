using Dromaius.Boards;
using Dromaius.Boards.Pc;
using Dromaius.Core.Devices;
using Dromaius.Core.Errors;
using Dromaius.Core.Options;
using Dromaius.Net;

namespace Dromaius.Cli.SystemEmulation;

/// <summary>Networks: backends, adapters, and the older forms that join both.</summary>
internal static class NetOptions
{
    public static readonly OptionSpec[] All =
    [
        new("netdev", "type,id=str[,prop=value][,...]", """
            user,id=str[,ipv4=on|off][,net=addr[/mask]][,host=addr]
                     [,ipv6=on|off][,ipv6-net=addr[/int]][,ipv6-host=addr]
                     [,restrict=on|off][,hostname=host][,dhcpstart=addr]
                     [,dns=addr][,ipv6-dns=addr][,dnssearch=domain][,domainname=domain]
                     [,tftp=dir][,tftp-server-name=name][,bootfile=f][,hostfwd=rule][,guestfwd=rule][,smb=dir[,smbserver=addr]]
                            configure a user mode network backend with ID 'str',
                            its DHCP server and optional services
            tap,id=str[,fd=h][,ifname=name][,script=file][,downscript=dfile][,br=bridge][,vnet_hdr=on|off]
                            configure a host TAP network backend with ID 'str'
            bridge,id=str[,br=bridge]
                            configure a host TAP network backend that is connected to a bridge (default=br0)
            socket,id=str[,listen=[host]:port][,connect=host:port]
            socket,id=str[,mcast=maddr:port[,localaddr=addr]]
            socket,id=str[,udp=host:port][,localaddr=host:port]
                            configure a network backend to connect to another network using a socket
            stream,id=str[,server=on|off],addr.type=inet|unix,...
            dgram,id=str,local.type=inet|unix,...,remote.type=inet|unix,...
                            configure a network backend to connect to another network
            hubport,id=str,hubid=n[,netdev=nd]
                            configure a hub port on the hub with ID 'n'
            """, static (s, a) => Backend(s, a)),
        new("nic", "[type|none][,id=str][,mac=addr][,model=type][,prop=value][,...]", """
            initialize an on-board / default host NIC (using MAC address
            macaddr) and connect it to the given host network backend
            -nic none       use it alone to have zero network devices (the default is to
                            provide a 'user' network connection)
            """, static (s, a) => Add(s, a, ListOf(a, "type"))),
        new("net", "nic|type|none[,prop=value][,...]", """
            configure or create an on-board (or machine default) NIC and
            connect it to hub 0 (please use -nic unless you need a hub)
            """, static (s, a) => Add(s, a, ListOf(a, "type"))),
    ];

    private static void Backend(SystemSettings settings, Argument argument)
    {
        var list = ListOf(argument, "type");
        if (list.Has("help") || list.Items.Any(static i => i is { Key: "type", Value: "help" or "?" }))
            throw new HelpRequestException(BackendTypes.Help);
        var type = list.TakeRequired("type");
        if (!BackendTypes.Exists(type))
            throw new UserErrorException($"Parameter 'type' does not accept value '{type}'{NearestNames.Hint(type, BackendTypes.Names)}");
        settings.DefaultNetwork = false;
        settings.Networks.Add(argument);
    }

    private static void Add(SystemSettings settings, Argument argument, OptionList list)
    {
        if (list.Items.Any(static i => i is { Key: "model", Value: "help" or "?" }))
            throw new HelpRequestException(PcDeviceTypes.NicModelHelp);
        if (list.Items.Any(static i => i is { Key: "type", Value: "help" or "?" }))
            throw new HelpRequestException(argument.Option == "net" ? BackendTypes.Help.Replace("hubport\n", "nic\nhubport\n") : BackendTypes.Help);
        settings.DefaultNetwork = false;
        settings.Networks.Add(argument);
    }

    private static OptionList ListOf(Argument argument, string implied) => OptionList.Parse(argument.Value, implied);

    /// <summary>Makes what the options ask for.</summary>
    /// <param name="settings">The command line.</param>
    /// <param name="networks">Where it goes.</param>
    /// <returns>The adapters that the board is to make.</returns>
    public static List<NicOption> Open(SystemSettings settings, NetworkSet networks)
    {
        var nics = new List<NicOption>();
        // Backends first: adapters may name any of them.
        foreach (var argument in settings.Networks.Where(static a => a.Option == "netdev"))
            CommandLineParser.InContextOf(argument, () => OpenBackend(networks, argument));
        foreach (var argument in settings.Networks.Where(static a => a.Option == "nic"))
            CommandLineParser.InContextOf(argument, () => OpenNic(networks, argument, nics));
        var arguments = settings.Networks.Where(static a => a.Option == "net");
        if (settings.DefaultNetwork && !settings.NoDefaults && settings.Machine is not ("none" or "microvm"))
            arguments = arguments.Append(new Argument("net", "nic")).Append(new Argument("net", "user"));
        foreach (var argument in arguments)
            CommandLineParser.InContextOf(argument, () => OpenNet(networks, argument, nics));
        return nics;
    }

    private static void OpenBackend(NetworkSet networks, Argument argument)
    {
        var list = ListOf(argument, "type");
        _ = networks.AddBackend(list.TakeRequired("type"), Id(list), list);
    }

    private static string Id(OptionList list)
    {
        var id = list.TakeRequired("id");
        DeviceRegistry.CheckId(id);
        return id;
    }

    private static void OpenNic(NetworkSet networks, Argument argument, List<NicOption> nics)
    {
        var list = ListOf(argument, "type");
        var type = list.Take("type");
        if (type == "none")
            return;
        var nic = TakeNic(list, "mac");
        var id = list.Take("id");
        NetEndpoint? backend;
        if (list.Take("netdev") is { } netdev)
            backend = Find(networks, netdev);
        else if (type != null)
            backend = networks.AddBackend(type, id ?? networks.NextBackendName(), list);
        else
            throw new UserErrorException("Parameter 'type' is missing");
        nics.Add(nic with { Backend = backend });
    }

    private static void OpenNet(NetworkSet networks, Argument argument, List<NicOption> nics)
    {
        const int FirstHub = 0;
        var list = ListOf(argument, "type");
        var type = list.TakeRequired("type");
        switch (type)
        {
            case "none":
                return;
            case "nic":
                var nic = TakeNic(list, "macaddr");
                var netdev = list.Take("netdev");
                _ = list.Take("id");
                list.RejectUntaken();
                nics.Add(nic with { Backend = netdev != null ? Find(networks, netdev) : networks.AddHubPort(FirstHub) });
                return;
            case "hubport":
                throw new UserErrorException("Parameter 'type' does not accept value 'hubport'");
            default:
                var backend = networks.AddBackend(type, list.Take("id") ?? networks.NextBackendName(), list);
                NetEndpoint.Connect(networks.Hub(FirstHub).AddPort(), backend);
                return;
        }
    }

    private static NetEndpoint Find(NetworkSet networks, string id)
    {
        var backend = networks.FindBackend(id) ?? throw new UserErrorException($"netdev '{id}' not found");
        return backend.Peer == null ? backend : throw new UserErrorException($"netdev '{id}' is already in use");
    }

    private static NicOption TakeNic(OptionList list, string macKey)
    {
        MacAddress? mac = null;
        if ((list.Take(macKey) ?? (macKey == "mac" ? list.Take("macaddr") : null)) is { } text)
            mac = MacAddress.TryParse(text, out var parsed) ? parsed : throw new UserErrorException("invalid syntax for ethernet address");
        if (mac is { IsGroup: true })
            throw new UserErrorException("NIC cannot have multicast MAC address (odd 1st byte)");
        return new NicOption
        {
            Mac = mac,
            Model = list.Take("model"),
            Address = list.Take("addr"),
            Vectors = list.Take("vectors") is { } vectors ? (int)OptionValue.Number("vectors", vectors, 0, 0x7FF_FFFF) : null,
        };
    }
}
