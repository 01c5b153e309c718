namespace Dromaius.Jit;

/// <summary>A thread that asks for a sample a thousand times a second while there is something to sample, and seldom else.</summary>
internal sealed class Sampler : IDisposable
{
    private const int BusyMilliseconds = 1, IdleMilliseconds = 20;

    private readonly Func<bool> _sample;
    private readonly ManualResetEventSlim _stop = new();

    /// <param name="sample">Asks for samples; false when nobody is busy.</param>
    public Sampler(Func<bool> sample)
    {
        _sample = sample;
        new Thread(Run) { IsBackground = true, Name = "sampler" }.Start();
    }

    private void Run()
    {
        while (!_stop.Wait(_sample() ? BusyMilliseconds : IdleMilliseconds))
        {
        }
    }

    public void Dispose() => _stop.Set();
}
