/* What the labels have taught: the feature space in force, psi, Sigma and I.
 *
 * A rule with SEL_UNWEIGHTED picks by a second Sigma, built alike with w = 1.
 *
 * Invariant: Sigma = diag(lambda) + sum over requests of omega * share * w x x', where w is the
 * weight of the pick while its fit_id is the newest fit's, else sigma'(psi' x) at the newest psi,
 * share is request_share() and omega the weight of its policy version (`labels.versions`, see
 * versions.h). lambda is one number for each group of features (groups.h). At a rebuild the sum
 * runs in order of request id; in between it follows by rank-one updates. A label that the newest
 * fit has seen has the lapse rate of its annotator in that w, everything else the overall one.
 * Requests issued more than `labels.window` before the largest time in the ledger (in sixteenths of
 * the window), or beyond the newest `labels.max` that the fit has seen, do not count (window.c). I:
 * policy.c.
 */
#ifndef INFOPAIR_MODEL_H
#define INFOPAIR_MODEL_H

#include "annotators.h"
#include "drift.h"
#include "engine.h"
#include "groups.h"
#include "requests.h"
#include "versions.h"

/* Requests keep the fit of their pick in 32 bits; there is room for the fits to come. */
#define FIT_ID_MAX (INT64_C(1) << 31)

/* With it 99.8 % of the answers to a pair of equals are ties; an estimate is below e^6. */
enum { FIT_TIE_MAX = 1000 };

/* Beyond these no arithmetic on margins and Sigma is sure to stay finite; nothing that is estimated
 * comes near. */
#define FIT_PSI_MAX 1e100
#define FIT_LAMBDA_MIN 1e-12

enum { MODEL_BUCKETS = 16, MODEL_VERSIONS = 4, MODEL_POOLS_FOR_LATER = 50 };

/* Sums over the panes of one slice of time, where versions fade of one version in it; lower
 * triangle, packed by rows. */
struct moments_bucket {
    int64_t slice; /* time / length of a slice; -1: empty */
    int64_t epoch; /* of the policy; 0 where versions do not fade */
    double *sums;
    double weight;
    double squares; /* sum of squared weights of the pools */
    double effective;
    int64_t pools;
};

/* The space that is current: the one of the SPACE entry in force. */
struct space {
    char *name; /* NULL: none yet */
    struct id id;
    int64_t epoch;
    size_t dimension; /* 0: none yet */
    int64_t offset;   /* of SPACE in the ledger */
    int64_t time;     /* newest of its SPACE entries */
    bool renewed;     /* the one in force was written again, or never estimated */
    double *centre;
    double scale;
};

/* Farthest that a feature may lie from the centre, in the scale of the space, so that Sigma can be
 * factored: with 4096 features x'x is 4e13. What came before the scale was known is moved there. */
#define SPACE_FARTHEST 1e5

static inline double space_scaled(const struct space *space, size_t axis, float feature)
{
    return ((double)feature - space->centre[axis]) * space->scale;
}

/* The same within SPACE_FARTHEST. */
static inline double space_bounded(const struct space *space, size_t axis, float feature)
{
    double at = space_scaled(space, axis, feature);
    return at > SPACE_FARTHEST ? SPACE_FARTHEST : at >= -SPACE_FARTHEST ? at : -SPACE_FARTHEST;
}

struct model {
    const struct engine_options *options;
    struct requests *requests;
    struct space space;
    /* The newest FIT. */
    int64_t fit_id;
    int64_t fit_last; /* the highest known, also of fits under other groups of features */
    int64_t fit_time;
    int64_t fit_labels; /* behind it */
    int64_t fresh;      /* labels that count and are newer than the fit; -1: to be counted */
    double lambda;      /* of several groups: the geometric mean over the features */
    double lapse, return_rate;
    double left_bias;
    double tie; /* of Davidson's model; 0: a tie is half an answer for each side */
    struct annotators annotators;
    double *psi;
    double lambdas[SEL_GROUPS_MAX]; /* of each group */
    size_t groups;
    uint8_t *group; /* of each feature */
    struct versions versions;
    struct drift drift;
    struct drift control; /* the same of the control arm alone */
    /* Sigma. */
    int64_t edge; /* requests issued before do not count */
    struct sel_information *information;
    struct sel_information *unweighted; /* the same with w = 1, for rules that want it; else NULL */
    bool stale;                         /* must be rebuilt from the requests */
    bool moved;               /* changed since the picker last began, other than by its own picks */
    int64_t counted;          /* labelled pairs in Sigma */
    struct request **members; /* scratch, in order of id */
    size_t member_count;
    /* I: [0] made under psi = 0, [1] under a later fit. */
    struct moments_bucket buckets[2][MODEL_BUCKETS][MODEL_VERSIONS];
    double *policy;
    bool policy_stale;
    int64_t policy_pools;          /* behind I */
    double policy_pools_effective; /* (sum of weights)^2 / sum of squared weights */
    double policy_completions;     /* mean effective completions of a pool behind I */
    struct sel_preference *preference;
    int64_t lapse_labels; /* behind the last estimate of lapse rates made here */
};

bool model_init(struct model *model, const struct engine_options *options,
                struct requests *requests);
void model_fini(struct model *model);

/* Adopt an entry; each returns how it was taken. A SPACE of another name becomes current, and
 * everything learnt in the space before is dropped; it is the caller who knows that it is newer. */
enum applied model_space(struct model *model, const struct entry_space *space, int64_t time,
                         int64_t offset, struct error *error);
enum applied model_fit(struct model *model, const struct entry *entry, struct error *error);
/* A whole pane: packed holds dimension (dimension + 1) / 2 values, or is NULL when pools = 0. */
bool model_moments(struct model *model, const struct entry_moments *pane, int64_t time,
                   const float *packed, struct error *error);

/* Counts a label towards the next fit. */
void model_label_arrived(struct model *model, const struct request *request);
/* Brings Sigma in line with one request whose state changed. */
void model_follow(struct model *model, struct request *request);
/* Sigma as the rule wants it: what picks are made by. */
struct sel_information *model_design(const struct model *model);
/* A pick of the round has entered model_design; puts it into Sigma where that is another one. */
bool model_picked(struct model *model, struct request *request, struct error *error);
/* Rebuilds what is stale. False with ERROR_NONE in `error`: there is no I or no space yet. */
bool model_refresh(struct model *model, struct error *error);
/* tr(I S) of a refreshed model; NaN before there is an I. */
double model_trace(const struct model *model);

/* Computes the next fit from the labels (psi: dimension doubles of the caller). */
struct model_fit_result {
    struct sel_preference_result preference;
    double lapse; /* that it takes as known */
    double left_bias, tie;
    struct buffer annotators; /* rows as FIT holds them; the caller's to free, also on failure */
    double return_rate;
    int64_t labels;
    struct id digest;
};
bool model_compute_fit(struct model *model, double *psi, struct model_fit_result *result,
                       struct error *error);
/* True when enough labels are newer than the fit, or half a window has passed since. */
bool model_fit_due(struct model *model, int64_t now);
/* Drops requests that can no longer matter: neither to Sigma, nor to a label that may come, nor
 * (kept(request)) to an open pool. False: out of memory. */
bool model_forget(struct model *model, bool (*kept)(void *, const struct request *), void *context);

/* True when all values are finite. */
bool model_finite(const double *values, size_t count);

/* ---- window.c ---- */

/* Where the window of labels begins: it moves with the largest time in the ledger, in sixteenths.
 */
int64_t model_edge(const struct model *model);
/* True when a request may count in Sigma: of this space and not older than the window. */
bool model_in_window(const struct model *model, const struct request *request);
/* The newest fit has seen its label: only those count towards labels.max, so that what stands in
 * Sigma depends on the entries and the fit alone. */
bool model_seen_by_fit(const struct model *model, const struct request *request);
/* A labelled pair of Sigma: it tells left from right, and its policy is not too old to weigh. */
bool model_counts(const struct model *model, const struct request *request);
/* The requests that count into members, in order of id; false: out of memory. Ends with the latter.
 */
bool model_collect(struct model *model);
void model_members_end(struct model *model);

/* ---- ages.c ---- */

/* True when the age of a policy version matters to anything. */
bool model_ages(const struct model *model);
/* Notes the policy epoch that an entry of the ledger names, read from it: what is decided here ages
 * others once it is committed. False: no memory. */
bool model_note_version(struct model *model, const struct entry *entry);
/* Where the window begins in which an entry holds its epoch. */
int64_t model_epochs_edge(const struct model *model);
/* Forgets the epochs that the window holds no more. */
void model_forget_versions(struct model *model);
/* omega of a label of a policy's epoch, and of a request that is whole: 1 where versions are kept.
 */
double model_label_weight(const struct model *model, int64_t policy_epoch);
double model_request_weight(const struct model *model, const struct request *request);

/* ---- policy.c ---- */

void model_init_moments(struct model *model);
void model_clear_moments(struct model *model);
void model_sum_policy(struct model *model);
size_t model_moments_bytes(const struct engine_options *options, size_t dimension);

/* x' psi of a request. */
double model_margin(const struct model *model, const float *x);
/* w of a request at the newest psi. */
double model_weight(const struct model *model, const struct request *request);
size_t model_bytes(const struct engine_options *options, size_t dimension);
/* Memory that a fit borrows for each request. */
size_t model_fit_bytes(void);
/* Labels beyond labels.max that are kept, so that what a fit has not seen yet cannot matter. */
int64_t model_slack(const struct engine_options *options);

#endif
