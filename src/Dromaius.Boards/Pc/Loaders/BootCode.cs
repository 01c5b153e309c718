using System.Buffers.Binary;
using System.Text;

namespace Dromaius.Boards.Pc.Loaders;

/// <summary>One copy that the boot ROM orders from the firmware configuration device.</summary>
/// <param name="Key">The item.</param>
/// <param name="Address">Where in memory it goes.</param>
/// <param name="Length">How much, in bytes.</param>
internal readonly record struct BootCopy(ushort Key, ulong Address, uint Length);

/// <summary>Where the boot ROM jumps when everything is in place, in real mode.</summary>
/// <param name="DataSegment">For DS, ES, FS, GS and SS.</param>
/// <param name="StackPointer">For SP.</param>
/// <param name="CodeSegment">For CS.</param>
/// <param name="Offset">For IP.</param>
internal readonly record struct BootJump(ushort DataSegment, ushort StackPointer, ushort CodeSegment, ushort Offset);

/// <summary>
/// The option ROM that starts a kernel given on the command line. The BIOS offers it as a boot device (a bootstrap entry vector in
/// a PnP header, BIOS Boot Specification 1.01, appendix A); when chosen it copies the parts of the kernel to their places by
/// firmware-configuration DMA and jumps to it.
/// </summary>
internal static class BootRom
{
    private const int PnpHeader = 0x20, InitCode = 0x40, EntryCode = 0x50, Block = 512;
    private const ushort DmaHigh = 0x514, DmaLow = 0x518;
    private const uint DmaSelectAndRead = 8 | 2;

    public static byte[] Build(string product, IReadOnlyList<BootCopy> copies, BootJump jump)
    {
        var code = new CodeWriter();
        // Requests come right behind the code; their place is known once the code's length is.
        var draft = Entry(0, copies.Count, jump);
        var requests = (EntryCode + draft.Length + 15) & ~15;
        var entry = Entry(requests, copies.Count, jump);
        var name = requests + (16 * copies.Count);
        var length = (name + product.Length + 2 + Block - 1) & ~(Block - 1);

        var rom = new byte[length];
        rom[0] = 0x55;
        rom[1] = 0xAA;
        rom[2] = (byte)(length / Block);
        // Initialisation at offset 3: near jump to code that has nothing to do.
        code.Bytes(0xEB, InitCode - 5);
        code.ToArray().CopyTo(rom, 3);
        BinaryPrimitives.WriteUInt16LittleEndian(rom.AsSpan(0x1A), PnpHeader);

        var pnp = rom.AsSpan(PnpHeader, 32);
        "$PnP"u8.CopyTo(pnp);
        pnp[4] = 1;
        pnp[5] = 2;
        BinaryPrimitives.WriteUInt16LittleEndian(pnp[0x10..], (ushort)name);
        // Boot device: initial program load, can be booted.
        pnp[0x12] = 2;
        pnp[0x15] = 0x14;
        BinaryPrimitives.WriteUInt16LittleEndian(pnp[0x1A..], EntryCode);
        pnp[9] = Negative(pnp);

        // mov ax, "attached IPL device"; far return.
        ((ReadOnlySpan<byte>)[0xB8, 0x20, 0x00, 0xCB]).CopyTo(rom.AsSpan(InitCode));
        entry.CopyTo(rom, EntryCode);
        for (var i = 0; i < copies.Count; i++)
        {
            var at = rom.AsSpan(requests + (16 * i), 16);
            BinaryPrimitives.WriteUInt32BigEndian(at, ((uint)copies[i].Key << 16) | DmaSelectAndRead);
            BinaryPrimitives.WriteUInt32BigEndian(at[4..], copies[i].Length);
            BinaryPrimitives.WriteUInt64BigEndian(at[8..], copies[i].Address);
        }

        Encoding.ASCII.GetBytes(product).CopyTo(rom, name);
        rom[^1] = Negative(rom);
        return rom;
    }

    private static byte[] Entry(int requests, int count, BootJump jump)
    {
        var code = new CodeWriter();
        code.Bytes(0xFA, 0xFC);                             // cli; cld
        // The requests lie in this ROM: ESI = CS * 16 + offset.
        code.Bytes(0x8C, 0xC8);                             // mov ax, cs
        code.Bytes(0x66, 0x0F, 0xB7, 0xF0);                 // movzx esi, ax
        code.Bytes(0x66, 0xC1, 0xE6, 0x04);                 // shl esi, 4
        code.Bytes(0x66, 0x81, 0xC6).U32((uint)requests);   // add esi, requests
        code.Bytes(0xB9).U16((ushort)count);                // mov cx, count
        var loop = code.Length;
        code.Bytes(0x66, 0x31, 0xC0);                       // xor eax, eax
        code.Bytes(0xBA).U16(DmaHigh);                      // mov dx, high half
        code.Bytes(0x66, 0xEF);                             // out dx, eax
        code.Bytes(0x66, 0x89, 0xF0);                       // mov eax, esi
        code.Bytes(0x66, 0x0F, 0xC8);                       // bswap eax
        code.Bytes(0xBA).U16(DmaLow);                       // mov dx, low half
        code.Bytes(0x66, 0xEF);                             // out dx, eax: the copy is done when this returns
        code.Bytes(0x66, 0x83, 0xC6, 0x10);                 // add esi, 16
        code.Bytes(0x49);                                   // dec cx
        code.Bytes(0x75, (byte)(loop - (code.Length + 2))); // jnz loop
        code.Bytes(0xB8).U16(jump.DataSegment);             // mov ax, segment
        code.Bytes(0x8E, 0xD8, 0x8E, 0xC0);                 // mov ds, ax; mov es, ax
        code.Bytes(0x8E, 0xE0, 0x8E, 0xE8);                 // mov fs, ax; mov gs, ax
        code.Bytes(0x8E, 0xD0, 0xBC).U16(jump.StackPointer); // mov ss, ax; mov sp, pointer
        code.Bytes(0xEA).U16(jump.Offset).U16(jump.CodeSegment); // jmp far
        return code.ToArray();
    }

    private static byte Negative(ReadOnlySpan<byte> bytes)
    {
        byte sum = 0;
        foreach (var b in bytes)
            sum += b;
        return (byte)-sum;
    }
}

/// <summary>Bytes of machine code, little-endian.</summary>
internal sealed class CodeWriter
{
    private readonly List<byte> _bytes = [];

    public int Length => _bytes.Count;

    public CodeWriter Bytes(params ReadOnlySpan<byte> bytes)
    {
        _bytes.AddRange(bytes);
        return this;
    }

    public CodeWriter U16(ushort value) => Bytes((byte)value, (byte)(value >> 8));

    public CodeWriter U32(uint value) => U16((ushort)value).U16((ushort)(value >> 16));

    /// <summary>Fills in a rel8 that was left 0 at <paramref name="at"/>, to here.</summary>
    public void PatchShortJump(int at) => _bytes[at] = (byte)(_bytes.Count - (at + 1));

    public byte[] ToArray() => [.. _bytes];
}
