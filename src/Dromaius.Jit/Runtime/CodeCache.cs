using Dromaius.Core.Errors;
using Dromaius.Core.Memory;

namespace Dromaius.Jit;

/// <summary>
/// Memory for generated code, mapped twice: never writable and executable at one address. Filled from front to back; when
/// full, everything is thrown away at once (with all vCPUs outside generated code).
/// </summary>
public sealed unsafe class CodeCache : IDisposable
{
    private byte* _write;
    private byte* _exec;
    private byte* _next;
    private byte* _keep;
    private byte* _loaded;

    /// <summary>How much is written before its pages are given back on the writable side, where they only count twice.</summary>
    private const int Stretch = 1 << 20;

    public CodeCache(ulong size)
    {
        Size = size;
        if (!NativeMemory.TryMapDual((nuint)size, out _write, out _exec))
            throw new UserErrorException("cannot map memory for generated code: Cannot allocate memory");
        _next = _keep = _loaded = _write;
    }

    public ulong Size { get; }

    /// <summary>Execute address minus write address.</summary>
    public long ExecDelta => _exec - _write;

    public byte* Next => _next;

    public byte* End => _write + Size;

    public ulong Used => (ulong)(_next - _write);

    /// <summary>Takes what was written up to a position.</summary>
    public void Commit(byte* end)
    {
        _next = (byte*)(((ulong)end + 15) & ~15UL);
        if (_next - _loaded < 2 * Stretch)
            return;
        NativeMemory.Unload(_loaded, Stretch);
        _loaded += Stretch;
    }

    /// <summary>What is in the cache now survives <see cref="Clear"/> (thunks).</summary>
    public void KeepAll() => _keep = _next;

    public void Clear()
    {
        _next = _keep;
        _loaded = _write;
    }

    public void Dispose()
    {
        if (_write == null)
            return;
        NativeMemory.Unmap(_write, (nuint)Size);
        NativeMemory.Unmap(_exec, (nuint)Size);
        _write = _exec = null;
    }
}
