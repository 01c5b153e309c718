namespace Dromaius.Core.Devices;

/// <summary>
/// Anything that hangs on a bus. A device knows its registers, its lines and its backends, and nothing of where it sits: the
/// board wires it. All calls come under the machine lock.
/// </summary>
public abstract class Device
{
    /// <summary>The user's name for it (<c>id=</c>), or null.</summary>
    public string? Id { get; init; }

    /// <summary>The values it was made with; null for a board's own parts.</summary>
    public DeviceArguments? Arguments { get; internal set; }

    /// <summary>The type's name as <c>-device</c> spells it.</summary>
    public abstract string TypeName { get; }

    /// <summary>Power-on or system reset: every register back to its datasheet value.</summary>
    public virtual void Reset()
    {
    }
}
