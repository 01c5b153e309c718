using Dromaius.Boards.Pc.Chipsets;
using Dromaius.Boards.Pc.Loaders;
using Dromaius.Core.Chardev;
using Dromaius.Core.Cpus;
using Dromaius.Core.Devices;
using Dromaius.Core.Errors;
using Dromaius.Core.Interrupts;
using Dromaius.Core.Memory;
using Dromaius.Core.Time;
using Dromaius.Cpu.X86;
using Dromaius.Devices.Firmware;
using Dromaius.Devices.Input;
using Dromaius.Devices.Interrupts;
using Dromaius.Devices.Isa;
using Dromaius.Devices.Parallel;
using Dromaius.Devices.Pci;
using Dromaius.Devices.Serial;
using Dromaius.Devices.Timers;
using Dromaius.Net;

namespace Dromaius.Boards.Pc;

/// <summary>
/// A PC: processors, memory, the AT's devices and a chip set. Wiring only.
/// </summary>
public sealed partial class PcMachine : Machine
{
    private const int SerialPorts = 4, ParallelPorts = 3;
    private static readonly ushort[] SerialBase = [0x3F8, 0x2F8, 0x3E8, 0x2E8];
    private static readonly int[] SerialIrq = [4, 3, 4, 3];
    private static readonly ushort[] ParallelBase = [0x378, 0x278, 0x3BC];
    private static readonly int[] ParallelIrq = [7, 5, 7];

    private readonly MachineType _type;
    private readonly PcBoard _board;
    private readonly PcProperties _properties;
    private readonly CpuTopology _topology;
    private readonly PcMemoryLayout _layout;
    private readonly PcMemory _memory;
    private readonly FirmwareFinder _firmware;
    private readonly X86Processors _processors;
    private readonly ApicBus _apicBus;
    private readonly IsaInterrupts _interrupts;
    private readonly PcChipset _chipset;
    private readonly Mc146818 _rtc;
    private readonly FwCfg _fwCfg;
    private readonly List<int> _serialInUse = [];
    private readonly List<int> _parallelInUse = [];
    private readonly HashSet<string> _chardevsInUse = [];
    private I8237? _dma;
    private int? _panicPort;
    private readonly NetworkSet _networks;
    private bool _booted;
    private string? _bootOrder;

    internal PcMachine(PcBoard board, MachineOptions options, EventLoop? loop)
        : base(options, loop)
    {
        _board = board;
        _type = MachineTypes.Get(options.Machine);
        _properties = PcProperties.Parse(options, _type.Name, board.Properties);
        _topology = CpuTopology.Resolve(options.Smp, _type.Name, _type.MaxCpus);
        if (options.RamSize == 0)
            throw new UserErrorException("-m 0: the machine needs memory");
        _layout = PcMemoryLayout.Split(options.RamSize, _properties.MaxRamBelow4G, board.SplitFrom, board.SplitTo);
        _firmware = new FirmwareFinder(options.FirmwarePath);
        if (options.Kernel == null && options.Initrd != null)
            throw new UserErrorException("-initrd only allowed with -kernel option");
        if (options.Kernel == null && options.Append != null)
            throw new UserErrorException("-append only allowed with -kernel option");
        var kernel = options.Kernel != null ? KernelLoader.Load(options, _layout) : null;

        using var transaction = MemoryTransaction.Begin();
        Drives = new PcDrives(options, Loop, board.IdeUnits);
        _networks = options.Networks ?? new NetworkSet(RealTimeClock, Lock);
        Happened += e => _networks.IsPaused = e.Kind switch
        {
            MachineEventKind.Started => false,
            MachineEventKind.Stopped => true,
            _ => _networks.IsPaused,
        };
        var biosName = "";
        var bios = HasFlash ? null : ReadBios(out biosName);
        _memory = new PcMemory(MemoryRoot, _layout, options.RamSize, bios, biosName, board.HasFirmwareInRam);
        AddFlash();
        var smmMemory = new AddressSpace("smm", _memory.Smm, Lock);
        _apicBus = new ApicBus(Lock);
        _apicBus.MapInto(MemoryRoot);
        _processors = new X86Processors(this, _topology, _type.DefaultCpu, smmMemory, _apicBus);

        _interrupts = AddInterruptControllers();

        _chipset = board.CreateChipset(this);
        if (_chipset.Acpi is { } acpi)
            acpi.SleepRequested = OnSleep;

        _rtc = new Mc146818(options.Rtc.FollowsVirtualTime ? VirtualClock : RealTimeClock, StartDate(options.Rtc));
        if (_properties.Rtc)
        {
            Add(_rtc);
            IoRoot.Add(0x70, _rtc.Ports);
            _rtc.AlarmFired = () => _chipset.Acpi?.RtcAlarm();
            _rtc.TimeSet = seconds => ReportClockSet(_rtc, seconds);
        }

        AddTimers();
        if (board.HasAtDevices)
            AddControllers();
        _chipset.AddStorage();

        PcCmos.Fill(_rtc, _topology, _layout);
        _fwCfg = Add(new FwCfg(Memory));
        IoRoot.Add(0x510, _fwCfg.Ports);
        IoRoot.Add(0x514, _fwCfg.DmaPorts);
        AddDisplay();
        AddNics();
        AddPorts();
        AddUserDevices();
        AddDefaultDrives();
        FillFirmwareConfig(kernel);
    }

    /// <summary>The root PCI bus.</summary>
    public PciBus PciBus => _chipset.Bus ?? throw new UserErrorException("No 'PCI' bus found");

    /// <summary>The processors.</summary>
    public IReadOnlyList<X86Cpu> Cpus => _processors.Cpus;
    public override IReadOnlyList<IVcpuRunner> Vcpus => _processors.Runners;

    public override void Nmi()
    {
        _apicBus.SetLint1(true);
        _apicBus.SetLint1(false);
    }

    public override void Dispose()
    {
        base.Dispose();
        // Transfers under way touch guest memory.
        Drives.Drain();
        _processors.Dispose();
        _memory.Dispose();
    }

    protected override void PressPowerButton() => _chipset.PressPowerButton();

    protected override void ResetBoard()
    {
        _chipset.Reset();
        _memory.Reset();
        _processors.SetA20(true);
        // A boot order for one boot only holds until the first reset.
        var order = !_booted && Options.Boot.Once is { } once ? once : _bootOrder ?? Options.Boot.Order;
        PcCmos.SetBootOrder(_rtc, order, _properties.FloppyBootCheck);
        _booted = true;
    }

    public override bool TrySetBootOrder(string order)
    {
        PcCmos.SetBootOrder(_rtc, order, _properties.FloppyBootCheck);
        _bootOrder = order;
        return true;
    }

    internal PcProperties Properties => _properties;

    internal PcMemoryLayout Layout => _layout;

    internal PcMemory Ram => _memory;

    internal IsaInterrupts Interrupts => _interrupts;

    internal X86Processors Processors => _processors;

    /// <summary>Takes a part of the chip set into the list of devices.</summary>
    internal T AddPart<T>(T device)
        where T : Device => Add(device);

    /// <summary>The memory modules' EEPROMs.</summary>
    internal SmBus AddEeproms(SmBus bus)
    {
        for (var i = 0; i < 8; i++)
            bus.Add(0x50 + i, Add(new SmBusEeprom()));
        return bus;
    }

    /// <summary>Drives an ISA interrupt with a device's line.</summary>
    internal Action<bool> Follow(int irq)
    {
        var driver = _interrupts.Driver(irq);
        return level => driver.Level = level;
    }

    private static DateTime StartDate(RtcOption rtc) => rtc.Base switch
    {
        RtcBase.LocalTime => DateTime.Now,
        RtcBase.Date => rtc.Date,
        _ => DateTime.UtcNow,
    };

    private byte[] ReadBios(out string name)
    {
        name = Options.Bios ?? _properties.Firmware ?? _board.Firmware(_properties);
        var path = _firmware.Find(name) ?? throw new UserErrorException($"could not load PC BIOS '{name}': No such file or directory");
        return HostFile.Read(path);
    }

    private void OnSleep(SleepState state)
    {
        // Only soft-off is offered; a guest that writes another sleep type is switched off too rather than left hanging.
        _ = state;
        RequestShutdown(EventReason.GuestShutdown);
    }

    private IsaInterrupts AddInterruptControllers()
    {
        var ioApics = new List<IoApic>();
        for (var i = 0; i < (!_board.HasIoApic ? 0 : _board == PcBoard.Microvm && _properties is { Acpi: true, IoApic2: true } ? 2 : 1); i++)
        {
            ioApics.Add(Add(new IoApic(_apicBus)));
            MemoryRoot.Add(IoApic.DefaultBase + ((ulong)i << 16), ioApics[i].Registers);
        }

        if (!_properties.Pic)
            return new IsaInterrupts(null, ioApics);
        var pic = Add(new I8259());
        pic.Intr.Connect(_apicBus.SetLint0);
        _apicBus.AcknowledgePic = pic.Acknowledge;
        IoRoot.Add(0x20, pic.MasterPorts);
        IoRoot.Add(0xA0, pic.SlavePorts);
        IoRoot.Add(0x4D0, pic.EdgeLevelPorts);
        return new IsaInterrupts(pic, ioApics);
    }

    private void AddTimers()
    {
        I8254? pit = null;
        if (_properties.Pit)
        {
            pit = Add(new I8254(VirtualClock));
            IoRoot.Add(0x40, pit.Ports);
            IoRoot.Add(0x61, Add(new PcSpeaker(pit, VirtualClock)).Port);
        }

        if (!_properties.Hpet || !_board.HasHpet)
        {
            pit?.Irq.Connect(Follow(0));
            _rtc.Irq.Connect(Follow(8));
            return;
        }

        var hpet = Add(new Hpet(VirtualClock, _board.HpetRoutes));
        MemoryRoot.Add(0xFED0_0000, hpet.Registers);
        hpet.TimerIrq.Connect(Follow(0));
        hpet.RtcIrq.Connect(Follow(8));
        for (var i = 0; i < IoApic.PinCount; i++)
            hpet.Irqs[i].Connect(Follow(i));
        if (pit != null)
        {
            hpet.LegacyReplacementChanged = legacy => pit.IrqDisabled = legacy;
            pit.Irq.Connect(level => hpet.SetIrq(0, level));
        }

        _rtc.Irq.Connect(level => hpet.SetIrq(1, level));
    }

    private void AddControllers()
    {
        _dma = Add(new I8237(Memory));
        IoRoot.Add(0x00, _dma.BytePorts);
        IoRoot.Add(0xC0, _dma.WordPorts);
        IoRoot.Add(0x80, _dma.PagePorts);
        IoRoot.Add(0x480, _dma.HighPagePorts);

        var coprocessor = Add(new CoprocessorError());
        IoRoot.Add(0xF0, coprocessor.Port);
        coprocessor.Irq.Connect(Follow(13));
        _processors.ConnectFpuError(coprocessor.Raise);

        var port92 = Add(new Port92());
        IoRoot.Add(0x92, port92.Port);
        port92.ResetRequested = () => RequestReset(EventReason.GuestReset);
        if (!_properties.I8042)
        {
            port92.A20.Connect(_processors.SetA20);
            return;
        }

        var keyboard = new Ps2Keyboard(VirtualClock);
        var mouse = new Ps2Mouse();
        Input.Register(keyboard);
        Input.Register(mouse);
        if (_properties.Vmport)
            AddBackdoor(mouse);
        var controller = Add(new I8042(keyboard, mouse));
        IoRoot.Add(0x60, controller.DataPort);
        IoRoot.Add(0x64, controller.CommandPort);
        controller.KeyboardIrq.Connect(Follow(1));
        controller.AuxIrq.Connect(Follow(12));
        controller.ResetRequested = () => RequestReset(EventReason.GuestReset);
        // Either port moves the gate; the other shows it.
        controller.A20.Connect(level =>
        {
            _processors.SetA20(level);
            port92.SetA20(level);
        });
        port92.A20.Connect(level =>
        {
            _processors.SetA20(level);
            controller.SetA20(level);
        });
    }

    /// <summary>The VMware backdoor, and the mouse behind it.</summary>
    private void AddBackdoor(Ps2Mouse mouse)
    {
        var registers = Cpus.Select(static c => new BackdoorRegisters(c)).ToArray();
        var port = Add(new VmPort(() => CurrentVcpu.Index is var i and >= 0 && i < registers.Length ? registers[i] : null, Options.RamSize, Uuid));
        IoRoot.Add(VmPort.PortNumber, port.Port);
        _ = Add(new VmMouse(port, mouse, Input));
    }

    private void AddPorts()
    {
        var serialPorts = _properties.IsaSerial ? Options.Serial.Count : 0;
        for (var i = 0; i < serialPorts; i++)
        {
            if (i >= SerialPorts)
                throw new UserErrorException("too many serial ports");
            if (Options.Serial[i] is { } backend)
                Add(AddSerial(i, backend, SerialBase[i], SerialIrq[i], null));
        }

        var parallelPorts = _board.HasAtDevices ? Options.Parallel.Count : 0;
        for (var i = 0; i < parallelPorts; i++)
        {
            if (i >= ParallelPorts)
                throw new UserErrorException("too many parallel ports");
            if (Options.Parallel[i] is { } backend)
                Add(AddParallel(i, backend, ParallelBase[i], ParallelIrq[i], null));
        }

        if (Options.DebugConsole is { } console)
            IoRoot.Add(0xE9, Add(new DebugConsole(console)).Port);
    }

    /// <summary>Makes and maps a serial port; the caller takes it into the list.</summary>
    internal Ns16550 AddSerial(int index, ICharBackend? backend, int port, int irq, string? id)
    {
        var serial = new Ns16550(backend, VirtualClock) { Id = id };
        serial.Irq.Connect(Follow(irq));
        IoRoot.Add((ulong)port, serial.Ports);
        _serialInUse.Add(index);
        return serial;
    }

    internal ParallelPort AddParallel(int index, ICharBackend? backend, int port, int irq, string? id)
    {
        var parallel = new ParallelPort(backend) { Id = id };
        parallel.Irq.Connect(Follow(irq));
        IoRoot.Add((ulong)port, parallel.Ports);
        _parallelInUse.Add(index);
        return parallel;
    }
}
