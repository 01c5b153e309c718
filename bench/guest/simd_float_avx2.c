/* The same loops over floats for AVX2 and FMA. */
#pragma GCC target("avx2,fma")
#define NAME "simd_float_avx2"
#define SUPPORTED (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
#include "simd_float.c"
