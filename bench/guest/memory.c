/* memcpy, memset, strlen, memchr and a byte loop. */
#include "bench.h"

#define SIZE (1 << 20)
static char from[SIZE], to[SIZE];

int main(void)
{
    volatile size_t size = SIZE;
    uint64_t check = 0;
    uint64_t start = now_ns();
    for (int round = 0; round < 300; round++) {
        memset(from, 'a' + round % 26, size - 1);
        memcpy(to, from, size);
        check += strlen(to) + (uint64_t)(memchr(to, 0, size) != NULL);
    }
    for (int round = 0; round < 60; round++) {
        unsigned sum = 0;
        for (size_t i = 0; i < size; i++) {
            sum = sum * 33 + (unsigned char)to[i];
            to[i] = (char)sum;
        }
        check = check * 31 + sum;
    }
    return report("memory", start, check);
}
