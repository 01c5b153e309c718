/* Entering and leaving the kernel: small system calls, and bytes through a pipe. */
#include "bench.h"
#include <sys/syscall.h>
#include <unistd.h>

int main(void)
{
    int ends[2];
    char c = 'x';
    uint64_t check = 0;
    if (pipe(ends) != 0)
        return 1;
    uint64_t start = now_ns();
    for (int i = 0; i < 300000; i++)
        check += syscall(SYS_getppid) != 0;
    for (int i = 0; i < 60000; i++)
        check += (uint64_t)(write(ends[1], &c, 1) + read(ends[0], &c, 1));
    return report("syscalls", start, check > 0);
}
