#include "compare.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "passage.h"

enum { POINTS = 200, POINTS_WIDE = 40, WIDE = 256 };
static const double ROUNDING = 1e-12;

/* ---- I ---- */

bool compare_policy(const struct past *past, const struct options *options,
                    const struct common *common, double *policy, struct error *error)
{
    static const int64_t FOR_EVER = INT64_C(100) * 365 * 86400 * 1000;
    struct engine_options engine;
    struct passage passage = {0};
    const struct passage_visitor visitor = {0};
    bool done = passage_options(past, options, &engine, error);
    engine.observes = true;
    engine.policy_window = FOR_EVER;
    done = done && passage_begin(&passage, past, options, &engine, false, error) &&
           passage_give_entry(&passage, (struct span){common->fit.data, common->fit.size}, 0, 1,
                              error) &&
           passage_go(&passage, &visitor, error) &&
           engine_tick(passage.engine, past->end + engine.moments_interval + engine.pool_wait,
                       error) &&
           engine_refresh(passage.engine, error);
    if (done) {
        const struct engine_view view = engine_view(passage.engine);
        done = view.policy != NULL ||
               error_set(error, ERROR_DATA,
                         "%s: no pool became ready, so that nothing is known of the policy; lower "
                         "pool.size or pool.wait",
                         past->name);
        if (done)
            memcpy(policy, view.policy, view.dimension * view.dimension * sizeof *policy);
    }
    passage_fini(&passage);
    return done;
}

/* ---- curves ---- */

static double weight_of(const struct common *common, const float *x, double confidence)
{
    double margin = 0;
    for (size_t k = 0; k < common->dimension; k++)
        margin += common->psi[k] * (double)x[k];
    return confidence * sel_weight_tie(margin, common->lapse, common->tie);
}

/* F: what was known before the range. */
static bool add_known(struct sel_information *information, const struct recorded *recorded,
                      const struct common *common)
{
    for (size_t k = 0; k < recorded->count; k++) {
        const struct recorded_pair *pair = &recorded->pairs[k];
        if (!pair->before || !pair->labelled || isnan(pair->probability))
            continue;
        double w = weight_of(common, pair->x, pair->confidence);
        if (sel_information_accumulate(information, &pair->x, &w, 1) != SEL_OK)
            return false;
    }
    return true;
}

static bool curve(struct design *design, const struct recorded *recorded,
                  const struct common *common, const double *policy, struct error *error)
{
    size_t d = common->dimension, most = d > WIDE ? POINTS_WIDE : POINTS;
    size_t points = design->labels < most ? design->labels : most;
    struct sel_information *information = sel_information_new(d);
    design->at = calloc(points + 1, sizeof *design->at);
    design->trace = calloc(points + 1, sizeof *design->trace);
    bool done = information != NULL && design->at != NULL && design->trace != NULL;
    done = done && sel_information_reset(information, common->prior) == SEL_OK &&
           add_known(information, recorded, common);
    for (size_t k = 0; done && k <= points; k++) {
        size_t before = k == 0 ? 0 : design->at[k - 1];
        size_t here = points == 0 ? 0 : design->labels * k / points;
        done = sel_information_accumulate(information, design->x + before, design->weight + before,
                                          here - before) == SEL_OK &&
               sel_information_factor(information) == SEL_OK;
        design->at[k] = here;
        design->trace[k] = done ? sel_information_trace(information, policy) : (double)NAN;
    }
    design->points = points + 1;
    sel_information_free(information);
    return done || error_set(error, ERROR_FATAL,
                             "the information of a design is singular, or out "
                             "of memory");
}

void design_fini(struct design *design)
{
    free(design->x);
    free(design->weight);
    free(design->at);
    free(design->trace);
    *design = (struct design){0};
}

/* One label, to be put in the order of the answers. */
struct entering {
    int64_t answered_at;
    size_t number; /* of the request, which breaks ties */
    const float *x;
    double confidence;
};

static int by_answer(const void *left, const void *right)
{
    const struct entering *a = left, *b = right;
    if (a->answered_at != b->answered_at)
        return a->answered_at < b->answered_at ? -1 : 1;
    return (a->number > b->number) - (a->number < b->number);
}

/* Makes the design of `count` labels, whose list it frees. */
static bool build(struct design *design, struct entering *entering, size_t count,
                  const struct recorded *recorded, const struct common *common,
                  const double *policy, struct error *error)
{
    *design = (struct design){.x = calloc(count + 1, sizeof *design->x),
                              .weight = calloc(count + 1, sizeof *design->weight),
                              .labels = count};
    bool done = entering != NULL && design->x != NULL && design->weight != NULL;
    if (done)
        qsort(entering, count, sizeof *entering, by_answer);
    for (size_t k = 0; done && k < count; k++) {
        design->x[k] = entering[k].x;
        design->weight[k] = weight_of(common, entering[k].x, entering[k].confidence);
    }
    free(entering);
    return done ? curve(design, recorded, common, policy, error)
                : error_set(error, ERROR_FATAL, "out of memory for a design");
}

bool design_of_trial(struct design *design, const struct trial *trial,
                     const struct recorded *recorded, const struct common *common,
                     const double *policy, struct error *error)
{
    struct entering *entering = calloc(trial->count + 1, sizeof *entering);
    size_t count = 0;
    for (size_t k = 0; entering != NULL && k < trial->count; k++) {
        const struct asked *asked = &trial->asked[k];
        if (!isnan(asked->probability))
            entering[count++] = (struct entering){
                asked->answered_at, k, trial->x + k * trial->dimension, asked->confidence};
    }
    return build(design, entering, count, recorded, common, policy, error);
}

bool design_of_past(struct design *design, const struct recorded *recorded,
                    const struct common *common, const double *policy, struct error *error)
{
    struct entering *entering = calloc(recorded->count + 1, sizeof *entering);
    size_t count = 0;
    for (size_t k = 0; entering != NULL && k < recorded->count; k++) {
        const struct recorded_pair *pair = &recorded->pairs[k];
        if (!pair->before && pair->labelled && !isnan(pair->probability))
            entering[count++] = (struct entering){pair->answered_at, k, pair->x, pair->confidence};
    }
    return build(design, entering, count, recorded, common, policy, error);
}

double design_trace(const struct design *design, double labels)
{
    size_t k = 0;
    while (k + 1 < design->points && (double)design->at[k + 1] < labels)
        k++;
    if (design->points == 0 || labels > (double)design->labels)
        return (double)NAN;
    if (k + 1 == design->points)
        return design->trace[k];
    double share = (labels - (double)design->at[k]) / (double)(design->at[k + 1] - design->at[k]);
    return exp((1 - share) * log(design->trace[k]) + share * log(design->trace[k + 1]));
}

double design_labels(const struct design *design, double trace)
{
    for (size_t k = 0; k < design->points; k++) {
        if (!(design->trace[k] <= trace * (1 + ROUNDING)))
            continue;
        if (k == 0)
            return 0;
        double above = log(design->trace[k - 1]), below = log(design->trace[k]);
        double share = fmin((above - log(trace)) / (above - below), 1);
        return (double)design->at[k - 1] + share * (double)(design->at[k] - design->at[k - 1]);
    }
    return (double)NAN;
}

double design_late(const struct design *design, const struct design *base)
{
    size_t labels = design->labels < base->labels ? design->labels : base->labels;
    double sum = 0;
    size_t count = 0;
    for (size_t k = POINTS / 2; k <= POINTS && labels > 0; k++) {
        double at = (double)labels * (double)k / POINTS;
        sum += log(design_trace(design, at)) - log(design_trace(base, at));
        count++;
    }
    return count == 0 ? (double)NAN : exp(sum / (double)count);
}

/* ---- overlap ---- */

static int by_id(const void *left, const void *right)
{
    return identity_compare(*(const struct id *)left, *(const struct id *)right);
}

static size_t distinct(struct id *ids, size_t count)
{
    size_t kept = 0;
    if (count > 0)
        qsort(ids, count, sizeof *ids, by_id);
    for (size_t k = 0; k < count; k++) {
        if (kept == 0 || !identity_equal(ids[kept - 1], ids[k]))
            ids[kept++] = ids[k];
    }
    return kept;
}

bool compare_overlap(const struct trial *trial, const struct recorded *recorded,
                     struct overlap *overlap, struct error *error)
{
    struct id *mine = calloc(trial->count + 1, sizeof *mine);
    struct id *theirs = calloc(recorded->count + 1, sizeof *theirs);
    bool done = (mine != NULL && theirs != NULL) || error_set(error, ERROR_FATAL, "out of memory");
    size_t first = 0, second = 0;
    *overlap = (struct overlap){0, 0};
    for (size_t k = 0; done && k < trial->count; k++)
        mine[first++] = trial->asked[k].pair;
    for (size_t k = 0; done && k < recorded->count; k++) {
        const struct recorded_pair *pair = &recorded->pairs[k];
        if (!pair->before && (pair->asked || pair->imported))
            theirs[second++] = pair->pair;
    }
    first = done ? distinct(mine, first) : 0;
    second = done ? distinct(theirs, second) : 0;
    for (size_t i = 0, j = 0; i < first && j < second;) {
        int order = identity_compare(mine[i], theirs[j]);
        overlap->both += order == 0;
        i += order <= 0;
        j += order >= 0;
    }
    overlap->either = first + second - overlap->both;
    free(mine);
    free(theirs);
    return done;
}
