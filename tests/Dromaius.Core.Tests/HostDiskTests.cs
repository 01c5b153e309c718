using System.Buffers.Binary;
using Dromaius.Core.Storage;

namespace Dromaius.Core.Tests;

public sealed class HostDiskTests
{
    /// <summary>Part of a block at the end of a file that is open past the host's cache: the padding is cut off, and nothing else.</summary>
    [Fact]
    public void WritesAtTheEndKeepWhatOthersWriteBehindIt()
    {
        const int Block = 4096, Blocks = 3000;
        var path = Path.GetTempFileName();
        try
        {
            using var disk = HostDisk.Open(path, HostDiskFlags.Write | HostDiskFlags.Direct, out _);
            if (disk == null)
                return; // a file system without direct access
            var buffer = GC.AllocateArray<byte>(2 * Block, pinned: true);
            var skip = AlignmentSkip(buffer, Block);
            var at = 0L;
            var tails = new Thread(() =>
            {
                for (long n; (n = Volatile.Read(ref at)) < Blocks;)
                    _ = disk.Write(((n + 8) * Block) + 1, [1, 2, 3]);
            });
            tails.Start();
            for (var n = 0; n < Blocks; n++)
            {
                // Every other block is the writer's above.
                BinaryPrimitives.WriteInt64LittleEndian(buffer.AsSpan(skip), n + 1);
                if (n % 2 == 0)
                    Assert.Equal(Block, disk.Write((n + 9L) * Block, buffer.AsSpan(skip, Block)));
                Volatile.Write(ref at, (n + 2) & ~1);
            }

            tails.Join();
            for (var n = 0; n < Blocks; n += 2)
            {
                Assert.Equal(Block, disk.Read((n + 9L) * Block, buffer.AsSpan(skip, Block)));
                Assert.Equal(n + 1, BinaryPrimitives.ReadInt64LittleEndian(buffer.AsSpan(skip)));
            }
        }
        finally
        {
            File.Delete(path);
        }
    }

    private static int AlignmentSkip(byte[] pinned, int block) =>
        (int)((block - (System.Runtime.InteropServices.Marshal.UnsafeAddrOfPinnedArrayElement(pinned, 0) & (block - 1))) & (block - 1));
}
