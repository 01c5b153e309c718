namespace Dromaius.Devices.Storage.Scsi;

public enum ScsiStatus : byte
{
    Good = 0x00,
    CheckCondition = 0x02,
    Busy = 0x08,
    ReservationConflict = 0x18,
}

public enum ScsiDirection : byte
{
    None,

    /// <summary>From the target to the initiator.</summary>
    In,

    /// <summary>From the initiator to the target.</summary>
    Out,
}

/// <summary>Sense key, additional sense code and its qualifier (SPC-4, section 4.5).</summary>
public readonly record struct ScsiSense(byte Key, byte Code, byte Qualifier)
{
    public static readonly ScsiSense None = new(0, 0, 0);
    public static readonly ScsiSense NoMedium = new(2, 0x3A, 0);
    public static readonly ScsiSense TrayOpen = new(2, 0x3A, 2);
    public static readonly ScsiSense ReadError = new(3, 0x11, 0);
    public static readonly ScsiSense WriteError = new(3, 0x0C, 0);
    public static readonly ScsiSense TargetFailure = new(4, 0x44, 0);
    public static readonly ScsiSense InvalidOperation = new(5, 0x20, 0);
    public static readonly ScsiSense OutOfRange = new(5, 0x21, 0);
    public static readonly ScsiSense InvalidField = new(5, 0x24, 0);
    public static readonly ScsiSense InvalidUnit = new(5, 0x25, 0);
    public static readonly ScsiSense InvalidParameter = new(5, 0x26, 0);
    public static readonly ScsiSense ParameterLength = new(5, 0x1A, 0);
    public static readonly ScsiSense SavingNotSupported = new(5, 0x39, 0);
    public static readonly ScsiSense WrongTrackMode = new(5, 0x64, 0);
    public static readonly ScsiSense RemovalPrevented = new(5, 0x53, 2);
    public static readonly ScsiSense MediumChanged = new(6, 0x28, 0);
    public static readonly ScsiSense PowerOn = new(6, 0x29, 0);
    public static readonly ScsiSense BusReset = new(6, 0x29, 2);
    public static readonly ScsiSense UnitReset = new(6, 0x29, 3);
    public static readonly ScsiSense ModeChanged = new(6, 0x2A, 1);
    public static readonly ScsiSense CapacityChanged = new(6, 0x2A, 9);
    public static readonly ScsiSense UnitsChanged = new(6, 0x3F, 0x0E);
    public static readonly ScsiSense WriteProtected = new(7, 0x27, 0);
    public static readonly ScsiSense SpaceExhausted = new(7, 0x27, 7);
    public static readonly ScsiSense Aborted = new(0xB, 0, 0);
    public static readonly ScsiSense Miscompare = new(0xE, 0x1D, 0);

    public const int FixedLength = 18, DescriptorLength = 8;

    /// <summary>Sense data in fixed format.</summary>
    public void Write(Span<byte> to, byte responseCode = 0x70)
    {
        to[..Math.Min(to.Length, FixedLength)].Clear();
        to[0] = responseCode;
        to[2] = Key;
        to[7] = FixedLength - 8;
        to[12] = Code;
        to[13] = Qualifier;
    }

    /// <summary>Sense data in descriptor format, without descriptors.</summary>
    public void WriteDescriptor(Span<byte> to)
    {
        to[..DescriptorLength].Clear();
        to[0] = 0x72;
        to[1] = Key;
        to[2] = Code;
        to[3] = Qualifier;
    }
}

/// <summary>
/// One command on its way through a target: the initiator fills the command, calls <see cref="ScsiTarget.Start"/>, moves
/// <see cref="Length"/> bytes with <see cref="ScsiTarget.Transfer"/> in as many parts as suit it, and ends with
/// <see cref="ScsiTarget.Finish"/>, after which status and sense are valid.
/// </summary>
public sealed class ScsiTask
{
    public const int MaxCommand = 32;

    /// <summary>The command descriptor block, zero beyond its end.</summary>
    public byte[] Cdb { get; } = new byte[MaxCommand];

    /// <summary>Which unit of the target is addressed.</summary>
    public int Lun { get; set; }
    public ScsiDirection Direction { get; internal set; }

    /// <summary>Bytes that the target will move.</summary>
    public long Length { get; internal set; }

    /// <summary>Bytes moved so far.</summary>
    public long Position { get; internal set; }
    public ScsiStatus Status { get; internal set; }
    public ScsiSense Sense { get; internal set; }

    /// <summary>The initiator's own, untouched here.</summary>
    public object? Tag { get; set; }

    /// <summary>A reply or a parameter list; null for medium transfers.</summary>
    internal byte[]? Buffer { get; set; }

    /// <summary>First byte on the medium of a medium transfer.</summary>
    internal long MediumOffset { get; set; }

    /// <summary>What else the medium transfer does.</summary>
    internal ScsiTransferKind Kind { get; set; }

    /// <summary>Transfers go on or a flush is under way.</summary>
    internal Block.BlockRequest? InFlight { get; set; }
    internal bool ForceUnitAccess { get; set; }

    internal void Clear()
    {
        Direction = ScsiDirection.None;
        Length = Position = MediumOffset = 0;
        Status = ScsiStatus.Good;
        Sense = ScsiSense.None;
        Buffer = null;
        Kind = ScsiTransferKind.Buffer;
        InFlight = null;
        ForceUnitAccess = false;
    }

    internal void Fail(ScsiSense sense)
    {
        Status = ScsiStatus.CheckCondition;
        Sense = sense;
        Length = 0;
        Direction = ScsiDirection.None;
        Buffer = null;
    }

    /// <summary>A reply, cut to what the initiator allows.</summary>
    internal void Reply(byte[] data, long allocation)
    {
        Direction = ScsiDirection.In;
        Buffer = data;
        Kind = ScsiTransferKind.Buffer;
        Length = Math.Min(data.Length, allocation);
    }

    /// <summary>A parameter list from the initiator.</summary>
    internal void Expect(int length)
    {
        Direction = length > 0 ? ScsiDirection.Out : ScsiDirection.None;
        Buffer = new byte[length];
        Kind = ScsiTransferKind.Buffer;
        Length = length;
    }

    /// <summary>Blocks of the medium.</summary>
    internal void Medium(ScsiDirection direction, long offset, long length, ScsiTransferKind kind = ScsiTransferKind.Medium)
    {
        Direction = length > 0 ? direction : ScsiDirection.None;
        MediumOffset = offset;
        Length = length;
        Kind = kind;
    }
}

internal enum ScsiTransferKind : byte
{
    /// <summary>Through <see cref="ScsiTask.Buffer"/>.</summary>
    Buffer,

    /// <summary>The medium's own blocks.</summary>
    Medium,

    /// <summary>CD sectors of 2352 bytes, made from the blocks.</summary>
    RawCd,

    /// <summary>Data is taken and compared with the medium.</summary>
    Verify,
}
