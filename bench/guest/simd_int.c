/* Loops over small integers that the compiler turns into SSE: blending of pixels, sums of differences. */
#include "bench.h"

#ifndef NAME
#define NAME "simd_int"
#define SUPPORTED 1
#endif

#define N 16384
static uint8_t a[N], b[N], c[N];
static int16_t s[N];

int main(void)
{
    if (!SUPPORTED)
        return 0;
    for (int i = 0; i < N; i++)
        a[i] = (uint8_t)(i * 7), b[i] = (uint8_t)(i * 13), s[i] = (int16_t)(i * 3);
    uint64_t start = now_ns(), check = 0;
    for (int round = 0; round < 5000; round++) {
        uint16_t w = (uint16_t)(round & 255);
        for (int i = 0; i < N; i++)
            c[i] = (uint8_t)((a[i] * w + b[i] * (255 - w)) >> 8);
        for (int i = 0; i < N; i++)
            s[i] = (int16_t)(s[i] + (c[i] > 128 ? c[i] : -a[i]));
        uint32_t sum = 0;
        for (int i = 0; i < N; i++)
            sum += c[i];
        check = check * 31 + sum;
    }
    return report(NAME, start, check + (uint16_t)s[77]);
}
