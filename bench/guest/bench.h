/* What the guest kernels share: the clock, and one line of result each. */
#ifndef BENCH_H
#define BENCH_H

#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static inline uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* xorshift64*: the same numbers everywhere. */
static inline uint64_t next_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 2685821657736338717u;
}

/* The check value shows that every machine computed the same. */
static inline int report(const char *name, uint64_t start, uint64_t check)
{
    uint64_t elapsed = now_ns() - start;
    printf("bench %s %llu check %016llx\n", name, (unsigned long long)elapsed, (unsigned long long)check);
    fflush(stdout);
    return 0;
}

#endif
