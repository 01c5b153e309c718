/* A compressor of the LZ77 kind, with hash chains, and its decompressor, over text of a small vocabulary. */
#include "bench.h"

#define SIZE (1 << 20)
#define WINDOW 32768
#define HASH_BITS 14
#define SHORTEST 4
#define LONGEST 130
#define CHAIN 16

static unsigned char text[SIZE], packed[SIZE + SIZE / 8 + 64], unpacked[SIZE];
static int32_t head[1 << HASH_BITS], previous[WINDOW];

static void make_text(void)
{
    static const char *const words[] = {
        "region", "of", "the", "translated", "code", "and", "a", "register", "is", "kept", "in", "memory", "while", "flags",
        "are", "computed", "only", "when", "needed", "by", "next", "instruction", "\n", "page", "table", "walk", "cache",
    };
    uint64_t seed = 88172645463325252u;
    for (size_t at = 0; at < SIZE; ) {
        uint64_t r = next_random(&seed);
        const char *word = words[(r & 0xFFFF) * (r >> 16 & 0xFFFF) % (sizeof words / sizeof *words)];
        while (*word != 0 && at < SIZE)
            text[at++] = (unsigned char)*word++;
        if (at < SIZE)
            text[at++] = r >> 60 == 0 ? (unsigned char)(r >> 40) : ' ';
    }
}

static unsigned hash(const unsigned char *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return v * 2654435761u >> (32 - HASH_BITS);
}

static void enter(int32_t at)
{
    unsigned h = hash(text + at);
    previous[at & (WINDOW - 1)] = head[h];
    head[h] = at;
}

/* A byte below 128 says how many literals follow, less one; another one the length of a match, before 16 bits of distance. */
static size_t pack(void)
{
    size_t out = 0, literals = 0;
    memset(head, 0xFF, sizeof head);
    for (int32_t at = 0; at < SIZE; ) {
        int best = 0, distance = 0;
        if (at + LONGEST < SIZE) {
            int32_t candidate = head[hash(text + at)];
            for (int n = 0; n < CHAIN && candidate >= 0 && at - candidate < WINDOW; n++) {
                int length = 0;
                while (length < LONGEST && text[candidate + length] == text[at + length])
                    length++;
                if (length > best)
                    best = length, distance = at - candidate;
                candidate = previous[candidate & (WINDOW - 1)];
            }
            enter(at);
        }
        if (best < SHORTEST) {
            if (literals == 0)
                packed[out++] = 0;
            packed[out - literals - 1] = (unsigned char)literals;
            packed[out++] = text[at++];
            literals = (literals + 1) & 127;
            continue;
        }
        literals = 0;
        packed[out++] = (unsigned char)(128 + best - SHORTEST);
        packed[out++] = (unsigned char)distance;
        packed[out++] = (unsigned char)(distance >> 8);
        for (int32_t end = at + best; ++at < end; )
            if (at + LONGEST < SIZE)
                enter(at);
    }
    return out;
}

static size_t unpack(size_t size)
{
    size_t out = 0;
    for (size_t in = 0; in < size; ) {
        unsigned c = packed[in++];
        if (c < 128) {
            for (unsigned i = 0; i <= c; i++)
                unpacked[out++] = packed[in++];
            continue;
        }
        size_t from = out - (packed[in] | (size_t)packed[in + 1] << 8);
        in += 2;
        for (unsigned i = 0; i < c - 128 + SHORTEST; i++)
            unpacked[out++] = unpacked[from++];
    }
    return out;
}

int main(void)
{
    make_text();
    uint64_t start = now_ns(), check = 0;
    for (int round = 0; round < 3; round++) {
        size_t size = pack();
        check = check * 31 + size;
        for (int again = 0; again < 4; again++)
            check += unpack(size);
        check += memcmp(text, unpacked, SIZE) == 0;
        text[round * 1000] ^= 1;
    }
    return report("lz", start, check);
}
