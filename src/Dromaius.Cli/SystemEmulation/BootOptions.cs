using Dromaius.Boards;
using Dromaius.Core.Errors;
using Dromaius.Core.Options;

namespace Dromaius.Cli.SystemEmulation;

/// <summary>Firmware and direct kernel boot.</summary>
internal static class BootOptions
{
    public static readonly OptionSpec[] All =
    [
        new("kernel", "bzImage", "use 'bzImage' as kernel image (also multiboot ELF and PVH ELF)", static (s, a) => s.Kernel = a.Value),
        new("append", "cmdline", "use 'cmdline' as kernel command line", static (s, a) => s.Append = a.Value),
        new("initrd", "file", "use 'file' as initial ram disk", static (s, a) => s.Initrd = a.Value),
        new("bios", "file", "set the filename for the BIOS", static (s, a) => s.Bios = a.Value),
        new("L", "path", "set the directory for the BIOS, VGA BIOS and keymaps", static (s, a) =>
        {
            if (a.Value is "help" or "?")
                throw new HelpRequestException(HelpText.FirmwarePath(s));
            s.FirmwarePath.Add(a.Value);
        }),
        new("fw_cfg", "[name=]<name>,file=<file>|string=<str>", "add named fw_cfg entry with contents from file or from string", static (s, a) =>
        {
            var list = OptionList.Parse(a.Value, "name");
            s.FwCfg.Add(new FwCfgOption(list.Take("name"), list.Take("file"), list.Take("string"), a.Text));
            list.RejectUntaken();
        }),
    ];
}
