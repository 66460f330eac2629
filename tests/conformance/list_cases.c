/* Weights, policy moments and the upkeep of Sigma. */
#include "check.h"

#include "selectors/selectors.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check_weight(struct check *check, const json_t *item, const char *name, double found)
{
    double expected = check_number(check, item, name);
    if (expected > 1e-300)
        check_close(check, name, found, expected, 1e-12, 0);
    else
        check_close(check, name, found, expected, 0, 1e-300);
}

void check_weights(struct check *check, const json_t *golden)
{
    const json_t *cases = json_object_get(golden, "cases");
    for (size_t k = 0; k < json_array_size(cases); k++) {
        const json_t *item = json_array_get(cases, k);
        char name[32];
        snprintf(name, sizeof name, "case %zu", k);
        check_begin(check, name);
        double margin = check_number(check, item, "m");
        check_weight(check, item, "sigma", sel_sigmoid(margin));
        check_weight(check, item, "plug", sel_weight_plug(margin));
        check_weight(check, item, "probit",
                     sel_weight_probit(margin, check_number(check, item, "s2")));
        check_end(check);
        snprintf(name, sizeof name, "case %zu lapse", k);
        check_begin(check, name);
        check_weight(check, item, "lapse02", sel_weight_lapse(margin, .02));
        check_weight(check, item, "lapse10", sel_weight_lapse(margin, .1));
        check_weight(check, item, "lapse30", sel_weight_lapse(margin, .3));
        check_end(check);
    }
}

void check_fisher(struct check *check, const json_t *golden)
{
    const json_t *cases = json_object_get(golden, "cases");
    for (size_t k = 0; k < json_array_size(cases); k++) {
        const json_t *item = json_array_get(cases, k);
        const json_t *expect = json_object_get(item, "expect");
        char name[32];
        snprintf(name, sizeof name, "case %zu", k);
        check_begin(check, name);
        size_t n = check_length(item, "Phi");
        size_t d = json_array_size(json_array_get(json_object_get(item, "Phi"), 0));
        const double *phi = check_numbers(check, item, "Phi", n * d);
        const double *logits = check_numbers(check, item, "logits", n);
        const double *covariance = check_numbers(check, expect, "cov", d * d);
        double *sums = check_room(check, d * d);
        double effective = 0;
        check_true(check, "status",
                   sel_policy_moments(phi, n, d, logits, 1, sums, &effective,
                                      check_room(check, n * d)) == SEL_OK);
        for (size_t i = 0; i < d; i++)
            for (size_t j = i + 1; j < d; j++)
                sums[i * d + j] = sums[j * d + i];
        check_all_close(check, "cov", sums, covariance, d * d, 1e-8);
        check_close(check, "ess", effective, check_number(check, expect, "ess"), 1e-8, 0);
        check_end(check);
    }
}

/* A list that comes and goes, and Sigma kept with it. */
struct list {
    struct sel_information *information;
    const double **x;
    const double *w;
    bool *held;
    size_t n;
    size_t d;
    double lambda;
};

/* What a user of the library does when it says that Sigma is stale. */
static void rebuild(struct check *check, struct list *list)
{
    double *lambda = check_room(check, list->d);
    for (size_t k = 0; k < list->d; k++)
        lambda[k] = list->lambda;
    sel_information_reset(list->information, lambda);
    for (size_t k = 0; k < list->n; k++)
        if (list->held[k])
            sel_information_accumulate(list->information, list->x + k, list->w + k, 1);
    check_true(check, "factor", sel_information_factor(list->information) == SEL_OK);
}

static double trace_of_inverse(const struct list *list)
{
    const double *inverse = sel_information_inverse(list->information);
    double sum = 0;
    for (size_t k = 0; k < list->d; k++)
        sum += inverse[k * list->d + k];
    return sum;
}

static void check_refusal(struct check *check, struct list *list, size_t index, double w)
{
    size_t size = list->d * list->d;
    double *before = check_room(check, 2 * size);
    memcpy(before, sel_information_sigma(list->information), size * sizeof(double));
    memcpy(before + size, sel_information_inverse(list->information), size * sizeof(double));
    check_true(check, "refusal",
               sel_information_remove(list->information, list->x[index], w) == SEL_REFUSED);
    check_true(check, "unchanged",
               memcmp(before, sel_information_sigma(list->information), size * sizeof(double)) ==
                       0 &&
                   memcmp(before + size, sel_information_inverse(list->information),
                          size * sizeof(double)) == 0);
}

static void run_step(struct check *check, struct list *list, const json_t *step)
{
    size_t index = (size_t)check_number(check, step, "index");
    bool add = strcmp(json_string_value(json_object_get(step, "op")), "add") == 0;
    if (json_object_get(step, "w_override") != NULL) {
        check_refusal(check, list, index, check_number(check, step, "w_override"));
        return;
    }
    list->held[index] = add;
    enum sel_status status =
        add ? sel_information_add(list->information, list->x[index], list->w[index])
            : sel_information_remove(list->information, list->x[index], list->w[index]);
    check_true(check, "step", status == SEL_OK);
    if (sel_information_stale(list->information))
        rebuild(check, list);
    if (json_object_get(step, "logdet") == NULL)
        return;
    check_close(check, "logdet", sel_information_log_determinant(list->information),
                check_number(check, step, "logdet"), 1e-8, 1e-12);
    check_close(check, "tr_inv", trace_of_inverse(list), check_number(check, step, "tr_inv"), 1e-8,
                0);
}

static void check_result(struct check *check, const struct list *list, const json_t *expect,
                         const char *sigma, const char *inverse, double relative)
{
    size_t size = list->d * list->d;
    if (json_object_get(expect, sigma) != NULL)
        check_all_close(check, sigma, sel_information_sigma(list->information),
                        check_numbers(check, expect, sigma, size), size, relative);
    if (json_object_get(expect, inverse) != NULL)
        check_all_close(check, inverse, sel_information_inverse(list->information),
                        check_numbers(check, expect, inverse, size), size, relative);
}

/* Labels of older policy versions weigh gamma^age. */
static void forget(struct check *check, struct list *list, const json_t *item)
{
    const double *version = check_numbers(check, item, "version", list->n);
    double current = check_number(check, item, "current_version");
    double gamma = check_number(check, item, "gamma");
    double *w = check_room(check, list->n);
    for (size_t k = 0; k < list->n; k++) {
        w[k] = list->w[k] * pow(gamma, current - version[k]);
        list->held[k] = true;
    }
    list->w = w;
    rebuild(check, list);
}

void check_downdate(struct check *check, const json_t *golden)
{
    const json_t *cases = json_object_get(golden, "cases");
    for (size_t k = 0; k < json_array_size(cases); k++) {
        const json_t *item = json_array_get(cases, k);
        const json_t *steps = json_object_get(item, "steps");
        const json_t *expect = json_object_get(item, "expect");
        check_begin(check, json_string_value(json_object_get(item, "name")));
        struct list list = {.n = check_length(item, "x"),
                            .d = (size_t)check_number(check, item, "d"),
                            .lambda = check_number(check, item, "lam")};
        const double *x = check_numbers(check, item, "x", list.n * list.d);
        list.w = check_numbers(check, item, "w", list.n);
        list.x = calloc(list.n, sizeof *list.x);
        list.held = calloc(list.n, sizeof *list.held);
        list.information = sel_information_new(list.d);
        for (size_t j = 0; j < list.n; j++)
            list.x[j] = x + j * list.d;
        rebuild(check, &list);
        for (size_t j = 0; j < json_array_size(steps); j++)
            run_step(check, &list, json_array_get(steps, j));
        if (json_object_get(item, "gamma") != NULL)
            forget(check, &list, item);
        check_result(check, &list, expect, "Sigma_final", "Sinv_final", 1e-9);
        check_result(check, &list, expect, "Sigma", "Sinv", 1e-9);
        sel_information_free(list.information);
        free(list.held);
        free(list.x);
        check_end(check);
    }
}
