/* Moves bytes over TCP and checks each of them. Both ends run this program.
 *   pump serve PORT                              answers every connection, IPv4 and IPv6
 *   pump send|receive ADDRESS PORT BYTES [N]     moves the bytes over N (1) connections at once; prints the rate
 * Every block holds its number and then the same pattern: what is lost, twice or elsewhere is seen. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 1 << 18 };

struct job {
    const char *address, *port;
    char mode;
    uint64_t bytes;
    int bad;
};

static char pattern[BLOCK];

static int write_all(int fd, const void *data, size_t size)
{
    for (const char *p = data; size > 0;) {
        ssize_t n = write(fd, p, size);
        if (n <= 0)
            return -1;
        p += n;
        size -= n;
    }
    return 0;
}

static int read_all(int fd, void *data, size_t size)
{
    for (char *p = data; size > 0;) {
        ssize_t n = read(fd, p, size);
        if (n <= 0)
            return -1;
        p += n;
        size -= n;
    }
    return 0;
}

static int send_blocks(int fd, uint64_t bytes)
{
    char *block = malloc(BLOCK), answer = 'x';
    memcpy(block, pattern, BLOCK);
    int bad = 0;
    for (uint64_t number = 0; !bad && bytes > 0; number++) {
        size_t part = bytes < BLOCK ? bytes : BLOCK;
        memcpy(block, &number, sizeof number);
        bad = write_all(fd, block, part);
        bytes -= part;
    }
    free(block);
    /* The other end has seen them all. */
    return bad || read_all(fd, &answer, 1) || answer != 'k';
}

static int receive_blocks(int fd, uint64_t bytes)
{
    char *block = malloc(BLOCK);
    int bad = 0;
    for (uint64_t number = 0; !bad && bytes > 0; number++) {
        size_t part = bytes < BLOCK ? bytes : BLOCK;
        bad = read_all(fd, block, part) || memcmp(block, &number, part < sizeof number ? part : sizeof number)
            || (part > sizeof number && memcmp(block + sizeof number, pattern + sizeof number, part - sizeof number));
        bytes -= part;
    }
    free(block);
    return write_all(fd, bad ? "x" : "k", 1) || bad;
}

static void *serve_one(void *argument)
{
    int fd = (int)(intptr_t)argument;
    char mode;
    uint64_t bytes;
    if (read_all(fd, &mode, 1) == 0 && read_all(fd, &bytes, sizeof bytes) == 0 && (mode == 's' ? receive_blocks(fd, bytes) : send_blocks(fd, bytes)))
        fprintf(stderr, "pump: a connection went wrong\n");
    close(fd);
    return NULL;
}

static int serve(const char *port)
{
    struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_port = htons(atoi(port)) };
    int one = 1, listener = socket(AF_INET6, SOCK_STREAM, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&any, sizeof any) || listen(listener, 256)) {
        perror("pump");
        return 1;
    }
    for (;;) {
        pthread_t thread;
        int fd = accept(listener, NULL, NULL);
        if (fd >= 0 && pthread_create(&thread, NULL, serve_one, (void *)(intptr_t)fd) == 0)
            pthread_detach(thread);
    }
}

static void *run(void *argument)
{
    struct job *job = argument;
    struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_port = htons(atoi(job->port)) };
    struct sockaddr_in four = { .sin_family = AF_INET, .sin_port = six.sin6_port };
    int is_six = inet_pton(AF_INET6, job->address, &six.sin6_addr) == 1;
    job->bad = 1;
    if (!is_six && inet_pton(AF_INET, job->address, &four.sin_addr) != 1)
        return NULL;
    int fd = socket(is_six ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
    int refused = is_six ? connect(fd, (struct sockaddr *)&six, sizeof six) : connect(fd, (struct sockaddr *)&four, sizeof four);
    if (refused == 0 && write_all(fd, &job->mode, 1) == 0 && write_all(fd, &job->bytes, sizeof job->bytes) == 0)
        job->bad = job->mode == 's' ? send_blocks(fd, job->bytes) : receive_blocks(fd, job->bytes);
    else
        perror("pump");
    close(fd);
    return NULL;
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    uint64_t state = 88172645463325252ull;
    for (size_t i = 0; i < BLOCK; i += sizeof state) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        memcpy(pattern + i, &state, sizeof state);
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc == 3 && strcmp(argv[1], "serve") == 0)
        return serve(argv[2]);
    int count = argc == 6 ? atoi(argv[5]) : 1;
    if (argc < 5 || count < 1) {
        fprintf(stderr, "usage: pump serve PORT | pump send|receive ADDRESS PORT BYTES [N]\n");
        return 1;
    }
    struct job *jobs = calloc(count, sizeof *jobs);
    pthread_t *threads = calloc(count, sizeof *threads);
    uint64_t total = strtoull(argv[4], NULL, 0);
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (int i = 0; i < count; i++) {
        jobs[i] = (struct job){ argv[2], argv[3], argv[1][0], total / count, 0 };
        pthread_create(&threads[i], NULL, run, &jobs[i]);
    }
    int bad = 0;
    for (int i = 0; i < count; i++) {
        pthread_join(threads[i], NULL);
        bad += jobs[i].bad;
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    double seconds = end.tv_sec - begin.tv_sec + (end.tv_nsec - begin.tv_nsec) / 1e9;
    printf("pump %s %s %d connections %llu bytes %.0f MB/s %s\n", argv[1], argv[2], count, (unsigned long long)total, total / seconds / 1e6, bad ? "WRONG" : "right");
    return bad != 0;
}
