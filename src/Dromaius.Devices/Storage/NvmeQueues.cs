namespace Dromaius.Devices.Storage;

/// <summary>A submission queue in guest memory.</summary>
internal sealed class NvmeSubmissionQueue(int id, ulong address, int size, NvmeCompletionQueue completion)
{
    public int Id => id;
    public ulong Address => address;
    public int Size => size;
    public NvmeCompletionQueue Completion => completion;
    public int Head { get; set; }
    public int Tail { get; set; }
}

/// <summary>A completion queue in guest memory; what does not fit waits until the driver has read on.</summary>
internal sealed class NvmeCompletionQueue(int id, ulong address, int size, int vector, bool interrupts)
{
    public int Id => id;
    public ulong Address => address;
    public int Size => size;
    public int Vector => vector;
    public bool Interrupts => interrupts;
    public int Head { get; set; }
    public int Tail { get; set; }
    public bool Phase { get; set; } = true;

    /// <summary>Submission queues that complete here.</summary>
    public int Users { get; set; }
    public Queue<(NvmeSubmissionQueue Queue, ushort CommandId, ushort Status, uint Result)> Waiting { get; } = new();

    public bool IsFull => (Tail + 1) % Size == Head;
}
