using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Dromaius.Core.Errors;

namespace Dromaius.Core.Memory;

/// <summary>Why a page of RAM needs the slow path for stores.</summary>
[Flags]
public enum PageFlags : byte
{
    None = 0,

    /// <summary>The page holds translated code; stores must invalidate it.</summary>
    Code = 1,

    /// <summary>The page is watched for display changes and is unchanged since it was last looked at.</summary>
    DisplayClean = 2,
}

/// <summary>
/// A block of guest memory in native memory (anonymous, zero, mapped lazily by the host), with one flag byte a 4 KiB page.
/// Sizes are rounded up to whole pages; the address never moves while the block lives.
/// </summary>
public sealed unsafe class RamBlock : IDisposable
{
    public const int PageShift = 12;
    public const ulong PageSize = 1 << PageShift;

    private byte* _base;
    private byte* _flags;
    private readonly nuint _mapped;

    public RamBlock(string name, ulong size)
    {
        Name = name;
        Size = (size + PageSize - 1) & ~(PageSize - 1);
        PageCount = Size >> PageShift;
        _mapped = (nuint)(Size + PageSize); // a spare page: wide accesses at the very end stay inside
        _base = (byte*)NativeMemory.MapLarge(_mapped);
        if (_base == null)
            throw new UserErrorException($"cannot set up guest memory '{name}': Cannot allocate memory");
        _flags = (byte*)NativeMemory.MapAnonymous((nuint)PageCount + 1);
    }

    public string Name { get; }
    public ulong Size { get; }
    public ulong PageCount { get; }
    public byte* Base => _base;

    /// <summary>One <see cref="PageFlags"/> byte a page.</summary>
    public byte* Flags => _flags;

    /// <summary>
    /// Called before a store that goes through <see cref="AddressSpace"/> (DMA, loaders) changes a page that holds translated
    /// code: offset and length in bytes. Set by the translation engine.
    /// </summary>
    public Action<RamBlock, ulong, ulong>? CodeWritten { get; set; }

    /// <summary>Pages of this block are marked for displays: <see cref="FlagsSetOn"/> is raised.</summary>
    public bool IsDisplay { get; init; }

    /// <summary>Pages, from the first to the last, got flags: cached translations must take the slow path for stores.</summary>
    public event Action<RamBlock, ulong, ulong>? FlagsSetOn;

    /// <summary>The page is marked and was not changed since.</summary>
    public bool IsDisplayClean(ulong page) => page < PageCount && (_flags[page] & (byte)PageFlags.DisplayClean) != 0;

    /// <summary>Tells the processors that pages got flags.</summary>
    public void FlagsSet(ulong first, ulong last) => FlagsSetOn?.Invoke(this, first, last);

    /// <summary>The bytes at an offset; the caller has checked nothing, this does.</summary>
    public Span<byte> Span(ulong offset, int length)
    {
        if (offset > Size || (ulong)(uint)length > Size - offset || length < 0)
            throw new ArgumentOutOfRangeException(nameof(offset));
        return new Span<byte>(_base + offset, length);
    }

    /// <summary>Records a store of host or device origin: invalidates code and marks the display dirty.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void NoteWrite(ulong offset, ulong length)
    {
        if (length == 0)
            return;
        for (var page = offset >> PageShift; page <= (offset + length - 1) >> PageShift; page++)
        {
            if (_flags[page] != 0)
            {
                NoteWriteSlow(offset, length);
                return;
            }
        }
    }

    private void NoteWriteSlow(ulong offset, ulong length)
    {
        for (var page = offset >> PageShift; page <= (offset + length - 1) >> PageShift; page++)
        {
            if ((_flags[page] & (byte)PageFlags.Code) != 0)
            {
                var from = Math.Max(offset, page << PageShift);
                var to = Math.Min(offset + length, (page + 1) << PageShift);
                CodeWritten?.Invoke(this, from, to - from);
            }

            ClearFlag(page, PageFlags.DisplayClean);
        }
    }

    public void SetFlag(ulong page, PageFlags flag) =>
        Interlocked.Or(ref Word(page), (uint)flag << (int)(8 * (page & 3)));

    public void ClearFlag(ulong page, PageFlags flag) =>
        Interlocked.And(ref Word(page), ~((uint)flag << (int)(8 * (page & 3))));

    private ref uint Word(ulong page) => ref Unsafe.AsRef<uint>(_flags + (page & ~3UL));

    public void Dispose()
    {
        if (_base == null)
            return;
        NativeMemory.Unmap(_base, _mapped);
        NativeMemory.Unmap(_flags, (nuint)PageCount + 1);
        _base = null;
        _flags = null;
    }
}
