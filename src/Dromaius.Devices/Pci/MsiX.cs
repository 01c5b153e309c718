using System.Buffers.Binary;
using Dromaius.Core.Memory;

namespace Dromaius.Devices.Pci;

/// <summary>
/// Extended message signalled interrupts: a table of messages and a pending bit array in the function's memory. Source: PCI
/// Local Bus Specification 3.0, section 6.8.2.
/// </summary>
public sealed class MsiX
{
    private const byte Id = 0x11;
    private const int Control = 2, TableRegister = 4, PendingRegister = 8, Length = 12;
    private const int EntrySize = 16, VectorControl = 12;
    private const ushort EnableBit = 0x8000, FunctionMask = 0x4000;

    private readonly PciFunction _function;
    private readonly int _at;
    private readonly byte[] _table;
    private readonly ulong[] _pending;

    /// <param name="function">The function that gets the capability.</param>
    /// <param name="vectors">1 to 2048.</param>
    /// <param name="bar">Which base address register the table and the pending bits are in.</param>
    /// <param name="tableOffset">Offset of the table in it, a multiple of 8.</param>
    /// <param name="pendingOffset">Offset of the pending bits, a multiple of 8.</param>
    /// <param name="at">Where the capability goes; 0 for the next free place.</param>
    public MsiX(PciFunction function, int vectors, int bar, uint tableOffset, uint pendingOffset, int at = 0)
    {
        _function = function;
        Vectors = vectors;
        _table = new byte[vectors * EntrySize];
        _pending = new ulong[(vectors + 63) / 64];
        _at = function.AddCapability(Id, Length, at);
        function.SetResetWord(_at + Control, (ushort)(vectors - 1));
        function.SetWritable(_at + Control, 2, EnableBit | FunctionMask);
        function.SetResetDword(_at + TableRegister, tableOffset | (uint)bar);
        function.SetResetDword(_at + PendingRegister, pendingOffset | (uint)bar);
        Table = MemoryRegion.Device("msix-table", (ulong)_table.Length, ReadTable, WriteTable, 4, 8);
        Pending = MemoryRegion.Device("msix-pba", (ulong)(_pending.Length * 8), ReadPending, static (_, _, _) => { }, 4, 8);
        function.MsiX = this;
        Reset();
    }

    public int Vectors { get; }

    /// <summary>Goes into the base address register's region at the table offset.</summary>
    public MemoryRegion Table { get; }

    /// <summary>Goes into the base address register's region at the pending offset.</summary>
    public MemoryRegion Pending { get; }

    public bool IsEnabled => (_function.ConfigWord(_at + Control) & EnableBit) != 0;

    /// <summary>Sends a vector's message, or leaves it pending while masked.</summary>
    public void Notify(int vector)
    {
        if (!IsEnabled || (uint)vector >= (uint)Vectors)
            return;
        if (IsMasked(vector))
        {
            _pending[vector >> 6] |= 1UL << (vector & 63);
            return;
        }

        _pending[vector >> 6] &= ~(1UL << (vector & 63));
        var entry = _table.AsSpan(vector * EntrySize, EntrySize);
        _function.SendMessage(BinaryPrimitives.ReadUInt64LittleEndian(entry) & ~3UL,
            BinaryPrimitives.ReadUInt32LittleEndian(entry[8..]));
    }

    internal void Reset()
    {
        Array.Clear(_table);
        Array.Clear(_pending);
        for (var i = 0; i < Vectors; i++)
            _table[(i * EntrySize) + VectorControl] = 1;
    }

    internal void ConfigWritten() => SendPending();

    private bool IsMasked(int vector) =>
        (_function.ConfigWord(_at + Control) & FunctionMask) != 0 || (_table[(vector * EntrySize) + VectorControl] & 1) != 0;

    private void SendPending()
    {
        if (!IsEnabled)
            return;
        for (var i = 0; i < Vectors; i++)
        {
            if ((_pending[i >> 6] & (1UL << (i & 63))) != 0 && !IsMasked(i))
                Notify(i);
        }
    }

    private ulong ReadTable(ulong offset, int size)
    {
        if (offset > (ulong)(_table.Length - size))
            return 0;
        var at = _table.AsSpan((int)offset);
        return size == 8 ? BinaryPrimitives.ReadUInt64LittleEndian(at) : BinaryPrimitives.ReadUInt32LittleEndian(at);
    }

    private void WriteTable(ulong offset, int size, ulong value)
    {
        if (offset > (ulong)(_table.Length - size))
            return;
        var at = _table.AsSpan((int)offset);
        if (size == 8)
            BinaryPrimitives.WriteUInt64LittleEndian(at, value);
        else
            BinaryPrimitives.WriteUInt32LittleEndian(at, (uint)value);
        SendPending();
    }

    private ulong ReadPending(ulong offset, int size)
    {
        var index = (int)(offset >> 3);
        if ((uint)index >= (uint)_pending.Length)
            return 0;
        var word = _pending[index];
        return size == 8 ? word : word >> (int)(8 * (offset & 4));
    }
}
