/* The same loops over small integers for AVX2. */
#pragma GCC target("avx2")
#define NAME "simd_int_avx2"
#define SUPPORTED __builtin_cpu_supports("avx2")
#include "simd_int.c"
