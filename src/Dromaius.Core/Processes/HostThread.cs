using System.Runtime.InteropServices;

namespace Dromaius.Core.Processes;

/// <summary>The host's number of the calling thread, by which tools pin it to processors.</summary>
public static partial class HostThread
{
    public static int Id => gettid();

    [LibraryImport("libc")]
    private static partial int gettid();
}
