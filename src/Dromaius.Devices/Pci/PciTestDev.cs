using System.Buffers.Binary;
using System.Text;
using Dromaius.Core.Devices;
using Dromaius.Core.Memory;

namespace Dromaius.Devices.Pci;

/// <summary>
/// The behaviour of the PCI test device (vendor 1B36h, device 0005h) behind its two BARs: memory and I/O ports. Software
/// chooses a test by number, reads its header, stores the value it names at the offset it names, and reads how many stores
/// were counted.
/// </summary>
public sealed class PciTestDev : Device
{
    // The header: test number, access width, offset, data, count, then the name.
    private const int HeaderTest = 0, HeaderWidth = 1, HeaderOffset = 4, HeaderData = 8, HeaderCount = 12, HeaderName = 16;

    public PciTestDev()
    {
        var memory = new Bank(2048, "mmio");
        var io = new Bank(128, "portio");
        MemoryBar = MemoryRegion.Device("pci-testdev-mmio", 4096, memory.Read, memory.Write);
        IoBar = MemoryRegion.Device("pci-testdev-portio", 256, io.Read, io.Write);
        Banks = [memory, io];
    }

    public override string TypeName => "pci-testdev";

    /// <summary>BAR 0.</summary>
    public MemoryRegion MemoryBar { get; }

    /// <summary>BAR 1.</summary>
    public MemoryRegion IoBar { get; }

    private Bank[] Banks { get; }

    public override void Reset()
    {
        foreach (var bank in Banks)
            bank.Reset();
    }

    private sealed class Bank(int headerSize, string prefix)
    {
        private const byte Match = 0xFA, NoMatch = 0xCE;
        private static readonly string[] Names = ["no-eventfd", "wildcard-eventfd", "datamatch-eventfd"];

        private readonly byte[] _header = new byte[headerSize + 8];
        private int _current = -1;
        private uint _count;

        public void Reset()
        {
            _current = -1;
            _count = 0;
        }

        public ulong Read(ulong offset, int size)
        {
            if (_current < 0 || offset >= (ulong)headerSize)
                return 0;
            return BinaryPrimitives.ReadUInt64LittleEndian(_header.AsSpan((int)offset));
        }

        public void Write(ulong offset, int size, ulong value)
        {
            if (offset == HeaderTest)
            {
                Reset();
                if (value < (ulong)Names.Length)
                    Start((int)value);
                return;
            }

            // Only the last test compares the value.
            if (_current < 0 || offset != (ulong)(headerSize + _current) || (_current == 2 && value != Match))
                return;
            _count++;
            BinaryPrimitives.WriteUInt32LittleEndian(_header.AsSpan(HeaderCount), _count);
        }

        private void Start(int test)
        {
            _current = test;
            Array.Clear(_header);
            _header[HeaderTest] = (byte)test;
            _header[HeaderWidth] = 1;
            BinaryPrimitives.WriteUInt32LittleEndian(_header.AsSpan(HeaderOffset), (uint)(headerSize + test));
            BinaryPrimitives.WriteUInt32LittleEndian(_header.AsSpan(HeaderData), test == 2 ? Match : NoMatch);
            Encoding.ASCII.GetBytes($"{prefix}-{Names[test]}").CopyTo(_header.AsSpan(HeaderName));
        }
    }
}
