/* What the fits know of those who label: a row for each annotator in the FIT in force, and how the
 * rows of the next are found.
 *
 * Rows name annotators by their texts, since numbers of names differ between workers. A fit has at
 * most ANNOTATORS_MAX rows, of those with the most labels, and ANNOTATORS_BYTES_MAX of them; all
 * other labels are taken at the fit's overall lapse rate. */
#ifndef INFOPAIR_ANNOTATORS_H
#define INFOPAIR_ANNOTATORS_H

#include "requests.h"
#include "schemas/bytes.h"
#include "schemas/contracts.h"

enum { ANNOTATORS_MAX = 1000, ANNOTATORS_BYTES_MAX = 128 << 10 };
/* Memory of the rows in force, and of the likelihoods and the rows of the next while it is made. */
enum { ANNOTATORS_MEMORY = 2 << 20 };

struct annotators {
    struct span region;         /* as FIT holds it, a copy */
    struct fit_annotator *rows; /* texts within region */
    size_t count;
    struct annotator_key *keys; /* of the rows, in order of id */
};

/* Takes the rows of a FIT in place of those before; nothing changes unless APPLIED_NEW. */
enum applied annotators_adopt(struct annotators *annotators, struct span region,
                              struct error *error);
void annotators_free(struct annotators *annotators);
/* The lapse rate of one who has a number; `otherwise` without a row. */
double annotators_lapse(const struct annotators *annotators, const struct requests *requests,
                        uint32_t annotator, double otherwise);

/* The labels of a fit, `count` of each. */
struct annotated {
    const struct request *const *request;
    const uint32_t *annotator;       /* of the counting label, as in struct request_label */
    const double *y, *weight;        /* of the counting label */
    const double *margin, *variance; /* of sel_preference_left_out */
    size_t count;
};

/* Appends the rows of the next FIT to `region`; by_annotator: their rates may differ from
 * `overall`. tie: of Davidson's model of the fit behind the margins. *left_bias: of all labels, in
 * log-odds. False: out of memory. */
bool annotators_estimate(const struct requests *requests, const struct annotated *labels,
                         double overall, double tie, bool by_annotator, struct buffer *region,
                         double *left_bias);

#endif
