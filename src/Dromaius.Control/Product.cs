namespace Dromaius.Control;

/// <summary>What monitors and <c>--version</c> say about the program.</summary>
public static class Product
{
    public const string Version = "0.1.0";

    /// <summary>The QEMU version whose interfaces are followed, for clients that decide by it.</summary>
    public const int QemuMajor = 7, QemuMinor = 2, QemuMicro = 0;
}
