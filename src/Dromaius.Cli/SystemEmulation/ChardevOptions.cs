using Dromaius.Core.Chardev;
using Dromaius.Core.Errors;
using Dromaius.Core.Options;

namespace Dromaius.Cli.SystemEmulation;

/// <summary>Character devices and who uses them.</summary>
internal static class ChardevOptions
{
    public static readonly OptionSpec[] All =
    [
        new("chardev", "backend,id=id[,mux=on|off][,logfile=PATH][,logappend=on|off][,...]", """
            null, msmouse, pty, stdio[,signal=on|off], file,path=path[,append=on|off][,input-path=path], pipe,path=path,
            socket,{host=host,port=port[,to=to]|path=path}[,server=on|off][,wait=on|off][,telnet=on|off][,nodelay=on|off][,reconnect=seconds],
            udp,port=port[,host=host][,localaddr=localaddr][,localport=localport], serial,path=path, ringbuf[,size=size], vc
            use '-chardev help' to list the backend types
            """, static (s, a) =>
        {
            if (a.Value is "help" or "?")
                throw new HelpRequestException(HelpText.Chardevs);
            var list = OptionList.Parse(a.Value, "backend");
            s.Chardevs.Add(list);
        }),
        new("serial", "dev", "redirect the serial port to char device 'dev'", static (s, a) => s.Serial.Add(a)),
        new("parallel", "dev", "redirect the parallel port to char device 'dev'", static (s, a) => s.Parallel.Add(a)),
        new("monitor", "dev", "redirect the monitor to char device 'dev'", static (s, a) => AddMonitor(s, a, machine: false, pretty: false)),
        new("qmp", "dev", "like -monitor but opens in 'control' mode", static (s, a) => AddMonitor(s, a, machine: true, pretty: false)),
        new("qmp-pretty", "dev", "like -qmp but uses pretty JSON formatting", static (s, a) => AddMonitor(s, a, machine: true, pretty: true)),
        new("mon", "[chardev=]name[,mode=readline|control][,pretty[=on|off]]", "monitor on an existing character device", static (s, a) =>
        {
            var list = OptionList.Parse(a.Value, "chardev");
            var chardev = list.TakeRequired("chardev");
            var machine = list.Take("mode") switch
            {
                null or "readline" => false,
                "control" => true,
                var other => throw new UserErrorException($"Invalid parameter '{other}'{NearestNames.Hint(other, ["readline", "control"])}"),
            };
            var pretty = list.TakeBool("pretty", false);
            _ = list.Take("id");
            list.RejectUntaken();
            AddMonitor(s, a with { Value = $"chardev:{chardev}" }, machine, pretty);
        }),
        new("debugcon", "dev", "redirect the debug console (port 0xe9) to char device 'dev'", static (s, a) => s.DebugConsole = a),
        new("echr", "chr", "set terminal escape character instead of ctrl-a", static (s, a) =>
            s.EscapeCharacter = (byte)OptionValue.Number("echr", a.Value, 0, 255)),
    ];

    private static void AddMonitor(SystemSettings settings, Argument argument, bool machine, bool pretty)
    {
        if (!machine)
            settings.DefaultMonitor = false;
        if (argument.Value != "none")
            settings.Monitors.Add(new MonitorOption(argument, machine, pretty));
    }
}
