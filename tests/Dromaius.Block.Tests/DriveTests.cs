using Dromaius.Block.Graph;
using Dromaius.Core.Time;

namespace Dromaius.Block.Tests;

/// <summary>What a drive does besides moving bytes: limits, copies of what is read, errors that stop the machine.</summary>
public sealed class DriveTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("drive").FullName;
    private readonly EventLoop _loop = new(new Lock());

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private BlockRequest Transfer(BlockBackend drive, BlockOperation operation, long offset, byte[] data)
    {
        var done = false;
        var request = new BlockRequest { Operation = operation, Offset = offset, Length = data.Length, Segments = [data], Completed = _ => done = true };
        drive.Submit(request);
        Until(() => done);
        return request;
    }

    private void Until(Func<bool> condition)
    {
        for (var i = 0; i < 30_000 && !condition(); i++)
        {
            _loop.RunDue();
            Thread.Sleep(i < 100 ? 0 : 1);
        }

        Assert.True(condition());
    }

    [Fact]
    public void LimitsDelayTransfersInOrder()
    {
        var clock = new ManualClock();
        var drive = new BlockBackend("d", _loop, new MemoryNode(new byte[1 << 20], false))
        {
            Throttle = new ThrottleGroup("g", clock) { Config = new ThrottleConfig { OperationsTotal = new ThrottleLimit(10, 0, 1) } },
        };
        var order = new List<int>();
        for (var i = 0; i < 5; i++)
        {
            var n = i;
            drive.Submit(new BlockRequest { Operation = BlockOperation.Read, Length = 512, Segments = [new byte[512]], Completed = _ => order.Add(n) });
        }

        // A tenth of a second's worth, one, and the one that overflows go at once, and end in any order.
        Until(() => order.Count == 2);
        for (var n = 3; n <= 5; n++)
        {
            clock.Advance(100_000_001);
            Until(() => order.Count == n);
        }

        Assert.Equal([0, 1], order[..2].Order());
        Assert.Equal([2, 3, 4], order[2..]);
        drive.Dispose();
    }

    [Fact]
    public void ALimitOfWritesLeavesReadsAlone()
    {
        var clock = new ManualClock();
        var drive = new BlockBackend("d", _loop, new MemoryNode(new byte[1 << 20], false))
        {
            Throttle = new ThrottleGroup("g", clock) { Config = new ThrottleConfig { OperationsWrite = new ThrottleLimit(10, 0, 1) } },
        };
        var (read, written) = (0, 0);
        for (var i = 0; i < 4; i++)
        {
            drive.Submit(new BlockRequest { Operation = BlockOperation.Write, Length = 512, Segments = [new byte[512]], Completed = _ => written++ });
            drive.Submit(new BlockRequest { Operation = BlockOperation.Read, Length = 512, Segments = [new byte[512]], Completed = _ => read++ });
        }

        Until(() => read == 4 && written == 2);
        clock.Advance(300_000_003);
        Until(() => written == 4);
        drive.Dispose();
    }

    [Fact]
    public void WaitingTransfersCanBeCancelledAndSetFree()
    {
        var clock = new ManualClock();
        var drive = new BlockBackend("d", _loop, new MemoryNode(new byte[1 << 20], false))
        {
            Throttle = new ThrottleGroup("g", clock) { Config = new ThrottleConfig { BytesTotal = new ThrottleLimit(1000, 0, 1) } },
        };
        var done = 0;
        BlockRequest Ask()
        {
            var request = new BlockRequest { Operation = BlockOperation.Write, Length = 4096, Segments = [new byte[4096]], Completed = _ => done++ };
            drive.Submit(request);
            return request;
        }

        _ = Ask();
        var second = Ask();
        _ = Ask();
        drive.Cancel(second);
        Assert.Equal(2, drive.InFlight);
        drive.Throttle = null;
        Until(() => done == 2);
        Assert.Equal(0, drive.InFlight);
        drive.Dispose();
    }

    [Fact]
    public void LimitsMustMakeSense()
    {
        Assert.Throws<BlockException>(() => new ThrottleConfig { BytesTotal = new(1, 0, 1), BytesRead = new(1, 0, 1) }.Check());
        Assert.Throws<BlockException>(() => new ThrottleConfig { BytesTotal = new(10, 5, 1) }.Check());
        Assert.Throws<BlockException>(() => new ThrottleConfig { OperationSize = 512 }.Check());
        Assert.Throws<BlockException>(() => new ThrottleConfig { OperationsRead = new(5, 0, 2) }.Check());
    }

    [Fact]
    public void WhatIsReadIsCopied()
    {
        var below = Path.Combine(_folder, "base.img");
        var top = Path.Combine(_folder, "top.qcow2");
        var bytes = new byte[1 << 20];
        new Random(4).NextBytes(bytes);
        File.WriteAllBytes(below, bytes);
        var options = new BlockOptions();
        options.Set("backing_file", below);
        options.Set("backing_fmt", "raw");
        _ = ImageCreator.Create(top, "qcow2", options, OpenFlags.Tool, checkBacking: true);
        ImageCreator.Write(top, "qcow2", options, OpenFlags.Tool);
        using var graph = new BlockGraph(_loop);
        var drive = graph.AddBackend("d", graph.Open(top, new BlockOptions(), new OpenFlags()));
        drive.CopyOnRead = true;
        var read = new byte[100_000];
        Assert.Equal(BlockError.None, Transfer(drive, BlockOperation.Read, 131072, read).Error);
        Assert.Equal(bytes.AsSpan(131072, read.Length).ToArray(), read);
        Assert.True(drive.Node!.Status(131072, 1).IsAllocated);
        Assert.False(drive.Node.Status(0, 1).IsAllocated);
    }

    [Fact]
    public void ErrorsHoldTransfersBackUntilTheMachineGoesOn()
    {
        using var graph = new BlockGraph(_loop);
        var failing = new FailingNode();
        var drive = graph.AddBackend("d", failing);
        drive.OnWriteError = ErrorPolicy.Stop;
        var told = 0;
        graph.TransferFailed += (_, operation, error, policy) => told += (operation, error, policy) == (BlockOperation.Write, BlockError.NoSpace, ErrorPolicy.Stop) ? 1 : 100;
        var done = false;
        drive.Submit(new BlockRequest { Operation = BlockOperation.Write, Length = 512, Segments = [new byte[512]], Completed = _ => done = true });
        Until(() => told == 1);
        Assert.Equal(BlockError.NoSpace, drive.StoppedBy);
        Assert.False(done);
        failing.Fails = false;
        drive.Resume();
        Until(() => done);
        Assert.Equal((1, BlockError.None), (told, drive.StoppedBy));
    }

    private sealed class FailingNode : BlockNode
    {
        public volatile bool Fails = true;
        public override string Driver => "failing";
        public override long Length => 1 << 20;

        public override void Read(long offset, Span<byte> into) => into.Clear();

        protected override void WriteCore(long offset, ReadOnlySpan<byte> from)
        {
            if (Fails)
                throw new BlockException(BlockError.NoSpace, "full");
        }

        public override void Flush()
        {
        }
    }
}
