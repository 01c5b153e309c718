namespace Dromaius.Block.Qcow2;

/// <content>Transfers without a copy, where the clusters lie one behind the other in the file, or can.</content>
public sealed partial class Qcow2Node
{
    public override bool TryRead(long offset, IReadOnlyList<Memory<byte>> into, long length)
    {
        if (!IsInside(offset, length))
            return false;
        _gate.EnterReadLock();
        try
        {
            return TryMapRun(offset, length, out var map) && DataNode.TryRead(map.Host, into, length);
        }
        finally
        {
            _gate.ExitReadLock();
        }
    }

    protected override bool TryWriteCore(long offset, IReadOnlyList<Memory<byte>> from, long length)
    {
        if (IsReadOnly || !IsInside(offset, length))
            return false;
        CheckWritable();
        _gate.EnterReadLock();
        try
        {
            return Place(offset, length, out var map) is { } allocation
                ? TryFill(allocation, offset, from, length)
                : map.Length == length && DataNode.TryWrite(map.Host, from, length);
        }
        finally
        {
            _gate.ExitReadLock();
        }
    }

    private bool TryFill(Allocation allocation, long offset, IReadOnlyList<Memory<byte>> from, long length)
    {
        var isFilled = false;
        try
        {
            isFilled = offset + length <= EndOf(allocation)
                && BoundsToWrite(allocation, offset, length) == (offset, offset + length)
                && DataNode.TryWrite(allocation.HostOffset + offset - (allocation.GuestCluster << _clusterBits), from, length);
        }
        finally
        {
            if (!isFilled)
                Abandon(allocation);
        }

        if (isFilled)
            Link(allocation, offset, length);
        return isFilled;
    }

    private bool IsInside(long offset, long length) => offset >= 0 && length > 0 && offset <= Length - length;

    private bool TryMapRun(long offset, long length, out Mapping map)
    {
        lock (_lock)
            map = Map(offset, length);
        return map.Kind == ClusterKind.Normal && map.Length == length;
    }
}
