/* One session of a worker: its handles, its engine and where the ledger has been read to. Shared by
 * session.c, assignment.c, follower.c, intake.c, commit.c and report.c only. All of it runs on
 * the worker's one thread. */
#ifndef INFOPAIR_SESSION_H
#define INFOPAIR_SESSION_H

#include "engine/engine.h"
#include "http.h"
#include "memory.h"
#include "metrics.h"
#include "options.h"
#include "worker.h"

#include <librdkafka/rdkafka.h>
#include <stdatomic.h>

struct ledger_position {
    int64_t next;         /* everything below was given to the engine; -1: not known yet */
    int64_t goal;         /* high watermark of the last barrier */
    int64_t unknown_goal; /* high watermark behind labels that wait */
};

struct session {
    const struct options *options;
    const struct worker_flags *flags;
    const struct memory_plan *plan;
    const atomic_bool *stopping;
    struct http *http;
    struct metrics *metrics;
    struct contracts *contracts;
    char digest[OPTIONS_DIGEST_SIZE];
    rd_kafka_t *consumer, *follower, *watermarks, *producer;
    struct engine *engine;
    int32_t partitions[INPUTS];
    int32_t ledger_partitions;
    struct ledger_position *ledger;
    rd_kafka_topic_partition_list_t *assigned; /* NULL: nothing */
    bool restored;                             /* the ledger was read up to the first barrier */
    bool ready;
    bool brokers_down;
    bool labels_paused;
    int64_t unknown_ticket; /* labels up to this are decided at unknown_goal; 0: nobody waits */
    int64_t reported_at;
    struct error failed; /* set inside callbacks; ends the session */
};

/* ---- session.c ---- */
/* Runs one session. True: it was told to stop. */
bool session_run(struct session *session, struct error *error);
/* Sets what stands on /ready; NULL: nothing, it is ready. */
void session_not_ready(struct session *session, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
bool session_stopping(const struct session *session);

/* ---- follower.c ---- */
/* Assigns the follower to the whole ledger. */
bool follower_start(struct session *session, struct error *error);
/* Gives the engine what the ledger holds for now; waits at most timeout_ms for the first record. */
bool follower_poll(struct session *session, int timeout_ms, struct error *error);
/* Reads the ledger's high watermarks, uncommitted ones included, into goal. */
bool follower_barrier(struct session *session, struct error *error);
/* Reads on until every partition has passed its goal. */
bool follower_pass_barrier(struct session *session, const char *what, struct error *error);
/* Decides about labels whose pair is not known, once the ledger was read far enough. */
bool follower_unknown_labels(struct session *session, struct error *error);
/* Records between what was read and the last goal. */
int64_t follower_behind(const struct session *session);

/* ---- assignment.c ---- */
void assignment_rebalance(rd_kafka_t *consumer, rd_kafka_resp_err_t code,
                          rd_kafka_topic_partition_list_t *partitions, void *opaque);
/* INPUTS when the topic is none of ours. */
enum input assignment_input(const struct session *session, const char *topic);

/* ---- intake.c ---- */
bool intake(struct session *session, const rd_kafka_message_t *message, struct error *error);

/* ---- commit.c ---- */
/* Closes the open batch and commits it in one transaction. */
bool commit_batch(struct session *session, struct error *error);

/* ---- report.c ---- */
void report(struct session *session);
void report_batch(struct session *session, const struct batch *batch, double seconds);

#endif
