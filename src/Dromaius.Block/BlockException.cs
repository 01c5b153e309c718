namespace Dromaius.Block;

/// <summary>Why a transfer failed, as the host's error numbers name it.</summary>
public enum BlockError
{
    None = 0,
    NotPermitted = 1,
    Io = 5,
    NoMedium = 123,
    Invalid = 22,
    NoSpace = 28,
    ReadOnly = 30,
    NotSupported = 95,
}

/// <summary>A transfer or an operation on an image failed.</summary>
public sealed class BlockException : IOException
{
    public BlockException(BlockError error, string message, Exception? inner = null)
        : base(message, inner) => Error = error;

    public BlockError Error { get; }
}
