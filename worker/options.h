/* The configuration: one table of options (options_table.c), a row each, drives parsing,
 * validation, printing, the digest of shared options and the reference page.
 *
 * Sources, the later wins: defaults, a preset of the command, the file (libconfig), INFOPAIR_*
 * of the environment, --set NAME=VALUE. Option `pool.size` is the member `pool_size` and the
 * environment's INFOPAIR_POOL_SIZE. Durations are milliseconds, sizes bytes.
 *
 * A `struct options` is read-only once loaded, so any thread may read it. */
#ifndef INFOPAIR_OPTIONS_H
#define INFOPAIR_OPTIONS_H

#include "schemas/contracts.h"
#include "schemas/error.h"
#include "selectors/selectors.h"
#include "worker/engine/engine.h"
#include "worker/log.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct string_list {
    char **items; /* owned */
    size_t count;
    char **places; /* where each was given: "file:line", "--set"; owned; NULL: unknown */
};
/* Adds the first `size` bytes of `text`. False: out of memory. */
bool string_list_append(struct string_list *list, const char *text, size_t size);
void string_list_free(struct string_list *list);

enum kafka_assignment { ASSIGNMENT_RANGE, ASSIGNMENT_COOPERATIVE };

/* What a token of the budget is. */
enum budget_unit { UNIT_LABELS, UNIT_COST };

/* Where a value came from. */
enum option_source { OPTION_DEFAULT, OPTION_COMMAND, OPTION_FILE, OPTION_ENVIRONMENT, OPTION_SET };

/* What the options mean: options_table.c, or config/reference.md, which is made from it. */
struct options {
    char *kafka_brokers; /* "" when not given */
    char *kafka_group;
    char *kafka_instance;
    bool kafka_static;
    enum kafka_assignment kafka_assignment;
    int64_t kafka_session_timeout;
    int64_t kafka_transaction_timeout;
    struct string_list kafka_properties; /* "name=value" each */

    char *topics_completions;
    char *topics_labels;
    char *topics_pairs;
    char *topics_ledger;
    char *topics_dead_letters;
    int64_t topics_partitions;
    int64_t topics_replication;

    enum framing schemas_framing;
    char *schemas_directory;
    struct string_list schemas_ids; /* "id=file" each */

    int64_t commit_interval;
    int64_t commit_records;

    size_t features_dimension; /* 0: of the first record */
    char *features_space;      /* "": the largest feature_epoch */
    double features_scale;     /* 0: estimated */
    int64_t features_scale_pools;
    struct string_list features_groups; /* "name=ranges" each */
    size_t features_blocks;

    size_t limits_record;
    size_t limits_dimension;
    size_t limits_text;
    size_t limits_attributes;
    int64_t limits_clock_ahead;

    size_t pool_size;
    size_t pool_min;
    size_t pool_max;
    int64_t pool_wait;
    int64_t pool_age;
    int64_t pool_picks; /* 0: no limit */
    double pool_near;
    bool pool_drop_near;

    double policy_beta; /* 0 when not given */
    enum policy_sampling policy_sampling;
    int64_t policy_window;
    double policy_pools_min; /* 0: no warning */
    int64_t moments_interval;
    double moments_gamma;

    enum label_versions labels_versions;
    double labels_gamma;
    int64_t labels_window;
    int64_t labels_max;
    double labels_lapse; /* NaN: estimated */
    double labels_probes;
    bool labels_by_annotator;
    enum labels_ties labels_ties;
    double labels_surprise;
    int64_t labels_deadline;
    int64_t labels_late;
    int64_t labels_attempts;
    int64_t labels_replicas;
    enum labels_replicate labels_replicate;
    enum labels_both_bad labels_both_bad;
    enum labels_skips labels_skips;

    int64_t fit_every;
    double fit_lambda;     /* 0: by evidence */
    double fit_lambda_max; /* 0: 2 d / .09 */

    char *selection_rule; /* known to sel_rule_find, or that of the plugin */
    enum selection_when selection_when;
    enum sel_weighting selection_weights;
    char *selection_plugin; /* "": none */
    enum selection_draw selection_draw;
    double selection_sharpness;
    double selection_epsilon;
    enum selection_prompts selection_prompts;
    size_t selection_shortlist;
    size_t selection_domain_quota; /* 0: none */
    bool selection_per_cost;
    double selection_price_share;
    double selection_price_rate;
    size_t selection_candidates;
    size_t selection_list;
    int64_t selection_batch;                 /* 0: auto */
    struct string_list selection_parameters; /* "name=value" each */
    /* Parameters of rules; NaN: the rule's default. */
    double selection_confidence, selection_buffer, selection_resolution;
    double selection_target_margin, selection_quantile_low, selection_quantile_high;
    double selection_gate, selection_implicit_margin, selection_prompt_share;
    double selection_top_quantile, selection_ridge, selection_design_beta, selection_iterations;
    double selection_within_prompts, selection_gap, selection_exchanges, selection_subset;
    double selection_entropy_weight, selection_neighbours, selection_radius;
    double selection_reward_share, selection_kernel_scale;
    /* What the above come to, from options_load on. */
    const struct sel_rule *rule;
    double rule_parameters[SEL_PARAMETERS_MAX];
    struct sel_plugin *plugin; /* NULL: none */
    struct feature_groups *groups;
    double control_share;

    double budget_per_second; /* 0: none, as the next three */
    int64_t budget_burst;
    int64_t budget_in_flight;
    double budget_per_hour, budget_per_day, budget_total;
    int64_t budget_per_prompt; /* 0: no limit */
    enum budget_unit budget_unit;
    struct string_list budget_domains; /* "name=FLOOR..CAP" each */
    struct string_list budget_quiet;   /* "Mon-Fri 18:00-08:00" each */
    char *budget_utc_offset;
    struct budget_limits budget_limits; /* what those come to, from options_load on */

    int64_t certificate_interval; /* 0: only when asked for */
    size_t certificate_candidates;
    int64_t accounting_interval;  /* 0: only when asked for */
    size_t accounting_memory;     /* 0: no shadows */
    char *accounting_rule;        /* "": none */
    const struct sel_rule *rival; /* what that comes to; NULL: none */

    size_t memory_limit;
    uint64_t seed;
    char *http_address; /* "": no server */
    enum log_level log_level;

    unsigned char *sources; /* enum option_source of each row of the table */
};

/* Where options_load reads from. Lists end with NULL and may be NULL; everything is borrowed. */
struct options_input {
    const char *const *presets;     /* "name=value": a command's own defaults */
    const char *file;               /* NULL: /etc/infopair/infopair.cfg where it exists */
    bool no_default_file;           /* with file NULL: read none */
    const char *const *environment; /* as `environ`; only INFOPAIR_* is looked at */
    const char *const *sets;        /* "name=value", as given to --set */
};

/* All defaults; NULL when memory runs out. */
struct options *options_new(void);
void options_free(struct options *options);

/* Reads all sources into `options` (fresh from options_new) and checks what one option demands of
 * another. Errors are ERROR_FATAL and say `file:line: option: what` (or the name of the
 * variable, or --set) and, for an unknown name, the nearest valid one. */
bool options_load(struct options *options, const struct options_input *input, struct error *error);

/* Fails unless every named option was given: options without a default are demanded only by
 * the commands that need them. Names end with NULL: options_require(o, &e, "policy.beta", NULL). */
bool options_require(const struct options *options, struct error *error, ...)
    __attribute__((sentinel));

/* Fails unless a worker can run with them: what has no default is given, and the rule works outside
 * of simulations. */
bool options_require_worker(const struct options *options, struct error *error);

/* The budget as the engine takes it. */
struct budget_options options_budget(const struct options *options);

/* Fields of a completion that the rule needs, "policy_logprob, reward"; "" when none. */
enum { OPTIONS_NEEDS_SIZE = 128 };
void options_needs(const struct sel_rule *rule, char text[OPTIONS_NEEDS_SIZE]);

/* The digest of all shared options, which workers of one group must have in common: 32 hex digits
 * that differ when any of them does, ':', and a mark for each (options_digest.c). "" when memory
 * ran out. */
#define OPTIONS_DIGEST_SIZE 256
#define OPTIONS_DIGEST_HASH 32 /* what people are shown of it */
void options_digest(const struct options *options, char digest[OPTIONS_DIGEST_SIZE]);
/* True when a digest, as it stands in a ledger's entry, is that of other shared options. `names`
 * (size: 64 or more) then holds which ones differ, "policy.beta, pool.size", ending in ", ..."
 * where they are too many; or "the list of options (another version of infopair)". Any thread. */
bool options_digest_differs(const struct options *options, struct span foreign, char *names,
                            size_t size);

/* What the contracts need of them; strings and lists are borrowed. */
struct contracts_options options_contracts(const struct options *options);

/* Prints in the form of the file, each value with its source as a comment; secrets masked. all:
 * defaults too. */
bool options_print(const struct options *options, FILE *out, bool all);
/* The value of one option as text, secrets masked, into `text`. False: no such option. */
bool options_text(const struct options *options, const char *name, char *text, size_t size);

/* The reference page in Markdown, made from the table alone. */
bool options_reference(FILE *out);

/* Fails when two options would share a variable of the environment, a default breaks its own range,
 * or the digest has no room for all shared options. The build runs it. */
bool options_check_table(struct error *error);

/* The value of "name=value" in kafka.properties, the last one given; NULL when absent. */
const char *options_property(const struct options *options, const char *name);
/* True when what stands under this name must not be shown (passwords, keys, tokens). */
bool options_secret(const char *property);

#endif
