/* One pool: Sigma, G, H, weights, and the greedy picks of every rule that the library has. */
#include "check.h"

#include "selectors/selectors.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct pool_case {
    struct check *check;
    const json_t *item;
    const json_t *expect;
    const char *rule_of_weight; /* plug | probit | const */
    size_t n;
    size_t d;
    double lambda;
    double weight_min;
    double tolerance;
    const double *phi;
    const double *psi;
    const double *policy;
    struct sel_information *information;
};

static size_t pairs_of(size_t n)
{
    return n * (n - 1) / 2;
}

static void add_list(struct pool_case *test, const char *name, bool one_by_one)
{
    const json_t *list = json_object_get(test->item, name);
    for (size_t k = 0; k < json_array_size(list); k++) {
        const json_t *entry = json_array_get(list, k);
        const double *x = check_numbers(test->check, entry, "x", test->d);
        double w = check_number(test->check, entry, "w");
        if (one_by_one)
            sel_information_add(test->information, x, w);
        else
            sel_information_accumulate(test->information, &x, &w, 1);
    }
}

/* Sigma of the case, in one factorisation or by rank-one updates. */
static void prepare(struct pool_case *test, bool one_by_one)
{
    double *lambda = check_room(test->check, test->d);
    for (size_t k = 0; k < test->d; k++)
        lambda[k] = test->lambda;
    sel_information_reset(test->information, lambda);
    add_list(test, "labelled", one_by_one);
    add_list(test, "pending", one_by_one);
    if (!one_by_one)
        check_true(test->check, "factor", sel_information_factor(test->information) == SEL_OK);
}

static void check_information(struct pool_case *test)
{
    struct check *check = test->check;
    size_t size = test->d * test->d;
    check_all_close(check, "Sigma", sel_information_sigma(test->information),
                    check_numbers(check, test->expect, "Sigma", size), size, test->tolerance);
    check_all_close(check, "Sigma_inv", sel_information_inverse(test->information),
                    check_numbers(check, test->expect, "Sigma_inv", size), size, test->tolerance);
    check_close(check, "logdet", sel_information_log_determinant(test->information),
                check_number(check, test->expect, "logdet"), test->tolerance, 1e-10);
}

/* out = a b, d x d. */
static void multiply(const double *a, const double *b, double *out, size_t d)
{
    for (size_t i = 0; i < d; i++)
        for (size_t j = 0; j < d; j++) {
            out[i * d + j] = 0;
            for (size_t k = 0; k < d; k++)
                out[i * d + j] += a[i * d + k] * b[k * d + j];
        }
}

static struct sel_gram open_gram(struct pool_case *test)
{
    struct check *check = test->check;
    size_t d = test->d;
    const double *inverse = sel_information_inverse(test->information);
    double *half = check_room(check, d * d);
    double *policy_inverse = check_room(check, d * d);
    multiply(inverse, test->policy, half, d);
    multiply(half, inverse, policy_inverse, d);
    struct sel_gram gram = {.g = check_room(check, test->n * test->n),
                            .h = check_room(check, test->n * test->n)};
    sel_gram_open(&gram, test->phi, test->n, d, inverse, policy_inverse,
                  check_room(check, 2 * test->n * d));
    return gram;
}

static double reward_of(const struct pool_case *test, size_t i)
{
    double sum = 0;
    for (size_t k = 0; k < test->d; k++)
        sum += test->psi[k] * test->phi[i * test->d + k];
    return sum;
}

static double weight_of(const struct pool_case *test, double margin, double variance)
{
    double w = .25;
    if (strcmp(test->rule_of_weight, "plug") == 0)
        w = sel_weight_plug(margin);
    else if (strcmp(test->rule_of_weight, "probit") == 0)
        w = sel_weight_probit(margin, variance);
    return fmax(w, test->weight_min);
}

static void check_gram(struct pool_case *test)
{
    struct check *check = test->check;
    size_t n = test->n;
    struct sel_gram gram = open_gram(test);
    const double *reward = check_numbers(check, test->expect, "reward", n);
    const double *w = check_numbers(check, test->expect, "w_pairs", pairs_of(n));
    check_all_close(check, "G", gram.g, check_numbers(check, test->expect, "G", n * n), n * n,
                    test->tolerance);
    check_all_close(check, "H", gram.h, check_numbers(check, test->expect, "H", n * n), n * n,
                    test->tolerance);
    size_t index = 0;
    for (size_t i = 0; i < n; i++) {
        check_close(check, "reward", reward_of(test, i), reward[i], test->tolerance, 1e-12);
        for (size_t j = i + 1; j < n; j++, index++)
            check_close(check, "w",
                        weight_of(test, reward[i] - reward[j], sel_gram_variance(&gram, i, j)),
                        w[index], test->tolerance, 0);
    }
}

static struct sel_picker *open_picker(struct pool_case *test, const struct sel_rule *rule,
                                      bool ordered)
{
    struct sel_picker_options options = {
        .d = test->d,
        .beta = check_number(test->check, test->item, "beta"),
        .pools_max = 1,
        .n_max = test->n,
        .rule = rule,
        .weighting =
            strcmp(test->rule_of_weight, "probit") == 0 ? SEL_WEIGHT_PROBIT : SEL_WEIGHT_PLUG,
        .weight_min = test->weight_min,
    };
    /* At psi = 0 the plug-in weight is the constant 1/4. */
    const double *psi = !ordered && strcmp(test->rule_of_weight, "const") == 0
                            ? check_room(test->check, test->d)
                            : test->psi;
    size_t pool;
    struct sel_picker *picker = sel_picker_new(&options);
    check_true(test->check, "begin",
               sel_picker_begin(picker, test->information, test->policy, psi, 0) == SEL_OK);
    check_true(test->check, "open",
               sel_picker_open(picker, test->phi, test->n, NULL, &pool) == SEL_OK);
    return picker;
}

/* Scores of all allowed pairs; those that are not are duplicates, which tell nothing. */
static void check_scores(struct pool_case *test, struct sel_picker *picker, const json_t *expected)
{
    struct check *check = test->check;
    const double *scores = check_numbers(check, expected, "scores0", pairs_of(test->n));
    const double *w = check_numbers(check, test->expect, "w_pairs", pairs_of(test->n));
    size_t allowed = sel_picker_allowed(picker, 0);
    size_t seen = 0;
    size_t index = 0;
    double largest = 0;
    for (size_t k = 0; k < pairs_of(test->n); k++)
        largest = fmax(largest, scores[k]);
    for (size_t i = 0; i < test->n; i++)
        for (size_t j = i + 1; j < test->n; j++, index++) {
            struct sel_choice choice;
            if (!sel_picker_pair(picker, 0, seen, &choice) || choice.i != i || choice.j != j) {
                check_close(check, "score of a forbidden pair", 0, scores[index], 0,
                            1e-12 * largest);
                continue;
            }
            seen++;
            check_close(check, "scores0", choice.score, scores[index], test->tolerance,
                        1e-14 * largest);
            check_close(check, "weight of a pair", choice.pair.weight, w[index], test->tolerance,
                        0);
        }
    check_close(check, "allowed pairs", (double)seen, (double)allowed, 0, 0);
}

/* Takes the golden picks, comparing each with the picker's own best. */
static void check_picks(struct pool_case *test, struct sel_picker *picker, struct sel_gram *gram,
                        const json_t *expected)
{
    struct check *check = test->check;
    const json_t *picks = json_object_get(expected, "picks");
    size_t count = json_array_size(picks);
    const double *trace = check_numbers(check, expected, "tr_IS", count + 1);
    check_close(check, "tr_IS", sel_information_trace(test->information, test->policy), trace[0],
                test->tolerance, 0);
    for (size_t k = 0; k < count; k++) {
        const json_t *pick = json_array_get(picks, k);
        struct sel_choice choice;
        check_true(check, "best", sel_picker_best(picker, &choice));
        double score = check_number(check, pick, "score");
        check_close(check, "score", choice.score, score, test->tolerance, 0);
        size_t i = (size_t)check_number(check, pick, "i");
        size_t j = (size_t)check_number(check, pick, "j");
        const json_t *margin = json_object_get(pick, "margin");
        if (!json_is_number(margin) || json_number_value(margin) >= 1e-9 * score) {
            check_close(check, "i", (double)choice.i, (double)i, 0, 0);
            check_close(check, "j", (double)choice.j, (double)j, 0, 0);
        }
        choice.i = i;
        choice.j = j;
        check_true(check, "take", sel_picker_take(picker, &choice, 1) == SEL_OK);
        sel_gram_take(gram, i, j, choice.pair.weight);
        check_close(check, "tr_IS", sel_information_trace(test->information, test->policy),
                    trace[k + 1], test->tolerance, 0);
    }
}

static bool is_allowed(struct sel_picker *picker, size_t i, size_t j)
{
    struct sel_choice choice;
    for (size_t k = 0; sel_picker_pair(picker, 0, k, &choice); k++)
        if (choice.i == i && choice.j == j)
            return true;
    return false;
}

/* The allowed pair of the highest score that is not in `taken`. */
static bool next_best(struct sel_picker *picker, const bool *taken, struct sel_choice *best)
{
    bool found = false;
    struct sel_choice choice;
    for (size_t k = 0; sel_picker_pair(picker, 0, k, &choice); k++)
        if (!taken[k] && (!found || choice.score > best->score)) {
            *best = choice;
            found = true;
        }
    return found;
}

/* Rules without an update: the golden pairs are the best scores in order, but for the pairs of
 * equal rows, which the picker never allows. */
static void check_order(struct pool_case *test, const struct sel_rule *rule, const json_t *expected)
{
    struct check *check = test->check;
    prepare(test, false);
    struct sel_picker *picker = open_picker(test, rule, true);
    sel_picker_give(picker, 0, SEL_LOG_REFERENCE,
                    check_numbers(check, test->item, "ref_logprob", test->n));
    bool *taken = calloc(pairs_of(test->n), sizeof *taken);
    const json_t *order = json_object_get(expected, "order");
    for (size_t k = 0; k < json_array_size(order); k++) {
        const json_t *pair = json_array_get(order, k);
        size_t i = (size_t)json_integer_value(json_array_get(pair, 0));
        size_t j = (size_t)json_integer_value(json_array_get(pair, 1));
        if (!is_allowed(picker, i, j))
            continue;
        struct sel_choice best = {0};
        check_true(check, "next pair", next_best(picker, taken, &best));
        check_close(check, "i", (double)best.i, (double)i, 0, 0);
        check_close(check, "j", (double)best.j, (double)j, 0, 0);
        struct sel_choice choice;
        for (size_t l = 0; sel_picker_pair(picker, 0, l, &choice); l++)
            taken[l] |= choice.i == best.i && choice.j == best.j;
    }
    free(taken);
    sel_picker_free(picker);
}

static void check_rule(struct pool_case *test, const struct sel_rule *rule, const json_t *expected)
{
    struct check *check = test->check;
    size_t squares = test->n * test->n;
    prepare(test, false);
    struct sel_gram gram = open_gram(test);
    struct sel_picker *picker = open_picker(test, rule, false);
    check_scores(test, picker, expected);
    check_picks(test, picker, &gram, expected);
    sel_picker_free(picker);
    if (json_object_get(expected, "G_final") == NULL)
        return;
    check_all_close(check, "G_final", gram.g, check_numbers(check, expected, "G_final", squares),
                    squares, test->tolerance);
    check_all_close(check, "H_final", gram.h, check_numbers(check, expected, "H_final", squares),
                    squares, test->tolerance);
    check_all_close(check, "Sinv_final", sel_information_inverse(test->information),
                    check_numbers(check, expected, "Sinv_final", test->d * test->d),
                    test->d * test->d, test->tolerance);
}

static void read_case(struct pool_case *test)
{
    struct check *check = test->check;
    const char *name = json_string_value(json_object_get(test->item, "name"));
    test->expect = json_object_get(test->item, "expect");
    test->rule_of_weight = json_string_value(json_object_get(test->item, "wrule"));
    test->n = (size_t)check_number(check, test->item, "n");
    test->d = (size_t)check_number(check, test->item, "d");
    test->lambda = check_number(check, test->item, "lam");
    test->weight_min = check_number(check, test->item, "wmin");
    test->tolerance = strcmp(name, "ill_conditioned") == 0 ? 1e-5 : 1e-8;
    test->phi = check_numbers(check, test->item, "Phi", test->n * test->d);
    test->psi = check_numbers(check, test->item, "psi", test->d);
    test->policy = check_numbers(check, test->item, "I", test->d * test->d);
}

/* Runs one part of a case with its own Sigma; rule NULL: Sigma, G, H and the weights. */
static void run_part(struct check *check, const json_t *item, const char *selector,
                     const struct sel_rule *rule)
{
    char name[96];
    snprintf(name, sizeof name, "%s %s", json_string_value(json_object_get(item, "name")),
             selector);
    check_begin(check, name);
    struct pool_case test = {.check = check, .item = item};
    read_case(&test);
    test.information = sel_information_new(test.d);
    if (rule == NULL) {
        prepare(&test, true);
        check_information(&test);
        prepare(&test, false);
        check_information(&test);
        check_gram(&test);
    } else {
        const json_t *selectors = json_object_get(test.expect, "selectors");
        const json_t *expected = json_object_get(selectors, selector);
        if (json_object_get(expected, "order") != NULL)
            check_order(&test, rule, expected);
        else
            check_rule(&test, rule, expected);
    }
    sel_information_free(test.information);
    check_end(check);
}

void check_pool(struct check *check, const json_t *golden)
{
    const json_t *cases = json_object_get(golden, "cases");
    for (size_t k = 0; k < json_array_size(cases); k++) {
        const json_t *item = json_array_get(cases, k);
        json_t *selectors = json_object_get(json_object_get(item, "expect"), "selectors");
        run_part(check, item, "state", NULL);
        const char *selector;
        json_t *expected;
        json_object_foreach(selectors, selector, expected)
        {
            const struct sel_rule *rule = sel_rule_find(selector);
            char name[96];
            snprintf(name, sizeof name, "pool %s %s",
                     json_string_value(json_object_get(item, "name")), selector);
            if (rule == NULL)
                check_skip(check, name, "the library has no such rule yet");
            else
                run_part(check, item, selector, rule);
        }
    }
}
