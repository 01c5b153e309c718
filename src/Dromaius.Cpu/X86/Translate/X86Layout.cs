using System.Runtime.InteropServices;
using Dromaius.Jit.Ir;

namespace Dromaius.Cpu.X86;

/// <summary>The x86 state as the engine sees it: which fields are IR globals, and where everything else lies.</summary>
public static unsafe class X86Layout
{
    // Globals by number: 0 to 15 are the general registers in encoding order.
    public const int Rax = 0, Rcx = 1, Rdx = 2, Rbx = 3, Rsp = 4, Rbp = 5, Rsi = 6, Rdi = 7;
    public const int CcDst = 16, CcSrc = 17, CcSrc2 = 18, CcOp = 19;
    public const int GlobalCount = 20;

    /// <summary>How many general registers, from RAX on, are held in host registers.</summary>
    private const int PinnedRegisters = 8;

    /// <summary>Offsets are taken off a real instance: the runtime may touch an object to take a field's address.</summary>
    private static readonly X86State* Instance = (X86State*)NativeMemory.AllocZeroed((nuint)sizeof(X86State));

    private static readonly string[] RegisterNames =
    [
        "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
    ];

    public static readonly int RipOffset = Offset(&Instance->Rip);
    public static readonly int EflagsOffset = Offset(&Instance->Eflags);
    public static readonly int RequestsOffset = Offset(&Instance->Requests);
    public static readonly int KernelGsBaseOffset = Offset(&Instance->KernelGsBase);
    public static readonly int ModeOffset = Offset(&Instance->Mode);
    public static readonly int ShadowOffset = Offset(&Instance->Shadow);
    public static readonly int CodeBaseOffset = Offset(&Instance->CodeBase);
    public static readonly int MxcsrOffset = Offset(&Instance->Mxcsr);
    public static readonly int YmmOffset = Offset(&Instance->Ymm[0]);
    public static readonly int VectorOffset = Offset(&Instance->Vector);
    public static readonly int FpRegsOffset = Offset(&Instance->FpRegs[0]);
    public static readonly int FpTopOffset = Offset(&Instance->FpTop);
    public static readonly int FpControlOffset = Offset(&Instance->FpControl);
    public static readonly int FpStatusOffset = Offset(&Instance->FpStatus);
    public static readonly int FpEmptyOffset = Offset(&Instance->FpEmpty);
    public static readonly int FpOpcodeOffset = Offset(&Instance->FpOpcode);
    public static readonly int FpCodeSelectorOffset = Offset(&Instance->FpCodeSelector);
    public static readonly int FpDataSelectorOffset = Offset(&Instance->FpDataSelector);
    public static readonly int FpIpOffset = Offset(&Instance->FpIp);
    public static readonly int FpDpOffset = Offset(&Instance->FpDp);
    public static readonly int EngineOffset = Offset(&Instance->Engine);
    private static readonly int SegmentsOffset = Offset(&Instance->Es);
    private static readonly int SegmentBase = Offset(&Instance->Es.Base) - SegmentsOffset;
    private static readonly int SegmentLimit = Offset(&Instance->Es.Limit) - SegmentsOffset;
    private static readonly int SegmentAttributes = Offset(&Instance->Es.Attributes) - SegmentsOffset;
    private static readonly int SegmentSelector = Offset(&Instance->Es.Selector) - SegmentsOffset;
    private static readonly int SegmentUnusable = Offset(&Instance->Es.Unusable) - SegmentsOffset;

    public static GuestLayout Layout { get; } = Create();

    public static int GprOffset(int register) => Offset(&Instance->Gpr[register]);

    /// <summary>The first byte of a YMM register (its XMM half).</summary>
    public static int YmmRegisterOffset(int register) => YmmOffset + register * 32;

    /// <summary>A control register kept in the state: 0, 2, 3, 4 or 8.</summary>
    public static int ControlRegisterOffset(int number) => number switch
    {
        0 => Offset(&Instance->Cr0),
        2 => Offset(&Instance->Cr2),
        3 => Offset(&Instance->Cr3),
        4 => Offset(&Instance->Cr4),
        8 => Offset(&Instance->Cr8),
        _ => throw new ArgumentOutOfRangeException(nameof(number)),
    };

    public static int BaseOffset(Seg seg) => SegmentOffset(seg) + SegmentBase;

    public static int LimitOffset(Seg seg) => SegmentOffset(seg) + SegmentLimit;

    public static int AttributesOffset(Seg seg) => SegmentOffset(seg) + SegmentAttributes;

    public static int SelectorOffset(Seg seg) => SegmentOffset(seg) + SegmentSelector;

    public static int UnusableOffset(Seg seg) => SegmentOffset(seg) + SegmentUnusable;

    private static int SegmentOffset(Seg seg) => SegmentsOffset + (int)seg * sizeof(Segment);

    private static int Offset(void* field) => (int)((byte*)field - (byte*)Instance);

    private static GuestLayout Create()
    {
        var globals = new Global[GlobalCount];
        for (var i = 0; i < RegisterNames.Length; i++)
            globals[i] = new Global(RegisterNames[i], GprOffset(i), i < PinnedRegisters);
        globals[CcDst] = new Global("cc_dst", Offset(&Instance->CcDst), false);
        globals[CcSrc] = new Global("cc_src", Offset(&Instance->CcSrc), false);
        globals[CcSrc2] = new Global("cc_src2", Offset(&Instance->CcSrc2), false);
        globals[CcOp] = new Global("cc_op", Offset(&Instance->CcOp), false);
        return new GuestLayout
        {
            Globals = globals,
            StackPointer = Rsp,
            PcOffset = Offset(&Instance->Rip),
            ModeOffset = Offset(&Instance->Mode),
            CodeBaseOffset = Offset(&Instance->CodeBase),
            FpControlOffset = Offset(&Instance->Mxcsr),
            X87 = new X87Layout(FpRegsOffset, FpControlOffset, FpStatusOffset),
            EngineOffset = Offset(&Instance->Engine),
            Memory = X86Cpu.MemoryCallbacks,
        };
    }
}
