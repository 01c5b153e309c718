namespace Dromaius.Cpu.X86;

/// <summary>An x86 exception raised inside a helper; caught at the helper's edge, never crosses generated code.</summary>
public sealed class GuestFaultException(int vector, uint error, bool hasError) : Exception
{
    public int Vector { get; } = vector;
    public uint Error { get; } = error;
    public bool HasError { get; } = hasError;

    public static GuestFaultException Divide() => new(0, 0, false);

    public static GuestFaultException InvalidOpcode() => new(6, 0, false);

    public static GuestFaultException DeviceNotAvailable() => new(7, 0, false);

    public static GuestFaultException InvalidTss(uint error) => new(10, error, true);

    public static GuestFaultException NotPresent(uint error) => new(11, error, true);

    public static GuestFaultException StackFault(uint error) => new(12, error, true);

    public static GuestFaultException GeneralProtection(uint error = 0) => new(13, error, true);

    /// <summary>A page fault; CR2 is already set.</summary>
    public static GuestFaultException PageFault(uint error) => new(14, error, true);

    public static GuestFaultException AlignmentCheck() => new(17, 0, true);
}
