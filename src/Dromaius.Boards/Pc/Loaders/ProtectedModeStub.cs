using System.Buffers.Binary;

namespace Dromaius.Boards.Pc.Loaders;

/// <summary>
/// The last step to kernels that start in 32-bit protected mode (Multiboot 1, PVH): a page of low memory with the boot information,
/// the memory map that its code asks the BIOS for, and a flat GDT. The code runs in real mode and jumps to the entry point.
/// </summary>
internal sealed class ProtectedModeStub
{
    public const int MapOffset = 0x100, MaxEntries = 64, EntrySize = 24;

    private const int GdtOffset = MapOffset + (MaxEntries * EntrySize), GdtrOffset = GdtOffset + 32, CodeOffset = GdtOffset + 48;
    private const ushort Stack = 0x2000;

    /// <summary>Conventional memory below this is the kernel's to use; the BIOS's own data lie below and above.</summary>
    private const uint Highest = 0x8_0000, Lowest = 0x1_0000;

    private const uint MapSignature = 0x534D_4150;

    private readonly byte[] _page = new byte[0x1000];

    /// <summary>The boot information; at most 256 bytes.</summary>
    public Span<byte> Information => _page.AsSpan(0, MapOffset);

    public Span<byte> Map => _page.AsSpan(MapOffset, MaxEntries * EntrySize);

    /// <summary>Where the stub lives: information first. A multiple of 16.</summary>
    public required uint Address { get; init; }

    /// <summary>A place in conventional memory, for the page and the stack behind it, that a kernel image leaves free.</summary>
    public static uint Place(ulong kernelAt, ulong kernelLength)
    {
        for (var at = Highest; at >= Lowest; at -= 0x1000)
        {
            if (at >= kernelAt + kernelLength || at + Stack <= kernelAt)
                return at;
        }

        return Highest;
    }

    public BootJump Jump => new((ushort)(Address >> 4), Stack, (ushort)(Address >> 4), CodeOffset);

    /// <summary>The start of each 20-byte BIOS map entry in its slot.</summary>
    public required int EntryOffset { get; init; }

    /// <summary>Offset in the information of the map's size; in entries if <see cref="CountEntries"/>, else in bytes.</summary>
    public required int MapSizeField { get; init; }
    public required bool CountEntries { get; init; }

    /// <summary>Offset in the information for the address of the ACPI root pointer, or null.</summary>
    public int? RootPointerField { get; init; }
    public required uint Entry { get; init; }

    /// <summary>For EAX at the entry point; EBX is the address of the information.</summary>
    public required uint Magic { get; init; }

    public byte[] Build()
    {
        // Null, flat 32-bit code at 8, flat data at 16, and a 32-bit TSS at 24.
        ReadOnlySpan<ulong> gdt = [0, 0x00CF_9B00_0000_FFFF, 0x00CF_9300_0000_FFFF, 0x0000_8900_0000_0067];
        for (var i = 0; i < gdt.Length; i++)
            BinaryPrimitives.WriteUInt64LittleEndian(_page.AsSpan(GdtOffset + (8 * i)), gdt[i]);
        BinaryPrimitives.WriteUInt16LittleEndian(_page.AsSpan(GdtrOffset), (ushort)((8 * gdt.Length) - 1));
        BinaryPrimitives.WriteUInt32LittleEndian(_page.AsSpan(GdtrOffset + 2), Address + GdtOffset);
        Code().CopyTo(_page, CodeOffset);
        return _page;
    }

    private byte[] Code()
    {
        var code = new CodeWriter();
        code.Bytes(0xFB, 0xFC);                                     // sti; cld
        code.Bytes(0x66, 0x31, 0xDB);                               // xor ebx, ebx
        code.Bytes(0xBF).U16((ushort)(MapOffset + EntryOffset));    // mov di, map
        code.Bytes(0x31, 0xED);                                     // xor bp, bp
        var loop = code.Length;
        code.Bytes(0x66, 0xB8).U32(0xE820);                         // mov eax, 0xE820
        code.Bytes(0x66, 0xB9).U32(20);                             // mov ecx, 20
        code.Bytes(0x66, 0xBA).U32(MapSignature);                   // mov edx, "SMAP"
        code.Bytes(0xCD, 0x15);                                     // int 0x15
        code.Bytes(0x72, 0);                                        // jc done
        var failed = code.Length - 1;
        code.Bytes(0x66, 0x3D).U32(MapSignature);                   // cmp eax, "SMAP"
        code.Bytes(0x75, 0);                                        // jne done
        var unknown = code.Length - 1;
        code.Bytes(0x45);                                           // inc bp
        code.Bytes(0x83, 0xC7, EntrySize);                          // add di, 24
        code.Bytes(0x66, 0x85, 0xDB);                               // test ebx, ebx
        code.Bytes(0x74, 0);                                        // jz done
        var last = code.Length - 1;
        code.Bytes(0x83, 0xFD, MaxEntries);                         // cmp bp, 64
        code.Bytes(0x72, (byte)(loop - (code.Length + 2)));         // jb loop
        code.PatchShortJump(failed);
        code.PatchShortJump(unknown);
        code.PatchShortJump(last);
        if (CountEntries)
            code.Bytes(0x89, 0xE8);                                 // mov ax, bp
        else
            code.Bytes(0x6B, 0xC5, EntrySize);                      // imul ax, bp, 24
        code.Bytes(0xA3).U16((ushort)MapSizeField);                 // mov [field], ax
        if (RootPointerField is { } field)
            FindRootPointer(code, field);
        code.Bytes(0xFA);                                           // cli
        code.Bytes(0x0F, 0x01, 0x16).U16(GdtrOffset);               // lgdt [gdtr]
        code.Bytes(0x0F, 0x20, 0xC0);                               // mov eax, cr0
        code.Bytes(0x0C, 0x01);                                     // or al, 1
        code.Bytes(0x0F, 0x22, 0xC0);                               // mov cr0, eax
        code.Bytes(0x66, 0xEA).U32(Address + CodeOffset + (uint)code.Length + 6).U16(8); // jmp dword 8:next
        code.Bytes(0xB8).U32(16);                                   // mov eax, 16
        code.Bytes(0x8E, 0xD8, 0x8E, 0xC0, 0x8E, 0xE0);             // mov ds, eax; mov es, eax; mov fs, eax
        code.Bytes(0x8E, 0xE8, 0x8E, 0xD0);                         // mov gs, eax; mov ss, eax
        code.Bytes(0xB8).U32(24).Bytes(0x0F, 0x00, 0xD8);           // mov eax, 24; ltr ax
        code.Bytes(0xB8).U32(Magic);                                // mov eax, magic
        code.Bytes(0xBB).U32(Address);                              // mov ebx, information
        code.Bytes(0xB9).U32(Entry);                                // mov ecx, entry
        code.Bytes(0xFF, 0xE1);                                     // jmp ecx
        return code.ToArray();
    }

    /// <summary>Looks for "RSD PTR " at 16-byte steps of the BIOS segment F0000 to FFFFF.</summary>
    private static void FindRootPointer(CodeWriter code, int field)
    {
        code.Bytes(0xB8).U16(0xF000);                               // mov ax, 0xF000
        code.Bytes(0x8E, 0xC0);                                     // mov es, ax
        code.Bytes(0x31, 0xFF);                                     // xor di, di
        var loop = code.Length;
        code.Bytes(0x26, 0x66, 0x81, 0x3D).U32(0x2044_5352);        // cmp dword es:[di], "RSD "
        code.Bytes(0x75, 0);                                        // jne next
        var first = code.Length - 1;
        code.Bytes(0x26, 0x66, 0x81, 0x7D, 0x04).U32(0x2052_5450);  // cmp dword es:[di+4], "PTR "
        code.Bytes(0x74, 0);                                        // je found
        var found = code.Length - 1;
        code.PatchShortJump(first);
        code.Bytes(0x83, 0xC7, 0x10);                               // add di, 16
        code.Bytes(0x75, (byte)(loop - (code.Length + 2)));         // jnz loop
        code.Bytes(0xEB, 0);                                        // jmp done
        var done = code.Length - 1;
        code.PatchShortJump(found);
        code.Bytes(0x66, 0x0F, 0xB7, 0xC7);                         // movzx eax, di
        code.Bytes(0x66, 0x05).U32(0x000F_0000);                    // add eax, 0xF0000
        code.Bytes(0x66, 0xA3).U16((ushort)field);                  // mov [field], eax
        code.PatchShortJump(done);
    }
}
