using System.Globalization;
using System.Text;
using Dromaius.Block;
using Dromaius.Block.Graph;
using Dromaius.Block.Qcow2;

namespace Dromaius.Cli.DiskTools;

/// <summary><c>check</c></summary>
internal static class ImgCheck
{
    private const int Failed = 1, Corrupt = 2, Leaking = 3, NotSupported = 63;

    public static int Run(string[] args)
    {
        var options = new GetOpt(args, "hf:r:T:qU", "help/h", "format/f=", "repair/r=", "output=", "object=", "image-opts", "force-share/U");
        ImgTool.TakeObjects(options);
        if (options.Rest.Count != 1)
            throw new ToolException("Expecting one image file name", 1, true);
        var repair = options.Value("r") switch
        {
            null => Qcow2Repair.None,
            "leaks" => Qcow2Repair.Leaks,
            "all" => Qcow2Repair.All,
            _ => throw new ToolException("--repair (-r) expects 'leaks' or 'all' as argument."),
        };
        var json = ImgTool.WantsJson(options);
        var flags = OpenFlags.Tool with { ReadOnly = repair == Qcow2Repair.None, NoBacking = false, ForCheck = true, ForceShare = options.Has("U") };
        flags = ImgTool.Cache(flags, options.Value("T") ?? "writeback", "source cache");
        var name = options.Rest[0];
        using var node = ImgTool.Open(name, options.Value("f"), flags, options.Has("image-opts"));
        if (node is not ICheckable checkable)
            return Unable();

        CheckResult result;
        try
        {
            result = checkable.Check(repair);
            if (result.Failure != BlockError.None)
            {
                PrintLines(result);
                throw new BlockException(result.Failure);
            }

            if (repair != Qcow2Repair.None && result.CorruptionsFixed + result.LeaksFixed > 0)
            {
                PrintLines(result);
                if (!json && !options.Has("q"))
                    PrintRepaired(result);
                var (corruptions, leaks) = (result.CorruptionsFixed, result.LeaksFixed);
                result = checkable.Check(Qcow2Repair.None);
                (result.CorruptionsFixed, result.LeaksFixed) = (corruptions, leaks);
            }
        }
        catch (BlockException e) when (e.Error == BlockError.NotSupported)
        {
            return Unable();
        }
        catch (BlockException e)
        {
            throw new ToolException($"Check failed: {e.Message}");
        }

        PrintLines(result);
        if (json)
            Host.Print(InfoTree.ToJson(Tree(result, name, node.Driver)) + "\n");
        else
            Print(result, options.Has("q"));
        if (result.Corruptions > 0)
            return Corrupt;
        if (result.Leaks > 0)
            return Leaking;
        return result.CheckErrors > 0 ? Failed : 0;

        static int Unable()
        {
            Host.Complain("This image format does not support checks");
            return NotSupported;
        }
    }

    private static void PrintLines(CheckResult result)
    {
        foreach (var line in result.Lines)
            Host.Warn(line + "\n");
    }

    private static void PrintRepaired(CheckResult result)
    {
        Host.Print(string.Create(CultureInfo.InvariantCulture, $"""
            The following inconsistencies were found and repaired:

                {result.LeaksFixed} leaked clusters
                {result.CorruptionsFixed} corruptions

            Double checking the fixed image now...

            """));
    }

    private static void Print(CheckResult result, bool quiet)
    {
        if (quiet)
            return;
        var text = new StringBuilder();
        if (result.Corruptions + result.Leaks + result.CheckErrors == 0)
            text.Append("No errors were found on the image.\n");
        if (result.Corruptions > 0)
        {
            text.Append(CultureInfo.InvariantCulture, $"\n{result.Corruptions} errors were found on the image.\n"
                + $"Data may be corrupted, or further writes to the image may corrupt it.\n");
        }

        if (result.Leaks > 0)
        {
            text.Append(CultureInfo.InvariantCulture, $"\n{result.Leaks} leaked clusters were found on the image.\n"
                + $"This means waste of disk space, but no harm to data.\n");
        }

        if (result.CheckErrors > 0)
            text.Append(CultureInfo.InvariantCulture, $"\n{result.CheckErrors} internal errors have occurred during the check.\n");
        if (result.TotalClusters != 0 && result.AllocatedClusters != 0)
        {
            text.Append(CultureInfo.InvariantCulture, $"{result.AllocatedClusters}/{result.TotalClusters} = "
                + $"{result.AllocatedClusters * 100.0 / result.TotalClusters:F2}% allocated, "
                + $"{result.FragmentedClusters * 100.0 / result.AllocatedClusters:F2}% fragmented, "
                + $"{result.CompressedClusters * 100.0 / result.AllocatedClusters:F2}% compressed clusters\n");
        }

        if (result.ImageEndOffset > 0)
            text.Append(CultureInfo.InvariantCulture, $"Image end offset: {result.ImageEndOffset}\n");
        Host.Print(text.ToString());
    }

    private static InfoTree Tree(CheckResult result, string name, string format)
    {
        var tree = new InfoTree();
        void AddIf(string key, long value)
        {
            if (value != 0)
                tree.Add(key, value);
        }

        AddIf("image-end-offset", result.ImageEndOffset);
        AddIf("compressed-clusters", result.CompressedClusters);
        AddIf("total-clusters", result.TotalClusters);
        AddIf("corruptions-fixed", result.CorruptionsFixed);
        AddIf("leaks", result.Leaks);
        tree.Add("check-errors", result.CheckErrors);
        AddIf("leaks-fixed", result.LeaksFixed);
        AddIf("corruptions", result.Corruptions);
        AddIf("allocated-clusters", result.AllocatedClusters);
        tree.Add("filename", name).Add("format", format);
        AddIf("fragmented-clusters", result.FragmentedClusters);
        return tree;
    }
}
