using System.Globalization;

namespace Dromaius.Cli.SystemEmulation;

/// <summary>How much memory the host has (proc(5), meminfo).</summary>
internal static class HostMemory
{
    /// <summary>Bytes of RAM and swap; the largest number when it cannot be told.</summary>
    public static ulong Total()
    {
        try
        {
            var total = 0UL;
            foreach (var line in File.ReadLines("/proc/meminfo"))
            {
                if (!line.StartsWith("MemTotal:", StringComparison.Ordinal) && !line.StartsWith("SwapTotal:", StringComparison.Ordinal))
                    continue;
                var words = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
                total += ulong.Parse(words[1], CultureInfo.InvariantCulture) << 10;
            }

            return total > 0 ? total : ulong.MaxValue;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or FormatException)
        {
            return ulong.MaxValue;
        }
    }
}
