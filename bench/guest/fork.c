/* fork, exit, wait. */
#include "bench.h"
#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
    uint64_t check = 0;
    uint64_t start = now_ns();
    for (int i = 0; i < 500; i++) {
        pid_t child = fork();
        if (child == 0)
            _exit(3);
        int status = 0;
        waitpid(child, &status, 0);
        check += (unsigned)WEXITSTATUS(status);
    }
    return report("fork", start, check);
}
