using Dromaius.Block.Qcow2;

namespace Dromaius.Block;

/// <summary>An image whose metadata can be checked, and perhaps repaired.</summary>
public interface ICheckable
{
    CheckResult Check(Qcow2Repair repair);
}
