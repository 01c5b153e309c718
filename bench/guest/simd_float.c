/* Loops over floats that the compiler turns into SSE. */
#include "bench.h"

#ifndef NAME
#define NAME "simd_float"
#define SUPPORTED 1
#endif

#define N 8192
static float x[N], y[N], z[N];

int main(void)
{
    if (!SUPPORTED)
        return 0;
    for (int i = 0; i < N; i++)
        x[i] = (float)(i % 17) * 0.25f, y[i] = (float)(i % 13) - 6.0f, z[i] = 0;
    uint64_t start = now_ns();
    for (int round = 0; round < 6000; round++) {
        float f = 1.0f / (float)(round + 1);
        for (int i = 0; i < N; i++)
            z[i] = z[i] * 0.5f + (x[i] * f + y[i]) * (x[i] - f);
    }
    uint64_t check = 0;
    for (int i = 0; i < N; i++) {
        uint32_t bits;
        memcpy(&bits, &z[i], 4);
        check = check * 31 + bits;
    }
    return report(NAME, start, check);
}
