#include "budget.h"

void budget_init(struct budget *budget, double per_second, int64_t burst, int64_t in_flight,
                 int32_t partitions)
{
    *budget = (struct budget){.interval = 1000.0 * partitions / per_second,
                              .burst = burst,
                              .in_flight = in_flight,
                              .partitions = partitions};
}

/* Whole labels of `total` that fall to partition `number`. */
static int64_t share(int64_t total, int32_t partitions, int32_t number)
{
    return total / partitions + (number < total % partitions ? 1 : 0);
}

static int64_t burst_of(const struct budget *budget, int32_t number)
{
    int64_t burst = share(budget->burst, budget->partitions, number);
    return burst < 1 ? 1 : burst;
}

double budget_level(const struct budget *budget, const struct bucket *bucket, int32_t number,
                    int64_t now)
{
    double ahead = bucket->arrival - (double)now;
    double used = ahead > 0 ? ahead / budget->interval : 0;
    return (double)burst_of(budget, number) - used;
}

bool budget_allows(const struct budget *budget, const struct bucket *bucket, int32_t number,
                   int64_t now)
{
    /* The small amount keeps a label that is due to the millisecond from being held back. */
    return bucket->open < share(budget->in_flight, budget->partitions, number) &&
           budget_level(budget, bucket, number, now) >= 1 - 1e-9;
}

void budget_charge(const struct budget *budget, struct bucket *bucket, int64_t time)
{
    double start = bucket->arrival > (double)time ? bucket->arrival : (double)time;
    bucket->arrival = start + budget->interval;
}
