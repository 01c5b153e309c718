using System.Buffers.Binary;
using Dromaius.Core.Time;

namespace Dromaius.Net;

/// <summary>When an adapter's address is announced, in milliseconds between the rounds; the starting values are those of a migration.</summary>
public sealed record AnnounceSchedule
{
    public long Initial { get; init; } = 50;
    public long Max { get; init; } = 550;
    public long Rounds { get; init; } = 5;

    /// <summary>How much longer each wait is than the one before.</summary>
    public long Step { get; init; } = 100;

    /// <summary>The adapters; null for all.</summary>
    public IReadOnlyList<string>? Interfaces { get; init; }

    /// <summary>The wait after so many rounds, in nanoseconds.</summary>
    internal long WaitAfter(long rounds)
    {
        const long Longest = 86_400_000, NanosecondsPerMillisecond = 1_000_000;
        var wait = (Int128)Initial + ((Int128)(rounds - 1) * Step);
        if (wait < 0 || wait > Max)
            wait = Max;
        return (long)Int128.Clamp(wait, 0, Longest) * NanosecondsPerMillisecond;
    }
}

/// <summary>
/// <c>announce_self</c>: tells switches behind which port a guest's adapters are, by reverse address requests (RFC 903) in their name;
/// drivers that can do it better are asked to. Used under the machine lock.
/// </summary>
public sealed class Announcer(NetworkSet networks)
{
    private const int MaxSeries = 64;
    private readonly Dictionary<string, Series> _series = [];

    private Clock Clock => networks.Clock;

    /// <summary>Begins a series of rounds; one of the same name that is under way ends.</summary>
    public void Start(string name, AnnounceSchedule schedule)
    {
        if (_series.Remove(name, out var old))
            old.Cancel();
        if (schedule.Rounds <= 0 || _series.Count >= MaxSeries)
            return;
        var series = new Series(this, name, schedule);
        _series[name] = series;
        series.Round();
    }

    private void Announce(IReadOnlyList<string>? interfaces)
    {
        foreach (var nic in networks.Nics.Where(n => interfaces?.Contains(n.Name) != false))
        {
            _ = nic.Send(ReverseRequest(nic.Mac), default);
            nic.Adapter.Announce();
        }
    }

    private static byte[] ReverseRequest(MacAddress mac)
    {
        const int LeastFrame = 60;
        const ushort EtherRarp = 0x8035;
        const ulong EthernetIpv4 = 0x0001_0800_0604_0003;
        var frame = new byte[LeastFrame];
        MacAddress.Broadcast.Write(frame);
        mac.Write(frame.AsSpan(6));
        BinaryPrimitives.WriteUInt16BigEndian(frame.AsSpan(12), EtherRarp);
        BinaryPrimitives.WriteUInt64BigEndian(frame.AsSpan(14), EthernetIpv4);
        // Sender and target are the adapter itself; it does not say which IP addresses it has.
        mac.Write(frame.AsSpan(22));
        mac.Write(frame.AsSpan(32));
        return frame;
    }

    private sealed class Series
    {
        private readonly Announcer _owner;
        private readonly string _name;
        private readonly AnnounceSchedule _schedule;
        private readonly Dromaius.Core.Time.Timer _timer;
        private long _done;

        public Series(Announcer owner, string name, AnnounceSchedule schedule)
        {
            _owner = owner;
            _name = name;
            _schedule = schedule;
            _timer = owner.Clock.CreateTimer(Round);
        }

        public void Cancel() => _timer.Cancel();

        public void Round()
        {
            _owner.Announce(_schedule.Interfaces);
            if (++_done < _schedule.Rounds)
                _timer.Arm(_owner.Clock.Now + _schedule.WaitAfter(_done));
            else
                _owner._series.Remove(_name);
        }
    }
}
