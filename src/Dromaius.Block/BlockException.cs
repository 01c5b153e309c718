using Dromaius.Core.Storage;

namespace Dromaius.Block;

/// <summary>Why a transfer failed, as the host's error numbers name it; other numbers of the host occur too.</summary>
public enum BlockError
{
    None = 0,
    NotPermitted = 1,
    NoEntry = 2,
    Io = 5,
    TryAgain = 11,
    Access = 13,
    Busy = 16,
    Exists = 17,
    Invalid = 22,
    TooBig = 27,
    NoSpace = 28,
    ReadOnly = 30,
    Cancelled = 125,
    NotSupported = 95,
    NoMedium = 123,
}

/// <summary>A transfer or an operation on an image failed. The message is ready to show.</summary>
public sealed class BlockException : IOException
{
    public BlockException(BlockError error, string message, Exception? inner = null)
        : base(message, inner) => Error = error;

    /// <summary>The host refused; the message says why in its words.</summary>
    public BlockException(BlockError error)
        : this(error, HostDisk.Explain((int)error))
    {
    }

    public BlockError Error { get; }

    /// <summary>Further lines that help the user, without a program's name before them.</summary>
    public string? Hint { get; init; }

    /// <summary>Throws when a call of <see cref="HostDisk"/> failed; its result otherwise.</summary>
    public static long Check(long result) => result >= 0 ? result : throw new BlockException((BlockError)(-result));

    /// <summary>The same failure with words before its message.</summary>
    public BlockException Within(string context) => new(Error, $"{context}: {Message}", this) { Hint = Hint };
}
