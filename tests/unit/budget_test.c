/* The arithmetic of budgets: rate, hour, day, window, costs, domains, quiet hours. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "worker/engine/budget.h"

enum { MINUTE = 60000, HOUR = 60 * MINUTE, DAY = 24 * HOUR };
#define WINDOW ((int64_t)30 * DAY)

static struct budget budget_of(struct budget_options options, int32_t partitions)
{
    struct budget budget;
    budget_init(&budget, &options, WINDOW, partitions);
    return budget;
}

static bool allows(const struct budget *budget, const struct bucket *bucket, int32_t number,
                   int64_t now, double cost)
{
    const struct budget_room room = budget_room(budget, bucket, number, now);
    return budget_fits(&room, cost);
}

/* Asks as often as it may at a time; returns how often. */
static int spend(const struct budget *budget, struct bucket *bucket, int32_t number, int64_t now,
                 double cost)
{
    static int64_t slot;
    int given = 0;
    for (; given < 100000 && allows(budget, bucket, number, now, cost); given++) {
        budget_charge(budget, bucket, now, cost);
        assert_true(budget_note(budget, bucket, now, slot++, cost, span_of("")));
    }
    return given;
}

static void a_bucket_gives_its_burst_and_then_its_rate(void **state)
{
    (void)state;
    struct bucket bucket = {0};
    struct budget budget =
        budget_of((struct budget_options){.per_second = 10, .burst = 5, .in_flight = 1000}, 1);
    int64_t now = 1000000;
    int given = spend(&budget, &bucket, 0, now, 1);
    assert_int_equal(given, 5);
    for (int64_t later = now; later < now + 10000; later += 10)
        given += spend(&budget, &bucket, 0, later, 1);
    assert_in_range(given, 5 + 99, 5 + 100);
    budget_fini(&bucket);
}

/* Where a token takes longer than a double can hold. */
static void the_smallest_rate_gives_its_burst_and_no_more(void **state)
{
    (void)state;
    for (int by_cost = 0; by_cost < 2; by_cost++) {
        struct bucket bucket = {0};
        struct budget budget = budget_of(
            (struct budget_options){
                .per_second = 1e-305, .burst = 5, .in_flight = 1000, .limits.by_cost = by_cost},
            6);
        assert_int_equal(spend(&budget, &bucket, 0, 1000000, 1), 1);
        assert_int_equal(spend(&budget, &bucket, 0, 1000000 + (int64_t)365 * DAY, 1), 0);
        assert_true(budget_level(&budget, &bucket, 0, 2000000) <= 0);
        budget_fini(&bucket);
    }
}

static void shares_of_partitions_add_up_to_the_whole(void **state)
{
    (void)state;
    struct budget budget = budget_of(
        (struct budget_options){
            .per_second = 1, .burst = 50, .in_flight = 17, .limits.per_hour = 100},
        6);
    struct budget hourly =
        budget_of((struct budget_options){.in_flight = 1000, .limits.per_hour = 100}, 6);
    int64_t burst = 0, in_flight = 0, hour = 0;
    for (int32_t number = 0; number < 6; number++) {
        struct bucket bucket = {0}, spent = {0};
        burst += (int64_t)budget_level(&budget, &bucket, number, 1000);
        while (allows(&budget, &(struct bucket){.open = bucket.open}, number, 1000, 1)) {
            bucket.open++;
            in_flight++;
        }
        hour += spend(&hourly, &spent, number, 1000, 1);
        budget_fini(&spent);
    }
    assert_int_equal(burst, 50);
    assert_int_equal(in_flight, 17);
    assert_int_equal(hour, 100);
}

static void a_partition_can_always_hold_one_label(void **state)
{
    (void)state;
    struct bucket bucket = {0};
    struct budget_options options = {.per_second = 1, .burst = 1, .in_flight = 100};
    struct budget budget = budget_of(options, 64);
    assert_true(allows(&budget, &bucket, 63, 5, 1));
    options = (struct budget_options){
        .per_second = 1, .burst = 100, .in_flight = 5, .limits = {.per_hour = 2, .per_day = 2}};
    budget = budget_of(options, 64);
    assert_true(allows(&budget, &bucket, 63, 5, 1));
    bucket.open = 1;
    assert_false(allows(&budget, &bucket, 63, 5, 1));
}

/* Asked every `step` for `time`, with `issued` times: most within any `span`. */
static int most_within(const int64_t *issued, int count, int64_t span)
{
    int most = 0;
    for (int first = 0, last = 0; last < count; last++) {
        while (issued[last] - issued[first] >= span)
            first++;
        most = last - first + 1 > most ? last - first + 1 : most;
    }
    return most;
}

static void no_hour_and_no_day_has_more_than_its_labels(void **state)
{
    (void)state;
    static int64_t issued[20000];
    struct bucket bucket = {0};
    struct budget budget = budget_of(
        (struct budget_options){.in_flight = 100000, .limits = {.per_hour = 60, .per_day = 500}},
        1);
    int count = 0;
    for (int64_t now = 7 * HOUR + 123; now < 5 * (int64_t)DAY; now += 17777) {
        /* At times only a few are wanted, so that hours begin anywhere. */
        int wanted = now / HOUR % 5 == 0 ? 1 : 1000;
        for (; wanted > 0 && allows(&budget, &bucket, 0, now, 1); wanted--) {
            assert_true(budget_note(&budget, &bucket, now, count, 1, span_of("")));
            issued[count++] = now;
        }
    }
    assert_int_equal(most_within(issued, count, HOUR), 60);
    assert_int_equal(most_within(issued, count, DAY), 500);
    /* And nearly all of it is had: a slice of 24 minutes a day is what it costs. */
    assert_in_range(count, 5 * 500 * 97 / 100, 5 * 500);
    budget_fini(&bucket);
}

static void what_was_spent_does_not_depend_on_the_order_of_entries(void **state)
{
    (void)state;
    enum { COUNT = 5000 };
    struct bucket forward = {0}, backward = {0};
    struct budget_options options = {.in_flight = 100000,
                                     .limits = {.per_hour = 1000,
                                                .per_day = 10000,
                                                .total = 1e6,
                                                .domain_count = 1,
                                                .domains = {{.cap = .5}}}};
    options.limits.domains[0].name = identity_of(span_of("code"));
    struct budget budget = budget_of(options, 1);
    for (int k = 0; k < COUNT; k++) {
        int other = COUNT - 1 - k;
        assert_true(budget_note(&budget, &forward, k * 7000, k, k % 5 + 1,
                                span_of(k % 3 == 0 ? "code" : "chat")));
        assert_true(budget_note(&budget, &backward, other * 7000, other, other % 5 + 1,
                                span_of(other % 3 == 0 ? "code" : "chat")));
    }
    for (int64_t now = (COUNT - 1) * 7000; now < 2 * (int64_t)DAY; now += 10 * MINUTE) {
        struct budget_room left = budget_room(&budget, &forward, 0, now);
        struct budget_room right = budget_room(&budget, &backward, 0, now);
        assert_float_equal(left.labels, right.labels, 0);
        assert_float_equal(left.cost, right.cost, 1e-6);
    }
    uint32_t below, full, other_below, other_full;
    budget_domains(&budget, &forward, &below, &full);
    budget_domains(&budget, &backward, &other_below, &other_full);
    assert_int_equal(below, other_below);
    assert_int_equal(full, other_full);
    budget_fini(&forward);
    budget_fini(&backward);
}

static void costs_are_taken_in_place_of_labels(void **state)
{
    (void)state;
    struct bucket bucket = {0};
    struct budget_options options = {
        .per_second = 10, .burst = 20, .in_flight = 100000, .limits = {.by_cost = true}};
    struct budget budget = budget_of(options, 1);
    assert_int_equal(spend(&budget, &bucket, 0, 1000000, 4), 5);
    assert_false(allows(&budget, &bucket, 0, 1000000 + 399, 4));
    assert_true(allows(&budget, &bucket, 0, 1000000 + 400, 4));
    /* A pair dearer than the burst waits for a full bucket, and is paid for afterwards. */
    assert_false(allows(&budget, &bucket, 0, 1000000 + 1999, 50));
    assert_int_equal(spend(&budget, &bucket, 0, 1000000 + 2000, 50), 1);
    assert_false(allows(&budget, &bucket, 0, 1000000 + 2000 + 3099, 1));
    assert_true(allows(&budget, &bucket, 0, 1000000 + 2000 + 3100, 1));
    budget_fini(&bucket);
    /* Of an hour and of the window no pair takes more than is left. */
    options = (struct budget_options){.in_flight = 100000,
                                      .limits = {.by_cost = true, .per_hour = 9, .total = 30}};
    budget = budget_of(options, 2);
    assert_int_equal(spend(&budget, &bucket, 0, 1000000, 2), 2);
    assert_int_equal(spend(&budget, &bucket, 0, 1000000, .25), 2);
    assert_int_equal(spend(&budget, &bucket, 0, 1000000 + 2 * HOUR, 4.5), 1);
    assert_int_equal(spend(&budget, &bucket, 0, 1000000 + 4 * HOUR, 4.5), 1);
    struct budget_room room = budget_room(&budget, &bucket, 0, 1000000 + 6 * HOUR);
    assert_int_equal(room.of_cost, BUDGET_TOTAL);
    assert_float_equal(room.cost, 15 - 13.5, 1e-6);
    assert_true(allows(&budget, &bucket, 0, 1000000 + 31 * (int64_t)DAY, 4.5));
    budget_fini(&bucket);
}

static void the_total_is_of_costs_whatever_the_unit(void **state)
{
    (void)state;
    struct bucket bucket = {0};
    struct budget budget = budget_of(
        (struct budget_options){
            .per_second = 1000, .burst = 1000, .in_flight = 100000, .limits.total = 10},
        1);
    assert_int_equal(spend(&budget, &bucket, 0, 1000000, 3), 3);
    assert_int_equal(spend(&budget, &bucket, 0, 1000000, 1), 1);
    budget_fini(&bucket);
}

/* ---- domains ---- */

static struct budget_options shares(double floor, double cap)
{
    struct budget_options options = {.per_second = 1, .burst = 1, .in_flight = 1};
    options.limits.domain_count = 2;
    options.limits.domains[0] = (struct budget_domain){identity_of(span_of("code")), 0, cap};
    options.limits.domains[1] = (struct budget_domain){identity_of(span_of("math")), floor, 1};
    return options;
}

static void a_cap_holds_over_any_requests_in_a_row(void **state)
{
    (void)state;
    enum { COUNT = 1500 };
    static bool is_code[COUNT];
    struct bucket bucket = {0};
    struct budget budget = budget_of(shares(0, .3), 1);
    for (int k = 0; k < COUNT; k++) {
        uint32_t below, full;
        budget_domains(&budget, &bucket, &below, &full);
        is_code[k] = (full & 1) == 0 && !(k > 300 && k < 420); /* as often as it may */
        assert_true(budget_note(&budget, &bucket, k, k, 1, span_of(is_code[k] ? "code" : "chat")));
    }
    int within = 0, most = 0;
    for (int k = 0; k < COUNT; k++) {
        within += is_code[k] - (k >= BUDGET_RECENT && is_code[k - BUDGET_RECENT]);
        most = within > most ? within : most;
        assert_true(within <= ceil(.3 * fmin(k + 1, BUDGET_RECENT) - 1e-9));
    }
    assert_int_equal(most, 60);
    budget_fini(&bucket);
}

static void a_domain_is_below_its_floor_until_it_has_its_share(void **state)
{
    (void)state;
    struct bucket bucket = {0};
    struct budget budget = budget_of(shares(.25, 1), 1);
    int own = 0;
    for (int k = 0; k < 1000; k++) {
        uint32_t below, full;
        budget_domains(&budget, &bucket, &below, &full);
        bool math = (below & 2) != 0; /* only when it must */
        own += math;
        assert_true(budget_note(&budget, &bucket, k, k, 1, span_of(math ? "math" : "chat")));
    }
    assert_int_equal(own, 250);
    budget_fini(&bucket);
}

/* ---- quiet hours ---- */

/* 2026-11-30 is a Monday. */
#define MONDAY ((int64_t)1795996800000)

static bool quiet_at(struct budget_quiet quiet, int64_t offset, int day, int minute)
{
    struct budget_limits limits = {.quiet_count = 1, .quiet = {quiet}, .utc_offset = offset};
    return budget_is_quiet(&limits, MONDAY + day * (int64_t)DAY + minute * (int64_t)MINUTE);
}

static void quiet_hours_wrap_at_midnight_and_at_the_end_of_the_week(void **state)
{
    (void)state;
    const struct budget_quiet nights = {0x7F, 22 * 60, 7 * 60};
    assert_false(quiet_at(nights, 0, 2, 21 * 60 + 59));
    assert_true(quiet_at(nights, 0, 2, 22 * 60));
    assert_true(quiet_at(nights, 0, 3, 0));
    assert_true(quiet_at(nights, 0, 3, 6 * 60 + 59));
    assert_false(quiet_at(nights, 0, 3, 7 * 60));
    const struct budget_quiet saturday = {1 << 5, 0, 24 * 60};
    assert_false(quiet_at(saturday, 0, 4, 24 * 60 - 1));
    assert_true(quiet_at(saturday, 0, 5, 0));
    assert_true(quiet_at(saturday, 0, 5, 24 * 60 - 1));
    assert_false(quiet_at(saturday, 0, 6, 0));
    const struct budget_quiet sunday_night = {1 << 6, 20 * 60, 4 * 60};
    assert_true(quiet_at(sunday_night, 0, 6, 23 * 60));
    assert_true(quiet_at(sunday_night, 0, 0, 3 * 60));
    assert_true(quiet_at(sunday_night, 0, 7, 3 * 60));
    assert_false(quiet_at(sunday_night, 0, 0, 4 * 60));
    assert_false(quiet_at(sunday_night, 0, 1, 3 * 60));
    /* Two hours ahead of UTC it is quiet two hours earlier. */
    assert_true(quiet_at(nights, 2 * HOUR, 2, 20 * 60));
    assert_false(quiet_at(nights, 2 * HOUR, 3, 5 * 60));
    assert_true(quiet_at(sunday_night, -HOUR, 0, 4 * 60 + 59));
}

static void a_quiet_hour_leaves_no_room(void **state)
{
    (void)state;
    struct bucket bucket = {0};
    struct budget budget =
        budget_of((struct budget_options){.per_second = 1,
                                          .burst = 10,
                                          .in_flight = 10,
                                          .limits = {.quiet_count = 1, .quiet = {{1, 60, 120}}}},
                  1);
    struct budget_room room = budget_room(&budget, &bucket, 0, MONDAY + HOUR);
    assert_int_equal(room.of_labels, BUDGET_QUIET);
    assert_false(allows(&budget, &bucket, 0, MONDAY + 2 * HOUR - 1, 1));
    /* What gathers meanwhile is the burst. */
    assert_int_equal(spend(&budget, &bucket, 0, MONDAY + 2 * HOUR, 1), 10);
    budget_fini(&bucket);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bucket_gives_its_burst_and_then_its_rate),
        cmocka_unit_test(the_smallest_rate_gives_its_burst_and_no_more),
        cmocka_unit_test(shares_of_partitions_add_up_to_the_whole),
        cmocka_unit_test(a_partition_can_always_hold_one_label),
        cmocka_unit_test(no_hour_and_no_day_has_more_than_its_labels),
        cmocka_unit_test(what_was_spent_does_not_depend_on_the_order_of_entries),
        cmocka_unit_test(costs_are_taken_in_place_of_labels),
        cmocka_unit_test(the_total_is_of_costs_whatever_the_unit),
        cmocka_unit_test(a_cap_holds_over_any_requests_in_a_row),
        cmocka_unit_test(a_domain_is_below_its_floor_until_it_has_its_share),
        cmocka_unit_test(quiet_hours_wrap_at_midnight_and_at_the_end_of_the_week),
        cmocka_unit_test(a_quiet_hour_leaves_no_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
