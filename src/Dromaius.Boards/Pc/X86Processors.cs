using Dromaius.Core.Cpus;
using Dromaius.Core.Errors;
using Dromaius.Core.Memory;
using Dromaius.Cpu.X86;
using Dromaius.Devices.Interrupts;
using Dromaius.Jit;

namespace Dromaius.Boards.Pc;

/// <summary>The processors of a PC with their local APICs.</summary>
internal sealed class X86Processors : IDisposable
{
    private const ulong DefaultCacheSize = 128UL << 20;

    private readonly Lock _machineLock;
    private readonly Engine _engine;
    private readonly X86Cpu[] _cpus;
    private readonly IVcpuRunner[] _runners;

    public X86Processors(Machine machine, CpuTopology topology, string defaultModel, AddressSpace smmMemory, ApicBus bus)
    {
        var options = machine.Options;
        _machineLock = machine.Lock;
        _cpus = new X86Cpu[topology.Cpus];
        _runners = new IVcpuRunner[topology.Cpus];
        _engine = new Engine(X86Layout.Layout, options.CodeCacheSize ?? DefaultCacheSize,
            options.Accelerator == AcceleratorKind.Interpreter, options.PerfMap);
        Model = ParseModel(options.Cpu ?? defaultModel, topology, _engine.HasWideVectors, options.Warn);
        _engine.TracesAlways = options.Traces == TraceKind.Always;
        for (var i = 0; i < _cpus.Length; i++)
        {
            var cpu = new X86Cpu(i, Model, machine.Memory, machine.Io, machine.VirtualClock)
            {
                SmmMemory = smmMemory,
                ApicId = (uint)topology.ApicId(i),
                IsAlone = topology.Cpus == 1,
            };
            _cpus[i] = cpu;
            cpu.Apic = new LocalApic(bus, cpu, (uint)topology.ApicId(i), i == 0, machine.VirtualClock, () => cpu.Tsc,
                cpu.TscToNanoseconds)
            {
                SupportsX2Apic = Model.Has(X86Feature.X2Apic),
                Present = Model.Has(X86Feature.Apic),
                PhysicalAddressBits = Model.PhysicalBits,
            };
            cpu.TripleFaulted += _ => machine.RequestReset(EventReason.GuestReset);
            cpu.Attach(_engine);
            _runners[i] = new X86Runner(cpu);
        }

        if (options.Traces == TraceKind.Hot)
            _engine.StartSampling();
    }

    public X86Model Model { get; }
    public IReadOnlyList<X86Cpu> Cpus => _cpus;
    public IReadOnlyList<IVcpuRunner> Runners => _runners;

    /// <summary>System management interrupts go to the bootstrap processor.</summary>
    public void RaiseSmi() => _cpus[0].Raise(CpuRequest.SystemManagement);

    /// <summary>Where FERR# goes; called under the machine lock.</summary>
    public void ConnectFpuError(Action raise)
    {
        foreach (var cpu in _cpus)
        {
            cpu.FpuError = () =>
            {
                lock (_machineLock)
                    raise();
            };
        }
    }

    public void SetA20(bool level)
    {
        foreach (var cpu in _cpus)
            cpu.A20Enabled = level;
    }

    public void Dispose()
    {
        foreach (var runner in _runners)
            runner.Dispose();
        _engine.Dispose();
    }

    private static X86Model ParseModel(string option, CpuTopology topology, bool hasWideVectors, Action<string> warn)
    {
        var model = X86Model.Parse(option, out var error) ?? throw new UserErrorException(error!);
        if (!hasWideVectors)
            model.DropWideVectors();
        foreach (var warning in model.Warnings)
            warn(warning);
        model.Cores = topology.Cores;
        model.Threads = topology.Threads;
        model.Dies = topology.Dies;
        if (topology.Cpus > 1 && !model.Has(X86Feature.Apic))
            throw new UserErrorException($"CPU model '{model.Name}' has no APIC: it works alone only");
        return model;
    }
}
