using System.Globalization;
using Dromaius.Block.Graph;
using Dromaius.Core.Errors;
using Dromaius.Core.Options;

namespace Dromaius.Block.Filters;

/// <summary>The kinds of transfer that a rule of <c>blkdebug</c> can name.</summary>
[Flags]
public enum DebugTransfers
{
    None = 0,
    Read = 1,
    Write = 2,
    WriteZeroes = 4,
    Discard = 8,
    Flush = 16,
    BlockStatus = 32,

    /// <summary>What a rule means that names no kind.</summary>
    Usual = Read | Write | WriteZeroes | Discard | Flush,
}

/// <summary>An error that is put in the place of a transfer (<c>inject-error</c>).</summary>
/// <param name="Event">What arms it; <c>none</c> for always.</param>
/// <param name="State">Only in this state; 0 for any.</param>
/// <param name="Error">Which.</param>
/// <param name="Transfers">What fails.</param>
/// <param name="Offset">The byte that the transfer must touch; null for any.</param>
/// <param name="Once">Only the first time.</param>
public sealed record InjectedError(string Event, int State, BlockError Error, DebugTransfers Transfers, long? Offset, bool Once);

/// <summary>A change of state (<c>set-state</c>).</summary>
/// <param name="Event">When.</param>
/// <param name="State">Only from this state; 0 for any.</param>
/// <param name="NewState">The state from then on.</param>
public sealed record StateChange(string Event, int State, int NewState);

/// <summary>The rules of a <c>blkdebug</c> node, from its options and its configuration file.</summary>
public sealed class DebugRules
{
    /// <summary>The steps of formats that rules can name.</summary>
    private static readonly string[] Events =
    [
        "l1_update", "l1_grow_alloc_table", "l1_grow_write_table", "l1_grow_activate_table", "l2_load", "l2_update", "l2_update_compressed",
        "l2_alloc_cow_read", "l2_alloc_write", "read_aio", "read_backing_aio", "read_compressed", "write_aio", "write_compressed", "vmstate_load",
        "vmstate_save", "cow_read", "cow_write", "reftable_load", "reftable_grow", "reftable_update", "refblock_load", "refblock_update",
        "refblock_update_part", "refblock_alloc", "refblock_alloc_hookup", "refblock_alloc_write", "refblock_alloc_write_blocks",
        "refblock_alloc_write_table", "refblock_alloc_switch_table", "cluster_alloc", "cluster_alloc_bytes", "cluster_free", "flush_to_os",
        "flush_to_disk", "pwritev_rmw_head", "pwritev_rmw_after_head", "pwritev_rmw_tail", "pwritev_rmw_after_tail", "pwritev", "pwritev_zero",
        "pwritev_done", "empty_image_prepare", "l1_shrink_write_table", "l1_shrink_free_l2_clusters", "cor_write", "cluster_alloc_space", "none",
    ];

    public List<InjectedError> Errors { get; } = [];
    public List<StateChange> Changes { get; } = [];

    /// <summary>Whether rules can name an event so.</summary>
    public static bool IsEvent(string name) => Array.IndexOf(Events, name) >= 0;

    /// <summary>Takes <c>config</c>, <c>inject-error.N</c> and <c>set-state.N</c> out of the options of a node.</summary>
    public static DebugRules Take(BlockOptions options)
    {
        var rules = new DebugRules();
        if (options.Take("config") is { Length: > 0 } config)
            rules.ReadFile(config);
        for (var i = 0; options.HasBelow($"inject-error.{i}"); i++)
            rules.AddError(options.Below($"inject-error.{i}"));
        for (var i = 0; options.HasBelow($"set-state.{i}"); i++)
            rules.AddChange(options.Below($"set-state.{i}"));
        return rules;
    }

    /// <summary>A file of sections <c>[inject-error]</c> and <c>[set-state]</c> with lines <c>key = "value"</c>.</summary>
    private void ReadFile(string path)
    {
        List<IniSection> sections;
        try
        {
            sections = IniFile.Parse(path, File.ReadLines(path));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new BlockException(BlockError.Io, $"Could not read blkdebug config file: {HostErrors.Explain(e)}", e);
        }
        catch (UserErrorException e)
        {
            throw new BlockException(BlockError.Invalid, e.Message, e);
        }

        foreach (var section in sections)
        {
            if (section.Name is not ("inject-error" or "set-state"))
                throw new BlockException(BlockError.Invalid, $"There is no option group '{section.Name}'");
            var options = new BlockOptions();
            foreach (var (key, value) in section.Items)
                options.Set(key, value);
            if (section.Name == "inject-error")
                AddError(options);
            else
                AddChange(options);
            options.RejectUntaken("blkdebug");
        }
    }

    private void AddError(BlockOptions rule)
    {
        var name = TakeEvent(rule);
        var number = rule.TakeSize("errno") ?? (int)BlockError.Io;
        if (number is < 1 or > 4095)
            throw new BlockException(BlockError.Invalid, $"Parameter 'errno' does not accept value '{number.ToString(CultureInfo.InvariantCulture)}'");
        var transfers = rule.TakeChoice("iotype", ("read", DebugTransfers.Read), ("write", DebugTransfers.Write),
            ("write-zeroes", DebugTransfers.WriteZeroes), ("discard", DebugTransfers.Discard), ("flush", DebugTransfers.Flush),
            ("block-status", DebugTransfers.BlockStatus)) ?? DebugTransfers.Usual;
        // Whether the failure comes at once or from the event loop is the same to those who wait for it.
        _ = rule.TakeBool("immediately");
        var sector = rule.Take("sector") is { } text && text != "-1" ? rule.TakeSize("sector") : null;
        Errors.Add(new InjectedError(name, TakeState(rule, "state") ?? 0, (BlockError)number, transfers, sector * 512, rule.TakeBool("once") ?? false));
    }

    private void AddChange(BlockOptions rule)
    {
        var name = TakeEvent(rule);
        var state = TakeState(rule, "state") ?? 0;
        Changes.Add(new StateChange(name, state, TakeState(rule, "new_state") ?? throw new BlockException(BlockError.Invalid, "Parameter 'new_state' is missing")));
    }

    private static string TakeEvent(BlockOptions rule)
    {
        var name = rule.Take("event") ?? throw new BlockException(BlockError.Invalid, "Missing event name for rule");
        return IsEvent(name) ? name : throw new BlockException(BlockError.Invalid, $"Invalid event name \"{name}\"");
    }

    private static int? TakeState(BlockOptions rule, string key) => (int?)Math.Clamp(rule.TakeSize(key) ?? -1, -1, int.MaxValue) is >= 0 and var state ? state : null;
}
