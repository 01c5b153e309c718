namespace Dromaius.Jit.Ir;

/// <summary>Vector operations. The table of names, lane types, C# semantics and host encodings stands in <c>VecOps</c>.</summary>
public enum VecKind : ushort
{
    None,
}
