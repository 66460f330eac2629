/* The report: JSON lines, a table, what would have been asked. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "replay.h"
#include "worker/number_json.h"

/* Below these an estimate is told, but called unsupported. */
static const double SUPPORT_LEAST = .5, EFFECTIVE_LEAST = 10;

static const char *const ORACLES[] = {"none", "fitted", "given"};
static const char *const WHENS[] = {"slots", "price", "pool"};
static const char *const ARMS[] = {"selected", "control", "probe"};
static const char *const ANSWERED[] = {"none", "record", "oracle"};

size_t report_labels(const struct replay_report *report)
{
    size_t least = report->design.labels > 0 ? report->design.labels : SIZE_MAX;
    for (size_t k = 0; k < report->count * report->seeds; k++) {
        size_t labels = report->outcomes[k].design.labels;
        least = labels > 0 && labels < least ? labels : least;
    }
    return least == SIZE_MAX ? 0 : least;
}

static void when_text(int64_t milliseconds, char text[40])
{
    time_t seconds = (time_t)(milliseconds / 1000);
    struct tm parts;
    gmtime_r(&seconds, &parts);
    size_t used = strftime(text, 32, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(text + used, 40 - used, ".%03dZ", (int)(milliseconds % 1000));
}

static bool put(json_t *line, FILE *out, struct error *error)
{
    bool done = line != NULL && json_dumpf(line, out, JSON_COMPACT | JSON_REAL_PRECISION(6)) == 0 &&
                putc('\n', out) != EOF;
    json_decref(line);
    return done || error_set(error, ERROR_FATAL, "a line of the report cannot be written: %s",
                             strerror(errno));
}

/* ---- what is said of each design ---- */

/* Figures of a design against the base: means over seeds; saving by its logarithm, with a 95 %
 * interval where there are seeds to tell. */
struct figures {
    double trace, last, c_ratio, late, labels_to_base, gap, gap_error;
    double saving, low, high;
};

/* Of one seed; the saving's logarithm. */
static struct figures figures_under(const struct replay_report *report, const struct design *design,
                                    const struct design *base, double beta)
{
    double at = (double)report->labels;
    struct figures figures = {.trace = design_trace(design, at),
                              .last = design_trace(design, (double)design->labels),
                              .late = design_late(design, base)};
    double goal = design_trace(base, (double)base->labels);
    figures.c_ratio = design_trace(base, at) / figures.trace;
    figures.labels_to_base = base->labels == 0 ? (double)NAN : design_labels(design, goal);
    figures.saving = log((double)base->labels / figures.labels_to_base);
    figures.gap = figures.last / (2 * beta);
    return figures;
}

enum { RECORDED = -1 };

/* The design of a rule, or RECORDED, under one seed. */
static const struct design *design_of(const struct replay_report *report, int rule, size_t seed)
{
    return rule == RECORDED ? &report->design
                            : &report->outcomes[seed * report->count + (size_t)rule].design;
}

static struct figures figures_of(const struct replay_report *report, int rule, double beta)
{
    double n = (double)report->seeds, gaps = 0, savings = 0;
    struct figures mean = {0};
    for (size_t seed = 0; seed < report->seeds; seed++) {
        const struct figures one = figures_under(report, design_of(report, rule, seed),
                                                 design_of(report, (int)report->base, seed), beta);
        mean.trace += one.trace / n;
        mean.last += one.last / n;
        mean.c_ratio += one.c_ratio / n;
        mean.late += one.late / n;
        mean.labels_to_base += one.labels_to_base / n;
        mean.gap += one.gap / n;
        mean.saving += one.saving / n;
        gaps += one.gap * one.gap / n;
        savings += one.saving * one.saving / n;
    }
    double spread = n > 1 ? 1 / (n - 1) : (double)NAN;
    double half = 1.96 * sqrt(fmax(savings - mean.saving * mean.saving, 0) * spread);
    mean.gap_error = sqrt(fmax(gaps - mean.gap * mean.gap, 0) * spread);
    mean.low = exp(mean.saving - half);
    mean.high = exp(mean.saving + half);
    mean.saving = exp(mean.saving);
    return mean;
}

static bool add_figures(json_t *line, const struct replay_report *report, int rule, double beta)
{
    const struct figures figures = figures_of(report, rule, beta);
    const struct {
        const char *name;
        double value;
    } rows[] = {{"c", (double)report->labels * figures.trace},
                {"c_ratio", figures.c_ratio},
                {"trace", figures.trace},
                {"trace_last", figures.last},
                {"gap", figures.gap},
                {"gap_se", figures.gap_error},
                {"late_ratio", figures.late},
                {"labels_to_uniform", figures.labels_to_base},
                {"saving", figures.saving},
                {"saving_low", figures.low},
                {"saving_high", figures.high}};
    bool done = line != NULL;
    for (size_t k = 0; done && k < sizeof rows / sizeof *rows; k++)
        done = json_object_set_new(line, rows[k].name, number_json(rows[k].value)) == 0;
    return done;
}

static json_t *line_of_past(const struct replay_report *report)
{
    const struct recorded *recorded = report->recorded;
    const struct options *options = report->outcomes[report->base].options;
    size_t answered = 0;
    for (size_t k = 0; k < recorded->count; k++)
        answered += recorded->pairs[k].labelled && !recorded->pairs[k].before;
    json_t *line = json_pack(
        "{s:s, s:I, s:I, s:s, s:I, s:I, s:I, s:I, s:I, s:o, s:i}", "world", report->past->name, "d",
        (json_int_t)report->common->dimension, "n", (json_int_t)options->pool_size, "rule",
        "recorded", "labels", (json_int_t)report->design.labels, "asked",
        (json_int_t)recorded->asked, "answered_by_record", (json_int_t)answered,
        "answered_by_oracle", (json_int_t)0, "labels_equal", (json_int_t)report->labels,
        "worker_trace", number_json(recorded->worker_trace), "seeds", (int)report->seeds);
    if (add_figures(line, report, RECORDED, options->policy_beta))
        return line;
    json_decref(line);
    return NULL;
}

static double jaccard(const struct overlap *overlap)
{
    return overlap->either == 0 ? (double)NAN : (double)overlap->both / (double)overlap->either;
}

static json_t *line_of_rule(const struct replay_report *report, const struct outcome *outcome)
{
    const struct options *options = outcome->options;
    size_t unanswered = outcome->trial.count - outcome->by_record - outcome->by_oracle;
    json_t *line = json_pack(
        "{s:s, s:I, s:I, s:s, s:s, s:i, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:s, s:I, s:I}",
        "world", report->past->name, "d", (json_int_t)report->common->dimension, "n",
        (json_int_t)options->pool_size, "rule", outcome->rule, "when",
        WHENS[options->selection_when], "seeds", (int)report->seeds, "labels",
        (json_int_t)outcome->design.labels, "asked", (json_int_t)outcome->trial.count,
        "answered_by_record", (json_int_t)outcome->by_record, "answered_by_oracle",
        (json_int_t)outcome->by_oracle, "unanswered", (json_int_t)unanswered, "overlap",
        (json_int_t)outcome->overlap.both, "labels_equal", (json_int_t)report->labels, "jaccard",
        number_json(jaccard(&outcome->overlap)), "base", "uniform", "completions",
        (json_int_t)outcome->trial.completions, "refused", (json_int_t)outcome->trial.refused);
    if (add_figures(line, report, (int)(outcome - report->outcomes), options->policy_beta))
        return line;
    json_decref(line);
    return NULL;
}

/* ---- estimates ---- */

static bool supported(const struct off_policy *found, const struct estimate *estimate)
{
    return found->support >= SUPPORT_LEAST && estimate->effective >= EFFECTIVE_LEAST;
}

/* Why there is no estimate for a design, or none that can be relied on; NULL: it can be. */
static const char *doubt(const struct replay_report *report, const struct options *options,
                         const struct off_policy *found)
{
    if (report->past->requests == 0)
        return "the record has no propensities";
    if (options != NULL && !off_policy_draws(options))
        return "the rule does not draw: only the control arm and drawn slots of the record "
               "support an estimate, and those speak for uniform pairs";
    if (!found->known)
        return "no recorded request could be asked when it was";
    if (found->support < SUPPORT_LEAST)
        return "too little of what it would ask could have been asked then: the record does not "
               "support it";
    return found->estimates[0].effective < EFFECTIVE_LEAST
               ? "too few of the recorded labels bear on it"
               : NULL;
}

static bool put_estimates(const struct replay_report *report, const char *target,
                          const struct options *options, const struct off_policy *found,
                          struct error *error)
{
    const char *reason = doubt(report, options, found);
    for (int k = 0; k < (found->known ? MEASURES : 1); k++) {
        const struct estimate *estimate = &found->estimates[k];
        json_t *line =
            found->known
                ? json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:I, s:I, s:o, s:o, s:b}", "estimate",
                            MEASURE_NAMES[k], "target", target, "value",
                            number_json(estimate->value), "low", number_json(estimate->low), "high",
                            number_json(estimate->high), "effective_sample_size",
                            number_json(estimate->effective), "labels", (json_int_t)estimate->count,
                            "requests", (json_int_t)found->requests, "support",
                            number_json(found->support), "control_share",
                            number_json(found->control), "supported", supported(found, estimate))
                : json_pack("{s:s, s:b}", "target", target, "supported", 0);
        if (line != NULL && reason != NULL)
            json_object_set_new(line, "reason", json_string(reason));
        if (!put(line, stdout, error))
            return false;
    }
    return true;
}

static json_t *line_of_all(const struct replay_report *report)
{
    const struct past *past = report->past;
    const struct common *common = report->common;
    return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:I, s:o, s:o}", "replay",
                     past->name, "completions", (json_int_t)spool_count(past->completions),
                     "partitions", (json_int_t)past->partitions, "start", (json_int_t)past->start,
                     "end", (json_int_t)past->end, "recorded_requests", (json_int_t)past->requests,
                     "recorded_labels", (json_int_t)past->labelled, "oracle",
                     ORACLES[report->oracle], "fit_labels", (json_int_t)common->labels, "lambda",
                     number_json(common->lambda), "lapse", number_json(common->lapse));
}

bool report_json(const struct replay_report *report, struct error *error)
{
    bool done = put(line_of_all(report), stdout, error);
    if (done && report->recorded->count > 0)
        done = put(line_of_past(report), stdout, error);
    for (size_t k = 0; done && k < report->count; k++)
        done = put(line_of_rule(report, &report->outcomes[k]), stdout, error);
    done = done && put_estimates(report, "uniform pairs", NULL, &report->uniform, error);
    for (size_t k = 0; done && k < report->count; k++) {
        const struct outcome *outcome = &report->outcomes[k];
        done = put_estimates(report, outcome->rule, outcome->options, &outcome->estimates, error);
    }
    return done && (fflush(stdout) == 0 ||
                    error_set(error, ERROR_FATAL, "standard output: %s", strerror(errno)));
}

/* ---- the table ---- */

static void print_figures(const struct replay_report *report, int rule, double beta)
{
    const struct figures figures = figures_of(report, rule, beta);
    if (isnan(figures.trace))
        printf(" %9s %7s %9s", "-", "-", "-");
    else
        printf(" %9.4g %7.3g %9.3g", figures.trace, figures.c_ratio, figures.gap);
    if (isnan(figures.labels_to_base))
        printf(" %9s %7s", "never", "-");
    else
        printf(" %9.0f %7.2f", figures.labels_to_base, figures.saving);
    if (report->seeds > 1 && !isnan(figures.labels_to_base))
        printf(" (%.2f to %.2f)", figures.low, figures.high);
    printf("\n");
}

static void print_designs(const struct replay_report *report)
{
    const struct recorded *recorded = report->recorded;
    double beta = report->outcomes[report->base].options->policy_beta;
    printf("%-32s %7s %7s %7s %7s %8s %7s %9s %7s %9s %9s %7s\n", "rule", "asked", "labels",
           "record", "oracle", "overlap", "Jaccard", "tr(I S)", "ratio", "gap", "uniform's",
           "saving");
    if (recorded->count > 0) {
        printf("%-32s %7zu %7zu %7zu %7d %8zu %7s", "recorded", recorded->asked,
               report->design.labels, report->design.labels, 0, recorded->asked, "");
        print_figures(report, RECORDED, beta);
    }
    for (size_t k = 0; k < report->count; k++) {
        const struct outcome *outcome = &report->outcomes[k];
        printf("%-32.32s %7zu %7zu %7zu %7zu %8zu %7.3f", outcome->rule, outcome->trial.count,
               outcome->design.labels, outcome->by_record, outcome->by_oracle,
               outcome->overlap.both, jaccard(&outcome->overlap));
        print_figures(report, (int)k, outcome->options->policy_beta);
    }
}

static void print_estimates(const struct replay_report *report, const char *target,
                            const struct options *options, const struct off_policy *found)
{
    const char *reason = doubt(report, options, found);
    printf("%-32.32s", target);
    for (int k = 0; found->known && k < MEASURES; k++) {
        const struct estimate *estimate = &found->estimates[k];
        printf(" %6.3f (%.3f to %.3f)", estimate->value, estimate->low, estimate->high);
    }
    if (found->known)
        printf(" %9.1f %8.2f", found->estimates[0].effective, found->support);
    printf("%s%s\n",
           reason == NULL ? ""
           : found->known ? "  NOT SUPPORTED: "
                          : " ",
           reason == NULL ? "" : reason);
}

static void print_past(const struct past *past, const struct common *common)
{
    char start[40], end[40], when[120];
    when_text(past->start, start);
    when_text(past->end, end);
    if (past->rate > 0)
        snprintf(when, sizeof when, "at %g a second", past->rate);
    else
        snprintf(when, sizeof when, "from %s to %s", start, end);
    printf("%s: %zu completions %s, d = %zu, %" PRId64 " recorded requests, %" PRId64 " labels\n",
           past->name, spool_count(past->completions), when, common->dimension, past->requests,
           past->labelled);
}

static void print_refused(const struct replay_report *report)
{
    const struct trial *trial = &report->outcomes[report->base].trial;
    if (trial->refused > 0)
        printf("\n%" PRId64 " records were refused, the first: %s\n", trial->refused,
               trial->refusal);
}

bool report_table(const struct replay_report *report, struct error *error)
{
    const struct past *past = report->past;
    const struct common *common = report->common;
    print_past(past, common);
    if (common->labels > 0)
        printf("Compared by the fit on %" PRId64 " recorded labels", common->labels);
    else
        printf("Compared by the given psi");
    printf(" (lambda %.4g, lapse %.3g), at %zu labels of each; pairs without a label: oracle "
           "%s\n\n",
           common->lambda, common->lapse, report->labels, ORACLES[report->oracle]);
    print_designs(report);
    print_refused(report);
    printf("\ngap = tr(I S) / (2 beta) at each rule's own labels, the fit's own estimate: low by "
           "20 to 30 %% with pools of 16.\n\n");
    printf("%-32s %24s %24s %24s %9s %8s\n", "estimates for", "log loss", "ties", "agreement",
           "effective", "support");
    print_estimates(report, "uniform pairs", NULL, &report->uniform);
    for (size_t k = 0; k < report->count; k++)
        print_estimates(report, report->outcomes[k].rule, report->outcomes[k].options,
                        &report->outcomes[k].estimates);
    return fflush(stdout) == 0 ||
           error_set(error, ERROR_FATAL, "standard output: %s", strerror(errno));
}

/* ---- what would have been asked ---- */

static json_t *line_of_asked(const struct outcome *outcome, const struct asked *asked)
{
    const char *at = outcome->trial.texts.data + asked->text;
    const char *parts[4];
    for (size_t k = 0; k < 4; k++) {
        parts[k] = at;
        at += asked->sizes[k];
    }
    return json_pack("{s:I, s:s%, s:s%, s:s%, s:s, s:s%, s:s, s:o, s:o, s:s, s:o}", "time",
                     (json_int_t)asked->time, "prompt_id", parts[0], (size_t)asked->sizes[0],
                     "left_id", parts[1], (size_t)asked->sizes[1], "right_id", parts[2],
                     (size_t)asked->sizes[2], "rule", outcome->rule, "selector", parts[3],
                     (size_t)asked->sizes[3], "arm", ARMS[asked->arm], "score",
                     number_json(asked->score), "propensity", number_json(asked->propensity),
                     "answered_by", ANSWERED[asked->answered], "probability_left",
                     number_json(asked->probability));
}

/* What the file held before goes away; a pipe holds nothing. */
static bool empty(FILE *file, struct error *error)
{
    struct stat status;
    int number = fileno(file);
    return (fstat(number, &status) == 0 &&
            (!S_ISREG(status.st_mode) || ftruncate(number, 0) == 0)) ||
           error_set(error, ERROR_FATAL, "%s", strerror(errno));
}

bool report_asked(const struct replay_report *report, FILE *file, struct error *error)
{
    bool done = empty(file, error);
    for (size_t k = 0; k < report->count; k++) {
        const struct outcome *outcome = &report->outcomes[k];
        for (size_t number = 0; done && number < outcome->trial.count; number++)
            done = put(line_of_asked(outcome, &outcome->trial.asked[number]), file, error);
    }
    return done && (fflush(file) == 0 || error_set(error, ERROR_FATAL, "%s", strerror(errno)));
}
