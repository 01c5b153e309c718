using Dromaius.Devices.Storage.Ata;

namespace Dromaius.Boards.Pc;

/// <summary>Where IDE drives go: a channel for two, or a port of an AHCI controller for one.</summary>
/// <param name="Name">As <c>bus=</c> names it.</param>
/// <param name="Channel">The channel, or null.</param>
/// <param name="Controller">The port's controller, or null.</param>
/// <param name="Port">The port, or null.</param>
internal sealed record IdeBus(string Name, IdeChannel? Channel, Ahci? Controller, AhciPort? Port)
{
    public int Units => Channel != null ? 2 : 1;

    /// <summary>The drive at a place, or null.</summary>
    public AtaDevice? this[int unit] => Channel != null ? Channel[unit] : unit == 0 ? Port!.Device : null;

    public bool IsFull => Enumerable.Range(0, Units).All(i => this[i] != null);
}
