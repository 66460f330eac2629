/* psi by penalised maximum likelihood at a fixed lambda. */
#include "check.h"

#include "selectors/selectors.h"

#include <math.h>
#include <stdlib.h>

struct labels {
    size_t n;
    size_t d;
    const double **x;
    const double *y;
    const double *weight;
    double lambda;
    double lapse;
};

/* lambda Id + sum weight w x x' at psi, from information.c: the Hessian of the fit. */
static void check_hessian(struct check *check, const struct labels *labels, const double *psi,
                          const double *expected, double relative)
{
    double *w = check_room(check, labels->n);
    double *lambda = check_room(check, labels->d);
    for (size_t k = 0; k < labels->n; k++) {
        double margin = 0;
        for (size_t j = 0; j < labels->d; j++)
            margin += labels->x[k][j] * psi[j];
        w[k] = labels->weight[k] * sel_weight_lapse(margin, labels->lapse);
    }
    for (size_t j = 0; j < labels->d; j++)
        lambda[j] = labels->lambda;
    struct sel_information *information = sel_information_new(labels->d);
    sel_information_reset(information, lambda);
    sel_information_accumulate(information, labels->x, w, labels->n);
    check_all_close(check, "hessian", sel_information_sigma(information), expected,
                    labels->d * labels->d, relative);
    sel_information_free(information);
}

static void check_fit(struct check *check, const struct labels *labels, const double *prior,
                      const json_t *expect)
{
    bool lapse = labels->lapse > 0;
    double relative = lapse ? 1e-6 : 1e-8;
    struct sel_preference_options options = sel_preference_defaults(labels->d);
    options.lambda = labels->lambda;
    options.lapse = labels->lapse;
    double *psi = check_room(check, labels->d);
    struct sel_preference_result result;
    struct sel_preference *preference = sel_preference_new(labels->d);
    enum sel_status status = sel_preference_fit(preference, labels->x, labels->y, labels->weight,
                                                labels->n, prior, &options, psi, &result);
    sel_preference_free(preference);
    check_true(check, "convergence", status == SEL_OK);
    check_close(check, "gradient", result.gradient, 0, 0, 1e-8);
    const double *theta = check_numbers(check, expect, "theta", labels->d);
    double largest = 0;
    for (size_t k = 0; k < labels->d; k++)
        largest = fmax(largest, fabs(theta[k]));
    for (size_t k = 0; k < labels->d; k++)
        check_close(check, "theta", psi[k], theta[k], relative, 1e-10 * largest);
    check_close(check, "objective", result.objective, check_number(check, expect, "objective"),
                relative, 0);
    const double *hessian =
        check_numbers(check, expect, lapse ? "fisher" : "hessian", labels->d * labels->d);
    check_hessian(check, labels, psi, hessian, 10 * relative);
}

void check_mle(struct check *check, const json_t *golden)
{
    const json_t *cases = json_object_get(golden, "cases");
    for (size_t k = 0; k < json_array_size(cases); k++) {
        const json_t *item = json_array_get(cases, k);
        check_begin(check, json_string_value(json_object_get(item, "name")));
        struct labels labels = {.n = check_length(item, "X"), .d = check_length(item, "theta0")};
        const double *x = check_numbers(check, item, "X", labels.n * labels.d);
        labels.x = calloc(labels.n, sizeof *labels.x);
        for (size_t j = 0; j < labels.n; j++)
            labels.x[j] = x + j * labels.d;
        labels.y = check_numbers(check, item, "y", labels.n);
        labels.weight = check_numbers(check, item, "weight", labels.n);
        labels.lambda = check_number(check, item, "lam");
        if (json_object_get(item, "lapse") != NULL)
            labels.lapse = check_number(check, item, "lapse");
        check_fit(check, &labels, check_numbers(check, item, "theta0", labels.d),
                  json_object_get(item, "expect"));
        free(labels.x);
        check_end(check);
    }
}
