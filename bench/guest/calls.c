/* Recursion and calls through pointers. */
#include "bench.h"

static __attribute__((noinline)) unsigned fib(unsigned n)
{
    return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

static __attribute__((noinline)) uint64_t op_add(uint64_t x) { return x + 0x9E3779B97F4A7C15u; }
static __attribute__((noinline)) uint64_t op_xor(uint64_t x) { return x ^ (x >> 29); }
static __attribute__((noinline)) uint64_t op_mul(uint64_t x) { return x * 0xBF58476D1CE4E5B9u; }
static __attribute__((noinline)) uint64_t op_rot(uint64_t x) { return (x << 13) | (x >> 51); }
static uint64_t (*volatile ops[4])(uint64_t) = { op_add, op_xor, op_mul, op_rot };

int main(void)
{
    uint64_t start = now_ns();
    uint64_t check = fib(35);
    for (int i = 0; i < 20000000; i++)
        check = ops[(check >> 7) & 3](check + (unsigned)i);
    return report("calls", start, check);
}
