using Dromaius.Cpu.X86;

namespace Dromaius.Cpu.Tests.SystemTests;

public sealed unsafe class PagingTests : IDisposable
{
    private readonly SystemMachine _m = new();

    public void Dispose() => _m.Dispose();

    private (bool Ok, uint Error) Walk(ulong linear, AccessKind kind, int mmuIndex = 0)
    {
        var ok = _m.Cpu.TryWalk(linear, kind, mmuIndex, out _, out var error);
        return (ok, error);
    }

    [Fact]
    public void LongModeRightsAndErrorCodes()
    {
        _m.EnterLong();
        _m.Write(_m.Pte(0x50), 8, 0x50003); // supervisor, writable
        _m.Write(_m.Pte(0x51), 8, 0x51005); // user, read-only
        _m.Write(_m.Pte(0x52), 8, 0x52007 | (1UL << 63));
        _m.Write(_m.Pte(0x53), 8, 0);
        _m.Write(_m.Pte(0x54), 8, 0x54007 | (1UL << 45));
        Assert.Equal((true, 0u), Walk(0x50000, AccessKind.Write));
        Assert.Equal((false, 5u), Walk(0x50000, AccessKind.Read, 1));
        Assert.Equal((false, 7u), Walk(0x51000, AccessKind.Write, 1));
        Assert.Equal((false, 3u), Walk(0x51000, AccessKind.Write));
        Assert.Equal((false, 0x15u), Walk(0x52000, AccessKind.Execute, 1));
        Assert.Equal((false, 2u), Walk(0x53000, AccessKind.Write));
        Assert.Equal((false, 6u), Walk(0x53000, AccessKind.Write, 1));
        Assert.Equal((false, 9u), Walk(0x54000, AccessKind.Read));
    }

    [Fact]
    public void AccessedAndDirtyBits()
    {
        _m.EnterLong();
        _m.Write(_m.Pte(0x60), 8, 0x60007);
        Assert.True(_m.Cpu.TryWalk(0x60123, AccessKind.Read, 0, out var walk, out _));
        Assert.Equal((0x60000UL, 0x1000UL, false, true), (walk.Physical, walk.PageSize, walk.Writable, walk.Executable));
        Assert.Equal(0x60027UL, _m.Read(_m.Pte(0x60), 8));
        Assert.True(_m.Cpu.TryWalk(0x60123, AccessKind.Write, 0, out walk, out _));
        Assert.True(walk.Writable);
        Assert.Equal(0x60067UL, _m.Read(_m.Pte(0x60), 8));
        Assert.Equal(0x20UL, _m.Read(SystemMachine.PageTables, 8) & 0x60);
    }

    [Fact]
    public void FailedWalksMarkNothing()
    {
        _m.EnterLong();
        _m.Write(SystemMachine.PageTables + 0x1008, 8, (SystemMachine.PageTables + 0x4000) | 7);
        _m.Write(SystemMachine.PageTables + 0x4000, 8, 0);
        Assert.Equal((false, 0u), Walk(0x40000000, AccessKind.Read));
        Assert.Equal(0UL, _m.Read(SystemMachine.PageTables + 0x1008, 8) & 0x20);
    }

    [Fact]
    public void ProtectionKeys()
    {
        _m.EnterLong();
        _m.Write(_m.Pte(0x50), 8, 0x50007 | (3UL << 59));
        _m.Write(_m.Pte(0x51), 8, 0x51005 | (3UL << 59));
        _m.Call(SystemHelpers.WriteControl, 4, 0x400020);
        Assert.Equal(-1, _m.Fault);
        _m.S->Pkru = 0x80; // key 3: no writes
        Assert.Equal((true, 0u), Walk(0x50000, AccessKind.Read, 1));
        Assert.Equal((false, 0x23u), Walk(0x50000, AccessKind.Write)); // CR0.WP is set
        Assert.Equal((false, 0x27u), Walk(0x50000, AccessKind.Write, 1));
        Assert.Equal((false, 0x27u), Walk(0x51000, AccessKind.Write, 1));
        _m.S->Pkru = 0x40; // key 3: no access to data
        Assert.Equal((false, 0x21u), Walk(0x50000, AccessKind.Read));
        Assert.Equal((true, 0u), Walk(0x50000, AccessKind.Execute, 1));
    }

    [Fact]
    public void SmepAndSmap()
    {
        _m.EnterLong();
        _m.Call(SystemHelpers.WriteControl, 4, 0x300020);
        Assert.Equal(-1, _m.Fault);
        Assert.Equal(2, ((Mode)_m.S->Mode).MmuIndex());
        Assert.Equal((false, 0x11u), Walk(0x10000, AccessKind.Execute, 2));
        Assert.Equal((false, 1u), Walk(0x10000, AccessKind.Read, 2));
        Assert.Equal((true, 0u), Walk(0x10000, AccessKind.Read, 0));
        _m.Call(SystemHelpers.Stac);
        Assert.Equal(0, ((Mode)_m.S->Mode).MmuIndex());
    }

    [Fact]
    public void LargePages()
    {
        _m.EnterLong();
        _m.Write(SystemMachine.PageTables + 0x2008, 8, 0x400087);
        _m.Write(SystemMachine.PageTables + 0x1008, 8, 0x187);
        Assert.True(_m.Cpu.TryWalk(0x234567, AccessKind.Read, 0, out var walk, out _));
        Assert.Equal((0x434000UL, 0x200000UL), (walk.Physical, walk.PageSize));
        Assert.True(_m.Cpu.TryWalk(0x40012345, AccessKind.Read, 0, out walk, out _));
        Assert.Equal((0x12000UL, 0x40000000UL), (walk.Physical, walk.PageSize));
        _m.Write(SystemMachine.PageTables + 0x2008, 8, 0x402087);
        _m.Cpu.FlushTlb(true);
        Assert.Equal((false, 9u), Walk(0x234567, AccessKind.Read));
    }

    [Fact]
    public void LegacyPagingWithLargePages()
    {
        _m.EnterProtected();
        _m.Write(SystemMachine.PageTables, 4, (SystemMachine.PageTables + 0x1000) | 7);
        for (var i = 0u; i < 1024; i++)
            _m.Write(SystemMachine.PageTables + 0x1000 + (i * 4), 4, (i << 12) | 7);
        _m.Write(SystemMachine.PageTables + 4, 4, 0x00002087); // 4 MiB at 4 GiB by PSE-36
        _m.Call(SystemHelpers.WriteControl, 4, 0x10);
        _m.Call(SystemHelpers.WriteControl, 3, SystemMachine.PageTables);
        _m.Call(SystemHelpers.WriteControl, 0, 0x80010011);
        Assert.Equal(-1, _m.Fault);
        Assert.True(_m.Cpu.TryWalk(0x5123, AccessKind.Write, 1, out var walk, out _));
        Assert.Equal(0x5000UL, walk.Physical);
        Assert.True(_m.Cpu.TryWalk(0x400123, AccessKind.Read, 0, out walk, out _));
        Assert.Equal((0x1_0000_0000UL, 0x400000UL), (walk.Physical, walk.PageSize));
        Assert.Equal((false, 4u), Walk(0x800000, AccessKind.Read, 1));
        Assert.Equal((false, 4u), Walk(0x800000, AccessKind.Execute, 1)); // no I bit without NX or SMEP
    }

    [Fact]
    public void PaeLoadsItsRegistersWithCr3()
    {
        _m.EnterProtected();
        _m.Write(SystemMachine.PageTables, 8, (SystemMachine.PageTables + 0x1000) | 1);
        _m.Write(SystemMachine.PageTables + 0x1000, 8, 0x87);
        _m.Call(SystemHelpers.WriteControl, 4, 0x20);
        _m.Call(SystemHelpers.WriteControl, 3, SystemMachine.PageTables);
        _m.Call(SystemHelpers.WriteControl, 0, 0x80010011);
        Assert.Equal(-1, _m.Fault);
        Assert.True(_m.Cpu.TryWalk(0x12345, AccessKind.Write, 1, out var walk, out _));
        Assert.Equal((0x12000UL, 0x200000UL), (walk.Physical, walk.PageSize));
        Assert.Equal((false, 0u), Walk(0x40000000, AccessKind.Read));
        _m.Write(SystemMachine.PageTables + 8, 8, 7); // R/W and U/S are reserved here
        _m.Call(SystemHelpers.WriteControl, 3, SystemMachine.PageTables);
        Assert.Equal(13, _m.Fault);
    }

    [Fact]
    public void PageFaultsReachTheHandler()
    {
        _m.EnterLong();
        _m.SetLongGate(14, 0x6000);
        _m.Write(_m.Pte(0x70), 8, 0);
        _m.S->Rip = 0x4000;
        _m.Call(SystemHelpers.Lgdt, 0x70010, 8);
        Assert.Equal((14, 0u, 0x70010UL), (_m.Fault, _m.Error, _m.S->Cr2));
        _m.Cpu.DeliverQueuedException();
        Assert.Equal(0x6000UL, _m.S->Rip);
    }

    [Fact]
    public void A20Gate()
    {
        _m.Write(0x100000, 4, 0x11111111);
        _m.Write(0, 4, 0x22222222);
        _m.Cpu.A20Enabled = false;
        _m.Cpu.ServicePending();
        Assert.Equal(0x22222222UL, _m.Cpu.Load(0x100000, 4));
        _m.Cpu.A20Enabled = true;
        _m.Cpu.ServicePending();
        Assert.Equal(0x11111111UL, _m.Cpu.Load(0x100000, 4));
    }
}
