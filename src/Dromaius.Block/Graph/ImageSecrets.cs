using System.Collections.Concurrent;

namespace Dromaius.Block.Graph;

/// <summary>Keys of encrypted images, by the id that options name.</summary>
public static class ImageSecrets
{
    private static readonly ConcurrentDictionary<string, byte[]> Keys = new();

    public static void Set(string id, byte[] key) => Keys[id] = key;

    public static void Remove(string id) => Keys.TryRemove(id, out _);

    public static byte[] Get(string id) =>
        Keys.TryGetValue(id, out var key) ? key : throw new BlockException(BlockError.Invalid, $"No secret with id '{id}'");
}
