#include "summary.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { RESAMPLES = 400 };

/* ---- bases ---- */

static bool is_uniform(const char *rule)
{
    size_t size = strcspn(rule, ",");
    return (size == 7 && strncmp(rule, "uniform", 7) == 0) ||
           (size == 14 && strncmp(rule, "design:uniform", 14) == 0);
}

/* Options that change what is learnt of labels; others change which are asked. */
static bool shapes_fit(const char *option)
{
    static const char *const GROUPS[] = {"fit.", "labels.", "features."};
    for (size_t k = 0; k < sizeof GROUPS / sizeof *GROUPS; k++) {
        if (strncmp(option, GROUPS[k], strlen(GROUPS[k])) == 0)
            return true;
    }
    return false;
}

/* The options of a rule that shape the fit, joined. */
static void fit_options(const char *rule, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (rule += strcspn(rule, ","); *rule != '\0' && used < size; rule += strcspn(rule, ",")) {
        rule++;
        if (shapes_fit(rule))
            used +=
                (size_t)snprintf(text + used, size - used, "%.*s,", (int)strcspn(rule, ","), rule);
    }
}

bool summary_add_bases(struct string_list *rules)
{
    for (size_t k = 0; k < rules->count; k++) {
        char options[512], base[544], found[512];
        const char *known = summary_base_of(rules, rules->items[k]);
        fit_options(rules->items[k], options, sizeof options);
        fit_options(known == NULL ? "" : known, found, sizeof found);
        bool design = strncmp(rules->items[k], "design:", 7) == 0;
        if (known != NULL && (design || strcmp(options, found) == 0))
            continue;
        int size = snprintf(base, sizeof base, "uniform,%s", options);
        if (!string_list_append(rules, base, (size_t)size - 1)) /* without the last comma */
            return false;
    }
    return true;
}

const char *summary_base_of(const struct string_list *rules, const char *rule)
{
    char wanted[512], found[512];
    const char *first = NULL;
    fit_options(rule, wanted, sizeof wanted);
    for (size_t k = 0; k < rules->count; k++) {
        if (!is_uniform(rules->items[k]))
            continue;
        fit_options(rules->items[k], found, sizeof found);
        if (strcmp(found, wanted) == 0)
            return rules->items[k];
        first = first == NULL ? rules->items[k] : first;
    }
    return first;
}

/* ---- curves ---- */

/* Mean over the seeds drawn (NULL: each once) of the gap at a point. */
static double mean_gap(const struct summary *summary, size_t point, const size_t *drawn)
{
    double sum = 0;
    for (size_t k = 0; k < summary->seeds; k++)
        sum += summary->curves.gap[(drawn == NULL ? k : drawn[k]) * summary->points + point];
    return sum / (double)summary->seeds;
}

static double interpolate(double from, double to, double before, double now, double goal)
{
    double part = before > now ? (log(before) - log(goal)) / (log(before) - log(now)) : 1;
    return from + part * (to - from);
}

/* Labels at which the curve first meets `goal`; NaN: it does not. */
static double labels_to(const struct summary *summary, double goal, const size_t *drawn)
{
    double before = INFINITY;
    for (size_t k = 0; k < summary->points; k++) {
        double now = mean_gap(summary, k, drawn);
        if (now <= goal) {
            double to = (double)summary->at[k];
            double from = k == 0 ? 0 : (double)summary->at[k - 1];
            return k == 0 ? to : interpolate(from, to, before, now, goal);
        }
        before = now < before ? now : before;
    }
    return (double)NAN;
}

static double last_label(const struct summary *summary)
{
    return summary->points == 0 ? (double)NAN : (double)summary->at[summary->points - 1];
}

static double saving_of(const struct summary *summary, const size_t *drawn)
{
    const struct summary *base = summary->base;
    if (base->points == 0 || summary->points == 0)
        return (double)NAN;
    if (summary == base)
        return 1; /* its curve may have met the goal before, by chance */
    double goal = mean_gap(base, base->points - 1, drawn);
    return last_label(base) / labels_to(summary, goal, drawn);
}

static double late_of(const struct summary *summary, const size_t *drawn)
{
    const struct summary *base = summary->base;
    double sum = 0;
    size_t count = 0, of_base = 0;
    for (size_t k = 0; k < summary->points; k++) {
        while (of_base < base->points && base->at[of_base] < summary->at[k])
            of_base++;
        if (of_base == base->points || base->at[of_base] != summary->at[k] ||
            2 * summary->at[k] <= summary->labels)
            continue;
        /* At the truth itself a gap may round to 0. */
        sum += log(fmax(mean_gap(summary, k, drawn), DBL_MIN)) -
               log(fmax(mean_gap(base, of_base, drawn), DBL_MIN));
        count++;
    }
    return count == 0 ? (double)NAN : exp(sum / (double)count);
}

static int ascending(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static void find_interval(double *values, double *low, double *high)
{
    qsort(values, RESAMPLES, sizeof *values, ascending);
    *low = values[RESAMPLES / 40];
    *high = values[RESAMPLES - 1 - RESAMPLES / 40];
}

/* The intervals of the saving and the late ratio, of the same seeds for both rules; a resample in
 * which the goal is not met saves nothing that can be told and counts as 0. */
static bool resample(struct summary *summary)
{
    double savings[RESAMPLES], lates[RESAMPLES];
    size_t *drawn = calloc(summary->seeds, sizeof *drawn);
    if (drawn == NULL)
        return false;
    struct sel_random random = sel_random_init(summary->seeds, 1);
    for (size_t k = 0; k < RESAMPLES; k++) {
        for (size_t s = 0; s < summary->seeds; s++)
            drawn[s] = (size_t)sel_random_below(&random, summary->seeds);
        double saving = saving_of(summary, drawn);
        savings[k] = isnan(saving) ? 0 : saving;
        lates[k] = late_of(summary, drawn);
    }
    free(drawn);
    find_interval(savings, &summary->saving_low, &summary->saving_high);
    find_interval(lates, &summary->late_low, &summary->late_high);
    return true;
}

/* ---- c ---- */

static double mean_c(const struct summary *summary, size_t without)
{
    double sum = 0;
    size_t count = 0;
    for (size_t k = 0; k < summary->seeds; k++) {
        if (k != without) {
            sum += summary->runs[k].c;
            count++;
        }
    }
    return sum / (double)count;
}

static void compare_c(struct summary *summary)
{
    size_t n = summary->seeds;
    double centre = 0, spread = 0, squares = 0;
    summary->c = mean_c(summary, n);
    summary->c_ratio = mean_c(summary->base, n) / summary->c;
    summary->c_error = summary->c_ratio_error = (double)NAN;
    if (n < 2)
        return;
    for (size_t k = 0; k < n; k++) {
        centre += mean_c(summary->base, k) / mean_c(summary, k) / (double)n;
        squares += pow(summary->runs[k].c - summary->c, 2);
    }
    for (size_t k = 0; k < n; k++)
        spread += summary->base == summary
                      ? 0
                      : pow(mean_c(summary->base, k) / mean_c(summary, k) - centre, 2);
    summary->c_ratio_error = sqrt((double)(n - 1) / (double)n * spread);
    summary->c_error = sqrt(squares / (double)(n - 1) / (double)n);
}

/* ---- all of it ---- */

static void fill_curve(struct summary *summary)
{
    double n = (double)summary->seeds;
    for (size_t point = 0; point < summary->points; point++) {
        double mean = mean_gap(summary, point, NULL), squares = 0;
        for (size_t k = 0; k < summary->seeds; k++)
            squares += pow(summary->curves.gap[k * summary->points + point] - mean, 2);
        summary->gap[point] = mean;
        summary->gap_error[point] = n < 2 ? 0 : sqrt(squares / (n - 1) / n);
    }
    for (size_t axis = 0; axis < summary->dimension; axis++) {
        for (size_t k = 0; k < summary->seeds; k++) {
            summary->important[axis] += summary->runs[k].important[axis] / n;
            summary->measured[axis] += summary->runs[k].measured[axis] / n;
        }
    }
}

static void count_pools(struct summary *summary)
{
    double pools = 0, labels = 0;
    for (size_t k = 0; k < summary->seeds; k++) {
        pools += (double)summary->runs[k].pools;
        labels += (double)summary->runs[k].labels;
    }
    summary->pools_per_label = pools > 0 ? pools / labels : (double)NAN;
}

static bool begin(struct summary *summary, const struct jobs *jobs, size_t rule)
{
    const struct scene *scene = jobs->scene;
    *summary = (struct summary){.rule = scene->rules.items[rule],
                                .runs = jobs->runs + rule * scene->seeds,
                                .seeds = scene->seeds,
                                .labels = scene->labels};
    if (!curves_align(&summary->curves, summary->runs, scene->seeds, run_step(scene),
                      scene->labels))
        return false;
    summary->at = summary->curves.at;
    summary->points = summary->curves.points;
    summary->dimension = summary->runs[0].dimension;
    summary->gap = calloc(summary->points + 1, sizeof(double));
    summary->gap_error = calloc(summary->points + 1, sizeof(double));
    summary->important = calloc(summary->dimension + 1, sizeof(double));
    summary->measured = calloc(summary->dimension + 1, sizeof(double));
    if (summary->gap == NULL || summary->gap_error == NULL || summary->important == NULL ||
        summary->measured == NULL)
        return false;
    fill_curve(summary);
    count_pools(summary);
    return true;
}

static void find_base(struct summary *summaries, size_t count, size_t rule,
                      const struct string_list *rules)
{
    const char *base = summary_base_of(rules, summaries[rule].rule);
    summaries[rule].base = &summaries[rule];
    for (size_t k = 0; base != NULL && k < count; k++) {
        if (strcmp(summaries[k].rule, base) == 0)
            summaries[rule].base = &summaries[k];
    }
}

struct summary *summarise(const struct jobs *jobs)
{
    const struct string_list *rules = &jobs->scene->rules;
    struct summary *summaries = calloc(rules->count, sizeof *summaries);
    bool done = summaries != NULL;
    for (size_t k = 0; done && k < rules->count; k++)
        done = begin(&summaries[k], jobs, k);
    for (size_t k = 0; done && k < rules->count; k++) {
        struct summary *summary = &summaries[k];
        find_base(summaries, rules->count, k, rules);
        compare_c(summary);
        summary->late = late_of(summary, NULL);
        summary->saving = saving_of(summary, NULL);
        summary->labels_to_base = last_label(summary->base) / summary->saving;
        done = resample(summary);
    }
    if (done)
        return summaries;
    summary_free(summaries, rules->count);
    return NULL;
}

void summary_free(struct summary *summaries, size_t count)
{
    for (size_t k = 0; summaries != NULL && k < count; k++) {
        curves_free(&summaries[k].curves);
        free(summaries[k].gap);
        free(summaries[k].gap_error);
        free(summaries[k].important);
        free(summaries[k].measured);
    }
    free(summaries);
}

/* ---- JSON ---- */

/* Six digits, as a reader wants them; JSON has no NaN. */
static json_t *figure(double value)
{
    char text[32];
    if (!isfinite(value))
        return json_null();
    snprintf(text, sizeof text, "%.6g", value);
    return json_real(strtod(text, NULL));
}

static const char *when_of(const struct scene *scene, const char *rule)
{
    static const char NAME[] = "selection.when=";
    const char *when = strstr(rule, NAME);
    for (size_t k = 0; when == NULL && k < scene->set.count; k++)
        when = strstr(scene->set.items[k], NAME);
    if (when == NULL)
        return "slots";
    return strncmp(when + strlen(NAME), "price", 5) == 0  ? "price"
           : strncmp(when + strlen(NAME), "pool", 4) == 0 ? "pool"
                                                          : "slots";
}

json_t *summary_line(const struct scene *scene, const struct summary *summary)
{
    size_t last = summary->points;
    return json_pack("{s:s, s:I, s:I, s:s, s:s, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, "
                     "s:o, s:o, s:o, s:o, s:o, s:o, s:s}",
                     "world", scene->name, "d", (json_int_t)summary->dimension, "n",
                     (json_int_t)(scene->pool == 0 ? scene->world.completions : scene->pool),
                     "rule", summary->rule, "when", when_of(scene, summary->rule), "labels",
                     (json_int_t)summary->labels, "seeds", (json_int_t)summary->seeds, "c",
                     figure(summary->c), "c_se", figure(summary->c_error), "c_ratio",
                     figure(summary->c_ratio), "c_ratio_se", figure(summary->c_ratio_error), "gap",
                     figure(last == 0 ? (double)NAN : summary->gap[last - 1]), "gap_se",
                     figure(last == 0 ? (double)NAN : summary->gap_error[last - 1]), "late_ratio",
                     figure(summary->late), "late_low", figure(summary->late_low), "late_high",
                     figure(summary->late_high), "labels_to_uniform",
                     figure(summary->labels_to_base), "saving", figure(summary->saving),
                     "saving_low", figure(summary->saving_low), "saving_high",
                     figure(summary->saving_high), "pools_per_label",
                     figure(summary->pools_per_label), "base", summary->base->rule);
}
