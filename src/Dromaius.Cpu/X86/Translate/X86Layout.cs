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

    private static readonly string[] RegisterNames =
    [
        "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
    ];

    public static readonly int RipOffset = Offset(&Null->Rip);
    public static readonly int EflagsOffset = Offset(&Null->Eflags);
    public static readonly int ModeOffset = Offset(&Null->Mode);
    public static readonly int ShadowOffset = Offset(&Null->Shadow);
    public static readonly int CodeBaseOffset = Offset(&Null->CodeBase);
    public static readonly int MxcsrOffset = Offset(&Null->Mxcsr);
    public static readonly int YmmOffset = Offset(&Null->Ymm[0]);
    public static readonly int FpRegsOffset = Offset(&Null->FpRegs[0]);
    public static readonly int FpTopOffset = Offset(&Null->FpTop);
    public static readonly int FpControlOffset = Offset(&Null->FpControl);
    public static readonly int FpStatusOffset = Offset(&Null->FpStatus);
    public static readonly int FpEmptyOffset = Offset(&Null->FpEmpty);
    public static readonly int FpOpcodeOffset = Offset(&Null->FpOpcode);
    public static readonly int FpCodeSelectorOffset = Offset(&Null->FpCodeSelector);
    public static readonly int FpDataSelectorOffset = Offset(&Null->FpDataSelector);
    public static readonly int FpIpOffset = Offset(&Null->FpIp);
    public static readonly int FpDpOffset = Offset(&Null->FpDp);
    public static readonly int EngineOffset = Offset(&Null->Engine);
    private static readonly int SegmentsOffset = Offset(&Null->Es);
    private static readonly int SegmentBase = Offset(&Null->Es.Base) - SegmentsOffset;
    private static readonly int SegmentLimit = Offset(&Null->Es.Limit) - SegmentsOffset;
    private static readonly int SegmentAttributes = Offset(&Null->Es.Attributes) - SegmentsOffset;
    private static readonly int SegmentSelector = Offset(&Null->Es.Selector) - SegmentsOffset;
    private static readonly int SegmentUnusable = Offset(&Null->Es.Unusable) - SegmentsOffset;

    public static GuestLayout Layout { get; } = Create();

    private static X86State* Null => null;

    public static int GprOffset(int register) => Offset(&Null->Gpr[register]);

    /// <summary>The first byte of a YMM register (its XMM half).</summary>
    public static int YmmRegisterOffset(int register) => YmmOffset + register * 32;

    /// <summary>A control register kept in the state: 0, 2, 3, 4 or 8.</summary>
    public static int ControlRegisterOffset(int number) => number switch
    {
        0 => Offset(&Null->Cr0),
        2 => Offset(&Null->Cr2),
        3 => Offset(&Null->Cr3),
        4 => Offset(&Null->Cr4),
        8 => Offset(&Null->Cr8),
        _ => throw new ArgumentOutOfRangeException(nameof(number)),
    };

    public static int BaseOffset(Seg seg) => SegmentOffset(seg) + SegmentBase;

    public static int LimitOffset(Seg seg) => SegmentOffset(seg) + SegmentLimit;

    public static int AttributesOffset(Seg seg) => SegmentOffset(seg) + SegmentAttributes;

    public static int SelectorOffset(Seg seg) => SegmentOffset(seg) + SegmentSelector;

    public static int UnusableOffset(Seg seg) => SegmentOffset(seg) + SegmentUnusable;

    private static int SegmentOffset(Seg seg) => SegmentsOffset + (int)seg * sizeof(Segment);

    private static int Offset(void* field) => (int)(nint)field;

    private static GuestLayout Create()
    {
        var globals = new Global[GlobalCount];
        for (var i = 0; i < RegisterNames.Length; i++)
            globals[i] = new Global(RegisterNames[i], GprOffset(i), i < PinnedRegisters);
        globals[CcDst] = new Global("cc_dst", Offset(&Null->CcDst), false);
        globals[CcSrc] = new Global("cc_src", Offset(&Null->CcSrc), false);
        globals[CcSrc2] = new Global("cc_src2", Offset(&Null->CcSrc2), false);
        globals[CcOp] = new Global("cc_op", Offset(&Null->CcOp), false);
        return new GuestLayout
        {
            Globals = globals,
            PcOffset = Offset(&Null->Rip),
            ModeOffset = Offset(&Null->Mode),
            CodeBaseOffset = Offset(&Null->CodeBase),
            FpControlOffset = Offset(&Null->Mxcsr),
            EngineOffset = Offset(&Null->Engine),
        };
    }
}
