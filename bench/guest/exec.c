/* fork, execve of this program, wait. */
#include "bench.h"
#include <sys/wait.h>
#include <unistd.h>

int main(int count, char **arguments)
{
    if (count > 1)
        return atoi(arguments[1]);
    uint64_t check = 0;
    uint64_t start = now_ns();
    for (int i = 0; i < 200; i++) {
        pid_t child = fork();
        if (child == 0) {
            execl("/proc/self/exe", arguments[0], "5", (char *)NULL);
            _exit(1);
        }
        int status = 0;
        waitpid(child, &status, 0);
        check += (unsigned)WEXITSTATUS(status);
    }
    return report("exec", start, check);
}
