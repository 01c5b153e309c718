namespace Dromaius.Core.Interrupts;

/// <summary>A device with numbered interrupt inputs that a test can watch and drive.</summary>
public interface IInterruptInputs
{
    /// <summary>An input changed: its number and level.</summary>
    event Action<int, bool>? InputChanged;

    void SetIrq(int n, bool level);
}
