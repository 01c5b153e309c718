using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Dromaius.Core.Chardev;

/// <summary>Linux <c>struct termios</c> as glibc and musl pass it to tcsetattr(3).</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe partial struct Termios
{
    private const uint Ignbrk = 1, Brkint = 2, Parmrk = 8, Istrip = 0x20, Inlcr = 0x40, Igncr = 0x80, Icrnl = 0x100, Ixon = 0x400;
    private const uint Opost = 1;
    private const uint Csize = 0x30, Cs8 = 0x30, Parenb = 0x100;
    private const uint Isig = 1, Icanon = 2, Echo = 8, Echonl = 0x40, Iexten = 0x8000;
    private const int Vtime = 5, Vmin = 6;
    private const int TcsaNow = 0;

    public uint Iflag, Oflag, Cflag, Lflag;
    public byte Line;
    public ControlCharacters Cc;
    public uint Ispeed, Ospeed;

    [InlineArray(32)]
    public struct ControlCharacters
    {
        private byte _first;
    }

    public static bool TryGet(int fd, ref Termios settings)
    {
        fixed (Termios* p = &settings)
            return tcgetattr(fd, p) == 0;
    }

    public static void Set(int fd, in Termios settings)
    {
        fixed (Termios* p = &settings)
            _ = tcsetattr(fd, TcsaNow, p);
    }

    /// <summary>Bytes pass both ways unchanged, as cfmakeraw(3) does.</summary>
    public void MakeRaw()
    {
        MakeCharacterwise(keepSignals: false);
        Oflag &= ~Opost;
    }

    /// <summary>Input one key at a time and unechoed; output processing stays, so that newlines look right.</summary>
    public void MakeCharacterwise(bool keepSignals)
    {
        Iflag &= ~(Ignbrk | Brkint | Parmrk | Istrip | Inlcr | Igncr | Icrnl | Ixon);
        Lflag &= ~(Echo | Echonl | Icanon | Iexten);
        if (!keepSignals)
            Lflag &= ~Isig;
        Cflag = (Cflag & ~(Csize | Parenb)) | Cs8;
        Cc[Vmin] = 1;
        Cc[Vtime] = 0;
    }

    [LibraryImport("libc", SetLastError = true)]
    private static partial int tcgetattr(int fd, Termios* settings);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int tcsetattr(int fd, int action, Termios* settings);
}
