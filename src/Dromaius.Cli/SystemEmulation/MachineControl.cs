using System.Text.Json.Nodes;
using Dromaius.Block;
using Dromaius.Block.Graph;
using Dromaius.Boards;
using Dromaius.Consoles;
using Dromaius.Control;
using Dromaius.Core.Chardev;
using Dromaius.Core.Devices;
using Dromaius.Core.Memory;
using Dromaius.Core.Time;
using Dromaius.Net;
using Dromaius.Devices.Virtio;

namespace Dromaius.Cli.SystemEmulation;

/// <summary>A machine as monitors handle it.</summary>
internal sealed class MachineControl(Machine machine, string target, IReadOnlyDictionary<string, ICharBackend> chardevs) : IMachineControl
{
    public string? Name => machine.Name;
    public Guid Uuid => machine.Uuid;
    public string Target => target;
    public RunState State => machine.State;
    public AddressSpace Memory => machine.Memory;
    public AddressSpace Io => machine.Io;
    public ulong RamSize => machine.Options.RamSize;
    public IReadOnlyDictionary<string, ICharBackend> Chardevs => chardevs;

    public IReadOnlyList<VcpuInfo> Cpus
    {
        get
        {
            var list = new List<VcpuInfo>();
            foreach (var vcpu in machine.Vcpus)
                list.Add(new VcpuInfo(vcpu.Cpu.Index, machine.ThreadOf(vcpu.Cpu.Index), vcpu.Cpu.IsHalted, vcpu.Cpu.ProgramCounter));
            return list;
        }
    }

    public event Action<MachineEvent>? Happened
    {
        add => machine.Happened += value;
        remove => machine.Happened -= value;
    }

    public MachineDescription? Description { get; } = machine.Describe();
    public IReadOnlyList<Device> Devices => machine.Devices;

    public IReadOnlyList<CommandLineOption> CommandLineOptions => OptionParameters.All;

    public RebootAction OnReboot
    {
        get => machine.OnReboot;
        set => machine.OnReboot = value;
    }

    public ShutdownAction OnShutdown
    {
        get => machine.OnShutdown;
        set => machine.OnShutdown = value;
    }

    public PanicAction OnPanic
    {
        get => machine.OnPanic;
        set => machine.OnPanic = value;
    }

    public event Action<string, JsonObject?>? EventRaised;

    public string? MachineProperty(string name) => machine.Options.MachineProperties.LastOrDefault(p => p.Key == name).Value;

    public HostClock? SteppedClock => machine.VirtualClock.IsStepped ? machine.VirtualClock : null;

    public BlockGraph? Blocks => machine.Options.Blocks;
    public UserObjects? Objects => machine.Options.Objects;
    public NetworkSet? Networks => machine.Options.Networks;
    public string TranslatorStatistics => machine.TranslatorStatistics;
    public IReadOnlyList<(string Name, string Help)> LogItems => LogOption.Items;

    public bool TryGetRegister(int cpu, string name, out ulong value)
    {
        value = 0;
        return cpu < machine.Vcpus.Count && machine.Vcpus[cpu].TryGetRegister(name, out value);
    }

    public bool TryTranslate(int cpu, ulong address, out ulong physical)
    {
        physical = address;
        return cpu < machine.Vcpus.Count && machine.Vcpus[cpu].TryTranslate(address, out physical);
    }

    public int CodeBits(int cpu) => cpu < machine.Vcpus.Count ? machine.Vcpus[cpu].CodeBits : 64;

    public string LocalApic(int cpu) => cpu < machine.Vcpus.Count ? machine.Vcpus[cpu].DescribeApic() : "";

    public DumpProgress Dump { get; } = new();

    public bool TrySetLog(string items) => LogOption.TrySet(items);

    public void OpenLog(string path) => LogOption.OpenFile(path);

    public void RaiseEvent(string name, JsonObject? data) => EventRaised?.Invoke(name, data);

    /// <summary>Makes a drive of the text of a <c>-drive</c> option.</summary>
    public Action<string>? DriveMaker { get; init; }

    public CharBackendFactory? ChardevFactory { get; init; }

    public string ExerciseImage(BlockNode image, string command) => DiskTools.IoSession.Execute(image, command);

    public bool TrySetBootOrder(string order) => machine.TrySetBootOrder(order);

    public void AddDrive(string options) => (DriveMaker ?? throw new InvalidOperationException("no drives can be made"))(options);

    public void PlugDevice(DeviceOption option) => machine.PlugDevice(option);

    public void UnplugDevice(Device device) => machine.UnplugDevice(device);

    /// <summary>Tells monitors of a device that is gone.</summary>
    public void ReportDeleted(Device device)
    {
        var path = device.Id != null ? $"/machine/peripheral/{device.Id}" : "/machine/unattached";
        if (device is VirtioPci)
            EventRaised?.Invoke("DEVICE_DELETED", new JsonObject { ["path"] = path + "/virtio-backend" });
        var data = new JsonObject { ["path"] = path };
        if (device.Id is { } id)
            data["device"] = id;
        EventRaised?.Invoke("DEVICE_DELETED", data);
    }

    public void Stop() => machine.Stop();

    public void Continue() => machine.Continue();

    public void Reset() => machine.RequestReset(EventReason.HostReset);

    public void PowerDown() => machine.PowerDown();

    public void Quit() => machine.Quit();

    public void Nmi() => machine.Nmi();

    public DisplayList Displays => machine.Displays;
    public InputRouter Input => machine.Input;

    public void PressKeys(int[] codes, int holdMilliseconds) => machine.Keys.Press(codes, holdMilliseconds);

    public string Registers(int cpu) => machine.Vcpus[cpu].Registers();

    public bool TryReadVirtual(int cpu, ulong address, Span<byte> bytes) => machine.Vcpus[cpu].TryReadVirtual(address, bytes);
}
