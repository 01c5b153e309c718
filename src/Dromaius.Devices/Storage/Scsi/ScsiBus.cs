using Dromaius.Core.Errors;

namespace Dromaius.Devices.Storage.Scsi;

/// <summary>
/// A SCSI bus: logical units by channel, target and unit number, and the controller that wants to hear when they come, go and
/// change. Source: T10 SAM-4.
/// </summary>
/// <param name="name">As <c>bus=</c> names it.</param>
/// <param name="maxChannel">The highest channel.</param>
/// <param name="maxTarget">The highest target.</param>
/// <param name="maxLun">The highest logical unit.</param>
public sealed class ScsiBus(string name, int maxChannel, int maxTarget, int maxLun)
{
    private readonly List<ScsiTarget> _units = [];

    public string Name => name;
    public IReadOnlyList<ScsiTarget> Units => _units;

    /// <summary>A unit came while the machine runs.</summary>
    public Action<ScsiTarget>? Plugged { get; set; }

    /// <summary>A unit goes; its tasks must end before the call returns.</summary>
    public Action<ScsiTarget>? Unplugging { get; set; }

    /// <summary>A unit's medium or size changed.</summary>
    public Action<ScsiTarget, ScsiSense>? Changed { get; set; }

    /// <summary>The first unit of a place, or null.</summary>
    public ScsiTarget? Find(int channel, int target, int lun) =>
        _units.Find(u => u.Channel == channel && u.TargetId == target && u.Lun == lun);

    /// <summary>The unit, or else one of the same target, which answers for units that are not there; null without a target.</summary>
    public ScsiTarget? Answering(int channel, int target, int lun)
    {
        ScsiTarget? other = null;
        foreach (var unit in _units)
        {
            if (unit.Channel != channel || unit.TargetId != target)
                continue;
            if (unit.Lun == lun)
                return unit;
            other ??= unit;
        }

        return other;
    }

    public IEnumerable<ScsiTarget> UnitsOf(int channel, int target) => _units.Where(u => u.Channel == channel && u.TargetId == target);

    /// <summary>Puts a unit in its place.</summary>
    /// <param name="unit">The unit.</param>
    /// <param name="channel">Its channel.</param>
    /// <param name="target">Its target; -1 for the first that is free.</param>
    /// <param name="lun">Its number in the target; -1 for unit 0 of a free target, or the first free one of a given target.</param>
    public void Add(ScsiTarget unit, long channel, long target, long lun)
    {
        if (channel > maxChannel)
            throw new UserErrorException($"bad scsi channel id: {channel}");
        if (target > maxTarget)
            throw new UserErrorException($"bad scsi device id: {target}");
        if (lun > maxLun)
            throw new UserErrorException($"bad scsi device lun: {lun}");
        var (c, t, l) = ((int)channel, (int)target, (int)lun);
        if (t < 0)
        {
            l = Math.Max(l, 0);
            do
            {
                if (++t > maxTarget)
                    throw new UserErrorException("no free target");
            }
            while (Find(c, t, l) != null);
        }
        else if (l < 0)
        {
            do
            {
                if (++l > maxLun)
                    throw new UserErrorException("no free lun");
            }
            while (Find(c, t, l) != null);
        }
        else if (Find(c, t, l) is { } other)
            throw new UserErrorException($"lun already used by '{other.Id}'");

        unit.Channel = c;
        unit.TargetId = t;
        unit.Lun = l;
        unit.Bus = this;
        _units.Add(unit);
    }

    /// <summary>Tells the controller of a unit that was added while the machine runs.</summary>
    public void AnnouncePlugged(ScsiTarget unit)
    {
        foreach (var other in _units)
        {
            if (other != unit)
                other.Attention(ScsiSense.UnitsChanged);
        }

        Plugged?.Invoke(unit);
    }

    public void Remove(ScsiTarget unit)
    {
        if (unit.Bus != this)
            return;
        Unplugging?.Invoke(unit);
        _ = _units.Remove(unit);
        unit.Bus = null;
        foreach (var other in _units)
            other.Attention(ScsiSense.UnitsChanged);
    }

    /// <summary>A reset of the bus, as every unit sees it.</summary>
    public void Reset()
    {
        foreach (var unit in _units)
            unit.Reset(ScsiSense.BusReset);
    }

    internal void ReportChange(ScsiTarget unit, ScsiSense sense) => Changed?.Invoke(unit, sense);
}
