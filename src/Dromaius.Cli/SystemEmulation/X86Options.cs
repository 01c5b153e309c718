using Dromaius.Boards;
using Dromaius.Core.Errors;
using Dromaius.Core.Options;

namespace Dromaius.Cli.SystemEmulation;

/// <summary>Options of PC machines: firmware tables and the clock.</summary>
internal static class X86Options
{
    public static readonly OptionSpec[] All =
    [
        new("no-acpi", null, "disable ACPI", static (s, _) => s.MachineProperties.Add(new("acpi", "off"))),
        new("no-hpet", null, "disable HPET", static (s, _) => s.MachineProperties.Add(new("hpet", "off"))),
        new("no-fd-bootchk", null, "disable boot signature checking for floppy disks", static (s, _) => s.MachineProperties.Add(new("fd-bootchk", "off"))),
        new("win2k-hack", null, null, static (_, _) => { }),
        new("acpitable", "[sig=str][,rev=n][,oem_id=str][,oem_table_id=str][,oem_rev=n][,asl_compiler_id=str][,asl_compiler_rev=n][,{data|file}=file1[:file2]...]",
            "ACPI table description", static (s, a) => s.AcpiTables.Add(new AcpiTableOption(OptionList.Parse(a.Value).Items, a.Text))),
        new("smbios", "file=binary|type=n[,field=value][,...]", "load SMBIOS entry from binary file, or specify SMBIOS fields",
            static (s, a) => s.Smbios.Add(new SmbiosOption(OptionList.Parse(a.Value).Items, a.Text))),
        new("rtc", "[base=utc|localtime|<datetime>][,clock=host|rt|vm][,driftfix=none|slew]",
            "set the RTC base and clock, enable drift fix for clock ticks (x86 only)", Rtc),
    ];

    private static void Rtc(SystemSettings settings, Argument argument)
    {
        var list = OptionList.Parse(argument.Value);
        var rtc = settings.Rtc;
        if (list.Take("base") is { } start)
        {
            rtc = start switch
            {
                "utc" => rtc with { Base = RtcBase.Utc },
                "localtime" => rtc with { Base = RtcBase.LocalTime },
                _ => rtc with
                {
                    Base = RtcBase.Date,
                    Date = StandardOptions.ParseDate(start)
                        ?? throw new UserErrorException("invalid datetime format (valid formats: '2006-06-17T16:01:21' or '2006-06-17')"),
                },
            };
        }

        rtc = rtc with
        {
            FollowsVirtualTime = list.Take("clock") switch
            {
                null => rtc.FollowsVirtualTime,
                "vm" => true,
                "host" or "rt" => false,
                var other => throw new UserErrorException($"invalid option value '{other}'{NearestNames.Hint(other, ["host", "rt", "vm"])}"),
            },
        };
        if (list.Take("driftfix") is { } fix and not ("none" or "slew"))
            throw new UserErrorException($"invalid option value '{fix}'");
        list.RejectUntaken();
        settings.Rtc = rtc;
    }
}
