namespace Dromaius.Block.Qcow2;

/// <summary>A table of one cluster (L2 table or refcount block), held in memory.</summary>
internal sealed class Table(long offset, byte[] data)
{
    public long Offset => offset;
    public byte[] Data => data;

    /// <summary>The bytes that differ from the file; none when the start is not below the end.</summary>
    public int DirtyStart { get; private set; } = int.MaxValue;
    public int DirtyEnd { get; private set; }
    public bool IsDirty => DirtyStart < DirtyEnd;

    public void MarkDirty(int start, int length)
    {
        DirtyStart = Math.Min(DirtyStart, start);
        DirtyEnd = Math.Max(DirtyEnd, start + length);
    }

    public void MarkClean()
    {
        DirtyStart = int.MaxValue;
        DirtyEnd = 0;
    }
}

/// <summary>Tables in memory, the least recently used thrown out first. Used under the image's lock.</summary>
internal sealed class TableCache(BlockNode file, int tableSize, long budget)
{
    private readonly int _capacity = (int)Math.Max(8, budget / tableSize);
    private readonly Dictionary<long, LinkedListNode<Table>> _tables = [];
    private readonly LinkedList<Table> _recent = new();
    private readonly HashSet<Table> _dirty = [];

    /// <summary>Makes every table clean in the right order; called when a dirty one has to go.</summary>
    public required Action WriteBackAll { get; init; }

    public bool HasDirty => _dirty.Count > 0;

    public bool Has(long offset) => _tables.ContainsKey(offset);

    public Table Get(long offset)
    {
        if (_tables.TryGetValue(offset, out var node))
        {
            if (node != _recent.First)
            {
                _recent.Remove(node);
                _recent.AddFirst(node);
            }

            return node.Value;
        }

        var data = MakeRoom() ?? new byte[tableSize];
        file.ReadPadded(offset, data);
        return Insert(new Table(offset, data));
    }

    /// <summary>A table that is all zeroes, or a copy of another, and not in the file yet.</summary>
    public Table Create(long offset, byte[]? copyOf = null)
    {
        Drop(offset);
        var source = copyOf?.AsSpan().ToArray();
        var data = MakeRoom() ?? new byte[tableSize];
        if (source != null)
            source.CopyTo(data, 0);
        else
            data.AsSpan().Clear();
        var table = Insert(new Table(offset, data));
        MarkDirty(table, 0, tableSize);
        return table;
    }

    public void MarkDirty(Table table, int start, int length)
    {
        table.MarkDirty(start, length);
        _ = _dirty.Add(table);
    }

    /// <summary>Forgets a table whose cluster was given up.</summary>
    public void Drop(long offset)
    {
        if (!_tables.Remove(offset, out var node))
            return;
        _recent.Remove(node);
        _ = _dirty.Remove(node.Value);
    }

    public void Clear()
    {
        _tables.Clear();
        _recent.Clear();
        _dirty.Clear();
    }

    /// <summary>Writes what is dirty; the caller keeps the order between caches.</summary>
    public void WriteBack()
    {
        if (_dirty.Count == 0)
            return;
        foreach (var table in _dirty)
        {
            // Whole sectors, as the medium has them.
            var start = table.DirtyStart & ~511;
            var end = Math.Min((table.DirtyEnd + 511) & ~511, tableSize);
            file.Write(table.Offset + start, table.Data.AsSpan(start, end - start));
            table.MarkClean();
        }

        _dirty.Clear();
    }

    private Table Insert(Table table)
    {
        _tables[table.Offset] = _recent.AddFirst(table);
        return table;
    }

    /// <summary>Throws the oldest table out when the cache is full; its buffer can be used again.</summary>
    private byte[]? MakeRoom()
    {
        if (_tables.Count < _capacity)
            return null;
        if (_recent.Last!.Value.IsDirty)
            WriteBackAll();
        var oldest = _recent.Last!.Value;
        Drop(oldest.Offset);
        return oldest.Data;
    }
}
