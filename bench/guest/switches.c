/* A byte to and fro between two processes on one processor: every step is a context switch. */
#include "bench.h"
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
    int there[2], back[2];
    char c = 'x';
    uint64_t check = 0;
    cpu_set_t first;
    CPU_ZERO(&first);
    CPU_SET(0, &first);
    sched_setaffinity(0, sizeof first, &first);
    if (pipe(there) != 0 || pipe(back) != 0)
        return 1;
    pid_t child = fork();
    if (child == 0) {
        close(there[1]);
        while (read(there[0], &c, 1) == 1)
            if (write(back[1], &c, 1) != 1)
                break;
        _exit(0);
    }
    close(there[0]);
    uint64_t start = now_ns();
    for (int i = 0; i < 15000; i++)
        check += (uint64_t)(write(there[1], &c, 1) + read(back[0], &c, 1));
    int status = report("switches", start, check);
    close(there[1]);
    waitpid(child, NULL, 0);
    return status;
}
