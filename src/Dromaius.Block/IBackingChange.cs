namespace Dromaius.Block;

/// <summary>An image that names a backing file and can name another.</summary>
public interface IBackingChange
{
    /// <summary>Writes the name and format into the image; null for none.</summary>
    void ChangeBackingFile(string? name, string? format);

    /// <summary>Takes the given backing node, which may be null, for reading from now on; the old one is not released.</summary>
    void SetBacking(BlockNode? backing);

    /// <summary>Makes everything come from the backing file, after its contents were committed there.</summary>
    void MakeEmpty();
}
