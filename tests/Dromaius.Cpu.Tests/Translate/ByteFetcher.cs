using Dromaius.Cpu.X86;

namespace Dromaius.Cpu.Tests.Translate;

/// <summary>Code from an array that repeats through the address space.</summary>
internal sealed class ByteFetcher(byte[] bytes) : ICodeFetcher
{
    public byte[] Bytes { get; } = bytes;

    public int Fetch(ulong linear, Span<byte> into)
    {
        var offset = (int)(linear % (ulong)Bytes.Length);
        var count = Math.Min(into.Length, Bytes.Length - offset);
        Bytes.AsSpan(offset, count).CopyTo(into);
        return count;
    }
}
