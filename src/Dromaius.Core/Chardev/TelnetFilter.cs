namespace Dromaius.Core.Chardev;

/// <summary>Takes Telnet commands out of a byte stream (RFC 854; options of RFC 856 to 858).</summary>
internal sealed class TelnetFilter
{
    public const byte Iac = 255;
    private const byte Will = 251, Do = 253, Dont = 254, Break = 243, SubBegin = 250, SubEnd = 240;
    private const byte OptBinary = 0, OptEcho = 1, OptSuppressGoAhead = 3;

    private enum State
    {
        Data, Command, Option, Subnegotiation, SubnegotiationCommand,
    }

    private State _state;

    /// <summary>Asks the client for character mode without local echo, eight bits both ways.</summary>
    public static ReadOnlySpan<byte> Greeting =>
        [Iac, Will, OptEcho, Iac, Will, OptSuppressGoAhead, Iac, Will, OptBinary, Iac, Do, OptBinary];

    public void Reset() => _state = State.Data;

    /// <summary>Moves the data bytes to the front and gives their number.</summary>
    public int Strip(Span<byte> bytes, out bool sawBreak)
    {
        sawBreak = false;
        var kept = 0;
        foreach (var b in bytes)
        {
            switch (_state)
            {
                case State.Data when b == Iac:
                    _state = State.Command;
                    break;
                case State.Data:
                    bytes[kept++] = b;
                    break;
                case State.Command when b == Iac:
                    bytes[kept++] = b;
                    _state = State.Data;
                    break;
                case State.Command:
                    sawBreak |= b == Break;
                    _state = b is >= Will and <= Dont ? State.Option : b == SubBegin ? State.Subnegotiation : State.Data;
                    break;
                case State.Option:
                    _state = State.Data;
                    break;
                case State.Subnegotiation when b == Iac:
                    _state = State.SubnegotiationCommand;
                    break;
                case State.SubnegotiationCommand:
                    _state = b == SubEnd ? State.Data : State.Subnegotiation;
                    break;
            }
        }

        return kept;
    }
}
