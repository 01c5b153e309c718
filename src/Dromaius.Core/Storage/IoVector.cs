using System.Runtime.InteropServices;

namespace Dromaius.Core.Storage;

/// <summary>struct iovec of POSIX: one piece of a transfer.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct IoVector
{
    public void* Base;
    public nuint Length;
}
