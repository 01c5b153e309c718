namespace Dromaius.Cpu.Tests.Oracle;

/// <summary>
/// Random numbers for instructions that run one after the other: R15 keeps the address of the memory operands, RSP that of the
/// stack, and the other registers are few, so that results meet operands.
/// </summary>
internal sealed class SequenceRandom(int seed) : Random(seed)
{
    private static readonly int[] Registers = [0, 1, 2, 3, 6, 7, 8, 12, 5];
    private readonly int _count = 3 + (int)((uint)seed % 7);

    public int Register() => Registers[Next(_count)];
}
