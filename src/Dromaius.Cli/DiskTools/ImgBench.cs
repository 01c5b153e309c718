using System.Diagnostics;
using System.Globalization;
using Dromaius.Block;
using Dromaius.Block.Graph;

namespace Dromaius.Cli.DiskTools;

/// <summary><c>bench</c></summary>
internal static class ImgBench
{
    public static int Run(string[] args)
    {
        var options = new GetOpt(args, "hc:d:f:ni:o:qs:S:t:wU", "help/h", "flush-interval=", "pattern=", "image-opts", "no-drain", "force-share/U");
        if (options.Rest.Count != 1)
            throw new ToolException("Expecting one image file name", 1, true);
        long Number(string key, long fallback, string what) => options.Value(key) is { } text ? ImgTool.ParseSize(text, what) : fallback;
        var count = Number("c", 75000, "request count");
        var depth = (int)Math.Clamp(Number("d", 64, "queue depth"), 1, 1024);
        var size = (int)Math.Clamp(Number("s", 4096, "buffer size"), 1, int.MaxValue / 2);
        var step = Number("S", size, "step size");
        if (step == 0)
            step = size;
        var offset = Number("o", 0, "offset");
        var pattern = (byte)Number("pattern", 0, "pattern byte");
        var interval = Number("flush-interval", 0, "flush interval");
        var isWrite = options.Has("w");
        if (!isWrite && interval > 0)
            throw new ToolException("--flush-interval is only available in write tests");
        if (interval > 0 && interval < depth)
            throw new ToolException("Flush interval can't be smaller than depth");
        var flags = ImgTool.Cache(OpenFlags.Tool with { ReadOnly = !isWrite, ForceShare = options.Has("U") }, options.Value("t") ?? "writeback", "cache mode");
        if (options.Has("n"))
            flags = flags with { Direct = true };
        using var node = ImgTool.Open(options.Rest[0], options.Value("f"), flags, options.Has("image-opts"), quiet: true);
        if (node.Length < size)
            throw new ToolException("Image is too small for the buffer size");
        if (!options.Has("q"))
        {
            Host.Print($"Sending {count} {(isWrite ? "write" : "read")} requests, {size} bytes each, {depth} in parallel (starting at offset {offset}, step size {step})\n");
            if (interval > 0)
                Host.Print($"Sending flush every {interval}{(options.Has("no-drain") ? "" : " drained")} requests\n");
        }

        var watch = Stopwatch.StartNew();
        Transfer(node, count, Math.Min(depth, 16), size, step, offset, pattern, interval, isWrite);
        Host.Print(string.Create(CultureInfo.InvariantCulture, $"Run completed in {watch.Elapsed.TotalSeconds:F3} seconds.\n"));
        return 0;
    }

    private static void Transfer(BlockNode node, long count, int workers, int size, long step, long start, byte pattern, long interval, bool isWrite)
    {
        var next = 0L;
        Exception? failure = null;
        var length = node.Length;
        void Work()
        {
            var buffer = new byte[size];
            buffer.AsSpan().Fill(pattern);
            while (failure == null && Interlocked.Increment(ref next) is var i && i <= count)
            {
                // Offsets go round at the end of the image.
                var at = (start + (i - 1) * step) % Math.Max(length, 1);
                if (at > length - size)
                    at = 0;
                try
                {
                    if (isWrite)
                        node.Write(at, buffer);
                    else
                        node.Read(at, buffer);
                    if (interval > 0 && i % interval == 0)
                        node.Flush();
                }
                catch (BlockException e)
                {
                    failure = e;
                }
            }
        }

        var threads = Enumerable.Range(1, workers - 1).Select(_ => new Thread(Work, 256 << 10)).ToArray();
        foreach (var thread in threads)
            thread.Start();
        Work();
        foreach (var thread in threads)
            thread.Join();
        if (failure != null)
            throw new ToolException($"Failed request: {failure.Message}");
    }
}
