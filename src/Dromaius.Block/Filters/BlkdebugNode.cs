namespace Dromaius.Block.Filters;

/// <summary>An error that is put in the place of a transfer (<c>inject-error.N</c>).</summary>
/// <param name="Error">Which.</param>
/// <param name="Offset">The byte that the transfer must touch; null for any.</param>
/// <param name="Once">Only the first time.</param>
/// <param name="Reads">Concerns reads.</param>
/// <param name="Writes">Concerns writes.</param>
/// <param name="Flushes">Concerns flushes.</param>
public sealed record InjectedError(BlockError Error, long? Offset, bool Once, bool Reads, bool Writes, bool Flushes);

/// <summary>The <c>blkdebug</c> driver: transfers fail where its rules say so. Rules name transfers, not steps inside of formats.</summary>
public sealed class BlkdebugNode(BlockNode inner, IReadOnlyList<InjectedError> rules) : FilterNode("blkdebug", inner)
{
    private readonly List<InjectedError> _rules = [.. rules];

    public override void Read(long offset, Span<byte> into)
    {
        Apply(static r => r.Reads, offset, into.Length);
        base.Read(offset, into);
    }

    public override void Flush()
    {
        Apply(static r => r.Flushes, 0, 0);
        base.Flush();
    }

    protected override void WriteCore(long offset, ReadOnlySpan<byte> from)
    {
        Apply(static r => r.Writes, offset, from.Length);
        base.WriteCore(offset, from);
    }

    protected override void WriteZeroesCore(long offset, long length, bool mayUnmap)
    {
        Apply(static r => r.Writes, offset, length);
        base.WriteZeroesCore(offset, length, mayUnmap);
    }

    private void Apply(Func<InjectedError, bool> concerns, long offset, long length)
    {
        InjectedError? rule;
        lock (_rules)
        {
            rule = _rules.Find(r => concerns(r) && (r.Offset is not { } at || (at >= offset && at < offset + length)));
            if (rule is { Once: true })
                _ = _rules.Remove(rule);
        }

        if (rule != null)
            throw new BlockException(rule.Error);
    }
}
