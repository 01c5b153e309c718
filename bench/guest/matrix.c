/* Product of double matrices, plain loops. */
#include "bench.h"

#define N 200
static double a[N][N], b[N][N], c[N][N];

int main(void)
{
    uint64_t seed = 88172645463325252u;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            a[i][j] = (double)(next_random(&seed) >> 44), b[i][j] = (double)(next_random(&seed) >> 44);
    uint64_t start = now_ns();
    for (int round = 0; round < 5; round++)
        for (int i = 0; i < N; i++)
            for (int j = 0; j < N; j++) {
                double sum = 0;
                for (int k = 0; k < N; k++)
                    sum += a[i][k] * b[k][j];
                c[i][j] = sum * 0.5 + c[i][j];
            }
    uint64_t check;
    memcpy(&check, &c[N / 2][N / 3], 8);
    return report("matrix", start, check);
}
