namespace Dromaius.Jit.Ir;

/// <summary>
/// The table of vector operations: one row each with operand form, host encoding (Intel SDM volume 2) and C# semantics.
/// The X64 back end encodes rows inline, the interpreter and hosts without the feature run the C# semantics.
/// </summary>
public static unsafe partial class VecOps
{
    private static readonly VecInfo?[] Table = Build();

    public static VecInfo Info(VecKind kind) => Table[(int)kind]!;

    /// <summary>Runs the C# semantics.</summary>
    public static void Run(VecKind kind, VecArgs* args) => Table[(int)kind]!.Run(args);

    private static VecInfo?[] Build()
    {
        var table = new VecInfo?[(int)VecKind.Count];
        AddFloatRows(table);
        AddFmaRows(table);
        AddMoveRows(table);
        AddIntegerRows(table);
        AddCryptoRows(table);
        AddIntResultRows(table);
        return table;
    }

    private static void Add(VecInfo?[] table, VecInfo info) => table[(int)info.Kind] = info;
}
