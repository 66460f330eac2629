/* The ledger's view of requests and their labels.
 *
 * Invariants: a function of the SET of entries (order and repetition change nothing); a request is
 * found by id, and all of a prompt's requests by prompt; a label is known by the hash of its
 * label_id and its request, and is what its lowest entry says. Of several accepted labels of one
 * request the lowest (ledger partition, offset) that no other supersedes counts; labels decided
 * here and not yet read back stand behind those read. Of the attempts of one replica (replicas.c)
 * one holds the answer: the others are marked `elsewhere`, neither under way nor counted. Cost:
 * O(1) per entry. All memory comes from one store with a limit.
 *
 * A request is one block: this struct, x and the three ids that LABELLED repeats. What follows from
 * those (the pair, hashes of the ids) is computed when it is needed; feature space and policy
 * version are numbers of shared names. The usual label (alone, confidence 1, probability as its
 * outcome says) stands within the request; others are listed beside it. */
#ifndef INFOPAIR_REQUESTS_H
#define INFOPAIR_REQUESTS_H

#include <math.h>

#include "identity.h"
#include "index.h"
#include "names.h"
#include "schemas/error.h"
#include "schemas/records.h"
#include "store.h"

/* Longest id of a prompt or completion in an entry; the others are what the fields below hold. */
enum { REQUEST_ID_MAX = 1024, REQUEST_PARTITION_MAX = (1 << 17) - 1, REQUEST_SPACES_MAX = 8191 };
enum { REQUEST_POLICIES_MAX = (1 << 24) - 1 };
enum { REQUEST_ANNOTATORS_MAX = (1 << 16) - 1 };
/* Most answers that one pair may be asked for, and most requests for one of them. */
enum { REQUEST_REPLICAS_MAX = 15, REQUEST_ATTEMPTS_MAX = 15 };
/* Labels of one request that a worker accepts: more are a labeller's mistake, and would fill the
 * window. */
enum { REQUEST_LABELS_MAX = 256 };
/* Farthest that two features may be apart: twice SPACE_FARTHEST. Beyond, Sigma cannot be factored.
 */
#define REQUEST_X_MAX 2e5
/* The largest slot; where an entry has it, all picks that follow do. */
#define REQUEST_SLOT_MAX (INT64_MAX / 2)
#define REQUEST_DEADLINE_MAX (((int64_t)1 << 47) - 1) /* the year 6429 */

/* What a label says. */
struct request_label {
    struct id id;         /* of the label_id */
    struct id supersedes; /* of the label_id it replaces */
    double probability;   /* of left; NaN carries no information */
    double confidence;
    int64_t ledger_offset; /* INT64_MAX: decided here, not read back yet */
    int64_t order;         /* of arrival, among those not read back */
    int64_t accepted_at;
    int32_t ledger_partition;
    enum label_outcome outcome;
    uint32_t annotator; /* one more than the number of the name; 0: unknown */
    bool replaces;
    bool superseded; /* of a list: another label of the request replaces it */
};

/* A label that is not the usual one, or not the only one. */
struct listed_label {
    struct request_label said;
    struct listed_label *next; /* of the same request */
};

enum request_labels { LABELS_NONE, LABELS_PLAIN, LABELS_LISTED };

struct request {
    struct id id;
    struct request *of_prompt; /* next of the same prompt */
    int64_t issued_at;
    double weight;        /* w at the pick */
    double applied;       /* what stands in Sigma now */
    uint32_t fit_id;      /* of the pick */
    float cost;           /* what the budget was charged */
    uint32_t policy : 24; /* number of its version and epoch */
    uint32_t replica : 4, attempt : 4;
    uint32_t annotator : 20; /* of the plain label, as in struct request_label */
    int64_t deadline : 48;   /* 0 before SELECTED was seen */
    unsigned labels : 2;     /* enum request_labels */
    unsigned outcome : 3;    /* of the plain label */
    unsigned arm : 2;
    bool whole : 1; /* SELECTED or LABELLED was seen: all below is there */
    bool selected : 1, expired : 1, withdrawn : 1, open : 1;
    bool imported : 1;      /* its label came without a request */
    bool counted : 1;       /* among the labelled pairs of Sigma */
    bool cut : 1;           /* beyond labels.max */
    bool elsewhere : 1;     /* another attempt of its replica holds the answer */
    int32_t partition : 18; /* of completions; -1 before SELECTED was seen */
    uint64_t prompt_size : 11, left_size : 11, right_size : 11, space : 13;
    union {
        struct {
            struct request *next, *before; /* while open */
            double propensity;             /* 0 before SELECTED was seen */
        } under_way;                       /* while there is no label */
        struct {
            struct id id;
            int64_t accepted_at;
            uint64_t place; /* partition and offset in the ledger, or order of arrival */
        } plain;
        struct {
            struct listed_label *first;
            const struct listed_label *counting;
            double propensity; /* 0: not known */
        } listed;
    };
    float x[]; /* left minus right, then the ids of prompt, left and right */
};

struct requests {
    struct store *store;
    struct index by_id;
    struct index by_pair;         /* the newest of each pair that was asked */
    struct index by_prompt;       /* the newest of each prompt */
    struct index by_plain_label;  /* requests */
    struct index by_listed_label; /* labels */
    struct names spaces;          /* with their dimension */
    struct names policies;        /* with their epoch */
    struct names annotators;      /* numbers are one less than a label's */
    struct request *open_first, *open_last;
    int64_t count; /* of by_id */
    int64_t open_count;
    int64_t label_order;
    int64_t slot_last;     /* largest slot seen */
    int64_t time_last;     /* largest event time seen */
    int64_t issued_first;  /* no request that is whole was issued before */
    int32_t attempts_most; /* of one replica that were seen */
    /* Set before the first entry. */
    bool both_bad_ignored; /* both_bad carries no information */
    bool skips_again;      /* a skip or invalid label is no answer: the replica is asked again */
    bool keeps_propensity; /* that of an answered request too: its labels are listed then */
};

/* `requests` must not move afterwards. */
void requests_init(struct requests *requests, struct store *store);
void requests_fini(struct requests *requests);

struct request *requests_find(const struct requests *requests, struct id id);
/* True when the request has a label of that name. */
bool request_has_label(const struct request *request, struct id label_id);
/* Labels of the request. */
size_t request_labels_count(const struct request *request);
/* True when a label of that name is known, of whatever request. */
bool requests_has_label(const struct requests *requests, struct id label_id);
/* The newest request of a pair, or NULL; what was imported is none. */
struct request *requests_find_pair(const struct requests *requests, struct id pair);
/* First of the requests of a prompt (then request->of_prompt), or NULL. */
struct request *requests_of(const struct requests *requests, struct id prompt);
/* The next of all requests from place *at on, or NULL; begin with 0 and go on with *at + 1. In no
 * order that means anything. */
struct request *requests_next(const struct requests *requests, size_t *at);

/* Keeps issued_first true of this request. */
void requests_note_issued(struct requests *requests, const struct request *request);

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
/* The label that counts; false: none. */
bool request_counting(const struct request *request, struct request_label *label);
/* No other label of the request supersedes this one of its list. */
bool request_label_stands(const struct listed_label *label);
/* Who gave a label; empty: unknown. */
struct span request_label_annotator(const struct requests *requests,
                                    const struct request_label *label);
/* The label of LABELS_PLAIN. */
struct request_label request_plain_label(const struct request *request);
/* True when its counting label tells left from right. */
bool request_informative(const struct request *request);
/* Of a request that is whole. */
size_t request_dimension(const struct requests *requests, const struct request *request);
int64_t request_policy_epoch(const struct requests *requests, const struct request *request);
struct id request_space_id(const struct requests *requests, const struct request *request);
struct id request_pair(const struct requests *requests, const struct request *request);
struct id request_prompt(const struct requests *requests, const struct request *request);
struct span request_prompt_id(const struct requests *requests, const struct request *request);
struct span request_left_id(const struct requests *requests, const struct request *request);
struct span request_right_id(const struct requests *requests, const struct request *request);
struct span request_policy_version(const struct requests *requests, const struct request *request);
struct span request_space(const struct requests *requests, const struct request *request);

/* <0: of two labels left counts rather than right. */
int request_label_order(const struct request_label *left, const struct request_label *right);
/* Puts the mark of another attempt's answer; the request is under way or not accordingly. */
void requests_set_elsewhere(struct requests *requests, struct request *request, bool elsewhere);
/* Of its pick; 0: not known (any more). */
double request_propensity(const struct request *request);

/* Memory that a request with a plain label takes, texts of `texts` bytes included; and what a label
 * that is listed takes more. */
size_t requests_bytes(size_t dimension, size_t texts);
size_t requests_listed_bytes(void);

/* Forgets a request and its labels. */
void requests_forget(struct requests *requests, struct request *request);

#endif
