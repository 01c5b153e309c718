/* Records, strings, small functions and arithmetic in the proportions of ordinary systems code. */
#include "bench.h"

enum kind { KIND_A, KIND_B, KIND_C, KIND_D };

struct record {
    struct record *next;
    enum kind kind;
    int value;
    char text[32];
};

static struct record pool[16];
static int table[64][64];

static __attribute__((noinline)) int same_length(const char *a, const char *b)
{
    int n = 0;
    while (a[n] && a[n] == b[n])
        n++;
    return n;
}

static __attribute__((noinline)) enum kind turn(enum kind k, int value)
{
    switch (k) {
    case KIND_A: return value > 100 ? KIND_B : KIND_D;
    case KIND_B: return value & 1 ? KIND_C : KIND_A;
    case KIND_C: return KIND_D;
    default: return KIND_A;
    }
}

static __attribute__((noinline)) void update(struct record *r, int i)
{
    struct record *n = r->next;
    n->value = r->value * 3 + i / 7 - (i % 5);
    n->kind = turn(r->kind, n->value & 255);
    table[i & 63][n->value & 63] += n->kind;
    if (same_length(n->text, r->text) < 20)
        memcpy(n->text, r->text, sizeof n->text);
    n->text[21 + (i & 7)] = (char)('a' + (i & 15));
}

int main(void)
{
    for (int i = 0; i < 16; i++) {
        pool[i].next = &pool[(i + 1) & 15];
        pool[i].kind = i & 3;
        strcpy(pool[i].text, "DROMAIUS PROGRAM, SOME STRING");
    }
    uint64_t start = now_ns(), check = 0;
    for (int i = 0; i < 6000000; i++)
        update(&pool[i & 15], i);
    for (int i = 0; i < 64; i++)
        for (int j = 0; j < 64; j++)
            check = check * 31 + (unsigned)table[i][j];
    return report("integer", start, check);
}
