using Dromaius.Block;
using Dromaius.Core.Devices;

namespace Dromaius.Devices.Storage;

/// <summary>A diskette drive: where its heads are, what diskette is in it, and the disk change line.</summary>
public sealed class FloppyDrive : Device
{
    /// <summary>Some formats of 40-track drives use their last steps too.</summary>
    private const int MostTracksOf40 = 42;

    private readonly FloppyDriveType _wanted;

    /// <param name="backend">The drive's medium.</param>
    /// <param name="type">The kind of drive, or none to suit the first medium.</param>
    public FloppyDrive(BlockBackend backend, FloppyDriveType type = FloppyDriveType.None)
    {
        Backend = backend;
        _wanted = type;
        backend.IsRemovable = true;
        Backend.MediumChanged += () =>
        {
            IsChanged = true;
            Format = FloppyFormat.Guess(Backend.Length, Type);
        };
        Format = Backend.HasMedium ? FloppyFormat.Guess(Backend.Length, type) : FloppyFormat.Default;
        Type = _wanted != FloppyDriveType.None ? _wanted : Backend.HasMedium ? Format.Type : FloppyDriveType.Mib288;
    }

    public override string TypeName => "floppy";
    public BlockBackend Backend { get; }
    public FloppyDriveType Type { get; }
    public FloppyFormat Format { get; private set; }

    /// <summary>Where the heads are.</summary>
    public int Cylinder { get; set; }

    /// <summary>The diskette left since the last step.</summary>
    public bool IsChanged { get; private set; } = true;
    public bool HasMedium => Backend.HasMedium;

    public override void Reset()
    {
        Cylinder = 0;
        IsChanged = true;
    }

    /// <summary>Moves the heads; a step with a diskette in clears the change line.</summary>
    public void Seek(int cylinder)
    {
        Cylinder = Math.Clamp(cylinder, 0, 85);
        if (HasMedium)
            IsChanged = false;
    }

    /// <summary>
    /// The diskette's track for a command that names it. A drive of 80 tracks goes two steps for each of a diskette of 40, as drivers
    /// of such drives know; firmware that counts the diskette's tracks is served as well.
    /// </summary>
    public bool IsAt(int track) => Cylinder == track || (HasHalfTracks && Cylinder == 2 * track);

    /// <summary>The diskette's track for a command that names none.</summary>
    public int Track => HasHalfTracks && Cylinder >= Format.Tracks ? Cylinder / 2 : Cylinder;

    private bool HasHalfTracks => Type != FloppyDriveType.Kib360 && Format.Tracks <= MostTracksOf40;

    /// <summary>Byte offset of a sector, or -1 if the diskette has none there.</summary>
    public long Offset(int cylinder, int head, int sector)
    {
        if (!HasMedium || cylinder >= Format.Tracks || head >= Format.Heads || sector < 1 || sector > Format.Sectors)
            return -1;
        var offset = ((((long)cylinder * Format.Heads) + head) * Format.Sectors + sector - 1) * 512;
        return offset + 512 <= Backend.Length ? offset : -1;
    }
}
