/* The Mandelbrot set: double loops with data-dependent ends. */
#include "bench.h"

int main(void)
{
    uint64_t start = now_ns(), check = 0;
    for (int y = 0; y < 240; y++)
        for (int x = 0; x < 320; x++) {
            double cr = x * 3.0 / 320 - 2, ci = y * 2.4 / 240 - 1.2, zr = 0, zi = 0;
            int n = 0;
            while (n < 200 && zr * zr + zi * zi < 4) {
                double t = zr * zr - zi * zi + cr;
                zi = 2 * zr * zi + ci;
                zr = t;
                n++;
            }
            check = check * 31 + (unsigned)n;
        }
    return report("mandelbrot", start, check);
}
