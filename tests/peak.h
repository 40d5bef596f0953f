/* What one core can do: multiply-adds from registers alone, by kind, for the benchmarks' "share of
 * the peak". Each function returns operations (two a multiply-add) a second of the processor in
 * units of 1e9, the best of three, or 0 where the CPU or the compiler lacks the instructions. */
#ifndef TESTS_PEAK_H
#define TESTS_PEAK_H

#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>

#include "tests/bench.h"

#define PEAK_STEPS 4000000
#define PEAK_CHAINS 12 /* more than latency times throughput */

static volatile float peak_sink;

__attribute__((target("avx512f"))) static inline void peak_run_f32_512(void)
{
    __m512 c[PEAK_CHAINS], a = _mm512_set1_ps(0.999F), b = _mm512_set1_ps(0.001F);
    for (int k = 0; k < PEAK_CHAINS; k++) c[k] = _mm512_set1_ps((float)k);
    for (int i = 0; i < PEAK_STEPS; i++)
        for (int k = 0; k < PEAK_CHAINS; k++) c[k] = _mm512_fmadd_ps(c[k], a, b);
    for (int k = 1; k < PEAK_CHAINS; k++) c[0] = _mm512_add_ps(c[0], c[k]);
    peak_sink = _mm512_reduce_add_ps(c[0]);
}

__attribute__((target("avx2,fma"))) static inline void peak_run_f32_256(void)
{
    __m256 c[PEAK_CHAINS], a = _mm256_set1_ps(0.999F), b = _mm256_set1_ps(0.001F);
    for (int k = 0; k < PEAK_CHAINS; k++) c[k] = _mm256_set1_ps((float)k);
    for (int i = 0; i < PEAK_STEPS; i++)
        for (int k = 0; k < PEAK_CHAINS; k++) c[k] = _mm256_fmadd_ps(c[k], a, b);
    for (int k = 1; k < PEAK_CHAINS; k++) c[0] = _mm256_add_ps(c[0], c[k]);
    peak_sink = _mm256_cvtss_f32(c[0]);
}

__attribute__((target("avx512f,avx512bf16"))) static inline void peak_run_bf16(void)
{
    __m512 c[PEAK_CHAINS];
    __m512i half = _mm512_set1_epi32(0x3f013f02);
    __m512bh a = (__m512bh)half, b = (__m512bh)half;
    for (int k = 0; k < PEAK_CHAINS; k++) c[k] = _mm512_set1_ps((float)k);
    for (int i = 0; i < PEAK_STEPS; i++)
        for (int k = 0; k < PEAK_CHAINS; k++) c[k] = _mm512_dpbf16_ps(c[k], a, b);
    for (int k = 1; k < PEAK_CHAINS; k++) c[0] = _mm512_add_ps(c[0], c[k]);
    peak_sink = _mm512_reduce_add_ps(c[0]);
}

__attribute__((target("avx512f,avx512vnni"))) static inline void peak_run_int8(void)
{
    __m512i c[PEAK_CHAINS], a = _mm512_set1_epi8(3), b = _mm512_set1_epi8(-2);
    for (int k = 0; k < PEAK_CHAINS; k++) c[k] = _mm512_set1_epi32(k);
    for (int i = 0; i < PEAK_STEPS; i++)
        for (int k = 0; k < PEAK_CHAINS; k++) c[k] = _mm512_dpbusd_epi32(c[k], a, b);
    for (int k = 1; k < PEAK_CHAINS; k++) c[0] = _mm512_add_epi32(c[0], c[k]);
    peak_sink = (float)_mm512_reduce_add_epi32(c[0]);
}

/* Leaf 7, subleaf and register (0 eax to 3 edx) of CPUID. */
static inline bool peak_cpu_has(unsigned subleaf, int reg, int bit)
{
    unsigned r[4];
    return __get_cpuid_count(7, subleaf, &r[0], &r[1], &r[2], &r[3]) && r[reg] >> bit & 1;
}

static inline double peak_of(void (*run)(void), double lanes)
{
    double best = 0;
    for (int i = 0; i < 3; i++) {
        double s = bench_cpu();
        run();
        s = bench_cpu() - s;
        double rate = 2.0 * lanes * PEAK_CHAINS * PEAK_STEPS / s / 1e9;
        if (rate > best) best = rate;
    }
    return best;
}

static inline double peak_f32(void)
{
    if (__builtin_cpu_supports("avx512f")) return peak_of(peak_run_f32_512, 16);
    bool has = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    return has ? peak_of(peak_run_f32_256, 8) : 0;
}

/* vdpbf16ps. */
static inline double peak_bf16(void)
{
    bool has = __builtin_cpu_supports("avx512f") && peak_cpu_has(1, 0, 5);
    return has ? peak_of(peak_run_bf16, 32) : 0;
}

/* vpdpbusd. */
static inline double peak_int8(void)
{
    bool has = __builtin_cpu_supports("avx512f") && peak_cpu_has(0, 2, 11);
    return has ? peak_of(peak_run_int8, 64) : 0;
}

static inline bool peak_has_amx_bf16(void)
{
    return peak_cpu_has(0, 3, 22);
}

#endif
