/* A balanced search tree (treap) with insertions, look-ups and removals, a heap, and a merge sort of a linked list. */
#include "bench.h"

#define KEYS 60000

struct node {
    struct node *child[2];
    uint32_t key, priority;
    uint64_t value;
};

static struct node nodes[KEYS];

static struct node *insert(struct node *root, struct node *n)
{
    if (root == NULL)
        return n;
    int side = n->key > root->key;
    root->child[side] = insert(root->child[side], n);
    struct node *up = root->child[side];
    if (up->priority <= root->priority)
        return root;
    root->child[side] = up->child[!side];
    up->child[!side] = root;
    return up;
}

static struct node *joined(struct node *a, struct node *b)
{
    if (a == NULL || b == NULL)
        return a ? a : b;
    if (a->priority > b->priority) {
        a->child[1] = joined(a->child[1], b);
        return a;
    }
    b->child[0] = joined(a, b->child[0]);
    return b;
}

static struct node *find(struct node *root, uint32_t key)
{
    while (root != NULL && root->key != key)
        root = root->child[key > root->key];
    return root;
}

static struct node *removed(struct node *root, uint32_t key)
{
    struct node **at = &root;
    while (*at != NULL && (*at)->key != key)
        at = &(*at)->child[key > (*at)->key];
    if (*at != NULL)
        *at = joined((*at)->child[0], (*at)->child[1]);
    return root;
}

static uint64_t walk(const struct node *n)
{
    return n == NULL ? 1 : (walk(n->child[0]) * 31 + n->key) ^ walk(n->child[1]) * 17;
}

static void sift(uint32_t *heap, size_t i, size_t count)
{
    uint32_t value = heap[i];
    for (size_t c; (c = 2 * i + 1) < count; i = c) {
        if (c + 1 < count && heap[c + 1] > heap[c])
            c++;
        if (heap[c] <= value)
            break;
        heap[i] = heap[c];
    }
    heap[i] = value;
}

struct item {
    struct item *next;
    uint32_t key;
};

static struct item *merge_sort(struct item *list, size_t count)
{
    if (count <= 1) {
        if (list != NULL)
            list->next = NULL;
        return list;
    }
    struct item *second = list, *result = NULL, **tail = &result;
    for (size_t i = 0; i < count / 2; i++)
        second = second->next;
    second = merge_sort(second, count - count / 2);
    list = merge_sort(list, count / 2);
    while (list != NULL && second != NULL) {
        struct item **least = list->key <= second->key ? &list : &second;
        *tail = *least;
        tail = &(*tail)->next;
        *least = (*least)->next;
    }
    *tail = list ? list : second;
    return result;
}

int main(void)
{
    static uint32_t heap[KEYS];
    static struct item items[KEYS];
    uint64_t seed = 88172645463325252u, check = 0;
    uint64_t start = now_ns();
    for (int round = 0; round < 3; round++) {
        struct node *root = NULL;
        for (size_t i = 0; i < KEYS; i++) {
            nodes[i] = (struct node) { .key = (uint32_t)(i * 2654435761u), .priority = (uint32_t)next_random(&seed), .value = i };
            root = insert(root, &nodes[i]);
        }
        for (size_t i = 0; i < 2 * KEYS; i++) {
            struct node *n = find(root, (uint32_t)(i * 2654435761u));
            check = check * 31 + (n != NULL ? n->value : 7);
        }
        for (size_t i = 0; i < KEYS; i += 3)
            root = removed(root, (uint32_t)(i * 2654435761u));
        check ^= walk(root);

        for (size_t i = 0; i < KEYS; i++)
            heap[i] = (uint32_t)next_random(&seed);
        for (size_t i = KEYS / 2; i-- > 0; )
            sift(heap, i, KEYS);
        for (size_t i = KEYS; i-- > 1; ) {
            uint32_t t = heap[0];
            heap[0] = heap[i];
            heap[i] = t;
            sift(heap, 0, i);
        }
        check = check * 31 + heap[KEYS / 3];

        for (size_t i = 0; i < KEYS; i++)
            items[i] = (struct item) { &items[(i + 1) % KEYS], (uint32_t)next_random(&seed) };
        struct item *sorted = merge_sort(items, KEYS);
        for (int i = 0; i < KEYS / 5; i++)
            sorted = sorted->next;
        check = check * 31 + sorted->key;
    }
    return report("tree", start, check);
}
