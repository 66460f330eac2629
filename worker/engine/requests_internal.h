/* What requests.c, requests_body.c and requests_labels.c share. */
#ifndef INFOPAIR_ENGINE_REQUESTS_INTERNAL_H
#define INFOPAIR_ENGINE_REQUESTS_INTERNAL_H

#include "requests.h"

/* ---- requests.c ---- */

/* Finds or makes the request that an entry speaks of. *fresh: it was made now. */
enum applied requests_obtain(struct requests *requests, struct span request_id,
                             struct request **request, bool *fresh, struct error *error);
/* A request is under way from SELECTED until anything closes it: looks again whether it is. */
void requests_follow(struct requests *requests, struct request *request);
/* Takes it from the list of those under way, before what closes it is written over its place. */
void requests_not_under_way(struct requests *requests, struct request *request);

/* ---- requests_body.c ---- */

/* What SELECTED and LABELLED share. */
struct request_body {
    struct span x, prompt, left, right, version, space;
    int64_t policy_epoch;
};

/* Completes *request, which moves to a block that holds all of it. */
enum applied requests_complete(struct requests *requests, struct request **request,
                               const struct request_body *body, struct error *error);
/* Gives the memory of a request back, and its place in the indexes of pairs and prompts. */
void requests_give_block(struct requests *requests, struct request *request);

/* ---- requests_labels.c ---- */

void requests_give_labels(struct requests *requests, struct request *request);

#endif
