using System.Text;
using Dromaius.Block.Graph;
using Dromaius.Core.Errors;
using Dromaius.Core.Options;

namespace Dromaius.Cli.DiskTools;

/// <summary><c>--object secret,id=...,data=...|file=...</c>: keys of encrypted images, by id.</summary>
internal static class Secrets
{
    public static void Add(string text)
    {
        var list = OptionList.Parse(text, "qom-type");
        var type = list.Take("qom-type");
        if (type is not "secret")
            throw new UserErrorException($"invalid object type: {type}");
        var id = list.TakeRequired("id");
        var data = list.Take("data");
        var file = list.Take("file");
        if ((data == null) == (file == null))
            throw new UserErrorException("Either 'file' or 'data' must be provided");
        var bytes = data != null ? Encoding.UTF8.GetBytes(data) : Read(file!);
        if (list.Take("format") == "base64")
            bytes = Convert.FromBase64String(Encoding.ASCII.GetString(bytes));
        list.RejectUntaken();
        ImageSecrets.Set(id, bytes);
    }

    private static byte[] Read(string file)
    {
        try
        {
            return File.ReadAllBytes(file);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new UserErrorException($"Unable to read {file}: {Host.Explain(e)}");
        }
    }
}
