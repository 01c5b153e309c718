/* Dependent loads over a list that fits the caches, and over one that does not. */
#include "bench.h"

static uint64_t chase(size_t count, long steps, uint64_t *seed)
{
    struct node { struct node *next; char pad[56]; } *nodes = malloc(count * sizeof *nodes);
    size_t *order = malloc(count * sizeof *order);
    for (size_t i = 0; i < count; i++)
        order[i] = i;
    for (size_t i = count - 1; i > 0; i--) {
        size_t j = next_random(seed) % (i + 1), t = order[i];
        order[i] = order[j];
        order[j] = t;
    }
    for (size_t i = 0; i < count; i++)
        nodes[order[i]].next = &nodes[order[(i + 1) % count]];
    struct node *p = nodes;
    for (long i = 0; i < steps; i++)
        p = p->next;
    uint64_t result = (uint64_t)(p - nodes);
    free(nodes);
    free(order);
    return result;
}

int main(void)
{
    uint64_t seed = 88172645463325252u;
    uint64_t start = now_ns();
    uint64_t check = chase(256, 60000000, &seed);
    check = check * 31 + chase(131072, 2000000, &seed);
    return report("chase", start, check);
}
