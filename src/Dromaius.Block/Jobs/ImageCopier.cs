using Dromaius.Block.Graph;

namespace Dromaius.Block.Jobs;

/// <summary>
/// Copies images into another as <c>convert</c> does: holes stay holes, several threads read (and compress) at once, and clusters are
/// taken in order unless order does not matter.
/// </summary>
public sealed class ImageCopier(IReadOnlyList<BlockNode> sources, BlockNode target)
{
    private const int ChunkSize = 2 << 20;
    private const int LargeCluster = 65536;
    private readonly object _lock = new();
    private readonly long _total = sources.Sum(static s => s.Length);
    private int _source;
    private long _sourceOffset, _targetOffset;
    private long _tickets, _turn;
    private long _done;
    private Exception? _failure;

    /// <summary>Unallocated ranges of the source are left to the target's backing file.</summary>
    public bool TargetHasBacking { get; init; }

    /// <summary>How much of the target's backing file there is; behind it zeroes must be written.</summary>
    public long BackingLength { get; init; }

    /// <summary>The target reads as zeroes where nothing was written.</summary>
    public bool TargetIsZero { get; init; }
    public bool Compress { get; init; }

    /// <summary>Zeroes of this length in a row become holes; 0 stores everything.</summary>
    public int MinSparse { get; init; } = 4096;
    public int Workers { get; init; } = 8;
    public bool OutOfOrder { get; init; }

    /// <summary>Bytes a second, or 0.</summary>
    public long RateLimit { get; init; }

    /// <summary>What cannot be read becomes zeroes; told with offset and error.</summary>
    public Action<long, BlockException>? Salvage { get; init; }

    /// <summary>Told how much of the whole is done.</summary>
    public Action<long, long>? Progress { get; init; }
    public CancellationToken Cancel { get; init; }

    private enum Kind
    {
        Data,
        Zero,
        Backing,
    }

    private readonly record struct Piece(BlockNode Source, long Offset, long Target, int Length, Kind Kind, long Ticket);

    public void Run()
    {
        Progress?.Invoke(0, _total);
        var threads = new List<Thread>();
        for (var i = 1; i < Math.Min(Workers, 1 + _total / ChunkSize); i++)
        {
            var thread = new Thread(Work, 512 << 10) { IsBackground = true, Name = "copy" };
            threads.Add(thread);
            thread.Start();
        }

        Work();
        foreach (var thread in threads)
            thread.Join();
        if (_failure is BlockException e)
            throw new BlockException(e.Error, e.Message, e);
        if (_failure != null)
            throw new IOException(_failure.Message, _failure);
        Progress?.Invoke(_total, _total);
    }

    private void Work()
    {
        try
        {
            var buffer = new byte[ChunkSize];
            var packed = Compress ? new byte[ChunkSize] : [];
            while (Next() is { } piece)
            {
                Cancel.ThrowIfCancellationRequested();
                Copy(piece, buffer, packed);
                lock (_lock)
                {
                    _done += piece.Length;
                    Progress?.Invoke(_done, _total);
                }
            }
        }
        catch (Exception e)
        {
            lock (_lock)
            {
                _failure ??= e;
                Monitor.PulseAll(_lock);
            }
        }
    }

    /// <summary>The next piece to copy, in order.</summary>
    private Piece? Next()
    {
        lock (_lock)
        {
            while (_failure == null && _source < sources.Count)
            {
                var source = sources[_source];
                if (_sourceOffset >= source.Length)
                {
                    _source++;
                    _sourceOffset = 0;
                    continue;
                }

                var (kind, length) = StateOf(source);
                var unit = Math.Max(1, target.ClusterSize);
                var limit = kind == Kind.Data ? Math.Max(ChunkSize / unit * unit, Math.Min(unit, ChunkSize)) : 1 << 30;
                var n = (int)Math.Min(length, limit);
                // Pieces end where the target's clusters do, so that none is written twice.
                var end = _targetOffset + n;
                if (end % unit != 0 && n < source.Length - _sourceOffset)
                {
                    var aligned = end / unit * unit;
                    if (aligned > _targetOffset)
                        n = (int)(aligned - _targetOffset);
                    else
                    {
                        n = (int)Math.Min(unit - _targetOffset % unit, source.Length - _sourceOffset);
                        kind = Kind.Data;
                    }
                }

                if (kind == Kind.Data && Compress && n % unit != 0 && _sourceOffset + n < source.Length)
                    n = Math.Max(n / unit * unit, (int)Math.Min(unit, source.Length - _sourceOffset));
                var piece = new Piece(source, _sourceOffset, _targetOffset, Math.Min(n, kind == Kind.Data ? ChunkSize : n), kind, _tickets++);
                _sourceOffset += piece.Length;
                _targetOffset += piece.Length;
                return piece;
            }

            return null;
        }
    }

    private (Kind Kind, long Length) StateOf(BlockNode source)
    {
        var left = source.Length - _sourceOffset;
        var end = TargetHasBacking ? source.Backing : null;
        ChainStatus status;
        try
        {
            status = ChainStatus.Get(source, end, _sourceOffset, left);
        }
        catch (BlockException) when (Salvage != null)
        {
            return (Kind.Data, Math.Min(left, 65536));
        }

        if (status.IsZero && MinSparse > 0)
            return (Kind.Zero, status.Length);
        if (status.IsAllocated || !TargetHasBacking)
            return (Kind.Data, status.Length);
        if (_targetOffset >= BackingLength)
            return (Kind.Zero, status.Length);
        return (Kind.Backing, Math.Min(status.Length, BackingLength - _targetOffset));
    }

    private void Copy(Piece piece, byte[] buffer, byte[] packed)
    {
        var data = buffer.AsSpan(0, piece.Kind == Kind.Data ? piece.Length : 0);
        List<(int Offset, int Length, int Packed, int PackedLength)>? clusters = null;
        if (piece.Kind == Kind.Data)
        {
            ReadPiece(piece, data);
            if (Compress)
                clusters = Pack(data, packed);
        }

        if (!OutOfOrder && !WaitForTurn(piece.Ticket))
            return;
        try
        {
            if (piece.Kind == Kind.Data && clusters != null)
                WriteCompressed(piece, data, packed, clusters);
            else if (piece.Kind == Kind.Data)
                WriteSparse(piece.Target, data);
            else if (piece.Kind == Kind.Zero && !(TargetIsZero && !TargetHasBacking))
                target.WriteZeroes(piece.Target, Math.Min(piece.Length, target.Length - piece.Target), true);
        }
        finally
        {
            if (!OutOfOrder)
                EndTurn();
        }

        if (RateLimit > 0 && piece.Kind == Kind.Data)
            Thread.Sleep((int)Math.Min(piece.Length * 1000L / RateLimit, 10_000));
    }

    private void ReadPiece(Piece piece, Span<byte> data)
    {
        try
        {
            piece.Source.Read(piece.Offset, data);
        }
        catch (BlockException) when (Salvage != null)
        {
            for (var at = 0; at < data.Length; at += 512)
            {
                var part = data[at..Math.Min(at + 512, data.Length)];
                try
                {
                    piece.Source.Read(piece.Offset + at, part);
                }
                catch (BlockException e)
                {
                    Salvage(piece.Offset + at, e);
                    part.Clear();
                }
            }
        }
    }

    private List<(int Offset, int Length, int Packed, int PackedLength)> Pack(ReadOnlySpan<byte> data, byte[] packed)
    {
        var list = new List<(int, int, int, int)>();
        var cluster = target.ClusterSize;
        var full = new byte[cluster];
        var used = 0;
        for (var at = 0; at < data.Length; at += cluster)
        {
            var part = data[at..Math.Min(at + cluster, data.Length)];
            if (MinSparse > 0 && !part.ContainsAnyExcept((byte)0))
            {
                list.Add((at, part.Length, 0, 0));
                continue;
            }

            part.CopyTo(full);
            full.AsSpan(part.Length).Clear();
            var n = target.Compress(full, packed.AsSpan(used));
            list.Add((at, part.Length, used, n));
            used += Math.Max(n, 0);
        }

        return list;
    }

    private void WriteCompressed(Piece piece, ReadOnlySpan<byte> data, byte[] packed, List<(int Offset, int Length, int Packed, int PackedLength)> clusters)
    {
        foreach (var (offset, length, at, n) in clusters)
        {
            if (n > 0)
                target.WritePacked(piece.Target + offset, packed.AsSpan(at, n));
            else if (n < 0)
                target.Write(piece.Target + offset, data.Slice(offset, length));
            else if (!TargetIsZero || TargetHasBacking)
                target.WriteZeroes(piece.Target + offset, length, true);
        }
    }

    /// <summary>Writes what is not zero.</summary>
    private void WriteSparse(long offset, ReadOnlySpan<byte> data)
    {
        var room = target.Length - offset;
        if (data.Length > room)
            data = data[..(int)Math.Max(room, 0)];
        if (MinSparse == 0)
        {
            target.Write(offset, data);
            return;
        }

        // Small clusters are written whole; large ones have holes.
        var unit = target.ClusterSize <= LargeCluster ? Math.Max(MinSparse, target.ClusterSize) : MinSparse;
        var start = 0;
        while (start < data.Length)
        {
            // Units are counted on the target, whose clusters they are.
            var zero = IsZeroUnit(data, offset, start, unit, out var end);
            while (end < data.Length && IsZeroUnit(data, offset, end, unit, out var next) == zero)
                end = next;
            if (!zero)
                target.Write(offset + start, data[start..end]);
            else if (!TargetIsZero || TargetHasBacking)
                target.WriteZeroes(offset + start, end - start, true);
            start = end;
        }
    }

    private static bool IsZeroUnit(ReadOnlySpan<byte> data, long offset, int start, int unit, out int end)
    {
        end = (int)Math.Min(data.Length, (offset + start) / unit * unit + unit - offset);
        return !data[start..end].ContainsAnyExcept((byte)0);
    }

    private bool WaitForTurn(long ticket)
    {
        lock (_lock)
        {
            while (_turn != ticket && _failure == null)
                Monitor.Wait(_lock);
            return _failure == null;
        }
    }

    private void EndTurn()
    {
        lock (_lock)
        {
            _turn++;
            Monitor.PulseAll(_lock);
        }
    }
}
