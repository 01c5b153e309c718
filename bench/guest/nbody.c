/* Planets under gravity: double arithmetic with square roots and divisions. */
#include "bench.h"
#include <math.h>

struct body { double x, y, z, vx, vy, vz, mass; };

int main(void)
{
    struct body b[5];
    uint64_t seed = 88172645463325252u;
    for (int i = 0; i < 5; i++) {
        double *p = &b[i].x;
        for (int j = 0; j < 6; j++)
            p[j] = (double)(next_random(&seed) >> 40) / (1 << 22) - 2;
        b[i].mass = i == 0 ? 39.5 : 0.04 * i;
    }
    uint64_t start = now_ns();
    for (int step = 0; step < 700000; step++) {
        for (int i = 0; i < 5; i++) {
            for (int j = i + 1; j < 5; j++) {
                double dx = b[i].x - b[j].x, dy = b[i].y - b[j].y, dz = b[i].z - b[j].z;
                double d2 = dx * dx + dy * dy + dz * dz + 0.01;
                double mag = 0.0001 / (d2 * sqrt(d2));
                b[i].vx -= dx * b[j].mass * mag, b[i].vy -= dy * b[j].mass * mag, b[i].vz -= dz * b[j].mass * mag;
                b[j].vx += dx * b[i].mass * mag, b[j].vy += dy * b[i].mass * mag, b[j].vz += dz * b[i].mass * mag;
            }
        }
        for (int i = 0; i < 5; i++)
            b[i].x += 0.0001 * b[i].vx, b[i].y += 0.0001 * b[i].vy, b[i].z += 0.0001 * b[i].vz;
    }
    uint64_t check;
    memcpy(&check, &b[1].x, 8);
    return report("nbody", start, check);
}
