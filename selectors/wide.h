/* Loops that are compiled twice, for any machine and for AVX2, the faster chosen at run time.
 * Without fused operations both give the same digits. Private to the library. */
#ifndef SEL_WIDE_H
#define SEL_WIDE_H

#include <stdbool.h>

/* The body of such a loop: a function that both versions take in. */
#define WIDE_BODY static inline __attribute__((always_inline))

#if defined(__x86_64__) && defined(__GNUC__)
#define WIDE_AVX2 1
#define WIDE_TARGET __attribute__((target("avx2")))
static inline bool wide_is_possible(void)
{
    return __builtin_cpu_supports("avx2") != 0;
}
#else
#define WIDE_TARGET
static inline bool wide_is_possible(void)
{
    return false;
}
#endif

#endif
