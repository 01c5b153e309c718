namespace Dromaius.Jit.Ir;

/// <summary>What a helper does to the CPU state besides returning a value.</summary>
[Flags]
public enum HelperEffects
{
    /// <summary>Touches no global and cannot fault.</summary>
    None = 0,

    /// <summary>Reads globals: they are stored before the call.</summary>
    Reads = 1,

    /// <summary>Writes globals: they are loaded again after the call. Implies <see cref="Reads"/>.</summary>
    Writes = 2,

    /// <summary>May set <see cref="EngineState.ExitReason"/>: control then leaves at once, with the state as the helper left it.</summary>
    MayExit = 4,

    /// <summary>Reads and writes state and may leave.</summary>
    All = 7,
}

/// <summary>
/// A C# routine that generated code calls: <c>[UnmanagedCallersOnly] static ulong F(void* state, ulong, ulong, ulong, ulong)</c>.
/// Exceptions must not escape it. At most four arguments besides the state.
/// </summary>
public sealed unsafe class Helper(string name, delegate* unmanaged<void*, ulong, ulong, ulong, ulong, ulong> code,
    HelperEffects effects)
{
    public string Name { get; } = name;
    public delegate* unmanaged<void*, ulong, ulong, ulong, ulong, ulong> Code { get; } = code;
    public HelperEffects Effects { get; } = effects;
}
