/* An interpreter of a small byte code: one indirect jump an operation. */
#include "bench.h"

int main(void)
{
    enum { PUSH, ADD, SUB, MUL, DUP, SWAP, XOR, DEC, LOOP, END };
    static const unsigned char program[] = {
        PUSH, 7, DUP, MUL, PUSH, 3, ADD, SWAP, XOR, DUP, PUSH, 5, SUB, XOR, PUSH, 11, SWAP, SUB, XOR, DEC, LOOP, 0, END,
    };
    static const void *const label[] = { &&push, &&add, &&sub, &&mul, &&dup, &&swap, &&xor, &&dec, &&loop, &&end };
    uint32_t stack[16] = { 1, 2 };
    unsigned sp = 1, counter = 6000000;
    const unsigned char *pc = program;
    uint64_t start = now_ns();
#define NEXT goto *label[*pc++]
    NEXT;
push: sp = (sp + 1) & 15; stack[sp] = *pc++; NEXT;
add: stack[(sp - 1) & 15] += stack[sp]; sp = (sp - 1) & 15; NEXT;
sub: stack[(sp - 1) & 15] -= stack[sp]; sp = (sp - 1) & 15; NEXT;
mul: stack[(sp - 1) & 15] *= stack[sp]; sp = (sp - 1) & 15; NEXT;
dup: sp = (sp + 1) & 15; stack[sp] = stack[(sp - 1) & 15]; NEXT;
swap: { uint32_t t = stack[sp]; stack[sp] = stack[(sp - 1) & 15]; stack[(sp - 1) & 15] = t; } NEXT;
xor: stack[(sp - 1) & 15] ^= stack[sp]; sp = (sp - 1) & 15; NEXT;
dec: counter--; NEXT;
loop: if (counter) pc = program; else pc++; NEXT;
end:;
    uint64_t check = 0;
    for (int i = 0; i < 16; i++)
        check = check * 31 + stack[i];
    return report("bytecode", start, check);
}
