namespace Dromaius.Core.Chardev;

/// <summary>A user's side of a character device, behind which the device can be exchanged while the user goes on.</summary>
internal sealed class CharPort(ICharBackend backend) : ICharBackend
{
    private ICharBackend _backend = backend;

    public string Id => _backend.Id;

    public ICharSink? Sink
    {
        get => _backend.Sink;
        set => _backend.Sink = value;
    }

    public void Write(ReadOnlySpan<byte> bytes) => _backend.Write(bytes);

    public void AcceptInput() => _backend.AcceptInput();

    public void SetModemLines(bool dtr, bool rts) => _backend.SetModemLines(dtr, rts);

    public int TakeDescriptor() => _backend.TakeDescriptor();

    public void Dispose() => _backend.Dispose();

    /// <summary>Goes on with another device.</summary>
    public void Switch(ICharBackend backend)
    {
        var sink = _backend.Sink;
        _backend.Sink = null;
        _backend = backend;
        backend.Sink = sink;
    }
}
