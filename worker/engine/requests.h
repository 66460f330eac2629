/* The ledger's view of requests and their labels.
 *
 * Invariants: a function of the SET of entries (order and repetition change nothing); a request is
 * found by id, and all of a prompt's requests by prompt; a label is known by the hash of its
 * label_id and its request, and is what its lowest entry says. Of several accepted labels of one
 * request the lowest (ledger partition, offset) that no other supersedes counts; labels decided
 * here and not yet read back stand behind those read. Cost: O(1) per entry. All memory comes from
 * one store with a limit. */
#ifndef INFOPAIR_REQUESTS_H
#define INFOPAIR_REQUESTS_H

#include <math.h>
#include <uthash.h>

#include "identity.h"
#include "schemas/error.h"
#include "schemas/records.h"
#include "store.h"

struct request;

struct request_label {
    UT_hash_handle hh;
    struct id id;                  /* of the label_id */
    struct id supersedes;          /* of the label_id it replaces */
    struct request_label *same_id; /* of another request */
    bool replaces;
    struct request *request;
    struct request_label *next; /* of the same request */
    enum label_outcome outcome;
    double probability; /* of left; NaN carries no information */
    double confidence;
    int32_t ledger_partition;
    int64_t ledger_offset; /* INT64_MAX: decided here, not read back yet */
    int64_t order;         /* of arrival, among those not read back */
    int64_t accepted_at;
};

/* x and the texts that LABELLED repeats; one block behind the request. */
struct request_body {
    size_t bytes;
    uint32_t dimension;
    uint32_t prompt_size, left_size, right_size, version_size, space_size;
    float x[]; /* left minus right, then the texts one after another */
};

struct request {
    UT_hash_handle hh;
    UT_hash_handle by_pair;
    struct request *of_prompt;               /* next of the same prompt */
    struct request *open_next, *open_before; /* while under way */
    struct request_body *body;               /* NULL until SELECTED or LABELLED was seen */
    struct request_label *labels;
    const struct request_label *counting;
    struct id id, pair, prompt, space, left, right;
    double weight;  /* w at the pick */
    double current; /* w under the newest fit */
    double applied; /* what stands in Sigma now */
    int64_t fit_id;
    int64_t policy_epoch;
    int64_t issued_at;
    int64_t deadline;
    int64_t slot;
    int32_t partition; /* of completions */
    int32_t replica, attempt;
    enum pair_arm arm;
    bool selected, expired, withdrawn, open;
    bool imported; /* its label came without a request */
    bool counted;  /* among the labelled pairs of Sigma */
    bool cut;      /* beyond labels.max */
};

struct requests_of_prompt;

struct requests {
    struct store *store;
    struct request *by_id;
    struct request *by_pair; /* the newest of each pair */
    struct request_label *labels;
    struct requests_of_prompt *by_prompt;
    struct request *open_first, *open_last;
    int64_t count;
    int64_t open_count;
    int64_t label_order;
    int64_t slot_last; /* largest slot seen */
    int64_t time_last; /* largest event time seen */
};

void requests_init(struct requests *requests, struct store *store);
void requests_fini(struct requests *requests);

struct request *requests_find(const struct requests *requests, struct id id);
/* The label of that name, of whatever request; `request` NULL: of any. */
struct request_label *requests_find_label(const struct requests *requests,
                                          const struct request *request, struct id label_id);
/* The newest request of a pair, or NULL. */
struct request *requests_find_pair(const struct requests *requests, struct id pair);
/* First of the requests of a prompt (then request->of_prompt), or NULL. */
struct request *requests_of(const struct requests *requests, struct id prompt);

/* What applying an entry did. */
enum applied { APPLIED_NEW, APPLIED_KNOWN, APPLIED_REFUSED, APPLIED_NO_MEMORY };

/* Each applies one entry; seen before: APPLIED_KNOWN. *request is the request it was about. `error`
 * says why one was refused. offset INT64_MAX: decided here. */
enum applied requests_selected(struct requests *requests, const struct entry *entry,
                               struct request **request, struct error *error);
enum applied requests_labelled(struct requests *requests, const struct entry *entry,
                               int32_t partition, int64_t offset, struct request **request,
                               struct error *error);
enum applied requests_closed(struct requests *requests, struct span request_id, bool expired,
                             struct request **request, struct error *error);

/* False with the reason: the entry contradicts itself. */
bool requests_check_selected(const struct entry_selected *selected, struct error *error);
bool requests_check_labelled(const struct entry_labelled *labelled, struct error *error);

/* Share of w that stands in Sigma: confidence once answered with information, `return_rate` while
 * under way, else 0. */
double request_share(const struct request *request, double return_rate);
/* True when its counting label tells left from right. */
bool request_informative(const struct request *request);

/* The texts of a request that has a body. */
struct span request_prompt_id(const struct request *request);
struct span request_left_id(const struct request *request);
struct span request_right_id(const struct request *request);
struct span request_policy_version(const struct request *request);
struct span request_space(const struct request *request);

/* Forgets a request and its labels. */
void requests_forget(struct requests *requests, struct request *request);

#endif
