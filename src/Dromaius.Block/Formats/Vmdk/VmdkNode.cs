using System.Text;
using Dromaius.Block.Graph;
using Dromaius.Block.Qcow2;
using Dromaius.Block.Raw;

namespace Dromaius.Block.Formats.Vmdk;

/// <summary>A VMware disk: extents one behind the other, as its descriptor says.</summary>
public sealed class VmdkNode : BlockNode, IBackingChange, ICheckable
{
    private sealed record Extent(long Start, long Length, BlockNode? Node, string Type);

    private readonly BlockNode _file;
    private readonly VmdkDescriptor _descriptor;
    private readonly long _descriptorOffset, _descriptorSize;
    private readonly List<Extent> _extents = [];
    private readonly Lock _cidLock = new();
    private readonly bool _readOnly;
    private BlockNode? _backing;
    private bool _cidChanged;

    public VmdkNode(BlockNode file, OpenFlags flags)
    {
        _file = file;
        _readOnly = flags.ReadOnly || file.IsReadOnly;
        AllowsDiscard = flags.Discard;
        var head = new byte[4];
        file.ReadPadded(0, head);
        VmdkSparseExtent? embedded = null;
        if (BitConverter.ToUInt32(head) == VmdkSparseExtent.Magic)
        {
            embedded = new VmdkSparseExtent(file.Retain(), _readOnly, flags.Discard);
            (_descriptorOffset, _descriptorSize) = (embedded.DescriptorOffset, embedded.DescriptorSize);
        }
        else
            _descriptorSize = Math.Min(file.Length, 1 << 20);

        try
        {
            var text = new byte[_descriptorSize];
            file.ReadPadded(_descriptorOffset, text);
            _descriptor = VmdkDescriptor.Parse(text);
            if (embedded != null)
                _extents.Add(new Extent(0, embedded.Length, embedded, ""));
            else
                OpenExtents(flags);
        }
        catch
        {
            embedded?.Release();
            foreach (var extent in _extents)
                extent.Node?.Release();
            throw;
        }

        Length = _extents.Count == 0 ? 0 : _extents[^1].Start + _extents[^1].Length;
    }

    public override string Driver => "vmdk";

    public CheckResult Check(Qcow2Repair repair)
    {
        if (repair != Qcow2Repair.None)
            throw new BlockException(BlockError.NotSupported);
        var result = new CheckResult();
        foreach (var extent in _extents)
            (extent.Node as VmdkSparseExtent)?.Check(result);
        return result;
    }

    public override long Length { get; }
    public override bool IsReadOnly => _readOnly;
    public override BlockNode File => _file;
    public override BlockNode? Backing => _backing;
    public override int ClusterSize => _extents is [{ Node: VmdkSparseExtent sparse }, ..] ? sparse.ClusterSize : 0;
    public override long AllocatedSize =>
        Math.Max(_file.AllocatedSize, 0) + _extents.Sum(e => e.Node == null || e.Node.File == _file ? 0 : Math.Max(e.Node.AllocatedSize, 0));
    public override bool CanCompress => NeedsCompressedWrites;

    /// <summary>Data can only be added compressed (stream-optimised).</summary>
    public bool NeedsCompressedWrites => _extents is [{ Node: VmdkSparseExtent { IsCompressed: true } }, ..];
    public uint Cid => _descriptor.Cid;
    public uint ParentCid => _descriptor.ParentCid;
    public string? BackingFileName => _descriptor.ParentFileName;

    public override InfoTree FormatInfo
    {
        get
        {
            var extents = _extents.Select(e =>
            {
                var tree = new InfoTree();
                if (e.Node is VmdkSparseExtent { IsCompressed: true })
                    tree.Add("compressed", true);
                tree.Add("virtual-size", e.Length).Add("filename", e.Node?.FileName ?? "");
                if (e.Node is VmdkSparseExtent sparse)
                    tree.Add("cluster-size", sparse.ClusterSize);
                return (object)tree.Add("format", e.Type);
            }).ToArray();
            return new InfoTree().Add("cid", _descriptor.Cid).Add("parent-cid", _descriptor.ParentCid).Add("create-type", _descriptor.CreateType).Add("extents", extents);
        }
    }

    public void SetBacking(BlockNode? backing)
    {
        _backing = backing;
        foreach (var extent in _extents)
        {
            if (extent.Node is not VmdkSparseExtent sparse)
                continue;
            sparse.Backing?.Release();
            sparse.SetBacking(backing == null || extent.Start >= backing.Length ? null : new RawNode(backing.Retain(), extent.Start));
        }
    }

    public void ChangeBackingFile(string? name, string? format) => throw new BlockException(BlockError.NotSupported);

    public void MakeEmpty() => throw new BlockException(BlockError.NotSupported);

    public override void Read(long offset, Span<byte> into)
    {
        CheckRange(offset, into.Length);
        while (!into.IsEmpty)
        {
            var extent = Find(offset, into.Length, out var n);
            if (extent.Node == null)
                into[..(int)n].Clear();
            else
                extent.Node.Read(offset - extent.Start, into[..(int)n]);
            offset += n;
            into = into[(int)n..];
        }
    }

    protected override void WriteCore(long offset, ReadOnlySpan<byte> from)
    {
        CheckRange(offset, from.Length);
        CheckWritable();
        ChangeCid();
        while (!from.IsEmpty)
        {
            var extent = Find(offset, from.Length, out var n);
            (extent.Node ?? throw new BlockException(BlockError.Io)).Write(offset - extent.Start, from[..(int)n]);
            offset += n;
            from = from[(int)n..];
        }
    }

    protected override void WriteZeroesCore(long offset, long length, bool mayUnmap)
    {
        CheckRange(offset, length);
        CheckWritable();
        ChangeCid();
        while (length > 0)
        {
            var extent = Find(offset, length, out var n);
            extent.Node?.WriteZeroes(offset - extent.Start, n, mayUnmap);
            offset += n;
            length -= n;
        }
    }

    public override int Compress(ReadOnlySpan<byte> cluster, Span<byte> into) => _extents[0].Node!.Compress(cluster, into);

    protected override void WritePackedCore(long offset, ReadOnlySpan<byte> packed)
    {
        ChangeCid();
        _extents[0].Node!.WritePacked(offset, packed);
    }

    public override void Flush()
    {
        if (_readOnly)
            return;
        foreach (var extent in _extents)
            extent.Node?.Flush();
        _file.Flush();
    }

    public override BlockStatus Status(long offset, long length)
    {
        var extent = Find(offset, length, out var n);
        if (extent.Node == null)
            return new BlockStatus(n, true, true);
        return extent.Node.Status(offset - extent.Start, n);
    }

    protected override void Dispose(bool disposing)
    {
        foreach (var extent in _extents)
            extent.Node?.Release();
        _backing?.Release();
        _file.Release();
    }

    private void OpenExtents(OpenFlags flags)
    {
        var start = 0L;
        foreach (var line in _descriptor.Extents)
        {
            var length = line.Sectors * 512;
            if (start > long.MaxValue - length || _extents.Count > 65536)
                throw new BlockException(BlockError.TooBig, "VMDK image is too large");
            _extents.Add(new Extent(start, length, OpenExtent(line, length, flags), line.Type));
            start += length;
        }

        if (_extents.Count == 0)
            throw new BlockException(BlockError.Invalid, "invalid VMDK image descriptor");
    }

    private BlockNode? OpenExtent(VmdkExtentLine line, long length, OpenFlags flags)
    {
        if (line.Type == "ZERO" || line.Access == "NOACCESS")
            return null;
        if (line.Type is not ("SPARSE" or "FLAT" or "VMFS"))
            throw new BlockException(BlockError.NotSupported, $"Unsupported extent type '{line.Type}'");
        if (line.FileName.Length == 0)
            throw new BlockException(BlockError.Invalid, "Invalid extent line: no file name");
        var path = ImageOpener.Combine(_file.FileName, line.FileName);
        var file = ImageOpener.OpenProtocol(path, new BlockOptions(), flags with { ReadOnly = _readOnly || line.Access == "RDONLY" });
        try
        {
            if (line.Type == "SPARSE")
            {
                var sparse = new VmdkSparseExtent(file, _readOnly, flags.Discard);
                if (sparse.Length < length)
                    throw new BlockException(BlockError.Invalid, $"Extent '{line.FileName}' is smaller than the descriptor says");
                return sparse;
            }

            return new RawNode(file, line.Offset * 512, length);
        }
        catch
        {
            file.Release();
            throw;
        }
    }

    private Extent Find(long offset, long length, out long n)
    {
        var (low, high) = (0, _extents.Count - 1);
        while (low < high)
        {
            var middle = (low + high + 1) / 2;
            if (_extents[middle].Start <= offset)
                low = middle;
            else
                high = middle - 1;
        }

        var extent = _extents[low];
        n = Math.Min(length, extent.Start + extent.Length - offset);
        return extent;
    }

    /// <summary>The first write makes the contents others than those that children were made of.</summary>
    private void ChangeCid()
    {
        if (_cidChanged)
            return;
        lock (_cidLock)
        {
            if (_cidChanged)
                return;
            _cidChanged = true;
            var bytes = Encoding.UTF8.GetBytes(_descriptor.WithCid((uint)Random.Shared.Next(1, int.MaxValue)));
            var isEmbedded = _descriptorOffset != 0;
            if (isEmbedded && bytes.Length > _descriptorSize)
                return;
            var padded = new byte[isEmbedded ? _descriptorSize : bytes.Length];
            bytes.CopyTo(padded, 0);
            _file.Write(_descriptorOffset, padded);
            if (!isEmbedded)
                _file.Resize(bytes.Length);
        }
    }
}
