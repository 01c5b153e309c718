using System.Buffers.Binary;
using System.Globalization;
using System.Text;

namespace Dromaius.Net.User;

/// <summary>
/// Serves the files of one folder for reading, in octet mode, with the block size, transfer size and time-out options. Sources:
/// RFC 1350, 2347, 2348, 2349.
/// </summary>
internal sealed class TftpServer(UserStack stack) : IDisposable
{
    private const ushort ReadRequest = 1, Data = 3, Acknowledge = 4, Error = 5, OptionAcknowledge = 6;
    private const int MaxSessions = 20, DefaultBlock = 512, MaxBlock = 1428;
    private const long IdleMilliseconds = 30_000;
    private const ushort ErrorNotFound = 1, ErrorAccess = 2, ErrorIllegal = 4, ErrorUnknown = 5;

    private readonly List<Session> _sessions = [];

    public void Input(UInt128 client, ushort port, UInt128 server, ReadOnlySpan<byte> message)
    {
        if (message.Length < 2)
            return;
        switch (BinaryPrimitives.ReadUInt16BigEndian(message))
        {
            case ReadRequest:
                Start(new Session { Client = client, Port = port, Server = server }, message[2..]);
                break;
            case Acknowledge when message.Length >= 4 && Find(client, port) is { } session:
                OnAcknowledge(session, BinaryPrimitives.ReadUInt16BigEndian(message[2..]));
                break;
            case Error when Find(client, port) is { } session:
                End(session);
                break;
        }
    }

    public void Dispose()
    {
        foreach (var session in _sessions)
            session.File?.Dispose();
        _sessions.Clear();
    }

    private Session? Find(UInt128 client, ushort port) => _sessions.Find(s => s.Client == client && s.Port == port);

    private void Start(Session session, ReadOnlySpan<byte> request)
    {
        if (Find(session.Client, session.Port) is { } old)
            End(old);
        var now = stack.Now;
        foreach (var idle in _sessions.Where(s => now - s.Used > IdleMilliseconds).ToArray())
            End(idle);
        if (_sessions.Count >= MaxSessions)
            End(_sessions.MinBy(static s => s.Used)!);

        var words = Encoding.UTF8.GetString(request).Split('\0');
        if (words.Length < 3)
            return;
        if (!words[1].Equals("octet", StringComparison.OrdinalIgnoreCase))
        {
            Fail(session, ErrorIllegal, "Unsupported transfer mode");
            return;
        }

        if (stack.Settings.TftpFolder is not { } folder || !IsSafe(words[0]))
        {
            Fail(session, ErrorAccess, "Access violation");
            return;
        }

        try
        {
            // What is not a plain file could block the network's thread.
            var path = Path.Combine(folder, words[0].TrimStart('/'));
            if (!File.Exists(path))
                throw new FileNotFoundException();
            session.File = File.OpenHandle(path);
            session.Length = RandomAccess.GetLength(session.File);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            session.File?.Dispose();
            Fail(session, ErrorNotFound, "File not found");
            return;
        }

        session.Used = now;
        _sessions.Add(session);
        if (!SendOptions(session, words))
            SendBlock(session, 0);
    }

    /// <summary>A name of the guest's must stay inside the folder.</summary>
    private static bool IsSafe(string name) =>
        name.Length > 0 && !name.EndsWith('/') && !name.Split('/').Contains("..");

    /// <summary>Agrees to options; false if there are none.</summary>
    private bool SendOptions(Session session, string[] words)
    {
        var text = new StringBuilder();
        for (var i = 2; i + 1 < words.Length; i += 2)
        {
            if (!int.TryParse(words[i + 1], NumberStyles.None, CultureInfo.InvariantCulture, out var value))
                continue;
            switch (words[i].ToLowerInvariant())
            {
                case "tsize" when value == 0:
                    text.Append(CultureInfo.InvariantCulture, $"tsize\0{session.Length}\0");
                    break;
                case "timeout" when value is > 0 and < 256:
                    text.Append(CultureInfo.InvariantCulture, $"timeout\0{value}\0");
                    break;
                case "blksize" when value >= 8:
                    session.BlockSize = Math.Min(value, MaxBlock);
                    text.Append(CultureInfo.InvariantCulture, $"blksize\0{session.BlockSize}\0");
                    break;
            }
        }

        if (text.Length == 0)
            return false;
        Span<byte> datagram = stackalloc byte[Protocol.UdpHeader + 256];
        BinaryPrimitives.WriteUInt16BigEndian(datagram[Protocol.UdpHeader..], OptionAcknowledge);
        var n = Encoding.ASCII.GetBytes(text.ToString().AsSpan(0, Math.Min(text.Length, 250)), datagram[(Protocol.UdpHeader + 2)..]);
        Send(session, datagram[..(Protocol.UdpHeader + 2 + n)]);
        return true;
    }

    private void OnAcknowledge(Session session, ushort block)
    {
        session.Used = stack.Now;
        // Block numbers wrap; the client can only mean the last block or the one before.
        var last = (ushort)session.Block;
        if (block == last)
        {
            if (session.IsLast)
                End(session);
            else
                SendBlock(session, session.Block);
        }
        else if (session.Block > 0 && (ushort)(block + 1) == last)
            SendBlock(session, session.Block - 1);
    }

    /// <summary>Sends the block after so many.</summary>
    private void SendBlock(Session session, long before)
    {
        Span<byte> datagram = stackalloc byte[Protocol.UdpHeader + 4 + MaxBlock];
        var n = 0;
        try
        {
            var wanted = datagram.Slice(Protocol.UdpHeader + 4, session.BlockSize);
            for (int got; n < wanted.Length; n += got)
            {
                got = RandomAccess.Read(session.File!, wanted[n..], (before * session.BlockSize) + n);
                if (got == 0)
                    break;
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            Fail(session, ErrorUnknown, "Read error");
            End(session);
            return;
        }

        session.Block = before + 1;
        session.IsLast = n < session.BlockSize;
        BinaryPrimitives.WriteUInt16BigEndian(datagram[Protocol.UdpHeader..], Data);
        BinaryPrimitives.WriteUInt16BigEndian(datagram[(Protocol.UdpHeader + 2)..], (ushort)session.Block);
        Send(session, datagram[..(Protocol.UdpHeader + 4 + n)]);
    }

    private void Fail(Session session, ushort code, string message)
    {
        Span<byte> datagram = stackalloc byte[Protocol.UdpHeader + 64];
        datagram.Clear();
        BinaryPrimitives.WriteUInt16BigEndian(datagram[Protocol.UdpHeader..], Error);
        BinaryPrimitives.WriteUInt16BigEndian(datagram[(Protocol.UdpHeader + 2)..], code);
        var n = Encoding.ASCII.GetBytes(message, datagram[(Protocol.UdpHeader + 4)..]);
        Send(session, datagram[..(Protocol.UdpHeader + 4 + n + 1)]);
    }

    private void Send(Session session, Span<byte> datagram) =>
        stack.SendDatagram(session.Server, Protocol.PortTftp, session.Client, session.Port, datagram);

    private void End(Session session)
    {
        session.File?.Dispose();
        _sessions.Remove(session);
    }

    private sealed class Session
    {
        public UInt128 Client { get; init; }
        public ushort Port { get; init; }
        public UInt128 Server { get; init; }
        public Microsoft.Win32.SafeHandles.SafeFileHandle? File { get; set; }
        public long Length { get; set; }
        public int BlockSize { get; set; } = DefaultBlock;

        /// <summary>The block sent last, counted from 1 without wrapping.</summary>
        public long Block { get; set; }
        public bool IsLast { get; set; }
        public long Used { get; set; }
    }
}
