namespace Dromaius.Devices.Interrupts;

/// <summary>Delivery mode field of the ICR, of LVT and I/O APIC entries and of message-signalled interrupts.</summary>
public enum DeliveryMode
{
    Fixed = 0,
    LowestPriority = 1,
    SystemManagement = 2,
    Reserved = 3,
    NonMaskable = 4,
    Init = 5,
    StartUp = 6,
    ExtInt = 7,
}

/// <summary>One interrupt message on its way to the local APICs.</summary>
/// <param name="Destination">Physical id or logical set.</param>
/// <param name="Logical">How the destination is meant.</param>
/// <param name="Mode">What to deliver.</param>
/// <param name="Vector">Vector, or start-up page.</param>
/// <param name="LevelTriggered">Trigger mode: the end of interrupt is reported to the I/O APICs.</param>
/// <param name="Wide">The sender uses 32-bit x2APIC destinations, whose broadcast is all ones in 32 bits.</param>
public readonly record struct ApicMessage(uint Destination, bool Logical, DeliveryMode Mode, byte Vector,
    bool LevelTriggered, bool Wide = false)
{
    /// <summary>The message that a store of data to an address FEExxxxx means (Intel SDM volume 3, 11.11).</summary>
    public static ApicMessage FromMsi(ulong address, uint data) => new(
        (uint)(address >> 12) & 0xFF,
        (address & 4) != 0,
        (DeliveryMode)((data >> 8) & 7),
        (byte)data,
        (data & 0x8000) != 0);
}
