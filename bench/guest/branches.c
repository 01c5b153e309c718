/* Quicksort of random numbers, and Collatz lengths: branches that a predictor cannot know. */
#include "bench.h"

#define N 400000
static uint32_t a[N];

static void sort(uint32_t *p, long lo, long hi)
{
    while (lo < hi) {
        uint32_t pivot = p[(lo + hi) / 2];
        long i = lo, j = hi;
        while (i <= j) {
            while (p[i] < pivot) i++;
            while (p[j] > pivot) j--;
            if (i <= j) {
                uint32_t t = p[i];
                p[i++] = p[j];
                p[j--] = t;
            }
        }
        if (j - lo < hi - i) {
            sort(p, lo, j);
            lo = i;
        } else {
            sort(p, i, hi);
            hi = j;
        }
    }
}

int main(void)
{
    uint64_t seed = 88172645463325252u, check = 0;
    uint64_t start = now_ns();
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < N; i++)
            a[i] = (uint32_t)next_random(&seed);
        sort(a, 0, N - 1);
        check = check * 31 + a[N / 3];
    }
    for (uint64_t n = 1; n < 150000; n++) {
        uint64_t v = n;
        while (v != 1) {
            v = v & 1 ? 3 * v + 1 : v >> 1;
            check++;
        }
    }
    return report("branches", start, check);
}
