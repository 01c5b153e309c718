using System.Text.Json.Nodes;
using Dromaius.Block;
using Dromaius.Block.Graph;

namespace Dromaius.Control.Qmp;

/// <summary>Drives, their media and the graph of images.</summary>
internal sealed class BlockCommands
{
    public const string Schema = """
        enum BlockdevDetectZeroesOptions = off on unmap
        enum BlockDeviceIoStatus = ok failed nospace
        struct BlockdevCacheInfo = writeback: bool, direct: bool, no-flush: bool
        struct ImageInfo = filename: str, format: str, dirty-flag?: bool, actual-size?: int, virtual-size: int, cluster-size?: int, encrypted?: bool, compressed?: bool, backing-filename?: str, full-backing-filename?: str, backing-filename-format?: str, backing-image?: ImageInfo
        struct BlockDeviceInfo = file: str, node-name?: str, ro: bool, drv: str, backing_file?: str, backing_file_depth: int, encrypted: bool, detect_zeroes: BlockdevDetectZeroesOptions, bps: int, bps_rd: int, bps_wr: int, iops: int, iops_rd: int, iops_wr: int, group?: str, bps_max?: int, bps_rd_max?: int, bps_wr_max?: int, iops_max?: int, iops_rd_max?: int, iops_wr_max?: int, iops_size?: int, image: ImageInfo, cache: BlockdevCacheInfo, write_threshold: int, dirty-bitmaps?: [BlockDirtyInfo]
        struct BlockInfo = device: str, qdev?: str, type: str, removable: bool, locked: bool, inserted?: BlockDeviceInfo, tray_open?: bool, io-status?: BlockDeviceIoStatus
        struct BlockDeviceStats = rd_bytes: int, wr_bytes: int, unmap_bytes: int, rd_operations: int, wr_operations: int, flush_operations: int, unmap_operations: int, rd_total_time_ns: int, wr_total_time_ns: int, flush_total_time_ns: int, unmap_total_time_ns: int, idle_time_ns?: int, wr_highest_offset: int, rd_merged: int, wr_merged: int, unmap_merged: int, failed_rd_operations: int, failed_wr_operations: int, failed_flush_operations: int, failed_unmap_operations: int, invalid_rd_operations: int, invalid_wr_operations: int, invalid_flush_operations: int, invalid_unmap_operations: int, account_invalid: bool, account_failed: bool
        struct BlockStats = device?: str, qdev?: str, node-name?: str, stats: BlockDeviceStats, parent?: BlockStats, backing?: BlockStats
        enum BlockdevChangeReadOnlyMode = retain read-only read-write
        enum NewImageMode = existing absolute-paths
        command query-block -> [BlockInfo]
        command query-blockstats(query-nodes?: bool) -> [BlockStats]
        command query-named-block-nodes(flat?: bool) -> [BlockDeviceInfo]
        open command blockdev-add(driver: str, node-name?: str)
        command blockdev-del(node-name: str)
        command eject(device?: str, id?: str, force?: bool)
        command blockdev-open-tray(device?: str, id?: str, force?: bool)
        command blockdev-close-tray(device?: str, id?: str)
        command blockdev-remove-medium(id: str)
        command blockdev-insert-medium(id: str, node-name: str)
        command blockdev-change-medium(device?: str, id?: str, filename: str, format?: str, force?: bool, read-only-mode?: BlockdevChangeReadOnlyMode)
        command block_resize(device?: str, node-name?: str, size: int)
        command blockdev-snapshot-sync(device?: str, node-name?: str, snapshot-file: str, snapshot-node-name?: str, format?: str, mode?: NewImageMode)
        command blockdev-snapshot(node: str, overlay: str)
        command block_set_io_throttle(device?: str, id?: str, bps: int, bps_rd: int, bps_wr: int, iops: int, iops_rd: int, iops_wr: int, bps_max?: int, bps_rd_max?: int, bps_wr_max?: int, iops_max?: int, iops_rd_max?: int, iops_wr_max?: int, bps_max_length?: int, bps_rd_max_length?: int, bps_wr_max_length?: int, iops_max_length?: int, iops_rd_max_length?: int, iops_wr_max_length?: int, iops_size?: int, group?: str)
        enum IoOperationType = read write
        enum BlockErrorAction = ignore report stop
        event BLOCK_IO_ERROR(device: str, node-name?: str, operation: IoOperationType, action: BlockErrorAction, nospace?: bool, reason: str)
        event DEVICE_TRAY_MOVED(device: str, id: str, tray-open: bool)
        """;

    private const int MaxDepth = 200;
    private const string VirtioPart = "/virtio-backend";

    private readonly IMachineControl _machine;

    public BlockCommands(IMachineControl machine)
    {
        _machine = machine;
        Table = new()
        {
            ["query-block"] = _ => List(),
            ["query-blockstats"] = _ => Statistics(),
            ["query-named-block-nodes"] = _ => new JsonArray([.. (machine.Blocks?.Nodes.Values ?? []).Select(static n => (JsonNode)Describe(n, true, n.IsReadOnly))]),
            ["blockdev-add"] = a => Guard(() =>
            {
                if (!a.Has("driver"))
                    throw QmpErrorException.Generic("Parameter 'driver' is missing");
                Graph.AddNode(BlockOptions.Parse(a.Values.ToJsonString()));
            }),
            ["blockdev-del"] = a => Guard(() => Graph.DeleteNode(a.Text("node-name"))),
            ["eject"] = a => QmpCommands.Do(() => Eject(machine, DriveName(a), a.Flag("force"))),
            ["blockdev-open-tray"] = a => QmpCommands.Do(() => OpenTray(machine, FindBackend(machine, DriveName(a)), a.Flag("force"))),
            ["blockdev-close-tray"] = a => QmpCommands.Do(() => MoveTray(machine, FindBackend(machine, DriveName(a)), open: false)),
            ["blockdev-remove-medium"] = RemoveMedium,
            ["blockdev-insert-medium"] = InsertMedium,
            ["blockdev-change-medium"] = a => QmpCommands.Do(() => ChangeMedium(machine, DriveName(a), a.Text("filename"), a.OptionalText("format"),
                a.OptionalText("read-only-mode") ?? "retain", a.Flag("force"))),
            ["block_resize"] = Resize,
            ["blockdev-snapshot-sync"] = SnapshotFile,
            ["blockdev-snapshot"] = SnapshotNode,
            ["block_set_io_throttle"] = a => Guard(() => Graph.SetThrottle(FindBackend(machine, DriveName(a)), Limits(a), a.OptionalText("group"))),
        };
    }

    public Dictionary<string, Func<QmpArguments, JsonNode?>> Table { get; }

    private static ThrottleConfig Limits(QmpArguments a)
    {
        return new ThrottleConfig
        {
            BytesTotal = Limit("bps"), BytesRead = Limit("bps_rd"), BytesWrite = Limit("bps_wr"), OperationsTotal = Limit("iops"),
            OperationsRead = Limit("iops_rd"), OperationsWrite = Limit("iops_wr"), OperationSize = a.Integer("iops_size"),
        };

        ThrottleLimit Limit(string name) => new(a.Integer(name), a.Integer(name + "_max"), a.Integer(name + "_max_length", 1));
    }

    private BlockGraph Graph => _machine.Blocks ?? throw QmpErrorException.Generic("the machine has no drives");

    private static string DriveName(QmpArguments a) => (a.OptionalText("device"), a.OptionalText("id")) switch
    {
        ({ } device, null) => device,
        (null, { } id) => id,
        _ => throw QmpErrorException.Generic("Need exactly one of 'device' and 'id'"),
    };

    /// <summary>Runs something on images; what goes wrong with them is an error of the command.</summary>
    private static JsonNode? Guard(Action action)
    {
        try
        {
            action();
            return null;
        }
        catch (BlockException e)
        {
            throw QmpErrorException.Generic(e.Message);
        }
    }

    /// <summary>A drive by its own name or by the device that holds it.</summary>
    public static BlockBackend FindBackend(IMachineControl machine, string name)
    {
        // A path of the composition tree: the device's, or that of its virtio half.
        var path = name.StartsWith('/') && name.EndsWith(VirtioPart, StringComparison.Ordinal) ? name[..^VirtioPart.Length] : name;
        var id = path.StartsWith('/') ? path[(path.LastIndexOf('/') + 1)..] : path;
        return machine.Blocks?.FindBackend(name) ?? machine.Blocks?.AllBackends.FirstOrDefault(b => b.DeviceName == id || b.DeviceName == name)
            ?? throw QmpErrorException.DeviceNotFound(name);
    }

    public static void Eject(IMachineControl machine, string name, bool force)
    {
        var backend = FindBackend(machine, name);
        if (!backend.IsRemovable)
            throw QmpErrorException.Generic($"Device '{name}' is not removable");
        OpenTray(machine, backend, force);
        machine.Blocks?.Exports.MediumGone(backend);
        Guard(() => backend.SetMedium(null));
        machine.Blocks?.Forget();
    }

    private static void OpenTray(IMachineControl machine, BlockBackend backend, bool force)
    {
        if (!backend.IsRemovable)
            throw QmpErrorException.Generic($"Device '{backend.Id}' is not removable");
        if (!backend.HasTray || backend.IsTrayOpen)
            return;
        if (backend.IsTrayLocked)
        {
            backend.RequestEject();
            if (!force)
            {
                throw QmpErrorException.Generic($"Device '{backend.Id}' is locked and force was not specified, "
                    + "wait for tray to open and try again");
            }
        }

        MoveTray(machine, backend, open: true);
    }

    private static void MoveTray(IMachineControl machine, BlockBackend backend, bool open)
    {
        if (!backend.IsRemovable)
            throw QmpErrorException.Generic($"Device '{backend.Id}' is not removable");
        if (!backend.HasTray || backend.IsTrayOpen == open)
            return;
        backend.IsTrayOpen = open;
        machine.RaiseEvent("DEVICE_TRAY_MOVED", new JsonObject { ["tray-open"] = open, ["id"] = backend.DeviceName ?? "", ["device"] = backend.Name });
    }

    public static void ChangeMedium(IMachineControl machine, string name, string file, string? format, string readOnlyMode, bool force)
    {
        var backend = FindBackend(machine, name);
        var readOnly = readOnlyMode switch
        {
            "read-only" => true,
            "read-write" => false,
            "retain" => backend.IsReadOnly || (backend.HasTray && backend.Node == null),
            _ => throw QmpErrorException.Generic($"Parameter 'read-only-mode' does not accept value '{readOnlyMode}'"),
        };
        Guard(() =>
        {
            var options = new BlockOptions();
            if (format != null)
                options.Set("driver", format);
            var node = machine.Blocks!.Open(file, options, new OpenFlags { ReadOnly = readOnly });
            try
            {
                OpenTray(machine, backend, force);
            }
            catch
            {
                node.Release();
                throw;
            }

            backend.SetMedium(null);
            machine.Blocks!.Insert(backend, node, readOnly);
            MoveTray(machine, backend, open: false);
        });
    }

    private JsonNode? RemoveMedium(QmpArguments a)
    {
        var backend = FindBackend(_machine, a.Text("id"));
        if (!backend.IsRemovable)
            throw QmpErrorException.Generic($"Device '{a.Text("id")}' is not removable");
        if (backend.HasTray && !backend.IsTrayOpen)
            throw QmpErrorException.Generic($"Tray of device '{a.Text("id")}' is not open");
        return Guard(() =>
        {
            backend.SetMedium(null);
            Graph.Forget();
        });
    }

    private JsonNode? InsertMedium(QmpArguments a)
    {
        var backend = FindBackend(_machine, a.Text("id"));
        if (!Graph.Nodes.TryGetValue(a.Text("node-name"), out var node))
            throw QmpErrorException.Generic($"Node '{a.Text("node-name")}' not found");
        if (!backend.IsRemovable)
            throw QmpErrorException.Generic($"Device '{a.Text("id")}' is not removable");
        if (backend.HasTray && !backend.IsTrayOpen)
            throw QmpErrorException.Generic($"Tray of device '{a.Text("id")}' is not open");
        if (backend.HasMedium)
            throw QmpErrorException.Generic($"There already is a medium in device '{a.Text("id")}'");
        return Guard(() => Graph.Insert(backend, node.Retain(), node.IsReadOnly));
    }

    /// <summary>A node named by a drive or by itself.</summary>
    private (BlockNode Node, BlockBackend? Backend) FindNode(string? device, string? nodeName)
    {
        var backend = device != null ? Graph.FindBackend(device) : null;
        var node = nodeName != null ? Graph.FindNode(nodeName) : backend?.Node;
        if (backend == null && node == null)
            throw QmpErrorException.Generic($"Cannot find device='{device}' nor node-name='{nodeName}'");
        if (node == null)
            throw QmpErrorException.Generic($"Device '{device}' has no medium");
        return (node, backend ?? Graph.AllBackends.FirstOrDefault(b => b.Node == node));
    }

    private JsonNode? Resize(QmpArguments a)
    {
        var (node, backend) = FindNode(a.OptionalText("device"), a.OptionalText("node-name"));
        if (a.Integer("size") < 0)
            throw QmpErrorException.Generic("Parameter 'size' expects a >0 size");
        return Guard(() =>
        {
            Graph.Jobs.RequireIdle([node]);
            backend?.Drain();
            node.Resize(a.Integer("size"));
            backend?.NotifyResized();
        });
    }

    private JsonNode? SnapshotFile(QmpArguments a)
    {
        var (node, backend) = FindNode(a.OptionalText("device"), a.OptionalText("node-name"));
        var name = a.OptionalText("format") ?? "qcow2";
        _ = ImageFormats.Find(name) ?? throw QmpErrorException.Generic($"Invalid snapshot format '{name}'");
        return Guard(() =>
        {
            Graph.Jobs.RequireIdle([node]);
            var file = a.Text("snapshot-file");
            if (a.OptionalText("mode") != "existing")
            {
                var create = new BlockOptions();
                create.Set("size", node.Length.ToString(System.Globalization.CultureInfo.InvariantCulture));
                // Beside the image its own name leads to it; from another folder only the whole path does.
                var whole = Path.GetFullPath(node.FileName);
                create.Set("backing_file", Path.GetFullPath(ImageOpener.Combine(file, node.FileName)) == whole ? node.FileName : whole);
                create.Set("backing_fmt", node.Driver);
                Console.Out.WriteLine(ImageCreator.Create(file, name, create, OpenFlags.Tool, checkBacking: false).Description);
                ImageCreator.Write(file, name, create, OpenFlags.Tool);
            }

            var options = new BlockOptions();
            options.Set("driver", name);
            if (a.OptionalText("snapshot-node-name") is { } nodeName)
                options.Set("node-name", nodeName);
            PutAbove(backend, node, Graph.Open(file, options, new OpenFlags { NoBacking = true }));
        });
    }

    private JsonNode? SnapshotNode(QmpArguments a)
    {
        var node = Graph.FindNode(a.Text("node")) ?? throw QmpErrorException.Generic($"Cannot find device='{a.Text("node")}' nor node-name='{a.Text("node")}'");
        var backend = Graph.AllBackends.FirstOrDefault(b => b.Node == node);
        var overlay = Graph.FindNode(a.Text("overlay")) ?? throw QmpErrorException.Generic($"Cannot find device='{a.Text("overlay")}' nor node-name='{a.Text("overlay")}'");
        if (Graph.IsRead(overlay))
            throw QmpErrorException.Generic("The overlay is already in use");
        if (overlay.Backing != null)
            throw QmpErrorException.Generic("The overlay already has a backing image");
        for (var below = node; below != null; below = below.Backing)
        {
            if (below == overlay)
                throw QmpErrorException.Generic($"Making '{node.NodeName}' a backing child of '{overlay.NodeName}' would create a cycle");
        }

        return Guard(() =>
        {
            Graph.Jobs.RequireIdle([node]);
            PutAbove(backend, node, overlay.Retain());
        });
    }

    /// <summary>The drive's image becomes the backing image of another, which takes its place.</summary>
    private void PutAbove(BlockBackend? backend, BlockNode node, BlockNode overlay)
    {
        backend?.Drain();
        node.Flush();
        (ImageFormats.Find(overlay.Driver) ?? throw new BlockException(BlockError.NotSupported, $"The overlay does not support backing images"))
            .SetBacking(overlay, backend == null ? node.Retain() : node);
        // A node that nobody uses becomes what is below the overlay, and that is all.
        if (backend != null)
            backend.ReplaceNode(overlay);
        else
            overlay.Release();
        Graph.WhenChanged(() =>
        {
            try
            {
                // Others may read it now, and nobody writes to it.
                node.Reopen(true);
            }
            catch (BlockException e) when (e.Error == BlockError.NotSupported)
            {
                // A driver that is not opened anew stays as it is.
            }

            Graph.Forget();
        });
    }

    private JsonArray List() => new([.. (_machine.Blocks?.AllBackends ?? []).Select(b =>
    {
        var item = new JsonObject { ["device"] = b.Name };
        if (b.HasMedium || b.DeviceName != null)
            item["io-status"] = IoStatus(b.StoppedBy);
        item["locked"] = b.IsTrayLocked;
        item["removable"] = b.IsRemovable;
        if (QdevOf(_machine, b) is { } qdev)
            item["qdev"] = qdev;
        if (b.HasTray)
            item["tray_open"] = b.IsTrayOpen;
        item["type"] = "unknown";
        if (b.Node is { } node)
        {
            var inserted = Describe(node, b.WriteCache, b.IsReadOnly);
            if (b.Throttle is { } throttle)
                AddLimits(inserted, throttle);
            item["inserted"] = inserted;
        }

        return (JsonNode)item;
    })]);

    /// <summary>What stopped a device or job, in the protocol's words.</summary>
    internal static string IoStatus(BlockError error) => error switch
    {
        BlockError.None => "ok",
        BlockError.NoSpace => "nospace",
        _ => "failed",
    };

    private static void AddLimits(JsonObject info, ThrottleGroup throttle)
    {
        var c = throttle.Config;
        info["group"] = throttle.Name;
        foreach (var (name, limit) in (ReadOnlySpan<(string, ThrottleLimit)>)[("bps", c.BytesTotal), ("bps_rd", c.BytesRead), ("bps_wr", c.BytesWrite),
            ("iops", c.OperationsTotal), ("iops_rd", c.OperationsRead), ("iops_wr", c.OperationsWrite)])
        {
            info[name] = limit.Average;
            if (limit.Max == 0)
                continue;
            info[name + "_max"] = limit.Max;
            info[name + "_max_length"] = limit.MaxLength;
        }

        if (c.OperationSize != 0)
            info["iops_size"] = c.OperationSize;
    }

    /// <summary>The id of a drive; one on a node of <c>-blockdev</c> has none.</summary>
    /// <summary>The device that a drive is attached to: its id, or the path of an object that has none, as the virtio half of a disk.</summary>
    internal static string? QdevOf(IMachineControl machine, BlockBackend backend)
    {
        var name = backend.DeviceName ?? "";
        if (name.StartsWith('/'))
            return name;
        var device = name.Length > 0 ? machine.Devices.FirstOrDefault(d => d.Id == name)
            : machine.Devices.FirstOrDefault(d => d.Id == null && d.Arguments is { } a && a.IsSet("drive") && a.String("drive") == backend.Id);
        if (device == null)
            return name.Length > 0 ? name : null;
        if (device.TypeName.StartsWith("virtio-blk", StringComparison.Ordinal))
            return ObjectTree.PathOf(machine, device) + VirtioPart;
        return device.Id ?? ObjectTree.PathOf(machine, device);
    }

    internal static JsonObject Describe(BlockNode node, bool writeback, bool readOnly)
    {
        var depth = 0;
        for (var b = node.Backing; b != null && depth < 1000; b = b.Backing)
            depth++;
        var info = new JsonObject
        {
            ["iops_rd"] = 0, ["detect_zeroes"] = node.DetectZeroes.ToString().ToLowerInvariant(), ["image"] = Image(node, 0),
            ["iops_wr"] = 0, ["ro"] = readOnly, ["node-name"] = node.NodeName ?? "", ["backing_file_depth"] = depth, ["drv"] = node.Driver,
            ["iops"] = 0, ["bps_wr"] = 0, ["write_threshold"] = node.WriteThreshold, ["encrypted"] = false, ["bps"] = 0, ["bps_rd"] = 0,
            ["cache"] = new JsonObject { ["no-flush"] = false, ["direct"] = false, ["writeback"] = writeback }, ["file"] = node.FileName,
        };
        if (node.Backing is { } backing)
            info["backing_file"] = backing.FileName;
        if (node.DirtyBitmaps.Count > 0)
            info["dirty-bitmaps"] = BitmapCommands.List(node);
        return info;
    }

    private static JsonObject Image(BlockNode node, int depth)
    {
        var image = (JsonObject)JsonNode.Parse(InfoTree.ToJson(ImageInfo.Of(node).ToTree()))!;
        if (node.Backing is { } backing && depth < 200)
        {
            image["backing-filename"] = backing.FileName;
            image["full-backing-filename"] = backing.FileName;
            image["backing-filename-format"] = backing.Driver;
            image["backing-image"] = Image(backing, depth + 1);
        }

        return image;
    }

    private JsonArray Statistics() => new([.. (_machine.Blocks?.AllBackends ?? []).Select(b =>
    {
        var item = b.Node is { } node ? Statistics(node, 0) : [];
        item["device"] = b.Name;
        if (QdevOf(_machine, b) is { } qdev)
            item["qdev"] = qdev;
        var stats = Describe(b.Statistics);
        if (b.Statistics.IdleTime is { } idle)
            stats["idle_time_ns"] = idle;
        item["stats"] = stats;
        return (JsonNode)item;
    })]);

    /// <summary>A node, what it is stored in and what is behind it; transfers are counted at the drive only.</summary>
    private static JsonObject Statistics(BlockNode node, int depth)
    {
        var item = new JsonObject { ["stats"] = Describe(new BlockStatistics()) };
        if (node.NodeName is { } name)
            item["node-name"] = name;
        if (depth < MaxDepth && node.File is { } file)
            item["parent"] = Statistics(file, depth + 1);
        if (depth < MaxDepth && node.Backing is { } backing)
            item["backing"] = Statistics(backing, depth + 1);
        return item;
    }

    private static JsonObject Describe(BlockStatistics s) => new()
    {
        ["rd_bytes"] = s.ReadBytes, ["wr_bytes"] = s.WriteBytes, ["unmap_bytes"] = s.UnmapBytes, ["rd_operations"] = s.ReadOperations,
        ["wr_operations"] = s.WriteOperations, ["flush_operations"] = s.FlushOperations, ["unmap_operations"] = s.UnmapOperations,
        ["rd_total_time_ns"] = s.ReadTime, ["wr_total_time_ns"] = s.WriteTime, ["flush_total_time_ns"] = s.FlushTime,
        ["unmap_total_time_ns"] = s.UnmapTime,
        ["wr_highest_offset"] = s.WriteHighest, ["rd_merged"] = 0, ["wr_merged"] = 0, ["unmap_merged"] = 0,
        ["failed_rd_operations"] = s.FailedReads, ["failed_wr_operations"] = s.FailedWrites, ["failed_flush_operations"] = 0,
        ["failed_unmap_operations"] = 0, ["invalid_rd_operations"] = 0, ["invalid_wr_operations"] = 0, ["invalid_flush_operations"] = 0,
        ["invalid_unmap_operations"] = 0, ["account_invalid"] = true, ["account_failed"] = true, ["timed_stats"] = new JsonArray(),
    };
}
