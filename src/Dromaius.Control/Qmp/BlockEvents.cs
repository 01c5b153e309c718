using System.Text.Json.Nodes;
using Dromaius.Block;

namespace Dromaius.Control.Qmp;

/// <summary>What drives tell of themselves.</summary>
public static class BlockEvents
{
    /// <summary>A transfer failed.</summary>
    public static void RaiseError(IMachineControl machine, BlockBackend backend, BlockOperation operation, BlockError error, ErrorPolicy policy)
    {
        machine.RaiseEvent("BLOCK_IO_ERROR", new JsonObject
        {
            ["device"] = backend.Name, ["nospace"] = error == BlockError.NoSpace,
            ["node-name"] = backend.Node?.NodeName, ["reason"] = Explain(error), ["operation"] = operation == BlockOperation.Read ? "read" : "write",
            ["action"] = policy switch
            {
                ErrorPolicy.Ignore => "ignore",
                ErrorPolicy.Stop => "stop",
                _ => "report",
            },
        });
    }

    /// <summary>An image is not served any more.</summary>
    public static void RaiseExportDeleted(IMachineControl machine, string id) => machine.RaiseEvent("BLOCK_EXPORT_DELETED", new JsonObject { ["id"] = id });

    /// <summary>The words of strerror(3).</summary>
    private static string Explain(BlockError error) => error switch
    {
        BlockError.NoSpace => "No space left on device",
        BlockError.ReadOnly => "Read-only file system",
        BlockError.NotPermitted => "Operation not permitted",
        BlockError.NotSupported => "Operation not supported",
        _ => "Input/output error",
    };
}
