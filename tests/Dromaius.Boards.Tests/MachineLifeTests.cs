using System.Diagnostics;
using Dromaius.Core.Cpus;
using Dromaius.Core.Errors;

namespace Dromaius.Boards.Tests;

/// <summary>States, events and threads of a machine, with processors that only count.</summary>
public class MachineLifeTests
{
    [Theory]
    [InlineData(1, false)]
    [InlineData(3, false)]
    [InlineData(3, true)]
    public void StopsContinuesAndEnds(int cpus, bool single)
    {
        using var machine = new FakeMachine(new MachineOptions { SingleThread = single }, cpus);
        machine.Start();
        machine.AllMove();
        machine.Stop();
        Assert.Equal(RunState.Paused, machine.State);
        var before = machine.Counts();
        var time = machine.VirtualClock.Now;
        Thread.Sleep(30);
        Assert.Equal(before, machine.Counts());
        Assert.Equal(time, machine.VirtualClock.Now);
        machine.Continue();
        machine.AllMove();
        machine.Quit();
        Assert.True(machine.WaitForEnd(TimeSpan.FromSeconds(10)));
        Assert.Equal(0, machine.ExitStatus);
        Assert.Equal(["Started", "Stopped", "Started", "Shutdown HostRequest"], machine.Events);
    }

    [Fact]
    public void ResetFromAProcessorResetsAll()
    {
        using var machine = new FakeMachine(new MachineOptions(), 2);
        machine.Start();
        machine.AllMove();
        machine.OnProcessor(0, () => machine.RequestReset(EventReason.GuestReset));
        Wait(() => machine.Fakes.All(static f => f.Resets == 2));
        machine.AllMove();
        Assert.Contains("Reset GuestReset", machine.Events);
        Assert.Equal(RunState.Running, machine.State);
    }

    [Fact]
    public void NoRebootEndsInstead()
    {
        using var machine = new FakeMachine(new MachineOptions { OnReboot = RebootAction.Shutdown }, 1);
        machine.Start();
        machine.OnProcessor(0, () => machine.RequestReset(EventReason.GuestReset));
        Assert.True(machine.WaitForEnd(TimeSpan.FromSeconds(10)));
        Assert.Equal(EventReason.GuestReset, machine.EndReason);
        Assert.Equal(0, machine.ExitStatus);
    }

    [Fact]
    public void NoShutdownPauses()
    {
        using var machine = new FakeMachine(new MachineOptions { OnShutdown = ShutdownAction.Pause }, 1);
        machine.Start();
        machine.OnProcessor(0, () => machine.RequestShutdown(EventReason.GuestShutdown));
        Wait(() => machine.State == RunState.Shutdown);
        Assert.Throws<UserErrorException>(machine.Continue);
        machine.RequestReset(EventReason.HostRequest);
        Wait(() => machine.State == RunState.Paused);
        machine.Continue();
        machine.AllMove();
        machine.Quit();
        Assert.True(machine.WaitForEnd(TimeSpan.FromSeconds(10)));
    }

    [Fact]
    public void StartsPausedWhenAsked()
    {
        using var machine = new FakeMachine(new MachineOptions { StartPaused = true }, 1);
        machine.Start();
        Thread.Sleep(20);
        Assert.Equal([0L], machine.Counts());
        Assert.Equal(RunState.PreLaunch, machine.State);
        machine.Continue();
        machine.AllMove();
    }

    [Fact]
    public void ExitStatusIsTheGuests()
    {
        using var machine = new FakeMachine(new MachineOptions(), 2);
        machine.Start();
        machine.OnProcessor(1, () => machine.RequestExit(33));
        Assert.True(machine.WaitForEnd(TimeSpan.FromSeconds(10)));
        Assert.Equal(33, machine.ExitStatus);
    }

    [Theory]
    [InlineData(PanicAction.Shutdown, 0)]
    [InlineData(PanicAction.ExitFailure, 1)]
    public void PanicEnds(PanicAction action, int status)
    {
        using var machine = new FakeMachine(new MachineOptions { OnPanic = action }, 1);
        machine.Start();
        machine.OnProcessor(0, machine.ReportGuestPanic);
        Assert.True(machine.WaitForEnd(TimeSpan.FromSeconds(10)));
        Assert.Equal(status, machine.ExitStatus);
    }

    [Fact]
    public void FaultsOfTheEmulatorEndIt()
    {
        using var machine = new FakeMachine(new MachineOptions(), 2);
        machine.Start();
        machine.OnProcessor(0, static () => throw new InvalidOperationException("a fault of ours"));
        Assert.True(machine.WaitForEnd(TimeSpan.FromSeconds(10)));
        Assert.Equal(1, machine.ExitStatus);
        Assert.Equal("a fault of ours", machine.Failure!.Message);
    }

    private static void Wait(Func<bool> condition)
    {
        var watch = Stopwatch.StartNew();
        while (!condition())
        {
            Assert.True(watch.Elapsed < TimeSpan.FromSeconds(10), "timed out");
            Thread.Sleep(1);
        }
    }

    private sealed class FakeMachine : Machine
    {
        public FakeMachine(MachineOptions options, int cpus)
            : base(options, null)
        {
            Fakes = [.. Enumerable.Range(0, cpus).Select(static i => new FakeRunner(i))];
            Happened += e => Events.Add(e.Kind is MachineEventKind.Started or MachineEventKind.Stopped ? $"{e.Kind}" : $"{e.Kind} {e.Reason}");
        }

        public List<string> Events { get; } = [];
        public FakeRunner[] Fakes { get; }
        public override IReadOnlyList<IVcpuRunner> Vcpus => Fakes;

        public long[] Counts() => [.. Fakes.Select(static f => f.Count)];

        /// <summary>Waits until every processor got further.</summary>
        public void AllMove()
        {
            var before = Counts();
            Wait(() => Counts().Zip(before).All(static p => p.First > p.Second));
        }

        public void OnProcessor(int index, Action action) => Fakes[index].Pending = action;

        public override void Nmi()
        {
        }

        protected override void PressPowerButton()
        {
        }
    }

    private sealed class FakeRunner(int index) : IVcpuRunner, IVcpu
    {
        private volatile bool _kicked;
        private long _count;

        public long Count => Interlocked.Read(ref _count);
        public int Resets { get; private set; }
        public Action? Pending { get; set; }
        public IVcpu Cpu => this;
        public ManualResetEventSlim WakeEvent { get; } = new(true);
        public int Index => index;
        public ulong ProgramCounter => 0;
        public bool IsHalted => false;

        public bool Run()
        {
            while (!_kicked)
            {
                Interlocked.Increment(ref _count);
                if (Pending is { } action)
                {
                    Pending = null;
                    action();
                }

                Thread.Yield();
            }

            _kicked = false;
            return true;
        }

        public void Kick() => _kicked = true;

        public void Wait(int milliseconds)
        {
        }

        public void Reset()
        {
            Resets++;
            _kicked = false;
        }

        public string Registers() => "";

        public bool TryReadVirtual(ulong address, Span<byte> bytes) => false;

        public void Raise(CpuRequest request)
        {
        }

        public void Lower(CpuRequest request)
        {
        }

        public void StartUp(byte vector)
        {
        }

        public void Dispose()
        {
        }
    }
}
