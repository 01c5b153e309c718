using System.Diagnostics;
using System.Text.RegularExpressions;

namespace Dromaius.Cli.Tests;

/// <summary>The image tools beside QEMU's: the same commands print the same and end with the same status.</summary>
public sealed partial class ImageToolTests
{
    private const string Script = """
        img create -f raw b.raw 1M
        io -f raw -c 'write -q -P 7 0 512k' b.raw
        img create -f qcow2 -b b.raw -F raw o.qcow2
        io -c 'write -q -P 1 0 100k' o.qcow2
        img map o.qcow2
        img map --output=json o.qcow2
        img check o.qcow2
        img check --output=json o.qcow2
        img measure -O qcow2 o.qcow2
        img measure -O qcow2 --size 10G -o cluster_size=2M,extended_l2=on --output=json
        img measure -O raw --output=json --size 1G
        img compare o.qcow2 b.raw
        img compare -s o.qcow2 o.qcow2
        img resize o.qcow2 +1M
        img resize o.qcow2 1M
        img resize --shrink o.qcow2 1M
        img rebase -b '' o.qcow2
        img create -q -f qcow2 -b o.qcow2 -F qcow2 p.qcow2
        io -c 'write -q -P 9 64k 64k' p.qcow2
        img commit p.qcow2
        img map --output=json p.qcow2
        img convert -O qcow2 -c o.qcow2 c.qcow2
        img check c.qcow2
        img map --output=json c.qcow2
        img amend -o compat=0.10 c.qcow2
        img check c.qcow2
        img snapshot -a foo o.qcow2
        img snapshot -d foo o.qcow2
        img bitmap --add o.qcow2 bm
        img bitmap --add -g 8k --disable o.qcow2 bm2
        img bitmap --merge bm o.qcow2 bm2
        img check o.qcow2
        img bitmap --remove o.qcow2 bm
        img
        img foo
        img info
        img info --foo x
        img create -f qcow2 x
        img create -f foo x 1M
        img create -f qcow2 x 1x
        img create -f qcow2 -b nope -F raw x
        img create -f qcow2 -o cluster_size=1000 x 1M
        img create -f qcow2 -o refcount_bits=7 x 1M
        img create -f qcow2 -o cluster_size=512 x 1P
        img convert a b
        img convert -O foo b.raw c
        img convert -f qcow2 b.raw c
        img check -f raw b.raw
        img dd if=nope of=x
        img rebase -b nope o.qcow2
        img compare -f raw b.raw nope
        img create -f vmdk -o subformat=twoGbMaxExtentFlat v.vmdk 3G
        img create -f vpc v.vpc 10M
        img info v.vpc
        img create -f vdi v.vdi 10M
        img info v.vdi
        img create -f qed v.qed 10M
        img info --output=json v.vdi
        img create -q -f qcow2 io.q 10M
        io -c 'read -v -q 0 32' io.q
        io -c 'write -q -z 64k 64k' io.q
        io -c length io.q
        io -c 'alloc 0 1M' io.q
        io -c map io.q
        io -c info io.q
        io -c 'truncate 20M' io.q
        io -c 'writev -q -P 3 1M 4k 8k' io.q
        io -c 'readv -q -P 3 1M 12k' io.q
        io -c 'readv -q -P 4 1M 12k' io.q
        io -c 'read 30M 4k' io.q
        io -c foo io.q
        io -c 'read 1' io.q
        io -c 'write -q -c 3M 64k' io.q
        io -c 'read abc 1k' io.q
        io -c 'write -n 0 1k' io.q
        img check io.q
        img create -q -f raw odd1.raw 66560
        img create -q -f raw odd2.raw 199680
        io -f raw -c 'write -q -P 5 0 66560' odd1.raw
        io -f raw -c 'write -q -P 6 0 199680' odd2.raw
        img convert -f raw -c -O qcow2 odd1.raw odd2.raw joined.q
        io -r -c 'read -q -P 5 0 66560' -c 'read -q -P 6 66560 199680' joined.q
        img convert -f raw -O qcow2 odd1.raw odd2.raw joined.q
        io -r -c 'read -q -P 5 0 66560' -c 'read -q -P 6 66560 199680' joined.q
        img check joined.q
        img convert -O qcow2 -B b.raw -F raw odd1.raw odd2.raw joined.q
        img convert -O qcow2 -B b.raw odd1.raw joined.q
        img convert -n -o lazy_refcounts=on -O raw odd1.raw odd2.raw
        img create -q -f raw zeroes.raw 256k
        img convert -f raw -c -S 0 -O qcow2 zeroes.raw stored.q
        img map --output=json stored.q
        img create -q -f qcow2 short.q 1M
        img create -q -f qcow2 -b short.q -F qcow2 long.q 2M
        img map --output=json long.q
        img create -q -f qcow2 -b io.q -F qcow2 small.q 1M
        img resize small.q 30M
        io -c map small.q
        io -C -c 'read -q 1M 4k' long.q
        io -C -r -c 'read 0 4k' long.q
        io -c map long.q
        io -c 'write -q -s /dev/zero 0 64k' long.q
        img create -q -f qcow2 marked.q 100M
        img bitmap --add -g 512 marked.q one
        img bitmap --add marked.q two
        img resize marked.q 500M
        img check marked.q
        img info marked.q
        img measure -O qcow2 marked.q
        img measure -O qcow2 -o cluster_size=4k --output=json marked.q
        img measure -O qcow2 -o compat=0.10 marked.q
        img resize --shrink marked.q 1M
        img check marked.q
        img create -q -f qcow2 -o data_file=d1 apart.q 1M
        img create -q -f raw d2 1M
        img amend -o data_file=d2 apart.q
        img info apart.q
        img amend -o data_file=d2 narrow.q
        img amend -o data_file_raw=on apart.q
        io -c 'write -q -P 9 0 64k' apart.q
        io -f raw -c 'read -q -P 9 0 64k' d2
        img amend -o data_file= apart.q
        io -c 'read 0 1k' apart.q
        io --image-opts driver=qcow2,file.filename=apart.q,data-file.driver=file,data-file.filename=d2 -c 'read -q -P 9 0 64k'
        io --image-opts driver=qcow2,file.filename=narrow.q,data-file.driver=file,data-file.filename=d2 -c 'read -q 0 64k'
        img rebase -u -b nowhere narrow.q
        img rebase -u -b b.raw half.q
        img create -q -f qcow2 bare.q 512k
        img rebase -b b.raw bare.q
        img rebase -u -b b.raw bare.q
        img rebase -u -b b.raw -F host_device bare.q
        img info bare.q
        img create -f qcow2 -o size=1M x.q 2M
        img create -f qcow2 -o compat=0.4 x.q 2M
        img create -f qcow2 -o backing_file= x.q 2M
        img create -f qcow2 -o refcount_bits=-1 x.q 2M
        img create -f qcow2 file:a:b.q 1M
        img info file:a:b.q
        img info -U --image-opts driver=null-co,force-share=off
        img info --image-opts driver=null-co
        io -U --image-opts driver=null-co,force-share=off -c length
        img create -q -f qcow2 -o refcount_bits=1 narrow.q 1M
        io -c 'write -q 0 64k' narrow.q
        img snapshot -c one narrow.q
        img create -q -f raw half.raw 512k
        img compare -f raw b.raw half.raw
        io -f raw -c 'alloc 256k 1M' half.raw
        img create -q -f vdi c.vdi 64M
        io -f vdi -c 'write -q -P 1 5M 4k' -c 'write -q -P 2 30M 100k' -c 'write -q -P 3 1M 64k' c.vdi
        img check -f vdi c.vdi
        img check --output=json -f vdi c.vdi
        img check -q -f vdi c.vdi
        img check -r all -f vdi c.vdi
        img map --output=json -f vdi c.vdi
        img create -q -f vmdk c.vmdk 64M
        io -f vmdk -c 'write -q -P 1 5M 4k' -c 'write -q -P 2 30M 100k' -c 'write -q -P 3 1M 64k' c.vmdk
        img check -f vmdk c.vmdk
        img check --output=json -f vmdk c.vmdk
        img check -q -f vmdk c.vmdk
        img check -r all -f vmdk c.vmdk
        img create -q -f vhdx c.vhdx 64M
        io -f vhdx -c 'write -q -P 1 5M 4k' -c 'write -q -P 2 30M 100k' -c 'write -q -P 3 1M 64k' c.vhdx
        img check -f vhdx c.vhdx
        img check --output=json -f vhdx c.vhdx
        img check -q -f vhdx c.vhdx
        img create -q -f vpc c.vpc 64M
        io -f vpc -c 'write -q -P 1 5M 4k' -c 'write -q -P 2 30M 100k' -c 'write -q -P 3 1M 64k' c.vpc
        img check -f vpc c.vpc
        img check --output=json -f vpc c.vpc
        img check -q -f vpc c.vpc
        img map --output=json -f vpc c.vpc
        img create -q -f qed c.qed 64M
        io -f qed -c 'write -q -P 2 30M 100k' c.qed
        img check -f qed c.qed
        img check --output=json -f qed c.qed
        img check -q -f qed c.qed
        img create -q -f parallels c.parallels 64M
        io -f parallels -c 'write -q -P 1 5M 4k' -c 'write -q -P 2 30M 100k' -c 'write -q -P 3 1M 64k' c.parallels
        img check -f parallels c.parallels
        img check --output=json -f parallels c.parallels
        img check -q -f parallels c.parallels
        img info --output=json -f parallels c.parallels
        """;

    [Fact]
    public void SayTheSameAsQemus()
    {
        if (!File.Exists("/usr/bin/qemu-img") || !File.Exists("/usr/bin/qemu-io"))
            return;
        var (theirs, ours) = (Directory.CreateTempSubdirectory("dromaius-img-").FullName, Directory.CreateTempSubdirectory("dromaius-img-").FullName);
        try
        {
            foreach (var line in Script.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))
            {
                var words = WordPattern().Matches(line).Select(static m => m.Value.StartsWith('\'') ? m.Value[1..^1] : m.Value).ToArray();
                var expected = Run("qemu-" + words[0], words[1..], theirs);
                var actual = Run("dotnet", [Path.Combine(AppContext.BaseDirectory, "dromaius.dll"), .. words], ours);
                Assert.Equal(expected, $"{actual}".Replace("dromaius-", "qemu-", StringComparison.Ordinal));
            }
        }
        finally
        {
            Directory.Delete(theirs, true);
            Directory.Delete(ours, true);
        }
    }

    [GeneratedRegex("'[^']*'|\\S+")]
    private static partial Regex WordPattern();

    private static string Run(string tool, string[] args, string folder)
    {
        var info = new ProcessStartInfo(tool, args) { RedirectStandardOutput = true, RedirectStandardError = true, WorkingDirectory = folder };
        using var process = Process.Start(info)!;
        var error = process.StandardError.ReadToEndAsync();
        var output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        // How much storage a file takes, and where its metadata is, may differ.
        output = DiskSize().Replace(output, "N");
        return $"{string.Join(' ', args.SkipWhile(static a => a.EndsWith(".dll", StringComparison.Ordinal) || a is "img" or "io"))}\n{output}{error.Result}=> {process.ExitCode}";
    }

    [GeneratedRegex("disk size: .*|Image end offset: .*|(?<=\"actual-size\": )\\d+")]
    private static partial Regex DiskSize();
}
