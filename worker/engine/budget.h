/* Label slots: a token bucket a partition, as a function of its ledger entries.
 *
 * Each completions partition holds 1/P of `budget.per_second`, `budget.burst` and
 * `budget.in_flight` (whole labels; what does not divide goes to the lowest partitions, and each
 * holds at least 1 of either, however many partitions there are). The bucket is kept as its
 * theoretical arrival time (generic cell rate algorithm): after the pairs issued at t_1 <= t_2 <=
 * ..., it is T <- max(T, t_k) + interval, and a slot is open at t when T - t <= (burst - 1)
 * interval. So a restart that reads the issue times again arrives at the same level. */
#ifndef INFOPAIR_BUDGET_H
#define INFOPAIR_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

struct bucket {
    double arrival; /* T, milliseconds since the epoch */
    int64_t open;   /* requests under way */
};

struct budget {
    double interval; /* milliseconds between labels of one partition */
    int64_t burst, in_flight;
    int32_t partitions;
};

void budget_init(struct budget *budget, double per_second, int64_t burst, int64_t in_flight,
                 int32_t partitions);
/* True when partition `number` may issue a pair at `now`. */
bool budget_allows(const struct budget *budget, const struct bucket *bucket, int32_t number,
                   int64_t now);
/* Charges one label issued at `time`; times must not go back. */
void budget_charge(const struct budget *budget, struct bucket *bucket, int64_t time);
/* Pairs that partition `number` may issue at `now`, and at any time. */
int64_t budget_slots(const struct budget *budget, const struct bucket *bucket, int32_t number,
                     int64_t now);
int64_t budget_most(const struct budget *budget, int32_t number);
/* Labels that the bucket holds at `now`. */
double budget_level(const struct budget *budget, const struct bucket *bucket, int32_t number,
                    int64_t now);

#endif
