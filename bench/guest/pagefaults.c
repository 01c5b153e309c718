/* Fresh pages: map, touch, unmap. */
#include "bench.h"
#include <sys/mman.h>

int main(void)
{
    const size_t size = 8 << 20;
    uint64_t check = 0;
    uint64_t start = now_ns();
    for (int round = 0; round < 20; round++) {
        char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED)
            return 1;
        madvise(p, size, MADV_NOHUGEPAGE);
        for (size_t i = 0; i < size; i += 4096)
            p[i] = (char)round;
        check += (unsigned char)p[size / 2];
        munmap(p, size);
    }
    return report("pagefaults", start, check);
}
