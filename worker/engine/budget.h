/* What a completions partition may spend, as a function of its ledger entries.
 *
 * Each partition holds 1/P of every limit (whole labels; what does not divide goes to the lowest
 * partitions, and each holds at least 1, however many partitions there are).
 *
 * Rate: a token bucket, kept as its theoretical arrival time (generic cell rate algorithm): after
 * requests that took c_k tokens at t_1 <= t_2 <= ..., it is T <- max(T, t_k) + c_k interval, and
 * burst - (T - t) / interval tokens are held at t. So a restart that reads the issue times again
 * arrives at the same level. A pair dearer than the burst is asked when the bucket is full, and
 * what it takes beyond that is waited for.
 *
 * Hour, day and the window of labels: sums over slices of a sixtieth, those of the slice in which
 * the span begins included. What is spent in any hour, day or window is never above the limit; a
 * slice frees what was spent in it all at once, when its end is an hour (day, window) ago.
 *
 * Domains: the last BUDGET_RECENT - 1 requests, by time and slot, and the next one. A domain is
 * below its floor while it has fewer than floor x of them, and at its cap when one more would be
 * above cap x of them, rounded up. So of any BUDGET_RECENT requests in a row of a partition at most
 * so many are of one domain.
 *
 * A token is a label, or a unit of cost with budget.unit = cost. */
#ifndef INFOPAIR_BUDGET_H
#define INFOPAIR_BUDGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "identity.h"

enum { BUDGET_SLICES = 60, BUDGET_RECENT = 200, BUDGET_DOMAINS_MAX = 32, BUDGET_QUIET_MAX = 64 };

struct budget_domain {
    struct id name;    /* identity_of the text */
    double floor, cap; /* shares */
};

/* A time of the week at which nothing is asked. */
struct budget_quiet {
    uint8_t days;     /* on which it begins; bit 0: Monday */
    int16_t from, to; /* minutes of the day; to <= from: of the day after */
};

/* Limits beside rate and requests under way. All 0: none. */
struct budget_limits {
    double per_hour, per_day; /* tokens */
    double total;             /* cost of the requests of labels.window */
    int64_t per_prompt;       /* requests of labels.window */
    bool by_cost;             /* a pair takes its cost from rate, hour and day, not 1 */
    int64_t utc_offset;       /* milliseconds by which local time is ahead */
    size_t domain_count, quiet_count;
    struct budget_domain domains[BUDGET_DOMAINS_MAX];
    struct budget_quiet quiet[BUDGET_QUIET_MAX];
};

/* All of it: what an event changes while the engine lives. */
struct budget_options {
    double per_second; /* tokens; 0: no rate */
    int64_t burst, in_flight;
    struct budget_limits limits;
};

/* What was spent lately, whatever the limits were. */
struct budget_past;

struct bucket {
    double arrival;           /* T, milliseconds since the epoch */
    int64_t open;             /* requests under way */
    struct budget_past *past; /* NULL: nothing yet; owned */
};

struct budget {
    struct budget_options options;
    double interval; /* milliseconds between tokens of one partition */
    int64_t window;  /* of labels, milliseconds */
    int32_t partitions;
};

/* Which limit is the tightest. */
enum budget_limit {
    BUDGET_OPEN,
    BUDGET_QUIET,
    BUDGET_IN_FLIGHT,
    BUDGET_RATE,
    BUDGET_HOUR,
    BUDGET_DAY,
    BUDGET_TOTAL,
    BUDGET_LIMITS,
};

/* What a partition may spend at one time: INFINITY where nothing limits it. */
struct budget_room {
    double labels, cost;
    enum budget_limit of_labels, of_cost; /* what leaves no more */
};

void budget_init(struct budget *budget, const struct budget_options *options, int64_t window,
                 int32_t partitions);
/* True when nothing may be asked at this time of the week. */
bool budget_is_quiet(const struct budget_limits *limits, int64_t time);
struct budget_room budget_room(const struct budget *budget, const struct bucket *bucket,
                               int32_t number, int64_t now);
/* Requests more that may be under way. */
int64_t budget_free(const struct budget *budget, const struct bucket *bucket, int32_t number);
/* True when a pair of this cost may be asked. */
bool budget_fits(const struct budget_room *room, double cost);
/* The bucket after a pair of this cost; times must not go back. */
void budget_charge(const struct budget *budget, struct bucket *bucket, int64_t time, double cost);
/* Keeps what was spent, in any order: each request once. False: out of memory. */
bool budget_note(const struct budget *budget, struct bucket *bucket, int64_t time, int64_t slot,
                 double cost, struct span domain);
void budget_fini(struct bucket *bucket);
/* Bits of limits.domains: those below their floor, and those at their cap. */
void budget_domains(const struct budget *budget, const struct bucket *bucket, uint32_t *below,
                    uint32_t *full);
/* The place of a domain among limits.domains, plus 1; 0: it has no share. */
uint8_t budget_domain(const struct budget_limits *limits, struct span domain);
/* Pairs that partition `number` may issue at `now`, and at any time. */
int64_t budget_slots(const struct budget *budget, const struct bucket *bucket, int32_t number,
                     int64_t now);
int64_t budget_most(const struct budget *budget, int32_t number);
/* Tokens that the bucket holds at `now`; without a rate those of the hour or the day. */
double budget_level(const struct budget *budget, const struct bucket *bucket, int32_t number,
                    int64_t now);

#endif
