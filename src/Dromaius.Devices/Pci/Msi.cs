namespace Dromaius.Devices.Pci;

/// <summary>Message signalled interrupts with 64-bit addresses. Source: PCI Local Bus Specification 3.0, section 6.8.1.</summary>
public sealed class Msi
{
    private const byte Id = 5;
    private const int Control = 2, AddressLow = 4, AddressHigh = 8, Data = 12, Length = 14, MaskBits = 16, PendingBits = 20, MaskableLength = 24;
    private const int EnableBit = 1, Multiple = 0x70, Wide = 0x80, Maskable = 0x100;

    private readonly PciFunction _function;
    private readonly int _at;
    private readonly int _vectors;
    private readonly bool _maskable;

    /// <param name="function">The function that gets the capability.</param>
    /// <param name="vectors">A power of two up to 32.</param>
    /// <param name="at">Where the capability goes; 0 for the next free place.</param>
    /// <param name="maskable">Has mask and pending bits.</param>
    public Msi(PciFunction function, int vectors, int at = 0, bool maskable = true)
    {
        _maskable = maskable;
        _function = function;
        _vectors = vectors;
        _at = function.AddCapability(Id, maskable ? MaskableLength : Length, at);
        var log2 = int.Log2(vectors);
        function.SetResetWord(_at + Control, (ushort)(Wide | (maskable ? Maskable : 0) | (log2 << 1)));
        function.SetWritable(_at + Control, 2, vectors > 1 ? Multiple | EnableBit : (uint)EnableBit);
        function.SetWritable(_at + AddressLow, 4, 0xFFFF_FFFC);
        function.SetWritable(_at + AddressHigh, 4, 0xFFFF_FFFF);
        function.SetWritable(_at + Data, 2, 0xFFFF);
        if (maskable)
            function.SetWritable(_at + MaskBits, 4, vectors == 32 ? uint.MaxValue : (1u << vectors) - 1);
        function.Msi = this;
    }

    public bool IsEnabled => (_function.ConfigWord(_at + Control) & EnableBit) != 0;

    /// <summary>Sends a vector's message, or leaves it pending while masked.</summary>
    public void Notify(int vector)
    {
        if (!IsEnabled || (uint)vector >= (uint)_vectors)
            return;
        var granted = 1 << Math.Min((_function.ConfigWord(_at + Control) >> 4) & 7, int.Log2(_vectors));
        if (_maskable && (_function.ConfigDword(_at + MaskBits) & (1u << vector)) != 0)
        {
            SetPending(vector, true);
            return;
        }

        var address = _function.ConfigDword(_at + AddressLow) | ((ulong)_function.ConfigDword(_at + AddressHigh) << 32);
        uint data = _function.ConfigWord(_at + Data);
        // Granted fewer than it has, the function shares: the low bits of the data choose among those granted.
        data = (data & ~((uint)granted - 1)) | ((uint)vector & ((uint)granted - 1));
        _function.SendMessage(address, data);
    }

    internal void Reset()
    {
    }

    internal void ConfigWritten()
    {
        if (!IsEnabled)
            return;
        var due = _function.ConfigDword(_at + PendingBits) & ~_function.ConfigDword(_at + MaskBits);
        for (var vector = 0; due != 0 && vector < _vectors; vector++)
        {
            if ((due & (1u << vector)) == 0)
                continue;
            due &= ~(1u << vector);
            SetPending(vector, false);
            Notify(vector);
        }
    }

    private void SetPending(int vector, bool pending)
    {
        var at = _at + PendingBits + (vector >> 3);
        var bit = 1 << (vector & 7);
        var old = _function.ConfigByte(at);
        _function.PokeConfig(at, (byte)(pending ? old | bit : old & ~bit));
    }
}
