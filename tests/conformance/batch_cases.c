/* Several pools: picks pool by pool, with and without pending pairs, and over all pools. */
#include "check.h"

#include "selectors/selectors.h"

#include <stdio.h>
#include <stdlib.h>

struct batch_case {
    struct check *check;
    const json_t *item;
    const json_t *expect;
    size_t n;
    size_t d;
    size_t pools;
    struct sel_information *information;
    struct sel_picker *picker;
    const double *policy;
};

static void begin(struct batch_case *test, const char *part)
{
    struct check *check = test->check;
    size_t size = test->n * test->d;
    char name[64];
    snprintf(name, sizeof name, "d = %zu %s", test->d, part);
    check_begin(check, name);
    test->policy = check_numbers(check, test->item, "I", test->d * test->d);
    check_give_sigma(check, test->information,
                     check_numbers(check, test->item, "Sigma", test->d * test->d));
    const double *psi = check_numbers(check, test->item, "psi", test->d);
    const double *phi = check_numbers(check, test->item, "pools", test->pools * size);
    check_true(check, "begin",
               sel_picker_begin(test->picker, test->information, test->policy, psi, 0) == SEL_OK);
    for (size_t k = 0; k < test->pools; k++) {
        size_t pool;
        check_true(check, "open",
                   sel_picker_open(test->picker, phi + k * size, test->n, NULL, &pool) == SEL_OK);
    }
}

static void check_choice(struct check *check, const struct sel_choice *choice, const json_t *pick)
{
    check_close(check, "i", (double)choice->i, check_number(check, pick, "i"), 0, 0);
    check_close(check, "j", (double)choice->j, check_number(check, pick, "j"), 0, 0);
    check_close(check, "score", choice->score, check_number(check, pick, "score"), 1e-8, 0);
    if (json_object_get(pick, "pool") != NULL)
        check_close(check, "pool", (double)choice->pool, check_number(check, pick, "pool"), 0, 0);
}

static void check_objective(struct batch_case *test, const char *name)
{
    check_close(test->check, name, sel_information_trace(test->information, test->policy),
                check_number(test->check, test->expect, name), 1e-8, 0);
}

static void run_pool_by_pool(struct batch_case *test, const char *name, bool pending)
{
    const json_t *picks = json_object_get(test->expect, name);
    begin(test, name);
    check_objective(test, "obj0");
    for (size_t k = 0; k < json_array_size(picks); k++) {
        struct sel_choice choice;
        check_true(test->check, "best", sel_picker_best_of(test->picker, k, &choice));
        check_choice(test->check, &choice, json_array_get(picks, k));
        if (pending)
            check_true(test->check, "take", sel_picker_take(test->picker, &choice, 1) == SEL_OK);
    }
    if (pending) {
        size_t size = test->d * test->d;
        check_objective(test, "obj_greedy");
        check_all_close(
            test->check, "Sinv_after_greedy", sel_information_inverse(test->information),
            check_numbers(test->check, test->expect, "Sinv_after_greedy", size), size, 1e-8);
    }
    check_end(test->check);
}

static void run_global(struct batch_case *test)
{
    const json_t *picks = json_object_get(test->expect, "global_picks");
    begin(test, "global");
    for (size_t k = 0; k < json_array_size(picks); k++) {
        struct sel_choice choice;
        check_true(test->check, "best", sel_picker_best(test->picker, &choice));
        check_choice(test->check, &choice, json_array_get(picks, k));
        check_true(test->check, "take", sel_picker_take(test->picker, &choice, 1) == SEL_OK);
    }
    check_objective(test, "obj_global");
    check_end(test->check);
}

/* Two sweeps over the pools: the pick goes back, the best pair is taken. */
static void run_exchange(struct batch_case *test)
{
    struct check *check = test->check;
    struct sel_choice picks[16];
    double swaps = 0;
    begin(test, "exchange");
    for (size_t k = 0; k < test->pools; k++) {
        check_true(check, "best", sel_picker_best_of(test->picker, k, picks + k));
        check_true(check, "take", sel_picker_take(test->picker, picks + k, 1) == SEL_OK);
    }
    for (size_t k = 0; k < 2 * test->pools; k++) {
        struct sel_choice *pick = picks + k % test->pools;
        struct sel_choice old = *pick;
        check_true(check, "put back", sel_picker_put_back(test->picker, &old, 1) == SEL_OK);
        check_true(check, "best", sel_picker_best_of(test->picker, old.pool, pick));
        check_true(check, "take", sel_picker_take(test->picker, pick, 1) == SEL_OK);
        swaps += pick->i != old.i || pick->j != old.j;
    }
    const double *expected = check_numbers(check, test->expect, "exchange_picks", 2 * test->pools);
    for (size_t k = 0; k < test->pools; k++) {
        check_close(check, "i", (double)picks[k].i, expected[2 * k], 0, 0);
        check_close(check, "j", (double)picks[k].j, expected[2 * k + 1], 0, 0);
    }
    check_close(check, "swaps", swaps, check_number(check, test->expect, "exchange_swaps"), 0, 0);
    check_objective(test, "obj_exchange");
    check_end(check);
}

void check_batch(struct check *check, const json_t *golden)
{
    const json_t *cases = json_object_get(golden, "cases");
    for (size_t k = 0; k < json_array_size(cases); k++) {
        const json_t *item = json_array_get(cases, k);
        struct batch_case test = {
            .check = check,
            .item = item,
            .expect = json_object_get(item, "expect"),
            .n = (size_t)check_number(check, item, "n"),
            .d = (size_t)check_number(check, item, "d"),
            .pools = check_length(item, "pools"),
        };
        struct sel_picker_options options = {.d = test.d,
                                             .pools_max = test.pools,
                                             .n_max = test.n,
                                             .rule = sel_rule_find("policy_trace"),
                                             .weighting = SEL_WEIGHT_PLUG};
        test.information = sel_information_new(test.d);
        test.picker = sel_picker_new(&options);
        run_pool_by_pool(&test, "greedy_pending", true);
        run_pool_by_pool(&test, "greedy_no_pending", false);
        run_global(&test);
        run_exchange(&test);
        sel_picker_free(test.picker);
        sel_information_free(test.information);
    }
}
