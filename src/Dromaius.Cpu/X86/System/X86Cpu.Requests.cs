using Dromaius.Core.Cpus;

namespace Dromaius.Cpu.X86;

public sealed unsafe partial class X86Cpu
{
    private int _requests;

    /// <summary>Start-up vector of the last SIPI.</summary>
    private volatile byte _sipiVector;

    public CpuRequest Requests => (CpuRequest)Volatile.Read(ref _requests);

    public void Raise(CpuRequest request)
    {
        Interlocked.Or(ref _requests, (int)request);
        RequestExit();
    }

    public void Lower(CpuRequest request) => Interlocked.And(ref _requests, ~(int)request);

    public void StartUp(byte vector)
    {
        _sipiVector = vector;
        Raise(CpuRequest.StartUp);
    }
}
