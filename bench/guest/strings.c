/* The C library's string functions, which choose SIMD by CPUID, over buffers that fit the first cache. */
#include "bench.h"

static char a[32768], b[32768];

/* Called through pointers, so that the compiler does not replace them. */
static void *(*volatile copy)(void *, const void *, size_t) = memcpy;
static void *(*volatile move)(void *, const void *, size_t) = memmove;
static void *(*volatile set)(void *, int, size_t) = memset;
static size_t (*volatile length)(const char *) = strlen;
static int (*volatile compare)(const char *, const char *) = strcmp;
static int (*volatile compare_memory)(const void *, const void *, size_t) = memcmp;

static uint64_t round_of(size_t size, int round)
{
    void *(*volatile find)(const void *, int, size_t) = (void *(*)(const void *, int, size_t))memchr;
    char *(*volatile find_character)(const char *, int) = (char *(*)(const char *, int))strchr;
    uint64_t check = 0;
    size_t skew = (size_t)round & 31;
    set(a, 'a' + round % 25, size + skew);
    a[size + skew] = 0;
    copy(b + 32 - skew, a + skew, size);
    b[size + 32 - skew] = 0;
    move(b + 33 - skew, b + 32 - skew, size);
    check += length(a + skew);
    check += (uint64_t)((char *)find(a, 0, sizeof a) - a);
    check += (uint64_t)(find_character(b + 32 - skew, 0) - b);
    check += compare(a + skew, b + 33 - skew) == 0;
    check += compare_memory(a + skew, b + 33 - skew, size) == 0;
    return check;
}

int main(void)
{
    uint64_t check = 0;
    uint64_t start = now_ns();
    for (int round = 0; round < 600000; round++)
        check = check * 31 + round_of((size_t)(round * 7) % 240, round);
    for (int round = 0; round < 80000; round++)
        check = check * 31 + round_of(1000 + (size_t)(round & 1023), round);
    for (int round = 0; round < 24000; round++)
        check = check * 31 + round_of(16000, round);
    return report("strings", start, check);
}
