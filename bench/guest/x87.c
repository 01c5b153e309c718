/* long double: the x87's stack, its comparisons, roundings, square roots and conversions. */
#include "bench.h"
#include <math.h>

#define N 256
static long double x[N], y[N];

int main(void)
{
    uint64_t seed = 88172645463325252u, check = 0;
    for (int i = 0; i < N; i++) {
        x[i] = (long double)(next_random(&seed) >> 32) / 4294967296.0L + 0.25L;
        y[i] = 1.0L / (long double)(i + 1);
    }
    uint64_t start = now_ns();
    for (int round = 0; round < 15000; round++) {
        /* A polynomial, and a step of Newton for the cube root. */
        long double sum = 0, t = 1.0L + (long double)round / 4096.0L;
        for (int i = 0; i < N; i++) {
            long double p = ((x[i] * 0.125L - y[i]) * x[i] + t) * x[i] - 0.75L;
            sum += p < 0 ? -p : p;
            y[i] = y[i] - (y[i] * y[i] * y[i] - x[i]) / (3.0L * y[i] * y[i] + 1.0L);
        }
        /* Distances, whole parts and integers. */
        for (int i = 1; i < N; i += 4) {
            long double d = sqrtl(x[i] * x[i] + y[i - 1] * y[i - 1]) * 1000.0L;
            long whole = (long)d;
            sum += d - (long double)whole;
            check += (uint64_t)whole;
        }
        check = check * 31 + (uint64_t)(long long)(sum * 1e6L);
    }
    return report("x87", start, check);
}
