using Dromaius.Core.Errors;

namespace Dromaius.Boards.Pc;

/// <summary>The devices that the firmware boots from, best first, by their Open Firmware paths.</summary>
internal sealed class BootOrder
{
    private readonly SortedList<long, string> _paths = [];

    /// <summary>One line a disk: its path and the geometry that the firmware shall show.</summary>
    public string Geometries { get; private set; } = "";

    /// <summary>Before everything else.</summary>
    public void AddFirst(string path) => _paths.Add(-1, path);

    /// <param name="index">The device's <c>bootindex</c>.</param>
    /// <param name="path">Where it is.</param>
    public void Add(long index, string path)
    {
        if (!_paths.TryAdd(index, path))
            throw new UserErrorException($"The bootindex {index} has already been used");
    }

    public void AddGeometry(string path, int cylinders, int heads, int sectors) =>
        Geometries += (Geometries.Length == 0 ? "" : "\n") + $"{path} {cylinders} {heads} {sectors}";

    /// <summary>The lines; with <paramref name="strict"/> the firmware tries nothing else.</summary>
    public string Text(bool strict) => string.Join('\n', strict ? [.. _paths.Values, "HALT"] : _paths.Values) + "\0";
}
