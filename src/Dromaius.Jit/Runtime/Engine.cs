using System.Runtime.CompilerServices;
using Dromaius.Core.Memory;
using Dromaius.Jit.Interpreter;
using Dromaius.Jit.Ir;
using Dromaius.Jit.X64;

namespace Dromaius.Jit;

/// <summary>A processor whose generated code the engine manages.</summary>
public unsafe interface IEngineClient
{
    EngineState* Engine { get; }

    /// <summary>A page holds code now: stores to it must take the slow path.</summary>
    void WatchPage(byte* hostPage);

    /// <summary>Makes it leave generated code soon.</summary>
    void RequestExit();

    /// <summary>Makes it look where it is; false if it has nothing to do. Any thread.</summary>
    bool RequestSample();
}

/// <summary>
/// The translations of one machine: code memory, look-up by key, direct links between units, invalidation by physical page.
/// Shared by all processors; its own lock guards everything but running.
/// </summary>
public sealed unsafe class Engine : IDisposable
{
    private readonly Lock _gate = new();
    private readonly Dictionary<UnitKey, Unit> _units = [];
    private readonly Dictionary<nint, CodePage> _pages = [];

    // The page that was asked for last: code is translated page by page.
    private (nint Host, CodePage? Page) _latest;

    // Pages where a trace wrote to itself.
    private readonly HashSet<nint> _selfWriting = [];
    private readonly Links _links;
    private readonly List<IEngineClient> _clients = [];
    private readonly CodeCache _cache;
    private readonly X64Compiler? _compiler;
    private readonly PerfMap? _perfMap;
    private Sampler? _sampler;
    private readonly Lock _exclusive = new();
    private int _running;
    private int _codeVersion;
    private volatile bool _stopping;

    /// <param name="layout">The architecture's CPU state, with the slow paths of its memory.</param>
    /// <param name="cacheSize">Bytes of code memory (<c>-accel tcg,tb-size=</c>).</param>
    /// <param name="interpreter">Run the IR in C# instead of as host code.</param>
    /// <param name="perfMap">Tell the host's perf the names of units (<c>-perfmap</c>).</param>
    public Engine(GuestLayout layout, ulong cacheSize = 128UL << 20, bool interpreter = false, bool perfMap = false)
    {
        _perfMap = perfMap ? PerfMap.Create() : null;
        _cache = new CodeCache(interpreter ? 1 << 20 : cacheSize);
        _links = new Links(_cache);
        if (!interpreter)
            _compiler = new X64Compiler(_cache, layout, layout.Memory!);
    }

    /// <summary>How many units the interpreter makes before it throws all away, forgotten ones included.</summary>
    private const int MaxInterpreted = 100_000;

    /// <summary>Every block is tried as the begin of a trace the first time it runs (for tests).</summary>
    public bool TracesAlways { get; set; }

    /// <summary>Blocks in a trace at most.</summary>
    public int TraceBlocks { get; set; } = int.MaxValue;

    /// <summary>Has processors look where they are, so that hot code becomes traces.</summary>
    public void StartSampling() => _sampler ??= _compiler != null ? new Sampler(SampleAll) : null;

    private bool SampleAll()
    {
        var any = false;
        lock (_gate)
        {
            foreach (var c in _clients)
                any |= c.RequestSample();
        }

        return any;
    }

    /// <summary>Vectors of 256 bits can be had: the native back end keeps them in the host's own.</summary>
    public bool HasWideVectors => _compiler == null || HostFeatures.Avx;

    public int UnitCount => _units.Count;
    public ulong CacheUsed => _cache.Used;
    public long Flushes { get; private set; }

    public void Add(IEngineClient client)
    {
        lock (_gate)
            _clients.Add(client);
    }

    // Running. Units may be freed only while nobody runs.

    /// <summary>Runs a unit and whatever it leads to, until generated code leaves.</summary>
    public void Run(void* state, Unit unit)
    {
        if (unit.Interpreted is { } interpreted)
        {
            interpreted.Run(state);
            return;
        }

        while (true)
        {
            Interlocked.Increment(ref _running);
            if (!_stopping)
                break;
            Interlocked.Decrement(ref _running);
            lock (_exclusive)
            {
            }

            if (unit.Code == null)
                return; // thrown away meanwhile; the caller looks again
        }

        if (unit.Code != null)
            _compiler!.Thunks.Enter(state, unit.Code);
        Interlocked.Decrement(ref _running);
    }

    /// <summary>Runs an action while no processor is in generated code. The caller holds no lock and is not in it itself.</summary>
    private void RunExclusive(Action action)
    {
        lock (_exclusive)
        {
            _stopping = true;
            var spin = default(SpinWait);
            while (Volatile.Read(ref _running) != 0)
            {
                lock (_gate)
                {
                    foreach (var c in _clients)
                        c.RequestExit();
                }

                spin.SpinOnce();
            }

            try
            {
                action();
            }
            finally
            {
                _stopping = false;
            }
        }
    }

    // Look-up.

    /// <summary>The unit of a key, or null. One that runs over a page's end is for the caller to check.</summary>
    public Unit? Find(in UnitKey key)
    {
        lock (_gate)
            return _units.GetValueOrDefault(key);
    }

    /// <summary>Where the second page of a unit is expected, or null for a unit in one page.</summary>
    public static byte* SecondPage(Unit unit) => unit.HostPage2;

    /// <summary>
    /// Announces that code of a page is about to be read for translation: from now on stores to it are seen. Gives the
    /// version to pass to <see cref="Add(IrBuilder, in UnitKey, in CodeExtent, int)"/>.
    /// </summary>
    public int Watch(RamBlock ram, ulong offset)
    {
        lock (_gate)
        {
            PageOf(ram, offset);
            return _codeVersion;
        }
    }

    /// <summary>
    /// Compiles a translated unit and makes it known. Null when the code was written to since <see cref="Watch"/>, or the code
    /// memory had to be emptied first: translate again.
    /// </summary>
    public Unit? Add(IrBuilder b, in UnitKey key, in CodeExtent extent, int version)
    {
        lock (_gate)
        {
            if (version != _codeVersion)
                return null;
            if (_units.TryGetValue(key, out var known) && !extent.Trace)
                return known;
            if (_compiler == null)
            {
                if (_links.UnitCount < MaxInterpreted)
                {
                    var unit = Register(default, key, extent);
                    unit.Interpreted = IrInterpreter.Compile(b);
                    return unit;
                }
            }
            else if (_compiler.TryCompile(b, _links.NextExit, out var code))
            {
                if (known != null)
                    Forget(known);
                return Register(code, key, extent);
            }
            else if (_compiler.WasUnfit)
                return null;
        }

        RunExclusive(FlushAll);
        return null;
    }

    private Unit Register(in CompiledUnit code, in UnitKey key, in CodeExtent extent)
    {
        var offset = extent.Offset - (ulong)extent.WatchBefore;
        var watch = extent.WatchBefore + extent.WatchLength;
        var inFirst = (int)Math.Min((ulong)watch, 0x1000 - (offset & 0xFFF));
        var unit = new Unit
        {
            Key = key, Ram = extent.Ram, Offset = offset, WatchLength = watch,
            First = extent.Trace ? key.Pc - (ulong)extent.WatchBefore : key.Pc, Length = extent.Trace ? watch : extent.Length,
            IsTrace = extent.Trace, Ram2 = inFirst < watch ? extent.Ram2 : null, Offset2 = extent.Offset2,
            Length2 = watch - inFirst, Code = code.Code, CodeLength = code.Length,
        };
        _links.Add(unit, _compiler == null ? [] : _compiler.Exits);
        _units[key] = unit;
        _perfMap?.Add(code.Code, code.Length, key.CodeBase + key.Pc);
        PageOf(unit.Ram, offset).Add(unit);
        if (unit.Ram2 != null)
            PageOf(unit.Ram2, unit.Offset2).Add(unit);
        return unit;
    }

    private CodePage PageOf(RamBlock ram, ulong offset)
    {
        var page = HostPage(ram, offset);
        if (_latest.Page is { } latest && _latest.Host == page)
            return latest;
        if (!_pages.TryGetValue(page, out var code))
        {
            _pages[page] = code = new CodePage(ram, offset & ~0xFFFUL);
            ram.CodeWritten ??= InvalidateRange;
            ram.SetFlag(offset >> 12, PageFlags.Code);
            foreach (var c in _clients)
                c.WatchPage((byte*)page);
        }

        _latest = (page, code);
        return code;
    }

    // Links.

    /// <summary>Units become host code.</summary>
    public bool IsNative => _compiler != null;

    /// <summary>
    /// Exits may lead straight to units on other pages, and to those that end there. Such links hold only while addresses keep their meaning
    /// (<see cref="UnlinkPages"/>), which is one processor's affair: with several there are none.
    /// </summary>
    public bool LinksPages => _clients.Count == 1;

    /// <summary>Takes back the links between pages that were made on one side: 0 the supervisor's, 1 the user's.</summary>
    public void UnlinkPages(int side)
    {
        if (!_links.HasPageLinks(side))
            return;
        lock (_gate)
            _links.UndoPageLinks(side);
    }

    /// <summary>Makes the exit that a processor left through (<see cref="EngineState.LastExit"/>) lead straight to a unit.</summary>
    /// <param name="lastExit">The exit.</param>
    /// <param name="target">The unit.</param>
    /// <param name="side">Whose link it is, should it cross pages: see <see cref="UnlinkPages"/>.</param>
    public void Link(ulong lastExit, Unit target, int side)
    {
        if (_compiler == null)
            return;
        lock (_gate)
            _links.TryLink(lastExit, target, side, LinksPages);
    }

    // Invalidation.

    /// <summary>
    /// Whether bytes within one page may belong to units, for a store to a page with code: most go to data and stacks beside it.
    /// What is being translated meanwhile is translated again.
    /// </summary>
    public bool MayHit(RamBlock ram, ulong offset, int length)
    {
        lock (_gate)
        {
            _codeVersion++;
            return !_pages.TryGetValue(HostPage(ram, offset), out var page) || page.Units.Count == 0
                || page.MayHold((int)(offset & 0xFFF), length);
        }
    }

    /// <summary>Whether a running unit that holds an address would be hit by a store. A page whose traces hit themselves gets no more.</summary>
    public bool WouldHit(RamBlock ram, ulong offset, int length, ulong pc, ulong codeBase)
    {
        lock (_gate)
        {
            if (!_pages.TryGetValue(HostPage(ram, offset), out var page))
                return false;
            foreach (var u in page.Units)
            {
                if (CodePage.Overlaps(u, ram, offset, (ulong)length) && u.Key.CodeBase == codeBase
                    && pc - u.First < (ulong)u.Length)
                {
                    if (u.IsTrace)
                        _selfWriting.Add(HostPage(ram, offset));
                    return true;
                }
            }

            return false;
        }
    }

    /// <summary>Whether a trace may begin at a unit.</summary>
    public bool MayTrace(Unit unit)
    {
        lock (_gate)
            return !_selfWriting.Contains(HostPage(unit.Ram, unit.Offset));
    }

    private static nint HostPage(RamBlock ram, ulong offset) => (nint)(ram.Base + (offset & ~0xFFFUL));

    /// <summary>Forgets one unit.</summary>
    public void Invalidate(Unit unit)
    {
        lock (_gate)
        {
            if (!unit.Invalid)
                Forget(unit);
        }
    }

    /// <summary>Forgets the units that bytes within one page belong to. Processors that run them finish the unit.</summary>
    public void InvalidateRange(RamBlock ram, ulong offset, ulong length)
    {
        lock (_gate)
        {
            _codeVersion++;
            if (!_pages.TryGetValue(HostPage(ram, offset), out var page) || page.Units.Count == 0)
            {
                Drop(ram, offset);
                return;
            }

            if (!page.MayHold((int)(offset & 0xFFF), (int)length))
                return;
            // A unit with both of its ends in this page is listed twice and goes twice.
            for (var i = page.Units.Count - 1; i >= 0; i = Math.Min(i, page.Units.Count) - 1)
            {
                if (CodePage.Overlaps(page.Units[i], ram, offset, length))
                    Forget(page.Units[i]);
            }

            page.Recount();
        }
    }

    private void Forget(Unit unit)
    {
        unit.Invalid = true;
        _units.Remove(unit.Key);
        _links.Remove(unit);
        RemoveFromPage(unit, unit.Ram, unit.Offset);
        if (unit.Ram2 != null)
            RemoveFromPage(unit, unit.Ram2, unit.Offset2);
        foreach (var c in _clients)
        {
            var e = c.Engine->JumpCache + EngineState.JumpIndex(unit.Key.Pc);
            if (e->Code == unit.Code)
                Volatile.Write(ref e->Pc, ulong.MaxValue);
        }
    }

    private void RemoveFromPage(Unit unit, RamBlock ram, ulong offset)
    {
        if (!_pages.TryGetValue(HostPage(ram, offset), out var page))
            return;
        page.Units.Remove(unit);
        if (page.Units.Count == 0)
            Drop(ram, offset);
    }

    /// <summary>A page holds no code any more.</summary>
    private void Drop(RamBlock ram, ulong offset)
    {
        _latest = default;
        _pages.Remove(HostPage(ram, offset));
        ram.ClearFlag(offset >> 12, PageFlags.Code);
    }

    private void FlushAll()
    {
        lock (_gate)
        {
            foreach (var unit in _units.Values)
            {
                unit.Invalid = true;
                unit.Code = null;
                unit.Ram.ClearFlag(unit.Offset >> 12, PageFlags.Code);
                unit.Ram2?.ClearFlag(unit.Offset2 >> 12, PageFlags.Code);
            }

            _units.Clear();
            _pages.Clear();
            _latest = default;
            _selfWriting.Clear();
            _links.Clear();
            _codeVersion++;
            foreach (var c in _clients)
            {
                for (var i = 0; i < 1 << EngineState.JumpCacheBits; i++)
                    c.Engine->JumpCache[i].Pc = ulong.MaxValue;
                c.Engine->LastExit = 0;
            }

            _compiler?.Clear();
            Flushes++;
        }
    }

    public void Dispose()
    {
        _sampler?.Dispose();
        _cache.Dispose();
        _perfMap?.Dispose();
    }
}
