/* The same work by one thread, then by each of two at once: what a second processor adds. */
#include "bench.h"
#include <pthread.h>

static void *work(void *result)
{
    uint64_t state = 88172645463325252u, sum = 0;
    uint32_t table[1024] = { 0 };
    for (int i = 0; i < 40000000; i++) {
        uint64_t r = next_random(&state);
        table[r & 1023] += (uint32_t)(r >> 40);
        sum += table[(r >> 10) & 1023];
    }
    *(uint64_t *)result = sum;
    return NULL;
}

int main(void)
{
    uint64_t mine, others = 0;
    pthread_t other;
    uint64_t start = now_ns();
    work(&mine);
    report("scaling_one", start, mine);
    start = now_ns();
    if (pthread_create(&other, NULL, work, &others) != 0)
        return 1;
    work(&mine);
    pthread_join(other, NULL);
    return report("scaling_two", start, mine ^ others * 31);
}
