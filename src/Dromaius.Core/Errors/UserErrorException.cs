namespace Dromaius.Core.Errors;

/// <summary>What the user got wrong. The message is one line, ready to print after the program's name; exit status 1.</summary>
public sealed class UserErrorException(string message) : Exception(message);
