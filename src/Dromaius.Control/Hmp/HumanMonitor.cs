using System.Text;
using Dromaius.Core.Chardev;

namespace Dromaius.Control;

/// <summary>The human monitor (HMP) on a character device: banner, prompt, line editing around <see cref="HmpCommands"/>.</summary>
public sealed class HumanMonitor : ICharSink
{
    private const string Prompt = "(qemu) ";

    private readonly ICharBackend _backend;
    private readonly HmpCommands _commands;
    private readonly LineEditor _editor;
    private bool _greeted;
    private bool _muted;

    public HumanMonitor(ICharBackend backend, IMachineControl machine)
    {
        _backend = backend;
        _commands = new HmpCommands(machine);
        _editor = new LineEditor(Write, Run, _commands.Complete);
        _commands.History = () => _editor.History;
        backend.Sink = this;
    }

    public int CanReceive => 4096;

    public void Receive(ReadOnlySpan<byte> bytes)
    {
        foreach (var b in bytes)
            _editor.Input(b);
    }

    public void OnEvent(CharEvent e)
    {
        switch (e)
        {
            case CharEvent.Opened or CharEvent.FocusIn:
                _muted = false;
                // Programs that drive the monitor wait for this very line.
                if (!_greeted)
                    Write($"QEMU {Product.QemuMajor}.{Product.QemuMinor}.{Product.QemuMicro} monitor - type 'help' for more information\r\n");
                _greeted = true;
                _editor.ShowPrompt(Prompt);
                break;
            case CharEvent.FocusOut:
                if (!_muted && _greeted)
                    Write("\r\n");
                _muted = true;
                break;
            case CharEvent.Closed:
                _greeted = false;
                break;
        }
    }

    private void Run(string line)
    {
        var output = _commands.Execute(line);
        if (output.Length > 0)
            Write(output.Replace("\n", "\r\n"));
        if (!_muted && line.Trim() is not ("quit" or "q"))
            _editor.ShowPrompt(Prompt);
    }

    private void Write(string text) => _backend.Write(Encoding.UTF8.GetBytes(text));
}
