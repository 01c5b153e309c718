using System.Buffers.Binary;
using System.Text;

namespace Dromaius.Devices.Firmware.Acpi;

/// <summary>
/// Writes ACPI machine language: each method gives the bytes of one term, and terms nest. Source: ACPI Specification 6.4, chapter
/// 20.
/// </summary>
public static class Aml
{
    private const byte ZeroOp = 0x00, OneOp = 0x01, NameOp = 0x08, BytePrefix = 0x0A, WordPrefix = 0x0B, DWordPrefix = 0x0C,
        StringPrefix = 0x0D, QWordPrefix = 0x0E, ScopeOp = 0x10, BufferOp = 0x11, PackageOp = 0x12, MethodOp = 0x14,
        DualNamePrefix = 0x2E, MultiNamePrefix = 0x2F, ExtPrefix = 0x5B, RootChar = 0x5C, Local0Op = 0x60, Arg0Op = 0x68,
        StoreOp = 0x70, ShiftLeftOp = 0x79, AndOp = 0x7B, OrOp = 0x7D, NotifyOp = 0x86, CreateDWordFieldOp = 0x8A, LNotOp = 0x92, LEqualOp = 0x93, IfOp = 0xA0,
        ElseOp = 0xA1, ReturnOp = 0xA4, OnesOp = 0xFF;

    private const byte ExtMutex = 0x01, ExtAcquire = 0x23, ExtRelease = 0x27;
    private const byte ExtRegion = 0x80, ExtField = 0x81, ExtDevice = 0x82, ExtProcessor = 0x83;

    public enum Space : byte
    {
        SystemMemory = 0, SystemIo = 1, PciConfig = 2,
    }

    public static byte[] Zero => [ZeroOp];

    public static byte[] One => [OneOp];

    public static byte[] Ones => [OnesOp];

    public static byte[] Local(int number) => [(byte)(Local0Op + number)];

    public static byte[] Arg(int number) => [(byte)(Arg0Op + number)];

    /// <summary>The shortest form of an integer.</summary>
    public static byte[] Integer(ulong value)
    {
        var bytes = new byte[9];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(1), value);
        switch (value)
        {
            case 0:
                return Zero;
            case 1:
                return One;
            case <= byte.MaxValue:
                bytes[0] = BytePrefix;
                return bytes[..2];
            case <= ushort.MaxValue:
                bytes[0] = WordPrefix;
                return bytes[..3];
            case <= uint.MaxValue:
                bytes[0] = DWordPrefix;
                return bytes[..5];
            default:
                bytes[0] = QWordPrefix;
                return bytes;
        }
    }

    public static byte[] Text(string value) => [StringPrefix, .. Encoding.ASCII.GetBytes(value), 0];

    /// <summary>A path such as <c>\_SB.PCI0</c> or <c>LNKA</c>.</summary>
    public static byte[] Path(string path)
    {
        var bytes = new List<byte>();
        var rest = path;
        while (rest.Length > 0 && rest[0] is '\\' or '^')
        {
            bytes.Add((byte)rest[0]);
            rest = rest[1..];
        }

        var parts = rest.Length == 0 ? [] : rest.Split('.');
        switch (parts.Length)
        {
            case 0:
                bytes.Add(0);
                break;
            case 1:
                break;
            case 2:
                bytes.Add(DualNamePrefix);
                break;
            default:
                bytes.Add(MultiNamePrefix);
                bytes.Add((byte)parts.Length);
                break;
        }

        foreach (var part in parts)
            bytes.AddRange(Encoding.ASCII.GetBytes(part.PadRight(4, '_')));
        return [.. bytes];
    }

    /// <summary>A compressed EISA id such as <c>PNP0A03</c> (section 19.3.4).</summary>
    public static byte[] EisaId(string id)
    {
        var maker = ((id[0] - 0x40) << 10) | ((id[1] - 0x40) << 5) | (id[2] - 0x40);
        var product = Convert.ToUInt16(id[3..], 16);
        return [DWordPrefix, (byte)(maker >> 8), (byte)maker, (byte)(product >> 8), (byte)product];
    }

    /// <summary>A UUID as a buffer (section 19.6.142).</summary>
    public static byte[] Uuid(string value) => Buffer(Guid.Parse(value).ToByteArray());

    public static byte[] Name(string name, byte[] value) => [NameOp, .. Path(name), .. value];

    public static byte[] Scope(string path, params byte[][] body) => Block([ScopeOp], [.. Path(path), .. Join(body)]);

    public static byte[] Device(string name, params byte[][] body) =>
        Block([ExtPrefix, ExtDevice], [.. Path(name), .. Join(body)]);

    /// <summary>A processor object without a P_BLK.</summary>
    public static byte[] Processor(string name, byte id, params byte[][] body) =>
        Block([ExtPrefix, ExtProcessor], [.. Path(name), id, 0, 0, 0, 0, 0, .. Join(body)]);

    public static byte[] Method(string name, int arguments, bool serialized, params byte[][] body) =>
        Block([MethodOp], [.. Path(name), (byte)(arguments | (serialized ? 8 : 0)), .. Join(body)]);

    public static byte[] Package(params byte[][] elements) =>
        Block([PackageOp], [(byte)elements.Length, .. Join(elements)]);

    public static byte[] Buffer(ReadOnlySpan<byte> data) => Block([BufferOp], [.. Integer((ulong)data.Length), .. data]);

    /// <summary>A resource template: a buffer of descriptors with an end tag.</summary>
    public static byte[] Resources(params byte[][] descriptors) => Buffer([.. Join(descriptors), 0x79, 0]);

    public static byte[] OperationRegion(string name, Space space, ulong offset, ulong length) =>
        [ExtPrefix, ExtRegion, .. Path(name), (byte)space, .. Integer(offset), .. Integer(length)];

    /// <summary>Consecutive named fields of a region, of these widths in bits; a null name skips.</summary>
    /// <param name="region">The region's name.</param>
    /// <param name="access">1 byte, 2 word, 3 double word.</param>
    /// <param name="fields">Names and widths.</param>
    public static byte[] Field(string region, byte access, params (string? Name, int Bits)[] fields)
    {
        var body = new List<byte>(Path(region)) { access };
        foreach (var (name, bits) in fields)
        {
            body.AddRange(name == null ? [0] : Path(name));
            body.AddRange(PackageLength(bits));
        }

        return Block([ExtPrefix, ExtField], [.. body]);
    }

    public static byte[] CreateDWordField(byte[] buffer, int index, string name) =>
        [CreateDWordFieldOp, .. buffer, .. Integer((ulong)index), .. Path(name)];

    public static byte[] Store(byte[] value, byte[] target) => [StoreOp, .. value, .. target];

    public static byte[] ShiftLeft(byte[] value, byte[] count, byte[] target) => [ShiftLeftOp, .. value, .. count, .. target];

    /// <summary>Tells the system of something about an object.</summary>
    public static byte[] Notify(string path, byte[] what) => [NotifyOp, .. Path(path), .. what];

    public static byte[] Mutex(string name) => [ExtPrefix, ExtMutex, .. Path(name), 0];

    /// <summary>Waits for a mutex without limit.</summary>
    public static byte[] Acquire(string mutex) => [ExtPrefix, ExtAcquire, .. Path(mutex), 0xFF, 0xFF];

    public static byte[] Release(string mutex) => [ExtPrefix, ExtRelease, .. Path(mutex)];

    /// <summary>Calls a method.</summary>
    public static byte[] Call(string method, params byte[][] arguments) => [.. Path(method), .. Join(arguments)];

    public static byte[] And(byte[] a, byte[] b, byte[]? target = null) => [AndOp, .. a, .. b, .. target ?? [ZeroOp]];

    public static byte[] Or(byte[] a, byte[] b, byte[]? target = null) => [OrOp, .. a, .. b, .. target ?? [ZeroOp]];

    public static byte[] Equal(byte[] a, byte[] b) => [LEqualOp, .. a, .. b];

    public static byte[] Not(byte[] a) => [LNotOp, .. a];

    public static byte[] If(byte[] condition, params byte[][] body) => Block([IfOp], [.. condition, .. Join(body)]);

    public static byte[] Else(params byte[][] body) => Block([ElseOp], Join(body));

    public static byte[] Return(byte[] value) => [ReturnOp, .. value];

    /// <summary>Terms after each other.</summary>
    public static byte[] Join(params byte[][] terms)
    {
        var bytes = new byte[terms.Sum(static t => t.Length)];
        var at = 0;
        foreach (var term in terms)
        {
            term.CopyTo(bytes, at);
            at += term.Length;
        }

        return bytes;
    }

    /// <summary>An opcode, the length of what follows, and the body.</summary>
    private static byte[] Block(byte[] opcode, byte[] body) => [.. opcode, .. LengthOf(body.Length), .. body];

    /// <summary>The length counts its own bytes.</summary>
    private static byte[] LengthOf(int body)
    {
        for (var own = 1; own <= 4; own++)
        {
            var encoded = PackageLength(body + own);
            if (encoded.Length == own)
                return encoded;
        }

        // At the border a shorter form would still fit: force the longer one.
        return PackageLength(body + 2, 2);
    }

    private static byte[] PackageLength(int length, int least = 1)
    {
        if (length < 0x40 && least == 1)
            return [(byte)length];
        if (length < 0x1000)
            return [(byte)(0x40 | (length & 15)), (byte)(length >> 4)];
        return length < 0x10_0000
            ? [(byte)(0x80 | (length & 15)), (byte)(length >> 4), (byte)(length >> 12)]
            : [(byte)(0xC0 | (length & 15)), (byte)(length >> 4), (byte)(length >> 12), (byte)(length >> 20)];
    }
}
