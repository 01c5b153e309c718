using System.Diagnostics;
using System.Globalization;
using System.Text;
using Dromaius.Block;
using Dromaius.Block.Graph;
using Dromaius.Core.Storage;

namespace Dromaius.Cli.DiskTools;

/// <summary>The transfers of <c>dromaius-io</c>.</summary>
internal static class IoTransfers
{
    private const byte UsualPattern = 0xCD;

    public static bool Read(IoSession session, string[] args, string name)
    {
        var isAsync = name == "aio_read";
        var options = Parse(args, name == "read" ? "abCl:pP:qs:v" : isAsync ? "CP:iqv" : "CP:qv", name);
        var pattern = options.Value("P") is { } p ? Pattern(p) : (byte?)null;
        if (pattern == null && (options.Has("l") || options.Has("s")))
            throw new ToolException(IoCommands.Find(name)!.Usage);
        var (offset, lengths) = Range(options, name == "read");
        var total = lengths.Sum();
        var checkFrom = options.Value("s") is { } s ? IoSession.Number(s) : 0;
        var checkLength = options.Value("l") is { } l ? IoSession.Number(l) : total - checkFrom;
        if (checkFrom < 0 || checkLength < 0 || checkFrom + checkLength > total)
            throw new ToolException("pattern verification range exceeds end of read data");
        CheckLimit(total);
        bool Do()
        {
            var data = new byte[total];
            var watch = Stopwatch.StartNew();
            try
            {
                // Past the end is an error of the transfer, not of the command line.
                CheckEnd(session.Node!, offset, total);
                session.Node!.Read(offset, data);
            }
            catch (BlockException e)
            {
                Host.Print($"{name} failed: {HostDisk.Explain((int)e.Error)}\n");
                return false;
            }

            var elapsed = watch.Elapsed;
            var good = true;
            if (pattern is { } b && data.AsSpan((int)checkFrom, (int)checkLength).ContainsAnyExcept(b))
            {
                Host.Print($"Pattern verification failed at offset {offset + checkFrom}, {checkLength} bytes\n");
                good = false;
            }

            if (options.Has("q"))
                return good;
            if (options.Has("v"))
                Dump(data, offset);
            Report(options, "read", elapsed, offset, total, total, 1);
            return good;
        }

        return Perform(session, isAsync, Do);
    }

    public static bool Write(IoSession session, string[] args, string name)
    {
        var isAsync = name == "aio_write";
        var options = Parse(args, name == "write" ? "bcCfnpP:qs:uz" : isAsync ? "CfiP:quz" : "CfP:q", name);
        if (options.Has("z") && options.Has("c"))
            throw new ToolException("-c and -z cannot be specified at the same time");
        if (options.Has("n") && !options.Has("z"))
            throw new ToolException("-n requires -z to be specified");
        if (options.Has("u") && !options.Has("z"))
            throw new ToolException("-u requires -z to be specified");
        if ((options.Has("P") ? 1 : 0) + (options.Has("s") ? 1 : 0) + (options.Has("z") ? 1 : 0) > 1)
            throw new ToolException("Only one of -z, -P, and -s can be specified at the same time");
        var pattern = options.Value("P") is { } p ? Pattern(p) : UsualPattern;
        var (offset, lengths) = Range(options, name == "write" || options.Has("z"));
        var total = lengths.Sum();
        if (!options.Has("z"))
            CheckLimit(total);
        var data = options.Has("z") ? [] : Fill(total, pattern, options.Value("s"));
        bool Do()
        {
            var watch = Stopwatch.StartNew();
            try
            {
                Transfer(session, options, offset, total, data);
            }
            catch (BlockException e)
            {
                Host.Print($"{name} failed: {HostDisk.Explain((int)e.Error)}\n");
                return false;
            }

            if (!options.Has("q"))
                Report(options, "wrote", watch.Elapsed, offset, total, total, 1);
            return true;
        }

        if (session.Node!.IsReadOnly)
        {
            // What needs the permission to write cannot be had later.
            session.Complain("Block node is read-only");
            return false;
        }

        return Perform(session, isAsync, Do);
    }

    public static bool Discard(IoSession session, string[] args)
    {
        var options = Parse(args, "Cq", "discard");
        var (offset, lengths) = Range(options, true);
        if (session.Node!.IsReadOnly)
        {
            session.Complain("Block node is read-only");
            return false;
        }

        var watch = Stopwatch.StartNew();
        CheckEnd(session.Node!, offset, lengths[0]);
        session.Node!.Discard(offset, lengths[0]);
        if (!options.Has("q"))
            Report(options, "discard", watch.Elapsed, offset, lengths[0], lengths[0], 1);
        return true;
    }

    private static bool Perform(IoSession session, bool isAsync, Func<bool> transfer)
    {
        if (!isAsync)
            return transfer();
        // Failures of what runs behind are told, and do not fail the command.
        session.Start(() => _ = transfer());
        return true;
    }

    private static void Transfer(IoSession session, GetOpt options, long offset, long total, byte[] data)
    {
        var node = session.Node!;
        CheckEnd(node, offset, total);
        if (options.Has("z"))
            node.WriteZeroes(offset, total, options.Has("u"));
        else if (options.Has("c"))
        {
            if (!node.CanCompress)
                throw new BlockException(BlockError.NotSupported);
            node.WriteCompressed(offset, data);
        }
        else
            node.Write(offset, data);
        if (options.Has("f") || session.WriteThrough)
            node.Flush();
    }

    private static GetOpt Parse(string[] args, string shorts, string name)
    {
        try
        {
            return new GetOpt(args, shorts);
        }
        catch (ToolException)
        {
            throw new ToolException(IoCommands.Find(name)!.Usage);
        }
    }

    private static (long Offset, List<long> Lengths) Range(GetOpt options, bool single)
    {
        if (options.Rest.Count < 2 || (single && options.Rest.Count > 2))
            throw new ToolException("bad argument count");
        var offset = IoSession.Number(options.Rest[0]);
        return (offset, [.. options.Rest.Skip(1).Select(IoSession.Number)]);
    }

    private static byte Pattern(string text)
    {
        var isHex = text.StartsWith("0x", StringComparison.OrdinalIgnoreCase);
        return byte.TryParse(isHex ? text[2..] : text, isHex ? NumberStyles.AllowHexSpecifier : NumberStyles.None, CultureInfo.InvariantCulture, out var value)
            ? value
            : throw new ToolException($"{text} is not a valid pattern byte");
    }

    private static void CheckLimit(long total)
    {
        if (total > (int.MaxValue & ~511))
            throw new ToolException($"length cannot exceed {int.MaxValue & ~511}, given {total}");
    }

    private static void CheckEnd(BlockNode node, long offset, long length)
    {
        if (offset > node.Length - length)
            throw new BlockException(BlockError.Io);
    }

    private static byte[] Fill(long total, byte pattern, string? source)
    {
        var data = new byte[total];
        if (source == null)
        {
            data.AsSpan().Fill(pattern);
            return data;
        }

        try
        {
            // Devices never end.
            var bytes = new byte[data.Length];
            using var file = File.OpenRead(source);
            bytes = bytes[..file.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false)];
            if (bytes.Length == 0)
                throw new ToolException($"{source} is empty");
            for (var at = 0; at < data.Length; at += bytes.Length)
                bytes.AsSpan(0, Math.Min(bytes.Length, data.Length - at)).CopyTo(data.AsSpan(at));
            return data;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new ToolException($"{source}: {Host.Explain(e)}");
        }
    }

    private static void Dump(byte[] data, long offset)
    {
        var text = new StringBuilder();
        for (var i = 0; i < data.Length; i += 16)
        {
            var row = data.AsSpan(i, Math.Min(16, data.Length - i));
            text.Append(CultureInfo.InvariantCulture, $"{offset + i:x8}:  ");
            foreach (var b in row)
                text.Append(CultureInfo.InvariantCulture, $"{b:x2} ");
            text.Append(' ');
            foreach (var b in row)
                text.Append(char.IsAsciiLetterOrDigit((char)b) ? (char)b : '.');
            text.Append('\n');
        }

        Host.Print(text.ToString());
    }

    private static void Report(GetOpt options, string verb, TimeSpan time, long offset, long count, long total, int operations)
    {
        var seconds = Math.Max(time.TotalSeconds, 1e-9);
        if (options.Has("C"))
        {
            Host.Print(string.Create(CultureInfo.InvariantCulture,
                $"{total},{operations},{(int)time.TotalHours}:{time.Minutes:00}:{time.Seconds:00}.{time.Milliseconds / 10:00},{total / seconds:F3},{operations / seconds:F3}\n"));
            return;
        }

        var shown = time.TotalMinutes < 1 ? $"{time.Seconds:00}.{time.Milliseconds / 10:00} sec" : $"{(int)time.TotalHours}:{time.Minutes:00}:{time.Seconds:00}.{time.Milliseconds / 10:00}";
        Host.Print(string.Create(CultureInfo.InvariantCulture, $"{verb} {total}/{count} bytes at offset {offset}\n")
            + string.Create(CultureInfo.InvariantCulture, $"{Units.Exact(total)}, {operations} ops; {shown} ({Units.Exact(total / seconds)}/sec and {operations / seconds:F4} ops/sec)\n"));
    }
}
