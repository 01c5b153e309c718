using System.Runtime.InteropServices;
using Dromaius.Core.Errors;
using Dromaius.Core.Sockets;

namespace Dromaius.Net.User;

/// <summary>
/// <c>smb=FOLDER</c>: the guest reaches a folder of the host's at an address of the network. The host's Samba serves each connection;
/// its configuration and state are in a folder that lives as long as the network.
/// </summary>
internal sealed class SmbServer : IDisposable
{
    private const string Program = "/usr/sbin/smbd";
    private const ushort NetBiosPort = 139, SmbPort = 445;
    private readonly string _state;

    private SmbServer(string state) => _state = state;

    /// <summary>Shares a folder at an address.</summary>
    public static SmbServer Add(UserBackend backend, string folder, uint address)
    {
        var settings = backend.Settings;
        if (!settings.IsOnNetwork(address) || address == settings.Host || address == settings.Dns)
            throw new UserErrorException("Conflicting/invalid smbserver address");
        if (!File.Exists(Program))
            throw new UserErrorException($"Could not find '{Program}', please install it");
        try
        {
            _ = Directory.EnumerateFileSystemEntries(folder).Any();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            const int NotPermitted = 13, NotThere = 2;
            throw new UserErrorException(
                $"Error accessing shared directory '{folder}': {Marshal.GetPInvokeErrorMessage(Path.Exists(folder) ? NotPermitted : NotThere)}");
        }

        var server = new SmbServer(Directory.CreateTempSubdirectory("dromaius-smb.").FullName);
        var file = Path.Combine(server._state, "smb.conf");
        File.WriteAllText(file, Configuration(server._state, Path.GetFullPath(folder)));
        List<string> words = [Program, "-l", server._state, "-s", file];
        _ = backend.WithStack(s =>
        {
            s.Tcp.AddTarget(HostEndpoint.OfIpv4(address, NetBiosPort), () => GuestForward.StartProgram(words));
            s.Tcp.AddTarget(HostEndpoint.OfIpv4(address, SmbPort), () => GuestForward.StartProgram(words));
            return 0;
        });
        return server;
    }

    public void Dispose()
    {
        try
        {
            Directory.Delete(_state, recursive: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Programs that are just ending may still write there.
        }
    }

    /// <summary>Everybody is let in without a password, with the rights of who runs the emulator.</summary>
    private static string Configuration(string state, string folder) => $"""
        [global]
        private dir = {state}
        pid directory = {state}
        lock directory = {state}
        state directory = {state}
        cache directory = {state}
        ncalrpc dir = {state}/ncalrpc
        log file = {state}/log.smbd
        smb passwd file = {state}/smbpasswd
        interfaces = 127.0.0.1
        bind interfaces only = yes
        security = user
        map to guest = Bad User
        load printers = no
        printing = bsd
        disable spoolss = yes
        usershare max shares = 0
        [qemu]
        path = {folder}
        read only = no
        guest ok = yes
        force user = {Environment.UserName}

        """;
}
