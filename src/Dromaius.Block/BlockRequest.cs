namespace Dromaius.Block;

public enum BlockOperation
{
    Read,
    Write,
    Flush,
    Discard,
    WriteZeroes,
}

/// <summary>
/// One transfer of a device. The device owns it and may use it again once <see cref="Completed"/> was called, which happens
/// under the machine lock, on the event loop or an I/O thread.
/// </summary>
public sealed class BlockRequest
{
    public BlockOperation Operation { get; set; }

    /// <summary>First byte on the medium.</summary>
    public long Offset { get; set; }

    /// <summary>Bytes; for reads and writes the sum of the segments.</summary>
    public long Length { get; set; }

    /// <summary>The data, in order: guest memory (<see cref="Core.Memory.DmaBuffer"/>) or the device's own buffers.</summary>
    public IReadOnlyList<Memory<byte>> Segments { get; set; } = [];

    /// <summary>For writes: durable on completion (FUA).</summary>
    public bool ForceUnitAccess { get; set; }

    /// <summary>For <see cref="BlockOperation.WriteZeroes"/>: storage may be given back.</summary>
    public bool MayUnmap { get; set; }

    /// <summary>The outcome, valid in <see cref="Completed"/>.</summary>
    public BlockError Error { get; set; }

    public required Action<BlockRequest> Completed { get; set; }

    /// <summary>Set by <see cref="BlockBackend.Cancel"/>: the completion is not delivered.</summary>
    internal volatile bool Cancelled;

    /// <summary>When it was submitted (<see cref="System.Diagnostics.Stopwatch"/>).</summary>
    internal long Started { get; set; }

    /// <summary>Completions that are on their way and must not be delivered.</summary>
    internal int Drops { get; set; }

    /// <summary>An I/O thread has it.</summary>
    internal bool IsServed { get; set; }
    internal BlockBackend? Backend { get; set; }
    internal BlockNode? Node { get; set; }

    // Kept so that a request that is used again allocates nothing.
    internal Action? Work { get; set; }
    internal Action? Done { get; set; }

    internal void Serve() => Backend!.Serve(this);

    internal void Finish() => Backend!.Finish(this);
}
