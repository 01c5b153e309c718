using System.Runtime.InteropServices;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Dromaius.Cpu.Tests.Oracle;

/// <summary>
/// Runs one instruction on the host processor itself: loads all user registers, executes it, stores them again. Faults are
/// caught by signal handlers that recognise the instruction's address and hand everything else on.
/// </summary>
internal sealed unsafe partial class HostProcessor
{
    private const ulong Region = 0x2000_0000;
    private const nuint RegionSize = 0x10000;
    private const ulong Context = Region + 0x8000;
    private const ulong Stubs = Region + 0x4000;
    private const int GprAt = 0, FlagsAt = 128, HostStackAt = 136, TrapAt = 144, ExitAt = 152, YmmAt = 256, FxAt = 768,
        HostFxAt = 1280, EntryAt = 168,
        FaultRipAt = 176, FarEntryAt = 184;
    private const int DataSelectorAt = 192;

    /// <summary>Linux's selectors for user code and data, and those of entries 0 and 1 of the LDT.</summary>
    private const int Code32 = 0x23, Data32 = 0x2B, Code64 = 0x33, LdtCode = 0x07, LdtData = 0x0F;
    private const int FaultExit = PadsAndNext;
    private const int PadsAndNext = MachineState.PadCount + 1;
    private const int CodeSpan = 0x800;

    private static readonly Lazy<HostProcessor> Shared = new(() => new HostProcessor());
    private readonly Lock _gate = new();
    private readonly ulong[] _exits = new ulong[PadsAndNext + 1];
    private readonly delegate* unmanaged<void> _enter;
    private readonly delegate* unmanaged<void> _enterLegacy;

    private HostProcessor()
    {
        Map(Region, RegionSize, 7);
        Map(MachineState.ArenaBase, MachineState.ArenaSize, 3);
        Supports16 = SetLdtEntry(0, (uint)Region, 0xFFFF, code: true)
            && SetLdtEntry(1, (uint)MachineState.ArenaBase, MachineState.ArenaSize - 1, code: false);
        var assembler = new Assembler(64);
        var exits = new Label[_exits.Length];
        var common = assembler.CreateLabel("common");
        var enter = assembler.CreateLabel("enter");
        assembler.Label(ref enter);
        EmitEnter(assembler, legacy: false);
        var enterLegacy = assembler.CreateLabel("enterLegacy");
        assembler.Label(ref enterLegacy);
        EmitEnter(assembler, legacy: true);
        for (var i = 0; i < exits.Length; i++)
        {
            exits[i] = assembler.CreateLabel();
            assembler.Label(ref exits[i]);
            assembler.mov(__[Context + GprAt], rax);
            assembler.mov(eax, i);
            assembler.jmp(common);
        }

        assembler.Label(ref common);
        EmitExit(assembler);
        var handler = assembler.CreateLabel("handler");
        assembler.Label(ref handler);
        var writer = new PointerWriter((byte*)Stubs);
        var signals = new[] { 4, 5, 7, 8, 11 };
        var oldHandlers = signals.Select(Current).ToArray();
        var handlers = new Label[signals.Length];
        for (var i = 0; i < signals.Length; i++)
        {
            if (i > 0)
            {
                handlers[i] = assembler.CreateLabel();
                assembler.Label(ref handlers[i]);
            }
            else
                handlers[i] = handler;

            EmitHandler(assembler, exits[FaultExit], oldHandlers[i]);
        }

        var result = assembler.Assemble(writer, Stubs, BlockEncoderOptions.ReturnNewInstructionOffsets);
        for (var i = 0; i < exits.Length; i++)
            _exits[i] = result.GetLabelRIP(exits[i]);
        _enter = (delegate* unmanaged<void>)result.GetLabelRIP(enter);
        _enterLegacy = (delegate* unmanaged<void>)result.GetLabelRIP(enterLegacy);
        for (var i = 0; i < signals.Length; i++)
            Install(signals[i], result.GetLabelRIP(handlers[i]));
    }

    public static HostProcessor Instance => Shared.Value;

    /// <summary>The kernel lets user code have 16-bit segments.</summary>
    public bool Supports16 { get; }

    public static bool IsSupported =>
        OperatingSystem.IsLinux() && RuntimeInformation.ProcessArchitecture == Architecture.X64
        && System.Runtime.Intrinsics.X86.Avx2.IsSupported;

    /// <summary>Executes the instruction on the state, in place. One caller at a time: code and memory have fixed addresses.</summary>
    public void Run(ReadOnlySpan<byte> instruction, MachineState state)
    {
        lock (_gate)
            RunAlone(instruction, state);
    }

    private void RunAlone(ReadOnlySpan<byte> instruction, MachineState state)
    {
        var start = state.Rip;
        var code = (byte*)start;
        instruction.CopyTo(new Span<byte>(code, CodeSpan / 2));
        WriteJump(code + instruction.Length, _exits[0], state.Bits);
        for (var i = 0; i < MachineState.PadCount; i++)
            WriteJump((byte*)MachineState.Pad(i), _exits[i + 1], state.Bits);
        var c = (byte*)Context;
        state.Gpr.CopyTo(new Span<ulong>(c + GprAt, 16));
        *(ulong*)(c + FlagsAt) = state.Rflags | 0x202;
        *(ulong*)(c + EntryAt) = start;
        *(uint*)(c + FarEntryAt) = (uint)(start - state.CodeSegment);
        *(ushort*)(c + FarEntryAt + 4) = (ushort)(state.Bits == 16 ? LdtCode : Code32);
        *(ushort*)(c + DataSelectorAt) = (ushort)(state.Bits == 16 ? LdtData : Data32);
        *(long*)(c + TrapAt) = MachineState.NoTrap;
        state.Ymm.CopyTo(new Span<byte>(c + YmmAt, 512));
        var fx = c + FxAt;
        new Span<byte>(fx, 512).Clear();
        *(ushort*)fx = state.FpControl;
        *(ushort*)(fx + 2) = state.FpStatus;
        fx[4] = state.FpTags;
        *(uint*)(fx + 24) = state.Mxcsr;
        for (var i = 0; i < 8; i++)
            state.Fp.AsSpan(i * 10, 10).CopyTo(new Span<byte>(fx + 32 + i * 16, 10));
        state.Memory.CopyTo(new Span<byte>((void*)MachineState.ArenaBase, MachineState.ArenaSize));
        if (state.Bits == 64)
            _enter();
        else
            _enterLegacy();
        new Span<ulong>(c + GprAt, 16).CopyTo(state.Gpr);
        state.Rflags = *(ulong*)(c + FlagsAt);
        state.Trap = (int)*(long*)(c + TrapAt);
        var exit = (int)*(ulong*)(c + ExitAt);
        state.Rip = exit switch
        {
            0 => start + (ulong)instruction.Length,
            FaultExit => *(ulong*)(c + FaultRipAt) + state.CodeSegment,
            _ => MachineState.Pad(exit - 1),
        };
        new Span<byte>(c + YmmAt, 512).CopyTo(state.Ymm);
        state.FpControl = *(ushort*)fx;
        state.FpStatus = *(ushort*)(fx + 2);
        state.FpTags = fx[4];
        state.Mxcsr = *(uint*)(fx + 24);
        for (var i = 0; i < 8; i++)
            new Span<byte>(fx + 32 + i * 16, 10).CopyTo(state.Fp.AsSpan(i * 10, 10));
        new Span<byte>((void*)MachineState.ArenaBase, MachineState.ArenaSize).CopyTo(state.Memory);
    }

    private static readonly AssemblerRegister64[] Registers =
        [rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15];

    private static readonly AssemblerRegisterYMM[] Vectors =
    [
        ymm0, ymm1, ymm2, ymm3, ymm4, ymm5, ymm6, ymm7, ymm8, ymm9, ymm10, ymm11, ymm12, ymm13, ymm14, ymm15,
    ];

    private static ReadOnlySpan<byte> Saved => [3, 5, 12, 13, 14, 15];

    private static void EmitEnter(Assembler a, bool legacy)
    {
        foreach (var r in Saved)
            a.push(Registers[r]);
        a.mov(rax, Context);
        a.mov(__[rax + HostStackAt], rsp);
        a.fxsave64(__[rax + HostFxAt]);
        a.fxrstor64(__[rax + FxAt]);
        for (var i = 0; i < 16; i++)
            a.vmovdqu(Vectors[i], __[rax + YmmAt + i * 32]);
        a.push(__qword_ptr[rax + FlagsAt]);
        a.popfq();
        if (legacy)
        {
            a.mov(ecx, __dword_ptr[rax + DataSelectorAt]);
            a.mov(ds, ecx);
            a.mov(es, ecx);
            a.mov(ss, ecx);
        }

        for (var i = 1; i < 16; i++)
            a.mov(Registers[i], __[rax + GprAt + i * 8]);
        a.mov(rax, __[rax + GprAt]);
        if (legacy)
            a.jmp(__fword_ptr[Context + FarEntryAt]);
        else
            a.jmp(__qword_ptr[Context + EntryAt]);
    }

    /// <summary>RAX is stored already and holds the number of the exit.</summary>
    private static void EmitExit(Assembler a)
    {
        a.mov(__[Context + ExitAt], rax);
        a.mov(rax, Context);
        for (var i = 1; i < 16; i++)
            a.mov(__[rax + GprAt + i * 8], Registers[i]);
        a.mov(ecx, Data32);
        a.mov(ss, ecx);
        a.mov(rsp, __[rax + HostStackAt]);
        a.pushfq();
        a.pop(__qword_ptr[rax + FlagsAt]);
        a.push(0x202);
        a.popfq();
        a.xor(ecx, ecx);
        a.mov(ds, ecx);
        a.mov(es, ecx);
        for (var i = 0; i < 16; i++)
            a.vmovdqu(__[rax + YmmAt + i * 32], Vectors[i]);
        a.vzeroupper();
        a.fxsave64(__[rax + FxAt]);
        a.fxrstor64(__[rax + HostFxAt]);
        for (var i = Saved.Length - 1; i >= 0; i--)
            a.pop(Registers[Saved[i]]);
        a.ret();
    }

    /// <summary>
    /// A signal handler (signal, siginfo, ucontext): a fault of the instruction continues at the fault exit; others go to the
    /// handler that was there. Offsets of struct ucontext from the kernel's x86-64 ABI.
    /// </summary>
    private static void EmitHandler(Assembler a, Label faultExit, ulong old)
    {
        const int ContextRip = 40 + 16 * 8, ContextTrap = 40 + 20 * 8, ContextCs = 40 + 18 * 8,
            ContextSs = ContextCs + 6;
        var other = a.CreateLabel();
        var ours = a.CreateLabel();
        a.mov(rax, __[rdx + ContextRip]);
        a.cmp(__word_ptr[rdx + ContextCs], LdtCode);
        a.je(ours);
        a.mov(rcx, MachineState.CodeBase);
        a.sub(rax, rcx);
        a.cmp(rax, CodeSpan);
        a.jae(other);
        a.Label(ref ours);
        a.mov(rax, __[rdx + ContextTrap]);
        a.mov(rcx, Context);
        a.mov(__[rcx + TrapAt], rax);
        a.mov(rax, __[rdx + ContextRip]);
        a.mov(__[rcx + FaultRipAt], rax);
        a.mov(__word_ptr[rdx + ContextCs], Code64);
        a.mov(__word_ptr[rdx + ContextSs], Data32);
        a.lea(rax, __[faultExit]);
        a.mov(__[rdx + ContextRip], rax);
        a.ret();
        a.Label(ref other);
        a.mov(rax, old);
        a.jmp(rax);
    }

    /// <summary>JMP [RIP+0] and the address, or a far JMP back to 64-bit code: changes no register.</summary>
    private static void WriteJump(byte* at, ulong target, int bits)
    {
        if (bits != 64)
        {
            if (bits == 16)
                *at++ = 0x66;
            at[0] = 0xEA;
            *(uint*)(at + 1) = (uint)target;
            *(ushort*)(at + 5) = Code64;
            return;
        }

        at[0] = 0xFF;
        at[1] = 0x25;
        *(uint*)(at + 2) = 0;
        *(ulong*)(at + 6) = target;
    }

    /// <summary>A 16-bit segment of the local descriptor table (modify_ldt).</summary>
    private static bool SetLdtEntry(uint number, uint address, uint limit, bool code)
    {
        const int ModifyLdt = 154;
        const uint contentsCode = 2 << 1, usable = 1 << 6;
        var entry = stackalloc uint[] { number, address, limit, (code ? contentsCode : 0) | usable };
        return syscall(ModifyLdt, 0x11, entry, 16) == 0;
    }

    private static void Map(ulong address, nuint size, int protection)
    {
        const int PrivateAnonymousFixedNoReplace = 0x2 | 0x20 | 0x100000;
        if (mmap((void*)address, size, protection, PrivateAnonymousFixedNoReplace, -1, 0) != (void*)address)
            throw new InvalidOperationException($"cannot map 0x{address:x}");
    }

    private const int SignalActionSize = 152, FlagsOffset = 136;

    private static ulong Current(int signal)
    {
        var action = stackalloc byte[SignalActionSize];
        _ = sigaction(signal, null, action);
        return *(ulong*)action;
    }

    private static void Install(int signal, ulong handler)
    {
        const int SigInfo = 4, OnStack = 0x08000000;
        var action = stackalloc byte[SignalActionSize];
        _ = sigaction(signal, null, action);
        *(ulong*)action = handler;
        *(int*)(action + FlagsOffset) |= SigInfo | OnStack;
        _ = sigaction(signal, action, null);
    }

    private sealed class PointerWriter(byte* at) : CodeWriter
    {
        private byte* _at = at;

        public override void WriteByte(byte value) => *_at++ = value;
    }

    [LibraryImport("libc")]
    private static partial void* mmap(void* addr, nuint length, int prot, int flags, int fd, nint offset);

    [LibraryImport("libc")]
    private static partial nint syscall(nint number, nint function, void* entry, nint size);

    [LibraryImport("libc")]
    private static partial int sigaction(int signal, void* action, void* old);
}
