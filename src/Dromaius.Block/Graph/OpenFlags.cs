namespace Dromaius.Block.Graph;

/// <summary>How images of a chain are opened; options of a node override them for it and what is below it.</summary>
public sealed record OpenFlags
{
    public bool ReadOnly { get; init; }
    public bool AutoReadOnly { get; init; }
    public bool Direct { get; init; }
    public bool NoFlush { get; init; }

    /// <summary>Others may write at the same time, unless a format forbids it.</summary>
    public bool ShareWrite { get; init; }
    public bool ForceShare { get; init; }
    public bool Discard { get; init; }

    /// <summary>Leaves the backing chain closed.</summary>
    public bool NoBacking { get; init; }

    /// <summary>Opens unclean images as they are.</summary>
    public bool ForCheck { get; init; }
    public DetectZeroes DetectZeroes { get; init; }

    /// <summary>Where nodes are looked up that options name.</summary>
    public BlockGraph? Graph { get; init; }

    /// <summary>Told when the format of a writable raw image was guessed, with the file's name.</summary>
    public Action<string>? GuessedRaw { get; init; }

    /// <summary>The options came through the schema of the protocol (<c>-blockdev</c>), and errors are worded as its are.</summary>
    public bool IsTyped { get; init; }

    /// <summary>How deep in a chain this is: a file can be its own backing file.</summary>
    internal int Depth { get; init; }

    public static OpenFlags Tool => new() { ShareWrite = true, Discard = true };
}
