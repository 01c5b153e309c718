# Words of a text: counted, matched, sorted, formatted.
use strict;
use warnings;

my (%count, %by_length, $numbers, $calls);
while (my $line = <STDIN>) {
    $numbers += hex $1 while $line =~ /\b0x([0-9a-f]{1,7})\b/gi;
    $calls++ while $line =~ /\b[a-z_]\w*\s*\(/g;
    for my $word (split /\W+/, lc $line) {
        next if $word eq '';
        $count{$word}++;
        push @{ $by_length{length $word} }, $word if $count{$word} == 1;
    }
    (my $other = $line) =~ tr/a-zA-Z/n-za-mN-ZA-M/;
    $calls += length($other) - index($other, 'r');
}
my @most = sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count;
printf "%-24s %6d %s\n", $_, $count{$_}, scalar reverse $_ for @most[0 .. 199];
for my $length (sort { $a <=> $b } keys %by_length) {
    my @words = sort @{ $by_length{$length} };
    printf "%3d %5d %s\n", $length, scalar @words, join ',', @words[0 .. ($#words < 4 ? $#words : 4)];
}
print "$numbers $calls\n";
