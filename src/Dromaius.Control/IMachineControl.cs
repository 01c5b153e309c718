using System.Text.Json.Nodes;
using Dromaius.Block;
using Dromaius.Block.Graph;
using Dromaius.Boards;
using Dromaius.Consoles;
using Dromaius.Core.Chardev;
using Dromaius.Core.Devices;
using Dromaius.Core.Errors;
using Dromaius.Core.Memory;
using Dromaius.Core.Time;
using Dromaius.Net;

namespace Dromaius.Control;

/// <summary>What monitors show of a processor.</summary>
/// <param name="Index">Number in the machine.</param>
/// <param name="ThreadId">The host's thread, or 0 when not known.</param>
/// <param name="Halted">Waits for an interrupt.</param>
/// <param name="ProgramCounter">Address of the next instruction, without the segment's base.</param>
public readonly record struct VcpuInfo(int Index, int ThreadId, bool Halted, ulong ProgramCounter);

/// <summary>An option of the command line with the names and types of its parameters.</summary>
public sealed record CommandLineOption(string Name, IReadOnlyList<(string Name, string Type)> Parameters);

/// <summary>What monitors ask of a machine. Every member is used under the machine lock.</summary>
public interface IMachineControl
{
    string? Name { get; }
    Guid Uuid { get; }

    /// <summary>The program's name as links spell it.</summary>
    string Target { get; }
    RunState State { get; }

    IReadOnlyList<VcpuInfo> Cpus { get; }
    AddressSpace Memory { get; }

    /// <summary>The I/O ports.</summary>
    AddressSpace Io { get; }
    ulong RamSize { get; }

    /// <summary>Every character device by id.</summary>
    IReadOnlyDictionary<string, ICharBackend> Chardevs { get; }

    /// <summary>Makes character devices; null for a machine that takes none.</summary>
    CharBackendFactory? ChardevFactory => null;

    /// <summary>Runs a command of the disk exerciser on an image; what it prints goes to standard output, and what it found wrong is given.</summary>
    string ExerciseImage(BlockNode image, string command) => throw new UserErrorException("images cannot be exercised");

    /// <summary>Sets the devices that firmware boots from after the next reset; false for a machine without such a list.</summary>
    bool TrySetBootOrder(string order) => false;

    /// <summary>Told under the machine lock.</summary>
    event Action<MachineEvent>? Happened;

    void Stop();

    void Continue();

    void Reset();

    /// <summary>Presses the power button.</summary>
    void PowerDown();

    /// <summary>Ends the emulator with status 0.</summary>
    void Quit();

    /// <summary>A non-maskable interrupt on every processor.</summary>
    void Nmi();

    /// <summary>The screens.</summary>
    DisplayList Displays { get; }

    /// <summary>Keyboards and mice.</summary>
    InputRouter Input { get; }

    /// <summary>Presses keys together and releases them after a time.</summary>
    void PressKeys(int[] codes, int holdMilliseconds);

    /// <summary>What the machine is made of; null for one that does not say.</summary>
    MachineDescription? Description => null;

    /// <summary>Every device.</summary>
    IReadOnlyList<Device> Devices => [];

    /// <summary>A property of the machine type as it was set, or null.</summary>
    string? MachineProperty(string name) => null;

    /// <summary>The options of the command line that take parameters.</summary>
    IReadOnlyList<CommandLineOption> CommandLineOptions => [];

    RebootAction OnReboot
    {
        get => RebootAction.Reset;
        set { }
    }

    ShutdownAction OnShutdown
    {
        get => ShutdownAction.Poweroff;
        set { }
    }

    PanicAction OnPanic
    {
        get => PanicAction.Shutdown;
        set { }
    }

    /// <summary>Makes a drive without a device, from what <c>-drive</c> takes.</summary>
    void AddDrive(string options) => throw new UserErrorException("the machine takes no drives");

    /// <summary>Plugs a device into the running machine.</summary>
    void PlugDevice(DeviceOption option) => throw new UserErrorException("the machine takes no devices");

    /// <summary>Takes a device out.</summary>
    void UnplugDevice(Device device) => throw new UserErrorException("the machine gives no devices away");

    /// <summary>The clock of the devices; null when it cannot be stepped.</summary>
    HostClock? SteppedClock => null;

    /// <summary>The drives and images; null for a machine without any.</summary>
    BlockGraph? Blocks => null;

    /// <summary>Objects that are no devices; null for a machine without any.</summary>
    UserObjects? Objects => null;

    /// <summary>The networks; null for a machine without any.</summary>
    NetworkSet? Networks => null;

    /// <summary>A register of a processor by name, in lower case.</summary>
    bool TryGetRegister(int cpu, string name, out ulong value)
    {
        value = 0;
        return false;
    }

    /// <summary>The physical address behind a virtual one.</summary>
    bool TryTranslate(int cpu, ulong address, out ulong physical)
    {
        physical = address;
        return true;
    }

    /// <summary>Whether a processor runs 16-, 32- or 64-bit code.</summary>
    int CodeBits(int cpu) => 64;

    /// <summary>The text of <c>info lapic</c>.</summary>
    string LocalApic(int cpu) => "";

    /// <summary>The text of <c>info jit</c>.</summary>
    string TranslatorStatistics => "";

    /// <summary>What can be logged.</summary>
    IReadOnlyList<(string Name, string Help)> LogItems => [];

    /// <summary>Sets what is logged, by names with commas; false if one is unknown.</summary>
    bool TrySetLog(string items) => false;

    /// <summary>Sends the log to a file.</summary>
    void OpenLog(string path) => throw new UserErrorException("there is no log");

    /// <summary>How far the last core file is.</summary>
    DumpProgress Dump { get; }

    /// <summary>Tells clients of the machine protocol that something happened.</summary>
    void RaiseEvent(string name, JsonObject? data)
    {
    }

    /// <summary>An event for clients of the machine protocol: its name and data.</summary>
    event Action<string, JsonObject?>? EventRaised
    {
        add { }
        remove { }
    }

    /// <summary>The registers of a processor as <c>info registers</c> lays them out.</summary>
    string Registers(int cpu);

    /// <summary>Reads through a processor's page tables, without side effects on them; false where nothing is mapped.</summary>
    bool TryReadVirtual(int cpu, ulong address, Span<byte> bytes);
}
