using System.Diagnostics;
using System.Text;
using System.Text.RegularExpressions;

namespace Dromaius.Guests;

/// <summary>A running emulator: its terminal as text, its end as a status. Killed when a test is done with it.</summary>
internal sealed class Emulator : IDisposable
{
    private readonly Process _process;
    private readonly StringBuilder _output = new();
    private readonly Stopwatch _watch = Stopwatch.StartNew();
    private readonly Thread[] _readers;

    public Emulator(params IEnumerable<string> arguments)
        : this("x86_64", arguments)
    {
    }

    public Emulator(string target, IEnumerable<string> arguments)
    {
        var start = new ProcessStartInfo(Artifacts.Emulator(target))
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        foreach (var argument in arguments)
            start.ArgumentList.Add(argument);
        CommandLine = string.Join(' ', start.ArgumentList);
        _process = Process.Start(start)!;
        _readers = [Collect(_process.StandardOutput.BaseStream), Collect(_process.StandardError.BaseStream)];
    }

    public string CommandLine { get; }

    public int ProcessId => _process.Id;

    public bool HasExited => _process.HasExited;

    /// <summary>Everything written so far.</summary>
    public string Output
    {
        get
        {
            lock (_output)
                return _output.ToString();
        }
    }

    public void Send(string text)
    {
        _process.StandardInput.Write(text);
        _process.StandardInput.Flush();
    }

    /// <summary>Waits until a text has been written; fails the test when the time is up or the emulator ends.</summary>
    public void WaitFor(string text, int seconds, int times = 1) => WaitUntil(() => Count(text) >= times, text, seconds);

    /// <summary>The same for a text that a regular expression describes.</summary>
    public void WaitFor(Regex pattern, int seconds) => WaitUntil(() => pattern.IsMatch(Output), pattern.ToString(), seconds);

    private void WaitUntil(Func<bool> came, string what, int seconds)
    {
        var limit = _watch.Elapsed + TimeSpan.FromSeconds(seconds);
        while (!came())
        {
            if (_process.HasExited)
            {
                Join();
                if (came())
                    return;
                Assert.Fail($"ended with status {_process.ExitCode} before '{what}' came:\n{Report()}");
            }

            if (_watch.Elapsed > limit)
                Assert.Fail($"'{what}' did not come within {seconds} s:\n{Report()}");
            Thread.Sleep(20);
        }
    }

    /// <summary>Waits for the end; fails the test when the time is up.</summary>
    public int WaitForExit(int seconds)
    {
        if (!_process.WaitForExit(seconds * 1000))
            Assert.Fail($"did not end within {seconds} s:\n{Report()}");
        Join();
        return _process.ExitCode;
    }

    /// <summary>Waits for the end and expects a status.</summary>
    public void ExpectExit(int status, int seconds)
    {
        var actual = WaitForExit(seconds);
        Assert.True(actual == status, $"status {actual}, expected {status}:\n{Report()}");
    }

    /// <summary>Processor time used so far.</summary>
    public TimeSpan ProcessorTime
    {
        get
        {
            _process.Refresh();
            return _process.TotalProcessorTime;
        }
    }

    /// <summary>Ends it as nothing that it could answer does; what it wrote until then can be read.</summary>
    public void Kill()
    {
        _process.Kill();
        _process.WaitForExit();
        Join();
    }

    public void Dispose()
    {
        if (!_process.HasExited)
            _process.Kill();
        _process.WaitForExit();
        _process.Dispose();
    }

    private int Count(string text)
    {
        var all = Output;
        var (count, at) = (0, 0);
        while ((at = all.IndexOf(text, at, StringComparison.Ordinal)) >= 0)
        {
            count++;
            at += text.Length;
        }

        return count;
    }

    private string Report()
    {
        var all = Output;
        return $"$ dromaius {CommandLine}\n{(all.Length > 4000 ? "..." + all[^4000..] : all)}";
    }

    private void Join()
    {
        foreach (var reader in _readers)
            reader.Join(2000);
    }

    private Thread Collect(Stream stream)
    {
        var thread = new Thread(() =>
        {
            var buffer = new byte[4096];
            int n;
            while ((n = stream.Read(buffer)) > 0)
            {
                lock (_output)
                    _output.Append(Encoding.Latin1.GetString(buffer, 0, n));
            }
        })
        {
            IsBackground = true,
        };
        thread.Start();
        return thread;
    }
}
