using Dromaius.Core.Time;

namespace Dromaius.Block;

/// <summary>
/// The device's end of a drive: a medium that can be changed, and requests that complete on the event loop. Every member is
/// used under the machine lock.
/// </summary>
public sealed class BlockBackend
{
    private readonly EventLoop _loop;
    private readonly List<BlockRequest> _inFlight = [];

    public BlockBackend(string id, EventLoop loop, BlockNode? node = null)
    {
        Id = id;
        _loop = loop;
        Node = node;
    }

    /// <summary>The drive's id, as <c>-drive id=</c> or <c>-blockdev node-name=</c> gives it.</summary>
    public string Id { get; }

    /// <summary>The medium; null if there is none.</summary>
    public BlockNode? Node { get; private set; }

    public bool HasMedium => Node != null;
    public long Length => Node?.Length ?? 0;
    public bool IsReadOnly => _readOnly || (Node?.IsReadOnly ?? false);

    /// <summary>The guest sees a volatile write cache: only flushes make writes durable. Otherwise each write is.</summary>
    public bool WriteCache { get; set; } = true;

    /// <summary>Raised on the event loop after the medium was taken out, put in, changed or resized.</summary>
    public event Action? MediumChanged;

    /// <summary>The guest locked the tray (CD-ROM).</summary>
    public bool IsTrayLocked { get; set; }

    /// <summary>The tray is out (CD-ROM), by the guest's or the user's hand.</summary>
    public bool IsTrayOpen { get; set; }

    private bool _readOnly;

    /// <summary>Starts a transfer. Bad ranges, no medium and read-only media complete with an error, never throw.</summary>
    public void Submit(BlockRequest request)
    {
        request.Cancelled = false;
        _inFlight.Add(request);
        var node = Node;
        ThreadPool.UnsafeQueueUserWorkItem(static work => work.Backend.Serve(work.Node, work.Request), (Backend: this, Node: node, Request: request), false);
    }

    /// <summary>Waits for what is in flight and drops the completions (device reset).</summary>
    public void Cancel(BlockRequest request) => request.Cancelled = true;

    /// <summary>Changes the medium; null takes it out.</summary>
    public void SetMedium(BlockNode? node, bool readOnly = false)
    {
        Node = node;
        _readOnly = readOnly;
        MediumChanged?.Invoke();
    }

    private void Serve(BlockNode? node, BlockRequest request)
    {
        var error = BlockError.None;
        try
        {
            if (node == null)
                error = BlockError.NoMedium;
            else if (IsReadOnly && request.Operation is not (BlockOperation.Read or BlockOperation.Flush))
                error = BlockError.ReadOnly;
            else
                Transfer(node, request);
        }
        catch (BlockException e)
        {
            error = e.Error;
        }
        catch (IOException)
        {
            error = BlockError.Io;
        }

        request.Error = error;
        _loop.Post(() => Finish(request));
    }

    private void Finish(BlockRequest request)
    {
        _ = _inFlight.Remove(request);
        if (!request.Cancelled)
            request.Completed(request);
    }

    private void Transfer(BlockNode node, BlockRequest request)
    {
        var offset = request.Offset;
        switch (request.Operation)
        {
            case BlockOperation.Read:
                foreach (var segment in request.Segments)
                {
                    node.Read(offset, segment.Span);
                    offset += segment.Length;
                }

                break;
            case BlockOperation.Write:
                foreach (var segment in request.Segments)
                {
                    node.Write(offset, segment.Span);
                    offset += segment.Length;
                }

                if (request.ForceUnitAccess || !WriteCache)
                    node.Flush();
                break;
            case BlockOperation.Flush:
                node.Flush();
                break;
            case BlockOperation.Discard:
                node.Discard(request.Offset, request.Length);
                break;
            default:
                node.WriteZeroes(request.Offset, request.Length, request.MayUnmap);
                break;
        }
    }
}
