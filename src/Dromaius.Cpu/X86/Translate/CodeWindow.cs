using Iced.Intel;

namespace Dromaius.Cpu.X86;

/// <summary>A few bytes of guest code, read ahead for the decoder. One window never reaches beyond a page by itself.</summary>
internal sealed class CodeWindow : CodeReader
{
    /// <summary>The longest instruction (Intel SDM volume 2, section 2.3.11).</summary>
    public const int MaxInstruction = 15;

    public const int PageSize = 4096;
    private readonly byte[] _bytes = new byte[PageSize + MaxInstruction];
    private int _position, _end;

    /// <summary>Bytes in the window.</summary>
    public int Length => _end;

    /// <summary>Where the decoder stands.</summary>
    public int Position
    {
        get => _position;
        set => _position = value;
    }

    /// <summary>Reads up to so many bytes at a linear address, but not beyond its page. Gives how many there are.</summary>
    public int Open(ICodeFetcher fetcher, ulong linear, int length)
    {
        _position = 0;
        _end = fetcher.Fetch(linear, _bytes.AsSpan(0, Math.Min(length, PageSize - (int)(linear & (PageSize - 1)))));
        return _end;
    }

    /// <summary>Adds the first bytes of the next page, for an instruction that crosses into it. Gives how many there are.</summary>
    public int Extend(ICodeFetcher fetcher, ulong linear)
    {
        var more = fetcher.Fetch(linear, _bytes.AsSpan(_end, MaxInstruction));
        _end += more;
        return more;
    }

    public override int ReadByte() => _position < _end ? _bytes[_position++] : -1;
}
