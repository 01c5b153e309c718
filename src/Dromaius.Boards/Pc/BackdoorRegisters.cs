using Dromaius.Cpu.X86;
using Dromaius.Devices.Input;

namespace Dromaius.Boards.Pc;

/// <summary>The registers of a processor at the VMware backdoor.</summary>
internal sealed class BackdoorRegisters(X86Cpu cpu) : IBackdoorRegisters
{
    public uint Eax { get => cpu.Register32(0); set => cpu.SetRegister32(0, value); }
    public uint Ebx { get => cpu.Register32(3); set => cpu.SetRegister32(3, value); }
    public uint Ecx { get => cpu.Register32(1); set => cpu.SetRegister32(1, value); }
    public uint Edx { get => cpu.Register32(2); set => cpu.SetRegister32(2, value); }
    public uint Esi { get => cpu.Register32(6); set => cpu.SetRegister32(6, value); }
    public uint Edi { get => cpu.Register32(7); set => cpu.SetRegister32(7, value); }
}
