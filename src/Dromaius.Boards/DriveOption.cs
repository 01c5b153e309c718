using Dromaius.Block;

namespace Dromaius.Boards;

/// <summary>What a drive hangs on by itself (<c>-drive if=</c>).</summary>
public enum DriveInterface
{
    /// <summary>Nothing: a <c>-device</c> names it.</summary>
    None,
    Ide,
    Scsi,
    Floppy,
    Pflash,
    Sd,
    Mtd,
    Virtio,
}

/// <summary>A drive with its medium already open.</summary>
public sealed record DriveOption
{
    /// <summary>The id or node name; null takes the usual one, such as <c>ide0-hd0</c>.</summary>
    public string? Id { get; init; }
    public DriveInterface Interface { get; init; } = DriveInterface.Ide;

    /// <summary>Counted over all buses of the interface; null for the first free one, unless bus and unit say it.</summary>
    public int? Index { get; init; }
    public int? Bus { get; init; }
    public int? Unit { get; init; }

    /// <summary><c>media=cdrom</c></summary>
    public bool IsCdrom { get; init; }

    /// <summary>The backend, where it is made already; the medium and what follows are its own then.</summary>
    public BlockBackend? Backend { get; init; }

    /// <summary>The medium; null for an empty drive.</summary>
    public BlockNode? Node { get; init; }
    public bool IsReadOnly { get; init; }

    /// <summary>The guest sees a volatile write cache (<c>cache=</c> other than writethrough and directsync).</summary>
    public bool WriteCache { get; init; } = true;

    /// <summary>The option as the user wrote it, for errors.</summary>
    public string Text { get; init; } = "-drive";
}
