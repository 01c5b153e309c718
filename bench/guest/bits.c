/* Checksums and single bits: CRC-32 by table and by bit, counting, reversing, scanning, interleaving. */
#include "bench.h"

static uint32_t crc_table[256];

static uint32_t crc_by_table(uint32_t crc, const unsigned char *p, size_t size)
{
    crc = ~crc;
    for (size_t i = 0; i < size; i++)
        crc = crc_table[(crc ^ p[i]) & 255] ^ (crc >> 8);
    return ~crc;
}

static uint32_t crc_by_bit(uint32_t crc, const unsigned char *p, size_t size)
{
    crc = ~crc;
    for (size_t i = 0; i < size; i++) {
        crc ^= p[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? (crc >> 1) ^ 0xEDB88320u : crc >> 1;
    }
    return ~crc;
}

static uint64_t reversed(uint64_t x)
{
    x = (x >> 1 & 0x5555555555555555u) | (x & 0x5555555555555555u) << 1;
    x = (x >> 2 & 0x3333333333333333u) | (x & 0x3333333333333333u) << 2;
    x = (x >> 4 & 0x0F0F0F0F0F0F0F0Fu) | (x & 0x0F0F0F0F0F0F0F0Fu) << 4;
    return __builtin_bswap64(x);
}

static unsigned population(uint64_t x)
{
    x -= x >> 1 & 0x5555555555555555u;
    x = (x & 0x3333333333333333u) + (x >> 2 & 0x3333333333333333u);
    x = (x + (x >> 4)) & 0x0F0F0F0F0F0F0F0Fu;
    return (unsigned)(x * 0x0101010101010101u >> 56);
}

static uint64_t interleaved(uint64_t x)
{
    x = (x | x << 16) & 0x0000FFFF0000FFFFu;
    x = (x | x << 8) & 0x00FF00FF00FF00FFu;
    x = (x | x << 4) & 0x0F0F0F0F0F0F0F0Fu;
    x = (x | x << 2) & 0x3333333333333333u;
    return (x | x << 1) & 0x5555555555555555u;
}

int main(void)
{
    static unsigned char data[64 * 1024];
    uint64_t seed = 88172645463325252u, check = 0;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (unsigned char)next_random(&seed);
    uint64_t start = now_ns();
    for (unsigned i = 0; i < 256; i++)
        crc_table[i] = ~crc_by_bit(0xFFFFFFFFu, &(unsigned char) { (unsigned char)i }, 1);
    for (int round = 0; round < 400; round++)
        check = check * 31 + crc_by_table((uint32_t)check, data, sizeof data);
    for (int round = 0; round < 20; round++)
        check = check * 31 + crc_by_bit((uint32_t)check, data, sizeof data);
    for (int i = 0; i < 5000000; i++) {
        uint64_t x = next_random(&seed);
        check += population(x) + (reversed(x) ^ interleaved(x & 0xFFFFFFFFu));
        unsigned turn = 1 + (x & 31);
        check = check << turn | check >> (64 - turn);
        check ^= (uint64_t)__builtin_clzll(x | 1) * (uint64_t)__builtin_ctzll(x | 1u << 20);
    }
    return report("bits", start, check);
}
