/* Disks past the guest's page cache: disk DEVICE NAME measures the device's speed in order and at random, one request at a time and
   from eight threads. Results are of so many bytes, so that less time is faster. */
#include "bench.h"
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

enum { SPAN = 256 << 20, LARGE = 1 << 20, SMALL = 4096, SMALL_COUNT = 4000, THREADS = 8 };

struct job {
    int fd, writes, count;
    size_t size;
    uint64_t seed, bytes;
};

/* Runs on in order for large requests, jumps about for small ones. */
static void *work(void *argument)
{
    struct job *job = argument;
    char *buffer = aligned_alloc(4096, job->size);
    uint64_t random = job->seed;
    memset(buffer, 0x5A, job->size);
    for (int i = 0; i < job->count; i++) {
        off_t at = (off_t)(job->size == LARGE ? (uint64_t)i * LARGE : next_random(&random) % (SPAN / SMALL) * SMALL);
        ssize_t n = job->writes ? pwrite(job->fd, buffer, job->size, at) : pread(job->fd, buffer, job->size, at);
        if (n != (ssize_t)job->size)
            break;
        job->bytes += (uint64_t)n;
    }
    free(buffer);
    return NULL;
}

static int measure(int fd, const char *disk, const char *what, int writes, size_t size, int count, int threads)
{
    struct job jobs[THREADS];
    pthread_t ids[THREADS];
    char name[64];
    uint64_t bytes = 0, start = now_ns();
    for (int i = 0; i < threads; i++) {
        jobs[i] = (struct job){ fd, writes, count / threads, size, 88172645463325252u + (uint64_t)i, 0 };
        if (pthread_create(&ids[i], NULL, work, &jobs[i]) != 0)
            return 1;
    }
    for (int i = 0; i < threads; i++) {
        pthread_join(ids[i], NULL);
        bytes += jobs[i].bytes;
    }
    snprintf(name, sizeof name, "%s_%s", disk, what);
    if (bytes != (uint64_t)count * size) {
        printf("bench %s failed\n", name);
        return 1;
    }
    return report(name, start, bytes);
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 1;
    int fd = open(argv[1], O_RDWR | O_DIRECT);
    if (fd < 0) {
        printf("bench %s failed\n", argv[2]);
        return 1;
    }
    /* First what allocates, then what is there. */
    return measure(fd, argv[2], "allocate", 1, LARGE, SPAN / LARGE, 1) | measure(fd, argv[2], "write", 1, LARGE, SPAN / LARGE, 1)
        | measure(fd, argv[2], "read", 0, LARGE, SPAN / LARGE, 1) | measure(fd, argv[2], "write_4k", 1, SMALL, SMALL_COUNT, 1)
        | measure(fd, argv[2], "read_4k", 0, SMALL, SMALL_COUNT, 1) | measure(fd, argv[2], "write_4k_8", 1, SMALL, 4 * SMALL_COUNT, THREADS)
        | measure(fd, argv[2], "read_4k_8", 0, SMALL, 4 * SMALL_COUNT, THREADS);
}
