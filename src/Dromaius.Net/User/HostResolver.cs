using System.Net;
using System.Net.Sockets;
using Dromaius.Core.Sockets;

namespace Dromaius.Net.User;

/// <summary>The host's name servers, as its resolver file lists them now.</summary>
internal sealed class HostResolver(string path)
{
    private readonly Lock _gate = new();
    private DateTime _read;
    private uint? _ipv4;
    private UInt128? _ipv6;

    /// <summary>The first IPv4 server.</summary>
    public uint? Ipv4
    {
        get
        {
            Refresh();
            return _ipv4;
        }
    }

    /// <summary>The first IPv6 server.</summary>
    public UInt128? Ipv6
    {
        get
        {
            Refresh();
            return _ipv6;
        }
    }

    private void Refresh()
    {
        lock (_gate)
        {
            try
            {
                var written = File.GetLastWriteTimeUtc(path);
                if (written == _read)
                    return;
                _read = written;
                _ipv4 = null;
                _ipv6 = null;
                foreach (var line in File.ReadLines(path).Take(1000))
                {
                    var words = line.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);
                    if (words.Length < 2 || words[0] != "nameserver" || !IPAddress.TryParse(words[1], out var address))
                        continue;
                    if (address.AddressFamily == AddressFamily.InterNetwork)
                        _ipv4 ??= (uint)HostEndpoint.ToInteger(address);
                    else
                        _ipv6 ??= HostEndpoint.ToInteger(address);
                }
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // A host without the file resolves for itself: its loopback is asked.
            }
        }
    }
}
