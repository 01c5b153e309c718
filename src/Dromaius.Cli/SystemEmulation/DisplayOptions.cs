using Dromaius.Boards;
using Dromaius.Core.Errors;

namespace Dromaius.Cli.SystemEmulation;

/// <summary>What shows the screen. This version has no displays: the machine is used through its serial ports.</summary>
internal static class DisplayOptions
{
    public static readonly OptionSpec[] All =
    [
        new("display", "none", "select display backend type (this version has none)", static (_, a) =>
        {
            if (a.Value is "help" or "?")
                throw new HelpRequestException("Available display backend types:\nnone\n");
            if (a.Value != "none")
                throw new UserErrorException($"display '{a.Value.Split(',')[0]}' is not available in this version (use 'none' or -nographic)");
        }),
        new("nographic", null, "disable graphical output and redirect serial I/Os to console", static (s, _) => s.NoGraphic = true),
        new("vga", "std|cirrus|none", "select video card type", static (s, a) => s.Vga = a.Value switch
        {
            "std" => VgaKind.Standard,
            "cirrus" => VgaKind.Cirrus,
            "none" => VgaKind.None,
            "help" => throw new HelpRequestException("none                 no graphic card\nstd                  standard VGA (default)\ncirrus               Cirrus VGA\n"),
            "vmware" or "qxl" or "virtio" => throw new UserErrorException("card not available in this version (use 'std', 'cirrus' or 'none')"),
            _ => throw new UserErrorException($"Unknown vga type: {a.Value}{NearestNames.Hint(a.Value, ["std", "cirrus", "none"])}"),
        }),
        new("vnc", "none", null, static (_, a) =>
        {
            if (a.Value != "none")
                throw new UserErrorException("VNC is not available in this version");
        }),
    ];
}
