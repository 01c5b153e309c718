using Dromaius.Block.Graph;

namespace Dromaius.Block.Jobs;

/// <summary>Brings what an image holds into its backing image, at once.</summary>
public static class ImageCommit
{
    private const int Piece = 1 << 20;

    /// <param name="top">The image; empty afterwards where its format can be.</param>
    /// <param name="below">Its backing image.</param>
    public static void Run(BlockNode top, BlockNode below)
    {
        var wasReadOnly = below.IsReadOnly;
        if (wasReadOnly)
            below.Reopen(false);
        try
        {
            if (below.Length < top.Length)
                below.Resize(top.Length);
            var buffer = new byte[Piece];
            for (var at = 0L; at < top.Length;)
            {
                var status = ChainStatus.Get(top, below, at, top.Length - at);
                var n = Math.Min(status.Length, Piece);
                if (status.IsAllocated)
                    Mirroring.Copy(top, below, at, (int)n, buffer, status.IsZero);
                at += n;
            }

            below.Flush();
            (top as IBackingChange)?.MakeEmpty();
            top.Flush();
        }
        finally
        {
            if (wasReadOnly)
                below.Reopen(true);
        }
    }
}
