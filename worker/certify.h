/* Solving a certificate (engine/certificate.h) in short steps, so that it can be told to stop. */
#ifndef INFOPAIR_CERTIFY_H
#define INFOPAIR_CERTIFY_H

#include "engine/certificate.h"
#include "schemas/error.h"

#include <stdatomic.h>

/* The bound is looked for until it lies within this share of the optimum. */
#define CERTIFY_TOLERANCE .01

/* As sel_certify would over the asked pairs and all open ones, were there memory for it: optimum is
 * the best design found, bound is proven for every design of them, however early it ends. Takes
 * from milliseconds to minutes, and memory as certificate_bytes says. False: ERROR_RETRY, *stop was
 * set; ERROR_DATA, why there is none. Any thread. */
bool certify(const struct certificate_snapshot *snapshot, const atomic_bool *stop,
             struct sel_certificate *certificate, struct error *error);

#endif
