using System.Buffers.Binary;
using Dromaius.Core.Memory;

namespace Dromaius.Devices.Network;

/// <content>Queues as the driver describes them, and their rings.</content>
public sealed partial class Vmxnet3
{
    private const int QueueSize = 256, ConfigAt = 16, StatusAt = 80, StatisticsAt = 88, DescriptorSize = 16;
    private const int MaxRingSize = 4096, MaxRxCompletions = 2 * MaxRingSize;

    // In the queue's configuration.
    private const int SizesAt = 40, CompletionSizeAt = 48, VectorAt = 56;

    /// <summary>Descriptors in memory. Each round the bit that makes one valid changes its sense.</summary>
    private struct Ring(ulong address, uint size)
    {
        public uint Next { get; private set; }
        public readonly uint Size => size;
        public bool Generation { get; private set; } = true;
        public readonly ulong NextAddress => address + (Next * DescriptorSize);

        public void Advance()
        {
            if (++Next < size)
                return;
            Next = 0;
            Generation = !Generation;
        }
    }

    /// <summary>Counters that the driver reads from the queue's description.</summary>
    private struct Statistics
    {
        public ulong LargePackets, LargeBytes, UnicastPackets, UnicastBytes, MulticastPackets, MulticastBytes, BroadcastPackets, BroadcastBytes, Dropped, Errors;

        public void Count(ReadOnlySpan<byte> frame, bool large)
        {
            var length = (uint)frame.Length;
            if (large)
                (LargePackets, LargeBytes) = (LargePackets + 1, LargeBytes + length);
            if ((frame[0] & 1) == 0)
                (UnicastPackets, UnicastBytes) = (UnicastPackets + 1, UnicastBytes + length);
            else if (frame[..6].ContainsAnyExcept((byte)0xFF))
                (MulticastPackets, MulticastBytes) = (MulticastPackets + 1, MulticastBytes + length);
            else
                (BroadcastPackets, BroadcastBytes) = (BroadcastPackets + 1, BroadcastBytes + length);
        }
    }

    private abstract class Queue(ulong address)
    {
        public Ring Completions;
        public Statistics Counters;
        public int Vector { get; private set; }
        protected ulong Address => address;

        /// <summary>Reads the configuration; false if it makes no sense.</summary>
        public bool Load(AddressSpace memory)
        {
            Span<byte> config = stackalloc byte[StatusAt - ConfigAt];
            if (!memory.Read(address + ConfigAt, config))
                return false;
            Vector = config[VectorAt];
            return Load(config, BinaryPrimitives.ReadUInt32LittleEndian(config[SizesAt..]), BinaryPrimitives.ReadUInt32LittleEndian(config[(SizesAt + 4)..]),
                BinaryPrimitives.ReadUInt64LittleEndian(config[16..]), BinaryPrimitives.ReadUInt32LittleEndian(config[CompletionSizeAt..]));
        }

        /// <summary>Nothing stops a queue of this device.</summary>
        public void StoreStatus(AddressSpace memory)
        {
            memory.Store(address + StatusAt, 1, 0);
            memory.StoreU32(address + StatusAt + 4, 0);
        }

        public abstract void StoreStatistics(AddressSpace memory);

        protected abstract bool Load(ReadOnlySpan<byte> config, uint firstSize, uint secondSize, ulong completions, uint completionSize);

        /// <summary>Stores the counters; which of the last two comes first depends on the direction.</summary>
        protected void StoreStatistics(AddressSpace memory, ulong last, ulong secondLast)
        {
            Span<byte> bytes = stackalloc byte[80];
            ReadOnlySpan<ulong> values =
            [
                Counters.LargePackets, Counters.LargeBytes, Counters.UnicastPackets, Counters.UnicastBytes, Counters.MulticastPackets, Counters.MulticastBytes,
                Counters.BroadcastPackets, Counters.BroadcastBytes, secondLast, last,
            ];
            for (var i = 0; i < values.Length; i++)
                BinaryPrimitives.WriteUInt64LittleEndian(bytes[(8 * i)..], values[i]);
            _ = memory.Write(address + StatisticsAt, bytes);
        }
    }

    private sealed class TxQueue(ulong address) : Queue(address)
    {
        public Ring Descriptors;

        public override void StoreStatistics(AddressSpace memory) => StoreStatistics(memory, Counters.Dropped, Counters.Errors);

        protected override bool Load(ReadOnlySpan<byte> config, uint firstSize, uint secondSize, ulong completions, uint completionSize)
        {
            Descriptors = new Ring(BinaryPrimitives.ReadUInt64LittleEndian(config), firstSize);
            Completions = new Ring(completions, completionSize);
            return firstSize is > 0 and <= MaxRingSize && completionSize is > 0 and <= MaxRingSize;
        }
    }

    private sealed class RxQueue(ulong address, int index) : Queue(address)
    {
        /// <summary>Heads and bodies of frames.</summary>
        public Ring Heads;

        /// <summary>Bodies only.</summary>
        public Ring Bodies;

        public int Index => index;

        /// <summary>The far end waits for buffers.</summary>
        public bool IsStarved { get; private set; }

        public override void StoreStatistics(AddressSpace memory) => StoreStatistics(memory, Counters.Errors, Counters.Dropped);

        /// <summary>Has the driver ring, or not, when it adds buffers.</summary>
        public void WantDoorbell(AddressSpace memory, bool wanted)
        {
            if (IsStarved == wanted)
                return;
            IsStarved = wanted;
            memory.Store(Address, 1, wanted ? 1u : 0);
        }

        protected override bool Load(ReadOnlySpan<byte> config, uint firstSize, uint secondSize, ulong completions, uint completionSize)
        {
            Heads = new Ring(BinaryPrimitives.ReadUInt64LittleEndian(config), firstSize);
            Bodies = new Ring(BinaryPrimitives.ReadUInt64LittleEndian(config[8..]), secondSize);
            Completions = new Ring(completions, completionSize);
            return firstSize is > 0 and <= MaxRingSize && secondSize <= MaxRingSize && completionSize is > 0 and <= MaxRxCompletions;
        }
    }
}
