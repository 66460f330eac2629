#include "budget.h"

void budget_init(struct budget *budget, double per_second, int64_t burst, int64_t in_flight,
                 int32_t partitions)
{
    *budget = (struct budget){.interval = 1000.0 * partitions / per_second,
                              .burst = burst,
                              .in_flight = in_flight,
                              .partitions = partitions};
}

/* Whole labels of `total` that fall to partition `number`: at least one, or its pools would never
 * be asked. */
static int64_t share(int64_t total, int32_t partitions, int32_t number)
{
    int64_t part = total / partitions + (number < total % partitions ? 1 : 0);
    return part < 1 ? 1 : part;
}

double budget_level(const struct budget *budget, const struct bucket *bucket, int32_t number,
                    int64_t now)
{
    double ahead = bucket->arrival - (double)now;
    double used = ahead > 0 ? ahead / budget->interval : 0;
    return (double)share(budget->burst, budget->partitions, number) - used;
}

int64_t budget_slots(const struct budget *budget, const struct bucket *bucket, int32_t number,
                     int64_t now)
{
    /* The small amount keeps a label that is due to the millisecond from being held back. */
    double level = budget_level(budget, bucket, number, now) + 1e-9;
    int64_t free = share(budget->in_flight, budget->partitions, number) - bucket->open;
    int64_t held = level > 0 ? (int64_t)level : 0;
    return free <= 0 ? 0 : held < free ? held : free;
}

int64_t budget_most(const struct budget *budget, int32_t number)
{
    int64_t burst = share(budget->burst, budget->partitions, number);
    int64_t in_flight = share(budget->in_flight, budget->partitions, number);
    return burst < in_flight ? burst : in_flight;
}

bool budget_allows(const struct budget *budget, const struct bucket *bucket, int32_t number,
                   int64_t now)
{
    return budget_slots(budget, bucket, number, now) > 0;
}

void budget_charge(const struct budget *budget, struct bucket *bucket, int64_t time)
{
    double start = bucket->arrival > (double)time ? bucket->arrival : (double)time;
    bucket->arrival = start + budget->interval;
}
