/* Loops over floats that the compiler turns into SSE. */
#include "bench.h"

#define N 8192
static float x[N], y[N], z[N];

int main(void)
{
    for (int i = 0; i < N; i++)
        x[i] = (float)(i % 17) * 0.25f, y[i] = (float)(i % 13) - 6.0f, z[i] = 0;
    uint64_t start = now_ns();
    for (int round = 0; round < 6000; round++) {
        float f = 1.0f / (float)(round + 1);
        for (int i = 0; i < N; i++)
            z[i] = z[i] * 0.5f + (x[i] * f + y[i]) * (x[i] - f);
    }
    uint32_t bits;
    memcpy(&bits, &z[N / 3], 4);
    return report("simd_float", start, bits);
}
