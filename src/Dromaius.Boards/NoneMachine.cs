using Dromaius.Core.Devices;
using Dromaius.Core.Time;

namespace Dromaius.Boards;

/// <summary>The empty machine: no processor, no device. Management tools start it to ask what the program can do.</summary>
internal sealed class NoneMachine(MachineOptions options, EventLoop? loop) : Machine(options, loop)
{
    public static MachineType Type { get; } = new()
    {
        Name = "none", Description = "empty machine", MaxCpus = 1, DefaultCpu = "", Create = static (options, loop) => new NoneMachine(options, loop),
    };

    public override IReadOnlyList<IVcpuRunner> Vcpus => [];

    public override MachineDescription Describe() => new()
    {
        Type = Type, Topology = new CpuTopology(1, 1, 1, 1, 1, 1), CpuModel = "", DeviceTypes = Pc.PcDeviceTypes.Registry,
    };

    public override void Nmi()
    {
    }

    protected override void PressPowerButton()
    {
    }
}
