using System.Globalization;
using Dromaius.Core.Errors;

namespace Dromaius.Cli.SystemEmulation;

/// <summary>The <c>-pidfile</c>: exists, locked, while the emulator runs.</summary>
internal sealed class PidFile : IDisposable
{
    private readonly string _path;
    private readonly FileStream _stream;

    private PidFile(string path, FileStream stream)
    {
        _path = path;
        _stream = stream;
    }

    public static PidFile Write(string path)
    {
        FileStream stream;
        try
        {
            stream = new FileStream(path, FileMode.OpenOrCreate, FileAccess.Write, FileShare.Read);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new UserErrorException($"cannot create PID file: Cannot open pid file '{path}': {Host.Explain(e)}");
        }

        stream.SetLength(0);
        stream.Write(System.Text.Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $"{Environment.ProcessId}\n")));
        stream.Flush();
        return new PidFile(Path.GetFullPath(path), stream);
    }

    public void Dispose()
    {
        try
        {
            File.Delete(_path);
        }
        catch (IOException)
        {
            // Somebody took it away already.
        }

        _stream.Dispose();
    }
}
