using Dromaius.Core.Memory;
using Dromaius.Core.Time;
using Dromaius.Cpu.X86;
using Dromaius.Jit;
using Dromaius.Jit.Ir;

namespace Dromaius.Cpu.Tests.SystemTests;

/// <summary>A processor with 8 MiB of RAM and tables in known places, driven through the helpers of generated code.</summary>
internal sealed unsafe class SystemMachine : IDisposable
{
    public const uint GdtBase = 0x1000, IdtBase = 0x2000, TssBase = 0x3000, LdtBase = 0x3800, StackTop = 0x8000,
        InnerStackTop = 0x9000, PageTables = 0x100000;

    // Selectors of the standard GDT.
    public const ushort Code0 = 0x08, Data0 = 0x10, Code3 = 0x1B, Data3 = 0x23, Code0Bits64 = 0x28, Code3Bits64 = 0x33,
        TssSelector = 0x38, Conforming = 0x48, Code16 = 0x50, ExpandDown = 0x58, Free = 0x60;

    private readonly RamBlock _ram = new("ram", 8 << 20);

    public SystemMachine(string model = "max")
    {
        var root = MemoryRegion.Container("system", 0);
        root.Add(0, MemoryRegion.RamRegion("ram", _ram));
        var gate = new Lock();
        var memory = new AddressSpace("memory", root, gate);
        var io = new AddressSpace("io", MemoryRegion.Container("io", 0x10000), gate);
        Cpu = new X86Cpu(0, X86Model.Parse(model, out _)!, memory, io, Clock);
        Cpu.Reset();
    }

    public X86Cpu Cpu { get; }
    public RamBlock Ram => _ram;
    public ManualClock Clock { get; } = new();
    public X86State* S => Cpu.State;

    /// <summary>The exception the last <see cref="Call"/> queued, or -1.</summary>
    public int Fault { get; private set; }
    public uint Error { get; private set; }

    public ulong Call(Helper helper, ulong a = 0, ulong b = 0, ulong c = 0, ulong d = 0)
    {
        S->Engine.ExitReason = ExitReason.None;
        var result = helper.Code(S, a, b, c, d);
        Fault = S->Engine.ExitReason == ExitReason.Exception ? (int)S->ExceptionVector : -1;
        Error = S->ExceptionError;
        return result;
    }

    /// <summary>Queues an exception at the current instruction and delivers it.</summary>
    public void Raise(int vector, uint error = 0, bool hasError = false)
    {
        Cpu.QueueException(vector, error, hasError);
        Cpu.DeliverQueuedException();
    }

    public ulong Read(ulong address, int size) => Cpu.Memory.Load(address, size);

    public void Write(ulong address, int size, ulong value) => Cpu.Memory.Store(address, size, value);

    public static ulong Descriptor(uint address, uint limit, uint attributes) =>
        (limit & 0xFFFF) | ((ulong)(address & 0xFFFFFF) << 16) | ((ulong)attributes << 40) | ((ulong)(limit >> 16 & 0xF) << 48)
        | ((ulong)(address >> 24) << 56);

    public static ulong Gate(ushort selector, uint offset, uint type, uint dpl, uint parameters = 0) =>
        (offset & 0xFFFF) | ((ulong)selector << 16) | ((ulong)parameters << 32) | ((ulong)(0x80 | (dpl << 5) | type) << 40)
        | ((ulong)(offset >> 16) << 48);

    public void SetGdt(int selector, ulong descriptor) => Write(GdtBase + ((ulong)selector & ~7UL), 8, descriptor);

    public void SetIdt(int vector, ulong gate) => Write(IdtBase + ((ulong)vector * 8), 8, gate);

    /// <summary>Writes the tables and enters flat 32-bit ring 0 with a 32-bit TSS.</summary>
    public void EnterProtected()
    {
        SetGdt(Code0, Descriptor(0, 0xFFFFF, 0xC09A));
        SetGdt(Data0, Descriptor(0, 0xFFFFF, 0xC092));
        SetGdt(Code3, Descriptor(0, 0xFFFFF, 0xC0FA));
        SetGdt(Data3, Descriptor(0, 0xFFFFF, 0xC0F2));
        SetGdt(Code0Bits64, Descriptor(0, 0xFFFFF, 0xA09A));
        SetGdt(Code3Bits64, Descriptor(0, 0xFFFFF, 0xA0FA));
        SetGdt(TssSelector, Descriptor(TssBase, 0x2FF, 0x0089));
        SetGdt(TssSelector + 8, 0);
        SetGdt(Conforming, Descriptor(0, 0xFFFFF, 0xC09E));
        SetGdt(Code16, Descriptor(0, 0xFFFF, 0x009A));
        SetGdt(ExpandDown, Descriptor(0, 0xFFF, 0x4096));
        S->Gdt = new DescriptorTable { Base = GdtBase, Limit = 0xFF };
        S->Idt = new DescriptorTable { Base = IdtBase, Limit = 0x7FF };
        Write(TssBase + 4, 4, InnerStackTop);
        Write(TssBase + 8, 4, Data0);
        Write(TssBase + 0x66, 2, 0x68);
        Call(SystemHelpers.WriteControl, 0, 0x11);
        Call(SystemHelpers.FarJump, Code0, 0x4000, 4, 0);
        foreach (var seg in (ReadOnlySpan<Seg>)[Seg.Ds, Seg.Es, Seg.Ss, Seg.Fs, Seg.Gs])
            Call(SystemHelpers.LoadSegment, (ulong)seg, Data0);
        Call(SystemHelpers.Ltr, TssSelector);
        S->Gpr[4] = StackTop;
    }

    /// <summary>As <see cref="EnterProtected"/>, then down to ring 3 by IRET.</summary>
    public void EnterUser(uint eflags = 2)
    {
        EnterProtected();
        ReturnTo(Code3, 0x5000, eflags, 0x7000, Data3);
        Assert.Equal(3, Cpu.Cpl);
    }

    public void ReturnTo(ushort cs, uint eip, uint eflags, uint esp, ushort ss)
    {
        var top = (uint)S->Gpr[4] - 20;
        ReadOnlySpan<uint> frame = [eip, cs, eflags, esp, ss];
        for (var i = 0; i < frame.Length; i++)
            Write(top + ((uint)i * 4), 4, frame[i]);
        S->Gpr[4] = top;
        Call(SystemHelpers.Iret, 4, 0);
    }

    /// <summary>Identity-maps the first 2 MiB with 4 KiB pages and enters 64-bit ring 0.</summary>
    public void EnterLong()
    {
        EnterProtected();
        Write(PageTables, 8, (PageTables + 0x1000) | 7);
        Write(PageTables + 0x1000, 8, (PageTables + 0x2000) | 7);
        Write(PageTables + 0x2000, 8, (PageTables + 0x3000) | 7);
        for (var i = 0u; i < 512; i++)
            Write(PageTables + 0x3000 + (i * 8), 8, (i << 12) | 7);
        Call(SystemHelpers.WriteControl, 4, 0x20);
        Call(SystemHelpers.WriteControl, 3, PageTables);
        WriteMsr(0xC0000080, 0x901);
        Call(SystemHelpers.WriteControl, 0, 0x80010011);
        Assert.Equal(-1, Fault);
        S->Tr.Selector = 0;
        SetGdt(TssSelector, Descriptor(TssBase, 0x2FF, 0x0089));
        Call(SystemHelpers.FarJump, Code0Bits64, 0x4000, 4, 0);
        Call(SystemHelpers.Ltr, TssSelector);
        Assert.Equal(-1, Fault);
        Assert.True(Cpu.Code64);
        Write(TssBase + 4, 8, InnerStackTop);
    }

    public void SetLongGate(int vector, ulong offset, uint dpl = 0, uint ist = 0)
    {
        Write(IdtBase + ((ulong)vector * 16), 8, Gate(Code0Bits64, (uint)offset, 0xE, dpl, ist));
        Write(IdtBase + ((ulong)vector * 16) + 8, 8, offset >> 32);
    }

    public ulong Pte(uint index) => PageTables + 0x3000 + (index * 8);

    public void WriteMsr(uint index, ulong value)
    {
        S->Gpr[0] = (uint)value;
        S->Gpr[1] = index;
        S->Gpr[2] = value >> 32;
        Call(SystemHelpers.Wrmsr);
    }

    public ulong ReadMsr(uint index)
    {
        S->Gpr[1] = index;
        Call(SystemHelpers.Rdmsr);
        return (uint)S->Gpr[0] | (S->Gpr[2] << 32);
    }

    public void Dispose()
    {
        Cpu.Dispose();
        _ram.Dispose();
    }
}
