/* One session of a worker: its handles, its engine and where the ledger has been read to. Shared by
 * session.c, assignment.c, follower.c, intake.c, commit.c, flow.c and report.c only. All of it runs
 * on the worker's one thread, but for what the committer's thread owns while it is busy. */
#ifndef INFOPAIR_SESSION_H
#define INFOPAIR_SESSION_H

#include "accounting.h"
#include "certificate.h"
#include "engine/engine.h"
#include "engine/event.h"
#include "http.h"
#include "journal.h"
#include "memory.h"
#include "metrics.h"
#include "options.h"
#include "reload.h"
#include "worker.h"

#include <librdkafka/rdkafka.h>
#include <stdatomic.h>

struct ledger_position {
    int64_t next;         /* everything below was given to the engine; -1: not known yet */
    int64_t low;          /* the log's start when the session began */
    int64_t first_time;   /* of its first record, milliseconds since the epoch; -1: none yet */
    int64_t goal;         /* high watermark of the last barrier */
    int64_t unknown_goal; /* high watermark behind labels that wait */
};

/* What a takeover waits for. */
enum takeover { TAKEOVER_NONE, TAKEOVER_OFFSETS, TAKEOVER_BARRIER, TAKEOVER_LEDGER };

struct committer;

struct session {
    const struct options *options; /* of the start */
    struct reload *reload;
    const struct worker_flags *flags;
    const struct memory_plan *plan;
    const atomic_bool *stopping;
    struct http *http;
    struct metrics *metrics;
    struct certificate *certificate;
    struct accounting *accounting;
    struct contracts *contracts;
    struct journal *journal; /* NULL: none */
    char digest[OPTIONS_DIGEST_SIZE];
    rd_kafka_t *consumer, *follower, *watermarks, *producer;
    struct engine *engine;
    struct committer *committer;
    int32_t partitions[INPUTS];
    int32_t ledger_partitions;
    struct ledger_position *ledger;
    bool restored; /* the ledger was read up to the first barrier */
    bool joined;   /* the group has given an assignment, be it empty */
    /* A takeover under way: partitions that are assigned once their barrier is passed. */
    enum takeover takeover;
    rd_kafka_topic_partition_list_t *gaining;
    int64_t takeover_started;
    /* Flow. */
    rd_kafka_topic_partition_list_t *paused;
    bool flooded;       /* the open batch is full and the one before is not committed */
    int64_t full_since; /* 0: the open batch has room */
    bool brokers_down;
    int64_t looked_at;      /* when the topics were last looked at */
    int64_t unknown_ticket; /* labels up to this are decided at unknown_goal; 0: nobody waits */
    char foreign_digest[OPTIONS_DIGEST_SIZE]; /* the last one that was not ours */
    int64_t foreign_time;                     /* event time of its last entry */
    bool drift;                               /* the last labels contradict the fit */
    bool few_pools;                           /* I rests on few */
    char foreign[512];  /* options that differ from those of another worker; "" */
    char obstacle[512]; /* why nothing is asked, as logged last */
    int64_t reported_at, progress_at;
    int64_t fit_told;     /* fit of the annotators on /annotators */
    char space[201];      /* in force, as logged last */
    int64_t space_closed; /* pools of other spaces that were closed, as logged last */
    int64_t split_told;   /* prompts in several partitions, as logged last */
    struct error failed;  /* set inside callbacks; ends the session */
};

/* ---- session.c ---- */
/* Runs one session. True: it was told to stop. */
bool session_run(struct session *session, struct error *error);
/* Sets what stands on /ready; NULL: nothing, it is ready. */
void session_not_ready(struct session *session, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
bool session_stopping(const struct session *session);
/* Gives the engine an event, and the journal. */
bool session_event(struct session *session, const struct event *event, struct error *error);

/* ---- reload.c ---- */
/* Reads the options again if somebody asked for it. */
bool session_reload(struct session *session, struct error *error);
/* The options in force, where they may change while the worker runs. */
const struct options *session_settings(const struct session *session);
/* Gives a new engine the budget in force, if that is not the one of the start. */
bool session_budget(struct session *session, struct error *error);

/* ---- follower.c ---- */
/* Assigns the follower to the whole ledger. */
bool follower_start(struct session *session, struct error *error);
/* The same for a handle that takes over, from where the ledger has been read to. */
bool follower_assign(struct session *session, struct error *error);
/* Gives the engine what the ledger holds for now; waits at most timeout_ms for the first record. */
bool follower_poll(struct session *session, int timeout_ms, struct error *error);
/* Reads the ledger's high watermarks, uncommitted ones included, into goal. */
bool follower_barrier(struct session *session, struct error *error);
/* True when every partition has been read up to its goal. */
bool follower_passed(const struct session *session);
/* Reads on until that is so. */
bool follower_pass_barrier(struct session *session, struct error *error);
/* Tells on /ready, in the log and by metrics how far reading up to the goal has come. */
void follower_progress(struct session *session, const char *what, int64_t started);
/* Decides about labels whose pair is not known, once the ledger was read far enough. */
bool follower_unknown_labels(struct session *session, struct error *error);
/* Records between what was read and the last goal. */
int64_t follower_behind(const struct session *session);
/* The time from which on the ledger is whole; 0: nothing of it was deleted. */
int64_t follower_whole_since(const struct session *session);

/* ---- assignment.c ---- */
void assignment_rebalance(rd_kafka_t *consumer, rd_kafka_resp_err_t code,
                          rd_kafka_topic_partition_list_t *partitions, void *opaque);
/* Brings a takeover on, without waiting for long. */
bool assignment_takeover(struct session *session, struct error *error);
/* INPUTS when the topic is none of ours. */
enum input assignment_input(const struct session *session, const char *topic);

/* ---- intake.c ---- */
bool intake(struct session *session, const rd_kafka_message_t *message, struct error *error);

/* ---- commit.c ---- */
struct committer *committer_new(struct session *session, struct error *error);
/* Leaves the transaction in flight where it is, once the question under way was answered. */
void committer_free(struct committer *committer);
/* Closes the open batch and hands it to the committer's thread, if that is idle. */
bool commit_start(struct session *session, struct error *error);
/* Takes the outcome of the transaction in flight, if there is one; waits at most that long. */
bool commit_collect(struct session *session, int wait_ms, struct error *error);
bool commit_in_flight(const struct session *session);
/* Commits everything that was decided, within so many milliseconds (-1: however long it takes). */
bool commit_all(struct session *session, int64_t most_ms, struct error *error);
/* Why the transaction in flight was aborted; false: it was not. */
bool commit_trouble(struct session *session, char *text, size_t size);

/* ---- flow.c ---- */
/* True when nothing more fits into the open batch. */
bool flow_full(const struct session *session);
/* True when a labels partition must be paused before one record more of it is taken. */
bool flow_crowded(const struct session *session);
/* Pauses and resumes partitions. */
void flow_update(struct session *session);
/* Resumes what is paused: librdkafka keeps a pause over a new assignment. */
void flow_reset(struct session *session);

/* ---- report.c ---- */
void report(struct session *session);
void report_batch(struct session *session, const struct batch *batch, double seconds);

#endif
