using System.Buffers;

namespace Dromaius.Core.Memory;

/// <summary>Guest memory as <see cref="Memory{T}"/>, for transfers that outlive a call.</summary>
internal sealed unsafe class RamMemory(RamBlock block, ulong offset, int length) : MemoryManager<byte>
{
    public override Span<byte> GetSpan() => block.Span(offset, length);

    public override MemoryHandle Pin(int elementIndex = 0)
    {
        var span = block.Span(offset, length)[elementIndex..];
        return new MemoryHandle(block.Base + offset + (ulong)(length - span.Length));
    }

    public override void Unpin()
    {
    }

    protected override void Dispose(bool disposing)
    {
    }
}
