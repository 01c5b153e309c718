using System.Buffers.Binary;
using Dromaius.Consoles;
using Dromaius.Core.Devices;
using Dromaius.Core.Memory;

namespace Dromaius.Devices.Display;

/// <summary>
/// A framebuffer in guest RAM: the firmware writes where it is into the firmware configuration's file <c>etc/ramfb</c>. Fields,
/// all big-endian: address (64 bits), DRM fourcc, flags, width, height, stride (32 bits each). Source: QEMU's interface, as the
/// edk2 driver QemuRamfbDxe uses it.
/// </summary>
public sealed class Ramfb(AddressSpace memory) : Device, IDisplaySource
{
    public const string FileName = "etc/ramfb";
    private const uint FourccXrgb = 0x34325258, FourccRgb888 = 0x34324752, FourccRgb565 = 0x36314752; // XR24, RG24, RG16
    private const uint LargestSide = 16384;

    private byte[] _line = [];
    private uint[] _drawn = [];

    public override string TypeName => "ramfb";

    /// <summary>The file's bytes; the guest writes them.</summary>
    public byte[] Config { get; } = new byte[28];

    public void Draw(DisplayConsole console, bool everything)
    {
        var address = BinaryPrimitives.ReadUInt64BigEndian(Config);
        var fourcc = BinaryPrimitives.ReadUInt32BigEndian(Config.AsSpan(8));
        var width = BinaryPrimitives.ReadUInt32BigEndian(Config.AsSpan(16));
        var height = BinaryPrimitives.ReadUInt32BigEndian(Config.AsSpan(20));
        ulong stride = BinaryPrimitives.ReadUInt32BigEndian(Config.AsSpan(24));
        PixelLayout? layout = fourcc switch
        {
            FourccXrgb => PixelLayout.Xrgb8888,
            FourccRgb888 => PixelLayout.Rgb888,
            FourccRgb565 => PixelLayout.Rgb565,
            _ => null,
        };
        if (address == 0 || layout is not { } pixels || width is 0 or > LargestSide || height is 0 or > LargestSide)
            return;
        everything |= console.SetSize((int)width, (int)height);
        var surface = console.Surface;
        var bytes = LineDrawer.BytesFor(pixels, surface.Width);
        if (stride == 0)
            stride = (ulong)bytes;
        if (_line.Length != bytes)
            _line = new byte[bytes];
        if (_drawn.Length != surface.Width)
            _drawn = new uint[surface.Width];
        // Any memory may be the screen, so what changed is found by comparing.
        for (var y = 0; y < surface.Height; y++)
        {
            _ = memory.Read(address + ((ulong)y * stride), _line);
            LineDrawer.Draw(pixels, _line, _drawn, [], 0);
            var row = surface.Row(y);
            if (!everything && row.SequenceEqual(_drawn))
                continue;
            _drawn.CopyTo(row);
            console.Update(0, y, surface.Width, 1);
        }
    }
}
