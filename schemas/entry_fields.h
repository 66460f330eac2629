/* The fields of every kind of ledger entry: member of struct entry, record of ledger.avsc, field,
 * and how it is read and written. One table for both directions. LATER: a field that came after the
 * first version, at the end of its record; absent it is 1 (ONE), 0 (ZERO) or empty. */
#ifndef INFOPAIR_ENTRY_FIELDS_H
#define INFOPAIR_ENTRY_FIELDS_H

#include "records.h"

#define ENTRY_FIELDS(ROW)                                                                          \
    ROW(selected, Selected, request_id, TEXT)                                                      \
    ROW(selected, Selected, pair_id, TEXT)                                                         \
    ROW(selected, Selected, prompt_id, TEXT)                                                       \
    ROW(selected, Selected, left_id, TEXT)                                                         \
    ROW(selected, Selected, right_id, TEXT)                                                        \
    ROW(selected, Selected, feature_space, TEXT)                                                   \
    ROW(selected, Selected, policy_version, TEXT)                                                  \
    ROW(selected, Selected, policy_epoch, LONG)                                                    \
    ROW(selected, Selected, x, BYTES)                                                              \
    ROW(selected, Selected, weight, DOUBLE)                                                        \
    ROW(selected, Selected, fit_id, LONG)                                                          \
    ROW(selected, Selected, arm, ARM)                                                              \
    ROW(selected, Selected, propensity, DOUBLE)                                                    \
    ROW(selected, Selected, completions_partition, INT)                                            \
    ROW(selected, Selected, slot, LONG)                                                            \
    ROW(selected, Selected, issued_at, LONG)                                                       \
    ROW(selected, Selected, deadline, LONG)                                                        \
    ROW(selected, Selected, replica, INT)                                                          \
    ROW(selected, Selected, attempt, INT)                                                          \
    ROW(selected, Selected, cost, LATER_ONE)                                                       \
    ROW(selected, Selected, domain, LATER_TEXT)                                                    \
    ROW(labelled, Labelled, label_id, TEXT)                                                        \
    ROW(labelled, Labelled, request_id, TEXT)                                                      \
    ROW(labelled, Labelled, pair_id, TEXT)                                                         \
    ROW(labelled, Labelled, prompt_id, TEXT)                                                       \
    ROW(labelled, Labelled, left_id, TEXT)                                                         \
    ROW(labelled, Labelled, right_id, TEXT)                                                        \
    ROW(labelled, Labelled, feature_space, TEXT)                                                   \
    ROW(labelled, Labelled, policy_version, TEXT)                                                  \
    ROW(labelled, Labelled, policy_epoch, LONG)                                                    \
    ROW(labelled, Labelled, x, BYTES)                                                              \
    ROW(labelled, Labelled, source_topic, TEXT)                                                    \
    ROW(labelled, Labelled, source_partition, INT)                                                 \
    ROW(labelled, Labelled, source_offset, LONG)                                                   \
    ROW(labelled, Labelled, outcome, OUTCOME)                                                      \
    ROW(labelled, Labelled, probability_left, OPTIONAL)                                            \
    ROW(labelled, Labelled, confidence, DOUBLE)                                                    \
    ROW(labelled, Labelled, annotator_id, TEXT)                                                    \
    ROW(labelled, Labelled, annotator_kind, TEXT)                                                  \
    ROW(labelled, Labelled, labelled_at, LONG)                                                     \
    ROW(labelled, Labelled, origin, ORIGIN)                                                        \
    ROW(labelled, Labelled, supersedes, TEXT)                                                      \
    ROW(labelled, Labelled, arm, ARM)                                                              \
    ROW(expired, Expired, request_id, TEXT)                                                        \
    ROW(expired, Expired, completions_partition, INT)                                              \
    ROW(withdrawn, Withdrawn, request_id, TEXT)                                                    \
    ROW(withdrawn, Withdrawn, reason, TEXT)                                                        \
    ROW(moments, Moments, completions_partition, INT)                                              \
    ROW(moments, Moments, from, LONG)                                                              \
    ROW(moments, Moments, to, LONG)                                                                \
    ROW(moments, Moments, feature_space, TEXT)                                                     \
    ROW(moments, Moments, policy_version, TEXT)                                                    \
    ROW(moments, Moments, policy_epoch, LONG)                                                      \
    ROW(moments, Moments, fit_id, LONG)                                                            \
    ROW(moments, Moments, stream_time, LONG)                                                       \
    ROW(moments, Moments, dimension, INT)                                                          \
    ROW(moments, Moments, pools, LONG)                                                             \
    ROW(moments, Moments, weight, DOUBLE)                                                          \
    ROW(moments, Moments, effective_sample_size, DOUBLE)                                           \
    ROW(moments, Moments, chunk, INT)                                                              \
    ROW(moments, Moments, chunks, INT)                                                             \
    ROW(moments, Moments, sums, BYTES)                                                             \
    ROW(moments, Moments, squares, LATER_ZERO)                                                     \
    ROW(fit, Fit, fit_id, LONG)                                                                    \
    ROW(fit, Fit, feature_space, TEXT)                                                             \
    ROW(fit, Fit, psi, BYTES)                                                                      \
    ROW(fit, Fit, lambda, BYTES)                                                                   \
    ROW(fit, Fit, lapse, DOUBLE)                                                                   \
    ROW(fit, Fit, left_bias, DOUBLE)                                                               \
    ROW(fit, Fit, return_rate, DOUBLE)                                                             \
    ROW(fit, Fit, labels, LONG)                                                                    \
    ROW(fit, Fit, label_digest, TEXT)                                                              \
    ROW(fit, Fit, objective, DOUBLE)                                                               \
    ROW(fit, Fit, iterations, INT)                                                                 \
    ROW(fit, Fit, annotators, LATER_ANNOTATORS)                                                    \
    ROW(fit, Fit, tie, LATER_ZERO)                                                                 \
    ROW(price, Price, completions_partition, INT)                                                  \
    ROW(price, Price, price, DOUBLE)                                                               \
    ROW(space, Space, feature_space, TEXT)                                                         \
    ROW(space, Space, feature_epoch, LONG)                                                         \
    ROW(space, Space, dimension, INT)                                                              \
    ROW(space, Space, centre, BYTES)                                                               \
    ROW(space, Space, scale, DOUBLE)                                                               \
    ROW(space, Space, pools, LONG)

/* The kind of each member. */
enum {
    kind_of_selected = ENTRY_SELECTED,
    kind_of_labelled = ENTRY_LABELLED,
    kind_of_expired = ENTRY_EXPIRED,
    kind_of_withdrawn = ENTRY_WITHDRAWN,
    kind_of_moments = ENTRY_MOMENTS,
    kind_of_fit = ENTRY_FIT,
    kind_of_price = ENTRY_PRICE,
    kind_of_space = ENTRY_SPACE
};

#endif
