using System.Globalization;

namespace Dromaius.Jit;

/// <summary>
/// Names for generated code that <c>perf report</c> finds: <c>/tmp/perf-PID.map</c>, a line a unit with start and length in
/// hexadecimal. Source: the kernel's tools/perf/Documentation/jit-interface.txt.
/// </summary>
internal sealed class PerfMap : IDisposable
{
    private readonly StreamWriter _out;

    private PerfMap(StreamWriter output) => _out = output;

    /// <summary>Creates the file; null if the host does not let us.</summary>
    public static PerfMap? Create()
    {
        try
        {
            var path = Path.Combine("/tmp", string.Create(CultureInfo.InvariantCulture, $"perf-{Environment.ProcessId}.map"));
            return new PerfMap(new StreamWriter(path) { AutoFlush = true });
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    public unsafe void Add(byte* code, int length, ulong pc) =>
        _out.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{(nint)code:x} {length:x} guest-{pc:x}"));

    public void Dispose() => _out.Dispose();
}
