namespace Dromaius.Block.Jobs;

/// <summary>Jobs that succeed together or not at all: each waits with its result for the others, and takes them along when it fails.</summary>
public sealed class JobGroup
{
    private readonly List<BlockJob> _jobs = [];
    private bool _isClosed;

    /// <summary>Every job of the group has done its work.</summary>
    internal bool HaveAllArrived
    {
        get
        {
            lock (_jobs)
                return _isClosed && _jobs.TrueForAll(static j => j.HasArrived);
        }
    }

    public void Add(BlockJob job)
    {
        lock (_jobs)
            _jobs.Add(job);
        job.Group = this;
    }

    /// <summary>No more jobs come: those that are there need not wait for others.</summary>
    public void Close()
    {
        lock (_jobs)
            _isClosed = true;
    }

    internal void GiveUp()
    {
        lock (_jobs)
            _jobs.ForEach(static j => j.GiveUp());
    }
}
