using Dromaius.Core.Devices;
using Dromaius.Core.Memory;

namespace Dromaius.Devices.Input;

/// <summary>Registers of the processor that is at the backdoor: what the port's protocol passes besides EAX.</summary>
public interface IBackdoorRegisters
{
    uint Eax { get; set; }
    uint Ebx { get; set; }
    uint Ecx { get; set; }
    uint Edx { get; set; }
    uint Esi { get; set; }
    uint Edi { get; set; }
}

/// <summary>
/// The VMware backdoor: a 32-bit input from port 5658h with 564D5868h in EAX is a call, its number in CX, its arguments and results in
/// the other registers. Source: VMware "Backdoor I/O port" as the open-vm-tools document it (lib/include/backdoor_def.h).
/// </summary>
public sealed class VmPort : Device
{
    public const ulong PortNumber = 0x5658;
    private const uint Magic = 0x564D_5868;
    private const int GetVersion = 10, GetBiosUuid = 19, GetRamSize = 20;
    private const uint Version = 6, ProductType = 2, RamSizeAnswer = 0x1177;

    private readonly Dictionary<int, Func<IBackdoorRegisters, uint>> _commands = [];
    private readonly Func<IBackdoorRegisters?> _caller;

    /// <param name="caller">The registers of the processor whose access is under way; null for an access that is not a processor's.</param>
    /// <param name="ramSize">Bytes of memory, for guests that ask.</param>
    /// <param name="uuid">The machine's identity.</param>
    public VmPort(Func<IBackdoorRegisters?> caller, ulong ramSize, Guid uuid)
    {
        _caller = caller;
        Port = MemoryRegion.Device("vmport", 4, (offset, size) => size == 4 && offset == 0 ? Call() : uint.MaxValue,
            (offset, size, _) =>
            {
                if (size == 4 && offset == 0)
                    _ = Call();
            });
        Add(GetVersion, static r =>
        {
            r.Ebx = Magic;
            r.Ecx = ProductType;
            return Version;
        });
        Add(GetRamSize, r =>
        {
            r.Ebx = RamSizeAnswer;
            return (uint)Math.Min(ramSize, uint.MaxValue);
        });
        Add(GetBiosUuid, r =>
        {
            // The identity's bytes in order, four to a register.
            Span<byte> bytes = stackalloc byte[16];
            _ = uuid.TryWriteBytes(bytes, bigEndian: true, out _);
            r.Ebx = BitConverter.ToUInt32(bytes[4..]);
            r.Ecx = BitConverter.ToUInt32(bytes[8..]);
            r.Edx = BitConverter.ToUInt32(bytes[12..]);
            return BitConverter.ToUInt32(bytes);
        });
    }

    public override string TypeName => "vmport";

    /// <summary>Ports 5658h to 565Bh.</summary>
    public MemoryRegion Port { get; }

    /// <summary>Serves a command; the result goes to EAX.</summary>
    public void Add(int command, Func<IBackdoorRegisters, uint> serve) => _commands[command] = serve;

    private uint Call()
    {
        if (_caller() is not { } registers || registers.Eax != Magic)
            return uint.MaxValue;
        var result = _commands.TryGetValue((int)(registers.Ecx & 0xFFFF), out var serve) ? serve(registers) : uint.MaxValue;
        registers.Eax = result;
        return result;
    }
}
