using System.Globalization;
using System.Numerics;
using System.Text;
using Dromaius.Control.Qmp;

namespace Dromaius.Control.Hmp;

/// <summary>Commands that look at memory, ports and expressions.</summary>
internal sealed class HmpMemory(IMachineControl machine, HmpCommands monitor)
{
    public IEnumerable<HmpCommand> Commands =>
    [
        new("i", "", "fmt:/,addr:i,index:i?", "/fmt addr", "I/O port read", PortRead),
        new("o", "", "fmt:/,addr:i,val:i", "/fmt addr value", "I/O port write", PortWrite),
        new("memsave", "", "val:l,size:i,filename:s", "addr size file", "save to disk virtual memory dump starting at 'addr' of size 'size'", a =>
        {
            MemoryCommands.Save(machine, a.Text("filename"), a.Number("val"), (long)a.Number("size"), monitor.CurrentCpu);
            return "";
        }),
        new("pmemsave", "", "val:l,size:i,filename:s", "addr size file", "save to disk physical memory dump starting at 'addr' of size 'size'", a =>
        {
            MemoryCommands.Save(machine, a.Text("filename"), a.Number("val"), (long)a.Number("size"), -1);
            return "";
        }),
        new("print", "p", "fmt:/,val:l", "/fmt expr", "print expression value (use $reg for CPU register access)", Print),
        new("sum", "", "start:i,size:i", "addr size", "compute the checksum of a memory region", Sum),
        new("gpa2hva", "", "addr:l", "addr", "print the host virtual address corresponding to a guest physical address", static _ => "Error: host addresses are not shown\n"),
        new("gva2gpa", "", "addr:l", "addr", "print the guest physical address corresponding to a guest virtual address", a =>
            machine.TryTranslate(monitor.CurrentCpu, a.Number("addr"), out var physical) ? $"gpa: 0x{physical:x}\n" : "Unmapped\n"),
        new("x", "", "fmt:/,addr:l", "/fmt addr", "virtual memory dump starting at 'addr'", a => Dump(a, physical: false)),
        new("xp", "", "fmt:/,addr:l", "/fmt addr", "physical memory dump starting at 'addr'", a => Dump(a, physical: true)),
    ];

    private string PortRead(HmpArguments a)
    {
        var port = a.Number("addr") & 0xFFFF;
        if (a.Has("index"))
        {
            machine.Io.Store(port, 1, a.Number("index") & 0xFF);
            port = (port + 1) & 0xFFFF;
        }

        var size = Math.Min(a.Format.Size, 4);
        var value = machine.Io.Load(port, size);
        return $"port{"bwl"[BitOperations.Log2((uint)size)]}[0x{port:x4}] = 0x{value.ToString("x" + (2 * size), CultureInfo.InvariantCulture)}\n";
    }

    private string PortWrite(HmpArguments a)
    {
        machine.Io.Store(a.Number("addr") & 0xFFFF, Math.Min(a.Format.Size, 4), a.Number("val"));
        return "";
    }

    private static string Print(HmpArguments a)
    {
        var value = a.Number("val");
        return a.Format.Letter switch
        {
            'o' => (value == 0 ? "0" : "0" + Convert.ToString((long)value, 8)) + "\n",
            'x' => (value == 0 ? "0" : $"0x{value:x}") + "\n",
            'u' => $"{value}\n",
            'c' => Character(value) + "\n",
            _ => $"{(long)value}\n",
        };
    }

    private string Sum(HmpArguments a)
    {
        ushort sum = 0;
        var buffer = new byte[1];
        var end = a.Number("start") + Math.Min(a.Number("size"), 1 << 30);
        for (var at = a.Number("start"); at < end; at++)
        {
            _ = machine.Memory.Read(at, buffer);
            sum = (ushort)((sum >> 1 | sum << 15) + buffer[0]);
        }

        return $"{sum:00000}\n";
    }

    private bool Read(ulong address, Span<byte> into, bool physical) =>
        physical ? machine.Memory.Read(address, into) : machine.TryReadVirtual(monitor.CurrentCpu, address, into);

    private string Dump(HmpArguments a, bool physical)
    {
        var (count, letter, size) = a.Format;
        var address = a.Number("addr");
        count = Math.Min(count, 1 << 16);
        if (letter == 'i')
            return Disassembly.Show(count, address, machine.CodeBits(monitor.CurrentCpu), (at, bytes) => Read(at, bytes, physical));
        var text = new StringBuilder();
        var bytesPerLine = size == 1 ? 8 : 16;
        if (letter == 'c')
            (count, size) = (count * size, 1); // one by one, as many as the items have bytes
        var perLine = bytesPerLine / size;
        Span<byte> item = stackalloc byte[8];
        for (var i = 0; i < count; i++)
        {
            var at = address + (ulong)(i * size);
            if (i % perLine == 0)
                text.Append(i == 0 ? "" : "\n").Append(CultureInfo.InvariantCulture, $"{at:x16}:");
            item.Clear();
            if (!Read(at, item[..size], physical))
                return text.Append(" Cannot access memory\n").ToString();

            text.Append(' ').Append(FormatValue(letter, size, BitConverter.ToUInt64(item)));
        }

        return text.Append('\n').ToString();
    }

    private static string FormatValue(char letter, int size, ulong value)
    {
        // As wide as the largest number of the size.
        var digits = size switch
        {
            1 => 3,
            2 => 5,
            4 => 10,
            _ => 20,
        };
        return letter switch
        {
            'o' => (value == 0 ? "0" : "0" + Convert.ToString((long)value, 8)).PadLeft(((8 * size) + 2) / 3),
            'd' => ((long)value).ToString(CultureInfo.InvariantCulture).PadLeft(digits),
            'u' => value.ToString(CultureInfo.InvariantCulture).PadLeft(digits),
            'c' => Character(value),
            _ => "0x" + value.ToString("x" + (2 * size), CultureInfo.InvariantCulture),
        };
    }

    private static string Character(ulong value) => (value & 0xFF) switch
    {
        '\'' => "'\\''",
        '\\' => "'\\\\'",
        '\n' => "'\\n'",
        '\r' => "'\\r'",
        >= 32 and < 127 and var c => $"'{(char)c}'",
        var c => $"'\\x{c:x2}'",
    };
}
