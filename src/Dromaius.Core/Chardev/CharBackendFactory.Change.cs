using Dromaius.Core.Errors;
using Dromaius.Core.Options;

namespace Dromaius.Core.Chardev;

/// <content>Devices that come, go and change while the machine runs.</content>
public sealed partial class CharBackendFactory
{
    /// <summary>Makes one; for a pseudo-terminal the result is its name.</summary>
    public string? Add(string id, string type, OptionList options)
    {
        if (!IsWellFormedId(id))
            throw new UserErrorException("Parameter 'id' expects an identifier");
        Create(id, type, options);
        return (_backends[id] as PtyBackend)?.SlavePath;
    }

    /// <summary>Takes one away that nobody uses.</summary>
    public void Remove(string id)
    {
        if (!_backends.TryGetValue(id, out var backend))
            throw new UserErrorException($"Chardev '{id}' not found");
        if (_muxes.ContainsKey(id) || backend.Sink != null)
            throw new UserErrorException($"Chardev '{id}' is busy");
        Drop(id, backend);
    }

    /// <summary>Puts another device in the place of one, under the user that it has.</summary>
    public string? Change(string id, string type, OptionList options)
    {
        if (!_backends.TryGetValue(id, out var old))
            throw new UserErrorException($"Chardev '{id}' does not exist");
        if (_muxes.ContainsKey(id) || options.Has("mux"))
            throw new UserErrorException("Mux device hotswap not supported yet");
        var port = _ports.GetValueOrDefault(id);
        if (port == null && old.Sink != null)
            throw new UserErrorException("Chardev user does not support chardev hotswap");
        _ = _backends.Remove(id);
        try
        {
            Create(id, type, options);
        }
        catch
        {
            _backends.Add(id, old);
            throw;
        }

        port?.Switch(_backends[id]);
        if (old is StdioBackend)
            _stdioTaken = false;
        old.Dispose();
        return (_backends[id] as PtyBackend)?.SlavePath;
    }

    private void Drop(string id, ICharBackend backend)
    {
        _ = _backends.Remove(id);
        _ = _users.Remove(id);
        _ = _ports.Remove(id);
        if (backend is StdioBackend)
            _stdioTaken = false;
        backend.Dispose();
    }
}
