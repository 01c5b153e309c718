/* Two threads over shared memory: atomic additions, compare and exchange, a mutex. */
#include "bench.h"
#include <pthread.h>
#include <stdatomic.h>

static _Atomic uint64_t sum, product = 1;
static uint64_t guarded;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static void *work(void *argument)
{
    uint64_t self = (uint64_t)(uintptr_t)argument;
    for (uint64_t i = 0; i < 3000000; i++)
        atomic_fetch_add(&sum, i ^ self);
    for (int i = 0; i < 1500000; i++) {
        uint64_t old = atomic_load(&product);
        while (!atomic_compare_exchange_weak(&product, &old, old * 6364136223846793005u))
            ;
    }
    for (int i = 0; i < 500000; i++) {
        pthread_mutex_lock(&mutex);
        guarded += 3;
        pthread_mutex_unlock(&mutex);
    }
    return NULL;
}

int main(void)
{
    pthread_t other;
    uint64_t start = now_ns();
    if (pthread_create(&other, NULL, work, (void *)1) != 0)
        return 1;
    work((void *)0);
    pthread_join(other, NULL);
    return report("threads", start, sum * 31 + product + guarded);
}
