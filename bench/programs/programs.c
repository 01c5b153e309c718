/*
 * Runs Debian's programs in the benchmark's tree, each by its own name: bench/gzip is a link to this program. It measures
 * the time from fork to wait of every step that is said to be measured, and hashes what the steps wrote. In a guest the
 * tree is the root; on the host BENCH_ROOT says where it is.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_ARGUMENTS 20
#define TEXT "/bench/data/text"

enum use {
    MEASURE = 1, /* its time counts */
    CHECK = 2,   /* its output is hashed */
    RATE = 4,    /* its output ends with how much it does a second: that says the time */
};

struct step {
    enum use use;
    const char *input, *output;
    const char *arguments[MAX_ARGUMENTS];
};

struct program {
    const char *name;
    double work; /* what the time of a rate is given for */
    struct step steps[6];
};

#define KEY "000102030405060708090a0b0c0d0e0f"
#define SPEED "openssl", "speed", "-mr", "-elapsed", "-seconds", "1"
#define MEGABYTES(n) ((n) * 1048576.0)

static const struct program programs[] = {
    { "gzip", 0, {
        { MEASURE | CHECK, TEXT, "gz", { "gzip", "-n", "-6", "-c" } },
        { MEASURE | CHECK, "gz", "ungz", { "gzip", "-dc" } },
    } },
    { "xz", 0, {
        { MEASURE | CHECK, TEXT, "xz", { "xz", "-2", "-T1", "-c" } },
        { MEASURE | CHECK, "xz", "unxz", { "xz", "-dc" } },
    } },
    { "bzip2", 0, {
        { MEASURE | CHECK, TEXT, "bz2", { "bzip2", "-c" } },
        { MEASURE | CHECK, "bz2", "unbz2", { "bzip2", "-dc" } },
    } },
    { "openssl_sha256", MEGABYTES(32), {
        { CHECK, TEXT, "digest", { "openssl", "dgst", "-sha256", "-binary" } },
        { RATE, NULL, "rate", { SPEED, "-bytes", "8192", "-evp", "sha256" } },
    } },
    { "openssl_aes", MEGABYTES(128), {
        { CHECK, TEXT, "secret", { "openssl", "enc", "-aes-128-ctr", "-K", KEY, "-iv", KEY } },
        { RATE, NULL, "rate", { SPEED, "-bytes", "8192", "-evp", "aes-128-gcm" } },
    } },
    { "openssl_chacha20", MEGABYTES(64), {
        { CHECK, TEXT, "secret", { "openssl", "enc", "-chacha20", "-K", KEY KEY, "-iv", KEY } },
        { RATE, NULL, "rate", { SPEED, "-bytes", "8192", "-evp", "chacha20-poly1305" } },
    } },
    { "openssl_rsa", 50, {
        { CHECK, TEXT, "signature", { "openssl", "dgst", "-sha256", "-sign", "/bench/data/key.pem" } },
        { RATE, NULL, "rate", { SPEED, "rsa2048" } },
    } },
    { "perl", 0, { { MEASURE | CHECK, TEXT, "perl", { "perl", "/bench/data/words.pl" } } } },
    { "python3", 0, { { MEASURE | CHECK, TEXT, "python", { "python3", "-I", "/bench/data/records.py" } } } },
    { "gcc", 0, {
        { MEASURE, NULL, "log", { "gcc", "-O2", "-c", "-o", "object", "/bench/data/lz.c" } },
        { MEASURE, NULL, "log", { "gcc", "-o", "program", "object" } },
        { CHECK, "object", "copy", { "gzip", "-1nc" } },
        { CHECK, "program", "copy", { "gzip", "-1nc" } },
    } },
    { "sqlite3", 0, { { MEASURE | CHECK, "/bench/data/orders.sql", "sqlite", { "sqlite3", "orders.db" } } } },
};

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int fail(const char *name, const char *what)
{
    fprintf(stderr, "bench %s: %s\n", name, what);
    return 1;
}

/* A process may always change its root in a user namespace of its own. */
static int enter(const char *root)
{
    return (chroot(root) == 0 || (unshare(CLONE_NEWUSER) == 0 && chroot(root) == 0)) && chdir("/") == 0;
}

static void redirect(const char *path, int flags, int to)
{
    int file = open(path, flags, 0600);
    if (file < 0 || dup2(file, to) < 0)
        _exit(126);
    close(file);
}

/* Runs a step; its errors go to the file "errors". Returns its status, or a negative number. */
static int run(const struct step *step, uint64_t *elapsed)
{
    int status = -1;
    uint64_t start = now_ns();
    pid_t child = fork();
    if (child == 0) {
        redirect(step->input ? step->input : "empty", O_RDONLY, 0);
        redirect("errors", O_WRONLY | O_CREAT | O_APPEND, 2);
        redirect(step->output, O_WRONLY | O_CREAT | O_TRUNC, 1);
        execvp(step->arguments[0], (char *const *)step->arguments);
        _exit(127);
    }
    if (child > 0)
        waitpid(child, &status, 0);
    *elapsed += now_ns() - start;
    return status;
}

/* FNV-1a. */
static uint64_t hash(uint64_t h, const char *path)
{
    FILE *file = fopen(path, "rb");
    for (int c; file != NULL && (c = getc(file)) != EOF; )
        h = (h ^ (uint64_t)c) * 0x100000001B3u;
    if (file != NULL)
        fclose(file);
    return h;
}

/* The first rate in the last line of machine-readable output: "+F:22:name:BYTES" or "+F2:0:bits:SIGNATURES:VERIFICATIONS". */
static double seconds_for(double work, const char *path)
{
    char line[256];
    double rate = 0;
    FILE *file = fopen(path, "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "+F2:%*d:%*d:%lf", &rate) != 1)
            sscanf(line, "+F:%*d:%*[^:]:%lf", &rate);
    if (file != NULL)
        fclose(file);
    return rate > 0 ? work / rate : 0;
}

static void print_errors(void)
{
    char line[512];
    FILE *file = fopen("errors", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        fputs(line, stderr);
    if (file != NULL)
        fclose(file);
}

static int run_program(const struct program *program)
{
    uint64_t elapsed = 0, ignored = 0, check = 0xCBF29CE484222325u;
    for (const struct step *step = program->steps; step->output != NULL; step++) {
        int status = run(step, step->use & MEASURE ? &elapsed : &ignored);
        if (status != 0) {
            fprintf(stderr, "bench %s: %s: status %#x\n", program->name, step->arguments[0], (unsigned)status);
            print_errors();
            return 1;
        }
        if (step->use & RATE)
            elapsed = (uint64_t)(seconds_for(program->work, step->output) * 1e9);
        if (step->use & CHECK)
            check = hash(check, step->output);
    }
    if (elapsed == 0)
        return fail(program->name, "no time");
    printf("bench %s %llu check %016llx\n", program->name, (unsigned long long)elapsed, (unsigned long long)check);
    return 0;
}

int main(int count, char **arguments)
{
    const char *name = strrchr(arguments[0], '/') ? strrchr(arguments[0], '/') + 1 : arguments[0], *root = getenv("BENCH_ROOT");
    if (count > 1 && strcmp(arguments[1], "--list") == 0) {
        for (size_t i = 0; i < sizeof programs / sizeof *programs; i++)
            puts(programs[i].name);
        return 0;
    }
    if (root != NULL && !enter(root))
        return fail(name, "cannot change the root");
    static char *const environment[] = {
        "PATH=/usr/bin", "HOME=/tmp", "TMPDIR=/tmp", "LC_ALL=C", "PYTHONHASHSEED=0", "PYTHONDONTWRITEBYTECODE=1", NULL,
    };
    environ = (char **)environment;
    char folder[] = "/tmp/bench.XXXXXX";
    if (mkdtemp(folder) == NULL || chdir(folder) != 0)
        return fail(name, "no folder for its files");
    close(open("empty", O_WRONLY | O_CREAT, 0600));
    const struct program *program = programs, *end = programs + sizeof programs / sizeof *programs;
    while (program < end && strcmp(program->name, name) != 0)
        program++;
    int status = program < end ? run_program(program) : fail(name, "no such program");
    static const char *const files[] = {
        "empty", "errors", "gz", "ungz", "xz", "unxz", "bz2", "unbz2", "digest", "secret", "signature", "rate", "perl", "python",
        "log", "object", "program", "copy", "sqlite", "orders.db",
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        unlink(files[i]);
    if (chdir("/") == 0)
        rmdir(folder);
    return status;
}
