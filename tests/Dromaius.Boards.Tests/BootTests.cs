using System.Text;
using Dromaius.Core.Chardev;

namespace Dromaius.Boards.Tests;

/// <summary>Machines that run: firmware of a few bytes, and SeaBIOS where it is installed.</summary>
public sealed class BootTests : IDisposable
{
    private readonly string _bios = Path.GetTempFileName();

    public void Dispose() => File.Delete(_bios);

    [Theory]
    [InlineData(AcceleratorKind.Translator, false)]
    [InlineData(AcceleratorKind.Interpreter, false)]
    [InlineData(AcceleratorKind.Translator, true)]
    public void FirmwareWritesToTheSerialPortAndExits(AcceleratorKind accelerator, bool single)
    {
        WriteBios(
            0xBA, 0xF8, 0x03,       // mov dx, 0x3F8
            0xB0, (byte)'H', 0xEE,  // mov al, 'H'; out dx, al
            0xB0, (byte)'i', 0xEE,
            0xB0, 0x10, 0xE6, 0xF4, // mov al, 16; out 0xF4, al
            0xF4, 0xEB, 0xFD);      // hlt; jmp back
        var serial = new RecordingBackend();
        using var machine = Machine.Create(Options(serial) with { Accelerator = accelerator, SingleThread = single, Smp = new() { Cpus = 2 } });
        machine.Start();
        Assert.True(machine.WaitForEnd(TimeSpan.FromSeconds(30)));
        Assert.Null(machine.Failure);
        Assert.Equal("Hi", serial.Text);
        Assert.Equal(33, machine.ExitStatus);
    }

    [Fact]
    public void TripleFaultResets()
    {
        // lidt with a limit of 0, then int3: no handler can be reached.
        WriteBios(0xFA, 0x2E, 0x0F, 0x01, 0x1E, 0x20, 0x00, 0xCC);
        using var machine = Machine.Create(Options(new RecordingBackend()) with { OnReboot = RebootAction.Shutdown });
        machine.Start();
        Assert.True(machine.WaitForEnd(TimeSpan.FromSeconds(30)));
        Assert.Equal(EventReason.GuestReset, machine.EndReason);
    }

    [Fact]
    public void SeaBiosReachesItsBootPhase()
    {
        if (!File.Exists("/usr/share/seabios/bios-256k.bin"))
            return;
        var debug = new RecordingBackend();
        using var machine = Machine.Create(new MachineOptions
        {
            Chardevs = new Dictionary<string, ICharBackend> { ["d"] = debug },
            Devices =
            [
                new DeviceOption("isa-debugcon", [new("iobase", "0x402"), new("chardev", "d")], "-device isa-debugcon"),
            ],
        });
        machine.Start();
        Assert.True(debug.WaitFor("No bootable device", TimeSpan.FromSeconds(60)), debug.Text);
        machine.Quit();
        Assert.True(machine.WaitForEnd(TimeSpan.FromSeconds(30)));
    }

    private MachineOptions Options(ICharBackend serial) => new()
    {
        Bios = _bios, Vga = VgaKind.None, Serial = [serial], RamSize = 16 << 20,
        Devices = [new DeviceOption("isa-debug-exit", [new("iobase", "0xf4")], "-device isa-debug-exit")],
    };

    /// <summary>A 64 KiB image with code at F000:0000, where the reset vector jumps.</summary>
    private void WriteBios(params byte[] code)
    {
        var image = new byte[0x10000];
        code.CopyTo(image, 0);
        byte[] jump = [0xEA, 0x00, 0x00, 0x00, 0xF0];
        jump.CopyTo(image, 0xFFF0);
        File.WriteAllBytes(_bios, image);
    }

    private sealed class RecordingBackend : ICharBackend
    {
        private readonly StringBuilder _text = new();

        public string Id => "d";
        public ICharSink? Sink { get; set; }

        public string Text
        {
            get
            {
                lock (_text)
                    return _text.ToString();
            }
        }

        public void Write(ReadOnlySpan<byte> bytes)
        {
            lock (_text)
            {
                _text.Append(Encoding.Latin1.GetString(bytes));
                Monitor.PulseAll(_text);
            }
        }

        public bool WaitFor(string text, TimeSpan timeout)
        {
            var end = DateTime.UtcNow + timeout;
            lock (_text)
            {
                while (!_text.ToString().Contains(text, StringComparison.Ordinal))
                {
                    var left = end - DateTime.UtcNow;
                    if (left <= TimeSpan.Zero || !Monitor.Wait(_text, left))
                        return _text.ToString().Contains(text, StringComparison.Ordinal);
                }

                return true;
            }
        }

        public void AcceptInput()
        {
        }

        public void Dispose()
        {
        }
    }
}
