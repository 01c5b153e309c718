using Dromaius.Control.Qmp;
using Dromaius.Core.Storage;

namespace Dromaius.Control;

/// <summary>Descriptors that a client of the machine protocol handed over and gave names (<c>getfd</c>).</summary>
internal sealed class DescriptorTable(Func<int> receive)
{
    private readonly Dictionary<string, int> _named = new(StringComparer.Ordinal);

    /// <summary>The descriptor that came with the command.</summary>
    public int Received() => receive() is var fd and >= 0 ? fd : throw QmpErrorException.Generic("No file descriptor supplied via SCM_RIGHTS");

    public void Name(string name)
    {
        var fd = Received();
        if (name.Length > 0 && char.IsAsciiDigit(name[0]))
        {
            DescriptorSets.Close(fd);
            throw QmpErrorException.Generic("Parameter 'fdname' expects a name not starting with a digit");
        }

        if (_named.Remove(name, out var old))
            DescriptorSets.Close(old);
        _named[name] = fd;
    }

    public void Close(string name)
    {
        if (!_named.Remove(name, out var fd))
            throw QmpErrorException.Generic($"File descriptor named '{name}' not found");
        DescriptorSets.Close(fd);
    }

    /// <summary>Gives a descriptor to whoever uses it from now on.</summary>
    public int Take(string name) => _named.Remove(name, out var fd) ? fd : throw QmpErrorException.Generic($"File descriptor named '{name}' has not been found");
}
