/* fork, exit, wait; and a byte to and fro between two processes. */
#include "bench.h"
#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
    int there[2], back[2];
    char c = 'x';
    uint64_t check = 0;
    uint64_t start = now_ns();
    for (int i = 0; i < 300; i++) {
        pid_t child = fork();
        if (child == 0)
            _exit(3);
        int status = 0;
        waitpid(child, &status, 0);
        check += (unsigned)WEXITSTATUS(status);
    }
    if (pipe(there) != 0 || pipe(back) != 0)
        return 1;
    if (fork() == 0) {
        close(there[1]);
        while (read(there[0], &c, 1) == 1)
            if (write(back[1], &c, 1) != 1)
                break;
        _exit(0);
    }
    for (int i = 0; i < 10000; i++)
        check += (uint64_t)(write(there[1], &c, 1) + read(back[0], &c, 1));
    return report("processes", start, check);
}
