using System.Buffers.Binary;
using Dromaius.Devices.Virtio;
using Dromaius.Net;

namespace Dromaius.Devices.Network;

/// <content>The control queue: receive filter, address, VLANs, queue pairs, offloads (section 5.1.6.5).</content>
public sealed partial class VirtioNet
{
    private const byte ClassRx = 0, ClassMac = 1, ClassVlan = 2, ClassAnnounce = 3, ClassQueues = 4, ClassOffloads = 5;
    private const int MaxCommand = 16384;

    private readonly ReceiveFilter _filter;

    private void HandleControl(Virtqueue queue)
    {
        while (queue.Pop() is { } element)
        {
            if (element.ReadableLength < 2 || element.WritableLength < 1)
            {
                Break("control command without header or acknowledgement");
                queue.Detach(element);
                return;
            }

            var length = (int)Math.Min(element.ReadableLength, MaxCommand);
            var command = _frame.AsSpan(0, length);
            _ = element.Read(Memory, 0, command);
            var ok = Execute(command[0], command[1], command[2..]);
            _ = element.Write(Memory, 0, [ok ? (byte)0 : (byte)1]);
            queue.Push(element, 1);
        }

        queue.Notify();
    }

    private bool Execute(byte group, byte command, ReadOnlySpan<byte> data)
    {
        switch (group)
        {
            case ClassRx when data.Length >= 1:
                if (!_filter.SetMode(command, data[0] != 0))
                    return false;
                Nic?.NoteFilterChange();
                return true;
            case ClassMac when command == 0:
                if (!_filter.SetTables(data))
                    return false;
                Nic?.NoteFilterChange();
                return true;
            case ClassMac when command == 1 && data.Length >= MacAddress.Length:
                SetMac(MacAddress.Read(data));
                return true;
            case ClassVlan when command <= 1 && data.Length >= 2:
                _filter.SetVlan(BinaryPrimitives.ReadUInt16LittleEndian(data) & 0xFFF, command == 0);
                Nic?.NoteFilterChange();
                return true;
            case ClassAnnounce when command == 0:
                _isAnnouncing = false;
                return true;
            case ClassQueues when command == 0 && data.Length >= 2 && Has(MultiQueue):
                int pairs = BinaryPrimitives.ReadUInt16LittleEndian(data);
                if (pairs < 1 || pairs > _pairs)
                    return false;
                _currentPairs = pairs;
                return true;
            case ClassOffloads when command == 0 && data.Length >= 8 && Has(ControlGuestOffloads):
                var offloads = BinaryPrimitives.ReadUInt64LittleEndian(data);
                if ((offloads & ~(GuestFeatures | GuestChecksum)) != 0)
                    return false;
                SetOffloads(offloads);
                return true;
            default:
                return false;
        }
    }

    /// <summary>Which frames the driver wants to see.</summary>
    private sealed class ReceiveFilter(MacAddress mac)
    {
        private const int MaxEntries = 64;
        private readonly List<MacAddress> _unicast = [];
        private readonly List<MacAddress> _multicast = [];
        private readonly bool[] _vlans = new bool[4096];
        private bool _promiscuous = true, _allMulticast, _allUnicast, _noMulticast, _noUnicast, _noBroadcast, _unicastOverflow, _multicastOverflow, _filterVlans;

        public MacAddress Mac { get; set; } = mac;

        public void Reset(MacAddress address)
        {
            Mac = address;
            _unicast.Clear();
            _multicast.Clear();
            Array.Clear(_vlans);
            _promiscuous = true;
            _allMulticast = _allUnicast = _noMulticast = _noUnicast = _noBroadcast = _unicastOverflow = _multicastOverflow = _filterVlans = false;
        }

        public bool SetMode(byte command, bool on)
        {
            switch (command)
            {
                case 0:
                    _promiscuous = on;
                    return true;
                case 1:
                    _allMulticast = on;
                    return true;
                case 2:
                    _allUnicast = on;
                    return true;
                case 3:
                    _noMulticast = on;
                    return true;
                case 4:
                    _noUnicast = on;
                    return true;
                case 5:
                    _noBroadcast = on;
                    return true;
                default:
                    return false;
            }
        }

        /// <summary>Two tables, each with its count before it; one that is too long lets all through.</summary>
        public bool SetTables(ReadOnlySpan<byte> data)
        {
            _unicast.Clear();
            _multicast.Clear();
            return Take(ref data, _unicast, out _unicastOverflow) && Take(ref data, _multicast, out _multicastOverflow);
        }

        private static bool Take(ref ReadOnlySpan<byte> data, List<MacAddress> table, out bool overflow)
        {
            overflow = false;
            if (data.Length < 4)
                return false;
            var count = BinaryPrimitives.ReadUInt32LittleEndian(data);
            data = data[4..];
            if (count > data.Length / MacAddress.Length)
                return false;
            overflow = count > MaxEntries;
            for (var i = 0; i < count; i++, data = data[MacAddress.Length..])
            {
                if (!overflow)
                    table.Add(MacAddress.Read(data));
            }

            return true;
        }

        public void SetVlan(int id, bool on)
        {
            _filterVlans = true;
            _vlans[id] = on;
        }

        public bool Passes(ReadOnlySpan<byte> frame)
        {
            if (frame.Length < 14)
                return false;
            if (_promiscuous)
                return true;
            if (_filterVlans && frame.Length >= 16 && frame[12] == 0x81 && frame[13] == 0 && !_vlans[((frame[14] << 8) | frame[15]) & 0xFFF])
                return false;
            var to = MacAddress.Read(frame);
            if (to == MacAddress.Broadcast)
                return !_noBroadcast;
            if (to.IsGroup)
                return !_noMulticast && (_allMulticast || _multicastOverflow || _multicast.Contains(to));
            return !_noUnicast && (_allUnicast || _unicastOverflow || to == Mac || _unicast.Contains(to));
        }

        public RxFilter Describe() => new()
        {
            Promiscuous = _promiscuous,
            Multicast = _noMulticast ? "none" : _allMulticast ? "all" : "normal",
            Unicast = _noUnicast ? "none" : _allUnicast ? "all" : "normal",
            Vlan = _filterVlans ? "normal" : "all",
            BroadcastAllowed = !_noBroadcast,
            MulticastOverflow = _multicastOverflow,
            UnicastOverflow = _unicastOverflow,
            MainMac = Mac,
            VlanTable = [.. Enumerable.Range(0, 4096).Where(i => _vlans[i])],
            UnicastTable = [.. _unicast],
            MulticastTable = [.. _multicast],
        };
    }
}
