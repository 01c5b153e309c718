"""Objects, dictionaries, closures, regular expressions, big numbers and floats."""

import heapq
import re
import sys
from collections import Counter, namedtuple

Record = namedtuple("Record", "line word weight")


class Index:
    def __init__(self):
        self.records = {}

    def add(self, record):
        self.records.setdefault(record.word, []).append(record)

    def heaviest(self, count):
        weights = ((sum(r.weight for r in rs), word) for word, rs in self.records.items())
        return heapq.nlargest(count, weights)


def primes(limit):
    sieve = bytearray([1]) * limit
    for n in range(2, int(limit ** 0.5) + 1):
        if sieve[n]:
            sieve[n * n::n] = bytes(len(range(n * n, limit, n)))
    return [n for n in range(2, limit) if sieve[n]]


def orbit(steps):
    x, y, vx, vy = 1.0, 0.0, 0.0, 1.0
    for _ in range(steps):
        r3 = (x * x + y * y) ** 1.5
        vx, vy = vx - x / r3 * 0.01, vy - y / r3 * 0.01
        x, y = x + vx * 0.01, y + vy * 0.01
    return f"{x:.9f} {y:.9f}"


def main():
    index, letters = Index(), Counter()
    word = re.compile(r"[A-Za-z_]\w+")
    for number, line in enumerate(sys.stdin):
        if number == 4000:
            break
        for match in word.finditer(line):
            index.add(Record(number, match.group(), match.end() - match.start()))
        letters.update(line)
    for weight, name in index.heaviest(40):
        print(weight, name)
    print(sorted(letters.items()))
    print(sum(primes(200000)), orbit(20000))
    n = 1
    for i in range(1, 1200):
        n *= i
    print(n % (10 ** 40 + 7), len(str(n)), pow(3, n % 10 ** 60, 2 ** 127 - 1))


main()
