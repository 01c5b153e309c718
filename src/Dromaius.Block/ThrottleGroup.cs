using Dromaius.Core.Time;

namespace Dromaius.Block;

/// <summary>One limit: units a second on the average, and as a burst.</summary>
/// <param name="Average">Units a second; 0 for no limit.</param>
/// <param name="Max">Units a second during a burst; 0 for bursts of a tenth of a second at the average.</param>
/// <param name="MaxLength">Seconds that a burst may last.</param>
public readonly record struct ThrottleLimit(long Average, long Max, long MaxLength)
{
    public static readonly ThrottleLimit None = new(0, 0, 1);
}

/// <summary>Limits of the transfers of drives.</summary>
public sealed record ThrottleConfig
{
    public ThrottleLimit BytesTotal { get; init; } = ThrottleLimit.None;
    public ThrottleLimit BytesRead { get; init; } = ThrottleLimit.None;
    public ThrottleLimit BytesWrite { get; init; } = ThrottleLimit.None;
    public ThrottleLimit OperationsTotal { get; init; } = ThrottleLimit.None;
    public ThrottleLimit OperationsRead { get; init; } = ThrottleLimit.None;
    public ThrottleLimit OperationsWrite { get; init; } = ThrottleLimit.None;

    /// <summary>A transfer counts as one operation for each so many bytes; 0 for one whatever its size.</summary>
    public long OperationSize { get; init; }

    public bool IsActive => this is not { BytesTotal.Average: 0, BytesRead.Average: 0, BytesWrite.Average: 0, OperationsTotal.Average: 0,
        OperationsRead.Average: 0, OperationsWrite.Average: 0 };

    private IEnumerable<ThrottleLimit> All => [BytesTotal, BytesRead, BytesWrite, OperationsTotal, OperationsRead, OperationsWrite];

    /// <summary>Throws if limits contradict each other.</summary>
    public void Check()
    {
        const long Most = 1_000_000_000_000_000;
        if ((BytesTotal.Average != 0 && (BytesRead.Average != 0 || BytesWrite.Average != 0))
            || (OperationsTotal.Average != 0 && (OperationsRead.Average != 0 || OperationsWrite.Average != 0)))
            throw new BlockException(BlockError.Invalid, "bps/iops/max total values and read/write values cannot be used at the same time");
        if (OperationSize != 0 && OperationsTotal.Average == 0 && OperationsRead.Average == 0 && OperationsWrite.Average == 0)
            throw new BlockException(BlockError.Invalid, "iops size requires an iops value to be set");
        foreach (var limit in All)
        {
            if (limit.Average is < 0 or > Most || limit.Max is < 0 or > Most)
                throw new BlockException(BlockError.Invalid, $"bps/iops/max values must be within [0, {Most}]");
            if (limit.MaxLength < 1)
                throw new BlockException(BlockError.Invalid, "the burst length cannot be 0");
            if (limit is { Max: 0, MaxLength: > 1 })
                throw new BlockException(BlockError.Invalid, "burst length set without burst rate");
            if (limit.Max != 0 && limit.Average == 0)
                throw new BlockException(BlockError.Invalid, "bps_max/iops_max require corresponding bps/iops values");
            if (limit.Max != 0 && limit.Max < limit.Average)
                throw new BlockException(BlockError.Invalid, "bps_max/iops_max cannot be lower than bps/iops");
        }
    }
}

/// <summary>Leaky buckets that drives of a group share. Safe for several threads.</summary>
public sealed class ThrottleGroup(string name, Clock clock)
{
    private const double BurstWithoutMax = 0.1;
    private readonly double[] _levels = new double[6], _burstLevels = new double[6];
    private ThrottleConfig _config = new();
    private long _leakedAt = clock.Now;

    public string Name => name;
    public Clock Clock => clock;

    public ThrottleConfig Config
    {
        get => _config;
        set
        {
            lock (_levels)
            {
                _config = value;
                Array.Clear(_levels);
                Array.Clear(_burstLevels);
                _leakedAt = clock.Now;
            }
        }
    }

    private ThrottleLimit Limit(int index) => index switch
    {
        0 => _config.BytesTotal,
        1 => _config.BytesRead,
        2 => _config.BytesWrite,
        3 => _config.OperationsTotal,
        4 => _config.OperationsRead,
        _ => _config.OperationsWrite,
    };

    private static bool Concerns(int index, bool isWrite) => index % 3 == 0 || (index % 3 == 2) == isWrite;

    /// <summary>Begins a transfer if the limits allow it, from any thread; otherwise the nanoseconds to wait before trying again.</summary>
    public long TryBegin(bool isWrite, long bytes)
    {
        lock (_levels)
        {
            var wait = WaitFor(isWrite);
            if (wait == 0)
                Count(isWrite, bytes);
            return wait;
        }
    }

    /// <summary>Nanoseconds until the next transfer may begin; 0 for now.</summary>
    public long WaitFor(bool isWrite)
    {
        lock (_levels)
            return Wait(isWrite);
    }

    private long Wait(bool isWrite)
    {
        Leak();
        var wait = 0.0;
        for (var i = 0; i < _levels.Length; i++)
        {
            var limit = Limit(i);
            if (limit.Average == 0 || !Concerns(i, isWrite))
                continue;
            var size = limit.Max == 0 ? limit.Average * BurstWithoutMax : (double)limit.Max * limit.MaxLength;
            wait = Math.Max(wait, (_levels[i] - size) / limit.Average);
            // A long burst is held to its own rate as well.
            if (limit.MaxLength > 1)
                wait = Math.Max(wait, (_burstLevels[i] - (limit.Max * BurstWithoutMax)) / limit.Max);
        }

        return wait <= 0 ? 0 : (long)(Math.Min(wait, int.MaxValue) * Clock.NanosecondsPerSecond) + 1;
    }

    /// <summary>A transfer begins.</summary>
    public void Count(bool isWrite, long bytes)
    {
        lock (_levels)
            AddUnits(isWrite, bytes);
    }

    private void AddUnits(bool isWrite, long bytes)
    {
        var operations = _config.OperationSize > 0 ? Math.Max(1, (double)bytes / _config.OperationSize) : 1;
        for (var i = 0; i < _levels.Length; i++)
        {
            if (!Concerns(i, isWrite))
                continue;
            var units = i < 3 ? bytes : operations;
            _levels[i] += units;
            _burstLevels[i] += units;
        }
    }

    private void Leak()
    {
        var now = clock.Now;
        var seconds = (now - _leakedAt) / (double)Clock.NanosecondsPerSecond;
        _leakedAt = now;
        for (var i = 0; i < _levels.Length; i++)
        {
            var limit = Limit(i);
            _levels[i] = limit.Average == 0 ? 0 : Math.Max(0, _levels[i] - (limit.Average * seconds));
            _burstLevels[i] = limit.Max == 0 ? 0 : Math.Max(0, _burstLevels[i] - (limit.Max * seconds));
        }
    }
}
