namespace Dromaius.Control.Qmp;

/// <summary>An error that a client is told: its class and a description.</summary>
internal sealed class QmpErrorException(string errorClass, string description) : Exception(description)
{
    public string ErrorClass => errorClass;

    public static QmpErrorException Generic(string description) => new("GenericError", description);

    public static QmpErrorException DeviceNotFound(string device) => new("DeviceNotFound", $"Device '{device}' not found");

    public static QmpErrorException CommandNotFound(string description) => new("CommandNotFound", description);

    public static QmpErrorException NotActive(string description) => new("DeviceNotActive", description);
}
