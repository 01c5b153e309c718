using Dromaius.Block.Graph;
using Dromaius.Control;

namespace Dromaius.Cli.DiskTools;

/// <summary>The help of <c>dromaius-img</c>.</summary>
internal static class ImgHelp
{
    public static string Version() =>
        $"{Host.ProgramName} version {Product.Version} (compatible with QEMU {Product.QemuMajor}.{Product.QemuMinor})\n"
        + "Copyright (c) 2026 The Dromaius authors. Free software under the MIT licence.\n";

    public static string Formats() =>
        "Supported formats: " + string.Join(' ', ImageFormats.All.Select(static f => f.Name).Concat(ImageOpener.Protocols).Order(StringComparer.Ordinal)) + "\n";

    public static string Text() => Version() + $"""
        usage: {Host.ProgramName} [standard options] command [command options]
        Disk image utility

            '-h', '--help'       display this help and exit
            '-V', '--version'    output version information and exit

        Command syntax:
          amend [--object objectdef] [--image-opts] [-p] [-q] [-f fmt] [-t cache] [--force] -o options filename
          bench [-c count] [-d depth] [-f fmt] [--flush-interval=flush_interval] [-n] [--no-drain] [-o offset] [--pattern=pattern] [-q] [-s buffer_size] [-S step_size] [-t cache] [-w] [-U] filename
          bitmap (--merge SOURCE | --add | --remove | --clear | --enable | --disable)... [-b source_file [-F source_fmt]] [-g granularity] [--object objectdef] [--image-opts | -f fmt] filename bitmap
          check [--object objectdef] [--image-opts] [-q] [-f fmt] [--output=ofmt] [-r [leaks | all]] [-T src_cache] [-U] filename
          commit [--object objectdef] [--image-opts] [-q] [-f fmt] [-t cache] [-b base] [-r rate_limit] [-d] [-p] filename
          compare [--object objectdef] [--image-opts] [-f fmt] [-F fmt] [-T src_cache] [-p] [-q] [-s] [-U] filename1 filename2
          convert [--object objectdef] [--image-opts] [--target-image-opts] [--target-is-zero] [-U] [-c] [-p] [-q] [-n] [-f fmt] [-t cache] [-T src_cache] [-O output_fmt] [-B backing_file [-F backing_fmt]] [-o options] [-l snapshot_param] [-S sparse_size] [-r rate_limit] [-m num_coroutines] [-W] [--salvage] filename [filename2 [...]] output_filename
          create [--object objectdef] [-q] [-f fmt] [-b backing_file [-F backing_fmt]] [-u] [-o options] filename [size]
          dd [--image-opts] [-U] [-f fmt] [-O output_fmt] [bs=block_size] [count=blocks] [skip=blocks] if=input of=output
          info [--object objectdef] [--image-opts] [-f fmt] [--output=ofmt] [--backing-chain] [-U] filename
          map [--object objectdef] [--image-opts] [-f fmt] [--start-offset=offset] [--max-length=len] [--output=ofmt] [-U] filename
          measure [--output=ofmt] [-O output_fmt] [-o options] [--size N | [--object objectdef] [--image-opts] [-f fmt] [-l snapshot_param] filename]
          snapshot [--object objectdef] [--image-opts] [-U] [-q] [-l | -a snapshot | -c snapshot | -d snapshot] filename
          rebase [--object objectdef] [--image-opts] [-U] [-q] [-f fmt] [-t cache] [-T src_cache] [-p] [-u] -b backing_file [-F backing_fmt] filename
          resize [--object objectdef] [--image-opts] [-f fmt] [--preallocation=prealloc] [-q] [--shrink] filename [+ | -]size

        Sizes take the suffixes k, M, G, T, P and E. Caches are none, writeback, writethrough, directsync and unsafe (for the target of
        convert, unless -t says otherwise). '-o help' with a format lists its options.


        """ + Formats();
}
