/* `infopair send history`: preferences that were given elsewhere become LABELLED entries of the
 * ledger, of origin imported. */
#ifndef INFOPAIR_SEND_HISTORY_H
#define INFOPAIR_SEND_HISTORY_H

#include "command_kafka.h"

struct history_request {
    const struct options *options;
    struct command_patience patience;
    const char *file;        /* NULL or "-": standard input */
    const char *features[2]; /* .npy of the left and the right sides; NULL: in the lines */
    const char *const *defaults;
    size_t default_count;
    int64_t limit; /* of lines; -1: none */
    bool skip_bad;
};

/* Returns an exit code, after having told what was done on stderr. */
int send_history(const struct history_request *request);

#endif
