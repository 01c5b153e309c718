namespace Dromaius.Cpu.Softmmu;

/// <summary>Which gigabytes of the virtual address space something was seen in. Few are told apart; with more, all count as seen.</summary>
internal sealed class GigabyteSet
{
    private const int Most = 16;

    private readonly ulong[] _seen = new ulong[Most];
    private int _count;

    public void Add(ulong address)
    {
        if (Contains(address))
            return;
        if (_count < Most)
            _seen[_count] = address >> 30;
        _count++;
    }

    public bool Contains(ulong address) => _count > Most || _seen.AsSpan(0, _count).Contains(address >> 30);

    public void Clear() => _count = 0;
}
