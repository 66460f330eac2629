/* What the runs of a scene come to, rule by rule, against uniform pairs of the same worlds, pools
 * and label budget.
 *
 * c = labels tr(I F^-1) at the truth, F the information of the asked pairs: nearly without noise.
 * gap: mean over seeds of the policy's gap at the last label; curves are means at equal labels.
 * saving = labels / (labels at which the running minimum of the rule's mean curve meets the base's
 * last gap, linear in the labels on the log of the gap). late = exp of the mean log ratio of the
 * two mean curves over the second half of the labels. Intervals: 95 %, by resampling seeds. */
#ifndef INFOPAIR_SUMMARY_H
#define INFOPAIR_SUMMARY_H

#include <jansson.h>

#include "curves.h"
#include "jobs.h"

struct summary {
    const char *rule; /* of the scene; so are the runs */
    const struct summary *base;
    const struct run *runs; /* by seed */
    size_t seeds, labels;
    double c, c_error;
    double c_ratio, c_ratio_error; /* base / rule, by the jackknife */
    double late, late_low, late_high;
    double pools_per_label; /* NaN: none are drawn */
    double labels_to_base;  /* NaN: not within the labels */
    double saving, saving_low, saving_high;
    struct curves curves; /* owned: of the seeds */
    size_t points;        /* of the mean curve */
    const size_t *at;
    double *gap, *gap_error;      /* owned */
    double *important, *measured; /* owned: means of the spectra */
    size_t dimension;
};

/* One for each rule of the scene, in its order; owned by the caller. NULL: out of memory. */
struct summary *summarise(const struct jobs *jobs);
void summary_free(struct summary *summaries, size_t count);
/* Adds the bases that are missing: uniform, under the options of the fit that each rule has. False:
 * out of memory. */
bool summary_add_bases(struct string_list *rules);
/* The base of a rule: uniform under the same options of the fit, else the first uniform; NULL. */
const char *summary_base_of(const struct string_list *rules, const char *rule);
/* The line that `simulate --json` promises. */
json_t *summary_line(const struct scene *scene, const struct summary *summary);

#endif
