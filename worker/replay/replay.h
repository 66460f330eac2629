/* A replay from its inputs to its report. */
#ifndef INFOPAIR_REPLAY_H
#define INFOPAIR_REPLAY_H

#include <stdio.h>

#include "compare.h"
#include "worker/command_kafka.h"

struct replay_request {
    const char *config;      /* file; NULL: the default one */
    const char *const *sets; /* "NAME=VALUE" each, ended by NULL */
    const char *rules;       /* RULE[,NAME=VALUE]... each, separated by ';'; NULL: the configured */
    struct past_files files; /* completions NULL: the topics */
    struct past_range range;
    enum oracle oracle;
    const char *oracle_file; /* of ORACLE_GIVEN */
    size_t labels;           /* most that each rule asks; 0: no limit */
    size_t seeds;            /* from the options' seed on; at least 1 */
    size_t processes;
    const char *asked; /* file for what would have been asked; NULL: none */
    bool json, quiet;
    struct command_patience patience;
};

/* Runs it and prints the report; an exit code. The file for what would have been asked is opened
 * first, and emptied when there is something to write. */
int replay(const struct replay_request *request);

/* ---- options.c: of one rule ---- */

/* The options of the request with a rule's own (NULL: none) and one more (NULL: none), owned by the
 * caller. NULL: ERROR_DATA that names the rule. */
struct options *replay_options(const struct replay_request *request, const char *rule,
                               const char *more, struct error *error);

/* ---- output.c ---- */

/* What came of one rule under one seed. */
struct outcome {
    const char *rule;
    struct options *options;
    struct trial trial;
    struct design design;
    struct overlap overlap;
    size_t by_record, by_oracle; /* answers */
    struct off_policy estimates; /* of the first seed, known of a rule that draws */
};

struct replay_report {
    const struct past *past;
    const struct recorded *recorded;
    const struct common *common;
    enum oracle oracle;
    const struct outcome *outcomes; /* `count` of the first seed, then of the next */
    size_t count, seeds, base;      /* base: the uniform one */
    struct design design;           /* recorded */
    struct off_policy uniform;      /* estimates for uniform pairs */
    size_t labels;                  /* at which all are compared */
};

/* At which number of labels all designs that have any can be compared. */
size_t report_labels(const struct replay_report *report);
bool report_json(const struct replay_report *report, struct error *error);
bool report_table(const struct replay_report *report, struct error *error);
bool report_asked(const struct replay_report *report, FILE *file, struct error *error);

#endif
