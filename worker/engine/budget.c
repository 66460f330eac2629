#include "budget.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MINUTE = 60 * 1000, DAY_MINUTES = 24 * 60, WEEK_MINUTES = 7 * DAY_MINUTES };
static const int64_t HOUR = 60 * (int64_t)MINUTE, DAY = DAY_MINUTES * (int64_t)MINUTE;

/* Keeps a token that is due to the millisecond, or a sum that is the limit, from being held back.
 */
#define TINY 1e-9

/* One slice more than the span has: that in which it begins. */
enum { SLICES = BUDGET_SLICES + 1 };

struct sums {
    int64_t newest; /* slice: time / its length */
    double labels[SLICES], cost[SLICES];
};

struct recent {
    int64_t time, slot;
    uint64_t domain; /* of its identity */
};

struct budget_past {
    struct sums hour, day, window;
    size_t count;
    struct recent recent[BUDGET_RECENT - 1]; /* in order of time and slot */
};

void budget_init(struct budget *budget, const struct budget_options *options, int64_t window,
                 int32_t partitions)
{
    *budget = (struct budget){.options = *options,
                              /* Finite for the smallest rate: infinite times have no order. */
                              .interval = fmin(1000.0 * partitions / options->per_second, 1e200),
                              .window = window,
                              .partitions = partitions};
}

void budget_fini(struct bucket *bucket)
{
    free(bucket->past);
    bucket->past = NULL;
}

/* ---- shares ---- */

/* Whole labels of `total` that fall to partition `number`: at least one, or its pools would never
 * be asked. */
static int64_t share(int64_t total, int32_t partitions, int32_t number)
{
    int64_t part = total / partitions + (number < total % partitions ? 1 : 0);
    return part < 1 ? 1 : part;
}

/* Tokens of a limit of the hour or the day. */
static double part(const struct budget *budget, double limit, int32_t number)
{
    return budget->options.limits.by_cost
               ? limit / budget->partitions
               : (double)share((int64_t)fmin(limit, 1e15), budget->partitions, number);
}

static double burst_of(const struct budget *budget, int32_t number)
{
    return (double)share(budget->options.burst, budget->partitions, number);
}

/* ---- what was spent ---- */

static int64_t slice_length(int64_t span)
{
    return (span + BUDGET_SLICES - 1) / BUDGET_SLICES;
}

static void add(struct sums *sums, int64_t span, int64_t time, double cost)
{
    int64_t slice = time / slice_length(span);
    if (time < 0)
        return;
    if (slice - sums->newest >= SLICES)
        *sums = (struct sums){.newest = slice};
    for (; sums->newest < slice; sums->newest++) {
        size_t next = (size_t)((sums->newest + 1) % SLICES);
        sums->labels[next] = sums->cost[next] = 0;
    }
    if (slice <= sums->newest - SLICES)
        return;
    sums->labels[slice % SLICES]++;
    sums->cost[slice % SLICES] += cost;
}

static double sum(const struct sums *sums, const double values[SLICES], int64_t span, int64_t now)
{
    double total = 0;
    int64_t last = now / slice_length(span) - SLICES;
    if (last < sums->newest - SLICES)
        last = sums->newest - SLICES;
    if (last < -1)
        last = -1;
    for (int64_t slice = sums->newest; slice > last; slice--)
        total += values[slice % SLICES];
    return total;
}

/* Tokens that were taken within a span. */
static double spent(const struct budget *budget, const struct sums *sums, int64_t span, int64_t now)
{
    return sum(sums, budget->options.limits.by_cost ? sums->cost : sums->labels, span, now);
}

static uint64_t domain_key(struct id name)
{
    return name.low;
}

static bool is_later(const struct recent *left, const struct recent *right)
{
    if (left->time != right->time)
        return left->time > right->time;
    return left->slot != right->slot ? left->slot > right->slot : left->domain > right->domain;
}

static void add_recent(struct budget_past *past, const struct recent *recent)
{
    enum { MOST = BUDGET_RECENT - 1 };
    size_t place = past->count;
    while (place > 0 && is_later(&past->recent[place - 1], recent))
        place--;
    if (past->count == MOST) {
        if (place == 0)
            return;
        memmove(past->recent, past->recent + 1, --place * sizeof *past->recent);
    } else {
        memmove(past->recent + place + 1, past->recent + place,
                (past->count++ - place) * sizeof *past->recent);
    }
    past->recent[place] = *recent;
}

bool budget_note(const struct budget *budget, struct bucket *bucket, int64_t time, int64_t slot,
                 double cost, struct span domain)
{
    if (bucket->past == NULL)
        bucket->past = calloc(1, sizeof *bucket->past);
    if (bucket->past == NULL)
        return false;
    add(&bucket->past->hour, HOUR, time, cost);
    add(&bucket->past->day, DAY, time, cost);
    add(&bucket->past->window, budget->window, time, cost);
    add_recent(bucket->past, &(struct recent){time, slot, domain_key(identity_of(domain))});
    return true;
}

void budget_charge(const struct budget *budget, struct bucket *bucket, int64_t time, double cost)
{
    if (!(budget->options.per_second > 0))
        return;
    double start = bucket->arrival > (double)time ? bucket->arrival : (double)time;
    bucket->arrival = start + (budget->options.limits.by_cost ? cost : 1) * budget->interval;
}

/* ---- quiet hours ---- */

bool budget_is_quiet(const struct budget_limits *limits, int64_t time)
{
    enum { THURSDAY = 3 * DAY_MINUTES }; /* the first of January 1970 */
    int64_t minute = (time + limits->utc_offset) / MINUTE + THURSDAY;
    int64_t of_week = (minute % WEEK_MINUTES + WEEK_MINUTES) % WEEK_MINUTES;
    for (size_t k = 0; k < limits->quiet_count; k++) {
        const struct budget_quiet *quiet = &limits->quiet[k];
        int64_t length = quiet->to - quiet->from + (quiet->to <= quiet->from ? DAY_MINUTES : 0);
        for (int day = 0; day < 7; day++) {
            int64_t since = of_week - (day * DAY_MINUTES + quiet->from);
            if ((quiet->days >> day & 1) != 0 && (since + WEEK_MINUTES) % WEEK_MINUTES < length)
                return true;
        }
    }
    return false;
}

/* ---- what is left ---- */

double budget_level(const struct budget *budget, const struct bucket *bucket, int32_t number,
                    int64_t now)
{
    const struct budget_limits *limits = &budget->options.limits;
    const struct budget_past *past = bucket->past;
    if (budget->options.per_second > 0) {
        double ahead = bucket->arrival - (double)now;
        return burst_of(budget, number) - (ahead > 0 ? ahead / budget->interval : 0);
    }
    double level = INFINITY;
    if (limits->per_hour > 0)
        level = part(budget, limits->per_hour, number) -
                (past == NULL ? 0 : spent(budget, &past->hour, HOUR, now));
    if (limits->per_day > 0)
        level = fmin(level, part(budget, limits->per_day, number) -
                                (past == NULL ? 0 : spent(budget, &past->day, DAY, now)));
    return level;
}

static void narrow(double *room, enum budget_limit *limit, double left, enum budget_limit by)
{
    if (left < *room) {
        *room = left;
        *limit = by;
    }
}

int64_t budget_free(const struct budget *budget, const struct bucket *bucket, int32_t number)
{
    return share(budget->options.in_flight, budget->partitions, number) - bucket->open;
}

struct budget_room budget_room(const struct budget *budget, const struct bucket *bucket,
                               int32_t number, int64_t now)
{
    static const struct budget_past NOTHING;
    const struct budget_options *options = &budget->options;
    const struct budget_limits *limits = &options->limits;
    const struct budget_past *past = bucket->past == NULL ? &NOTHING : bucket->past;
    struct budget_room room = {.labels = INFINITY, .cost = INFINITY};
    if (budget_is_quiet(limits, now))
        narrow(&room.labels, &room.of_labels, 0, BUDGET_QUIET);
    narrow(&room.labels, &room.of_labels, (double)budget_free(budget, bucket, number),
           BUDGET_IN_FLIGHT);
    double *tokens = limits->by_cost ? &room.cost : &room.labels;
    enum budget_limit *of_tokens = limits->by_cost ? &room.of_cost : &room.of_labels;
    if (options->per_second > 0) {
        double level = budget_level(budget, bucket, number, now) + TINY;
        bool full = limits->by_cost && level >= burst_of(budget, number);
        narrow(tokens, of_tokens, full ? INFINITY : level, BUDGET_RATE);
    }
    const struct {
        double limit;
        const struct sums *sums;
        int64_t span;
        enum budget_limit by;
    } rows[] = {{limits->per_hour, &past->hour, HOUR, BUDGET_HOUR},
                {limits->per_day, &past->day, DAY, BUDGET_DAY}};
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++)
        if (rows[k].limit > 0)
            narrow(tokens, of_tokens,
                   part(budget, rows[k].limit, number) * (1 + (limits->by_cost ? TINY : 0)) -
                       spent(budget, rows[k].sums, rows[k].span, now),
                   rows[k].by);
    if (limits->total > 0)
        narrow(&room.cost, &room.of_cost,
               limits->total / budget->partitions * (1 + TINY) -
                   sum(&past->window, past->window.cost, budget->window, now),
               BUDGET_TOTAL);
    return room;
}

bool budget_fits(const struct budget_room *room, double cost)
{
    return room->labels >= 1 && room->cost >= cost && room->cost > 0;
}

int64_t budget_slots(const struct budget *budget, const struct bucket *bucket, int32_t number,
                     int64_t now)
{
    const struct budget_room room = budget_room(budget, bucket, number, now);
    if (!budget_fits(&room, 0))
        return 0;
    double slots = fmin(room.labels, (double)budget_most(budget, number));
    if (budget->options.limits.by_cost)
        slots = fmin(slots, fmax(room.cost, 1));
    return (int64_t)slots;
}

int64_t budget_most(const struct budget *budget, int32_t number)
{
    const struct budget_options *options = &budget->options;
    double most = (double)share(options->in_flight, budget->partitions, number);
    if (options->per_second > 0)
        most = fmin(most, burst_of(budget, number));
    if (options->limits.per_hour > 0)
        most = fmin(most, part(budget, options->limits.per_hour, number));
    if (options->limits.per_day > 0)
        most = fmin(most, part(budget, options->limits.per_day, number));
    return most < 1 ? 1 : (int64_t)most;
}

/* ---- domains ---- */

uint8_t budget_domain(const struct budget_limits *limits, struct span domain)
{
    if (limits->domain_count == 0)
        return 0;
    struct id name = identity_of(domain);
    for (size_t k = 0; k < limits->domain_count; k++)
        if (domain_key(limits->domains[k].name) == domain_key(name))
            return (uint8_t)(k + 1);
    return 0;
}

void budget_domains(const struct budget *budget, const struct bucket *bucket, uint32_t *below,
                    uint32_t *full)
{
    const struct budget_limits *limits = &budget->options.limits;
    size_t count = bucket->past == NULL ? 0 : bucket->past->count;
    *below = *full = 0;
    for (size_t k = 0; k < limits->domain_count; k++) {
        const struct budget_domain *domain = &limits->domains[k];
        double own = 0, with_next = (double)count + 1;
        for (size_t place = 0; place < count; place++)
            own += bucket->past->recent[place].domain == domain_key(domain->name);
        if (own < domain->floor * with_next - TINY)
            *below |= (uint32_t)1 << k;
        if (own + 1 > ceil(domain->cap * with_next - TINY))
            *full |= (uint32_t)1 << k;
    }
}
