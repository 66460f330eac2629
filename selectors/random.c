/* Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC
 * 2011).
 *
 * The 128-bit counter of the paper is (counter, stream), low words first; the key is `key`, low
 * word first. A block gives four 32-bit words, used in order, two to a 64-bit number. The n-th
 * number of (key, stream) is a pure function of the three; a stream repeats after 2^65 numbers. */
#include "selectors/selectors.h"

#include <math.h>

static uint32_t high(uint64_t value)
{
    return (uint32_t)(value >> 32);
}

static uint32_t low(uint64_t value)
{
    return (uint32_t)(value & UINT32_MAX);
}

static void fill_block(struct sel_random *random)
{
    uint32_t c[4] = {low(random->counter), high(random->counter), low(random->stream),
                     high(random->stream)};
    uint32_t key[2] = {low(random->key), high(random->key)};
    for (int round = 0; round < 10; round++) {
        uint64_t first = UINT64_C(0xD2511F53) * c[0];
        uint64_t second = UINT64_C(0xCD9E8D57) * c[2];
        c[0] = high(second) ^ c[1] ^ key[0];
        c[1] = low(second);
        c[2] = high(first) ^ c[3] ^ key[1];
        c[3] = low(first);
        key[0] += 0x9E3779B9; /* the golden ratio */
        key[1] += 0xBB67AE85; /* sqrt(3) - 1 */
    }
    for (int k = 0; k < 4; k++)
        random->block[k] = c[k];
    random->left = 4;
    random->counter++;
}

struct sel_random sel_random_init(uint64_t key, uint64_t stream)
{
    return (struct sel_random){.key = key, .stream = stream};
}

uint64_t sel_random_bits(struct sel_random *random)
{
    if (random->left < 2)
        fill_block(random);
    const uint32_t *next = random->block + (4 - random->left);
    random->left -= 2;
    return (uint64_t)next[1] << 32 | next[0];
}

double sel_random_uniform(struct sel_random *random)
{
    return (double)(sel_random_bits(random) >> 11) * 0x1p-53;
}

uint64_t sel_random_below(struct sel_random *random, uint64_t bound)
{
    if (bound == 0)
        return 0;
    /* 2^64 mod bound: numbers below it would make the small remainders likelier. */
    uint64_t unfair = (0 - bound) % bound;
    uint64_t bits = sel_random_bits(random);
    while (bits < unfair)
        bits = sel_random_bits(random);
    return bits % bound;
}

double sel_random_normal(struct sel_random *random)
{
    double radius = sqrt(-2 * log(1 - sel_random_uniform(random)));
    return radius * cos(2 * M_PI * sel_random_uniform(random));
}
