using System.Collections.Concurrent;
using Dromaius.Core.Chardev;
using Dromaius.Core.Errors;
using Dromaius.Core.Processes;
using Dromaius.Core.Sockets;

namespace Dromaius.Net.User;

/// <summary>
/// <c>guestfwd</c>: connections of the guest's to an address of the network that are answered by a program, started for each, or by a
/// character device, which all of them share.
/// </summary>
internal static class GuestForward
{
    private const int BufferSize = 16 << 10;

    /// <summary>Adds a rule <c>[tcp]:server:port-device</c> or <c>[tcp]:server:port-cmd:command</c>.</summary>
    public static void Add(NetworkSet networks, UserBackend backend, string rule)
    {
        UserErrorException Bad() => new($"Invalid guest forwarding rule '{rule}'");
        var parts = rule.Split(':', 3);
        if (parts.Length < 3 || parts[0] is not ("" or "tcp"))
            throw Bad();
        var dash = parts[2].IndexOf('-');
        if (dash < 0 || !UserNetOptions.TryPort(parts[2][..dash], out var port) || port == 0)
            throw Bad();
        var address = 0u;
        if (parts[1].Length > 0 && !UserNetOptions.TryIpv4(parts[1], out address))
            throw Bad();
        var settings = backend.Settings;
        if (address == 0)
            address = settings.Network | (0x0204 & ~settings.Mask);
        if (!settings.IsOnNetwork(address) || address == settings.Host || address == settings.Dns)
            throw new UserErrorException($"Conflicting/invalid host:port in guest forwarding rule '{rule}'");
        var device = parts[2][(dash + 1)..];
        Func<int> open;
        if (device.StartsWith("cmd:", StringComparison.Ordinal))
        {
            if (ShellWords.Split(device[4..]) is not { Count: > 0 } words)
                throw Bad();
            open = () => StartProgram(words);
        }
        else
        {
            if (networks.OpenChardev is not { } make)
                throw new UserErrorException($"Could not open guest forwarding device '{device}'");
            var chardev = new SharedDevice(make(device), networks.MachineLock);
            open = chardev.Open;
        }

        _ = backend.WithStack(s =>
        {
            s.Tcp.AddTarget(HostEndpoint.OfIpv4(address, port), open);
            return 0;
        });
    }

    /// <summary>Starts a program whose standard input and output are a connection: its other end, or a negative error number.</summary>
    internal static int StartProgram(IReadOnlyList<string> words)
    {
        if (!HostSocket.TryOpenLoopbackPair(out var ours, out var theirs))
            return -HostSocket.Econnrefused;
        HostSocket.SetNoDelay(ours);
        HostSocket.SetNoDelay(theirs);
        HostSocket.SetBlocking(theirs);
        var started = SocketProgram.Start(words, theirs);
        HostSocket.Close(theirs);
        if (started)
            return ours;
        HostSocket.Close(ours);
        return -HostSocket.Econnrefused;
    }

    private delegate int Reader(Span<byte> buffer);

    private delegate bool Writer(ReadOnlySpan<byte> bytes);

    private static void Copy(Reader read, Writer write)
    {
        var buffer = new byte[BufferSize];
        try
        {
            int n;
            while ((n = read(buffer)) > 0)
            {
                if (!write(buffer.AsSpan(0, n)))
                    return;
            }
        }
        catch (Exception e) when (e is IOException or ObjectDisposedException)
        {
            // The program is gone, and with it the connection.
        }
    }

    private static void Pump(string name, Action action) => new Thread(() => action()) { IsBackground = true, Name = name }.Start();

    /// <summary>The far end of a socket pair, used by one thread that reads and one that writes.</summary>
    private sealed class PairStream(int fd)
    {
        private readonly Poller _readable = Watch(fd);
        private readonly Poller _writable = Watch(fd);
        private int _users = 2;

        public int Read(Span<byte> buffer)
        {
            int n;
            while ((n = HostSocket.Receive(fd, buffer)) == -HostSocket.Eagain)
                _ = _readable.Wait(1000);
            return n;
        }

        public bool Write(ReadOnlySpan<byte> bytes)
        {
            while (!bytes.IsEmpty)
            {
                var n = HostSocket.Send(fd, bytes);
                if (n == -HostSocket.Eagain)
                    _ = _writable.Wait(1000);
                else if (n < 0)
                    return false;
                else
                    bytes = bytes[n..];
            }

            return true;
        }

        public void EndWriting() => HostSocket.ShutdownSend(fd);

        /// <summary>A thread is done with it; the second one closes it.</summary>
        public void Release()
        {
            if (Interlocked.Decrement(ref _users) != 0)
                return;
            HostSocket.Close(fd);
            _readable.Dispose();
            _writable.Dispose();
        }

        private static Poller Watch(int fd)
        {
            var poller = new Poller();
            _ = poller.Watch(fd, 0);
            return poller;
        }
    }

    /// <summary>A character device that the connections share: what it says goes to the newest of them.</summary>
    private sealed class SharedDevice : ICharSink
    {
        private const int MaxQueued = 16;
        private readonly ICharBackend _device;
        private readonly Lock _machineLock;
        private BlockingCollection<byte[]>? _queue;

        public SharedDevice(ICharBackend device, Lock machineLock)
        {
            _device = device;
            _machineLock = machineLock;
            device.Sink = this;
        }

        public int CanReceive => _queue is { IsAddingCompleted: false, Count: < MaxQueued } ? 4096 : 0;

        public int Open()
        {
            if (!HostSocket.TryOpenPair(out var ours, out var theirs))
                return -HostSocket.Econnrefused;
            var stream = new PairStream(theirs);
            var queue = new BlockingCollection<byte[]>();
            Interlocked.Exchange(ref _queue, queue)?.CompleteAdding();
            Pump("guestfwd in", () =>
            {
                Copy(stream.Read, b =>
                {
                    lock (_machineLock)
                        _device.Write(b);
                    return true;
                });
                queue.CompleteAdding();
                stream.Release();
            });
            Pump("guestfwd out", () =>
            {
                Accept();
                foreach (var bytes in queue.GetConsumingEnumerable())
                {
                    if (!stream.Write(bytes))
                        break;
                    Accept();
                }

                stream.EndWriting();
                stream.Release();
            });
            return ours;
        }

        public void Receive(ReadOnlySpan<byte> bytes)
        {
            if (_queue is { IsAddingCompleted: false } queue)
            {
                try
                {
                    _ = queue.TryAdd(bytes.ToArray());
                }
                catch (InvalidOperationException)
                {
                    // The connection ended just now.
                }
            }
        }

        public void OnEvent(CharEvent e)
        {
            if (e == CharEvent.Closed)
                _queue?.CompleteAdding();
        }

        private void Accept()
        {
            lock (_machineLock)
                _device.AcceptInput();
        }
    }
}
