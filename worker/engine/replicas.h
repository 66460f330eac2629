/* Replicas and attempts: the requests that ask for one answer.
 *
 * A pair is asked `labels.replicas` times, each time by a replica with a number from 1 on; a
 * replica that is not answered is asked again, by attempts with a number from 1 on. Each attempt is
 * a request of its own, and its id follows from (feature space, pair, replica, attempt), so that
 * the others are found from any of them. Cost: as many look-ups as attempts of one replica were
 * ever seen; none while that is 1.
 *
 * An attempt that has an answer closes its replica. Of several, the one whose counting label is the
 * lowest (ledger partition, offset) holds the answer; every other one is marked `elsewhere`. This
 * is a function of the entries, in whatever order they came: the marks are found anew with each
 * entry about any attempt. With labels.skips = again a skip or invalid label is no answer. */
#ifndef INFOPAIR_REPLICAS_H
#define INFOPAIR_REPLICAS_H

#include "requests.h"

/* True when its labels close its replica. */
bool request_answered(const struct requests *requests, const struct request *request);

/* All attempts of the replica that are known, by number; the request itself is one. Returns how
 * many. A request without SELECTED is its own only one. */
size_t replicas_attempts(const struct requests *requests, const struct request *request,
                         struct request *attempts[REQUEST_ATTEMPTS_MAX]);
/* True when any attempt of the replica is answered. */
bool replicas_answered(const struct requests *requests, const struct request *request);
/* The request for another replica or attempt of the pair; NULL: not known. */
struct request *replicas_find(const struct requests *requests, const struct request *request,
                              int32_t replica, int32_t attempt);

/* An attempt whose mark has changed. */
struct replica_change {
    struct request *request;
    bool was_open;
};
/* Finds the marks of the replica of a request that has changed; returns how many are others. */
size_t replicas_settle(struct requests *requests, struct request *request,
                       struct replica_change changes[REQUEST_ATTEMPTS_MAX]);

/* The request that a label answers which names its pair only: that of the label it supersedes, else
 * the oldest of the pair that is under way, else the newest. NULL: none is known. */
struct request *replicas_of_pair(const struct requests *requests, struct id pair,
                                 struct span supersedes);

/* Who answered or skipped the pair of a request, each once; spans are the requests' own. Returns
 * how many, at most REQUEST_REPLICAS_MAX. */
size_t replicas_annotators(const struct requests *requests, const struct request *request,
                           struct span annotators[REQUEST_REPLICAS_MAX]);
/* A request for another replica of the same pair that this annotator answered; NULL: there is none.
 */
const struct request *replicas_answered_by(const struct requests *requests,
                                           const struct request *request, struct span annotator);

#endif
