namespace Dromaius.Core.Chardev;

public enum CharEvent
{
    /// <summary>The peer connected.</summary>
    Opened,
    Closed,

    /// <summary>A break condition.</summary>
    Break,

    /// <summary>A multiplexer now sends its input here.</summary>
    FocusIn,

    /// <summary>A multiplexer sends its input elsewhere from now on.</summary>
    FocusOut,
}

/// <summary>The guest's side of a character device: a UART, a monitor, a virtio console.</summary>
public interface ICharSink
{
    /// <summary>How many bytes can be taken now.</summary>
    int CanReceive { get; }

    /// <summary>Bytes from the outside, at most <see cref="CanReceive"/>. Called under the machine lock.</summary>
    void Receive(ReadOnlySpan<byte> bytes);

    void OnEvent(CharEvent e);
}

/// <summary>The outside of a character device: a terminal, a file, a socket. Writing never blocks.</summary>
public interface ICharBackend : IDisposable
{
    string Id { get; }

    /// <summary>Bytes from the guest; called under the machine lock.</summary>
    void Write(ReadOnlySpan<byte> bytes);

    /// <summary>Who receives; one at a time.</summary>
    ICharSink? Sink { get; set; }

    /// <summary>The next descriptor that came with the bytes of a Unix socket, or -1; it is the caller's.</summary>
    int TakeDescriptor() => -1;

    /// <summary>The guest's UART drives its outputs anew.</summary>
    void SetModemLines(bool dtr, bool rts)
    {
    }

    /// <summary>The sink can take bytes again after it could not.</summary>
    void AcceptInput();
}
