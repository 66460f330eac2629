/* A worker's shell in small: what worker/session.c, assignment.c, follower.c and commit.c do, a
 * step at a time, so that a schedule can put anything between two steps.
 *
 * A boundary is a place where a process may die: every one is asked, by name, whether this is it.
 */
#ifndef INFOPAIR_SIMULATION_SHELL_H
#define INFOPAIR_SIMULATION_SHELL_H

#include "cluster.h"
#include "worker/engine/event.h"

/* What the schedule decides; given by simulate.c. */
struct schedule {
    void *world;
    /* True: the process dies here. */
    bool (*dies)(void *world, int worker, const char *boundary);
    /* True: the broker answers this step with an error that asks for an abort. */
    bool (*refused)(void *world);
    uint64_t (*below)(void *world, uint64_t bound);
    /* A pair was published and is not committed yet; a transaction was decided. */
    void (*asked)(void *world, int worker, const struct effect *effect);
    void (*decided)(void *world, int worker, bool committed);
};

enum phase { PHASE_DOWN, PHASE_RESTORING, PHASE_RUNNING };
enum takeover { TAKEOVER_NONE, TAKEOVER_OFFSETS, TAKEOVER_BARRIER, TAKEOVER_LEDGER };
enum stage { STAGE_BEGIN, STAGE_PRODUCE, STAGE_OFFSETS, STAGE_COMMIT, STAGE_UNKNOWN, STAGE_DONE };

/* The transaction in flight. */
struct flight {
    const struct batch *batch; /* NULL: none */
    int64_t generation;        /* taken when the batch was closed */
    enum stage stage;
    size_t effect;
};

struct shell {
    int number;
    char slot[16]; /* its name */
    const struct engine_options *options;
    struct contracts *contracts;
    struct cluster *cluster;
    const struct schedule *schedule;
    struct engine *engine;
    enum phase phase;
    bool frozen;
    int64_t skew; /* of its clock */
    int64_t epoch, generation;
    int64_t position[LEDGER_PARTITIONS], goal[LEDGER_PARTITIONS];
    int64_t unknown_goal[LEDGER_PARTITIONS], unknown_ticket;
    bool holds[INPUTS][PARTITIONS_MAX];
    enum takeover takeover;
    bool gaining[INPUTS][PARTITIONS_MAX];
    struct committed found[INPUTS][PARTITIONS_MAX]; /* stable offsets, read before the barrier */
    struct flight flight;
    int64_t events; /* that its engines were given */
};

/* Each does a little and returns; true: something was done. A process that dies in one is down. */
bool shell_start(struct shell *shell, int64_t now); /* a new process, or a new session */
bool shell_restore(struct shell *shell);            /* reads some of the ledger */
/* The same, once it runs. A ledger that was cut while it was read ends the session. */
bool shell_follow(struct shell *shell, int most);
bool shell_group(struct shell *shell, int64_t now); /* what the group asks of it */
bool shell_takeover(struct shell *shell);
bool shell_deliver(struct shell *shell, enum input input, int32_t partition, int most);
bool shell_tick(struct shell *shell, int64_t now); /* and closes a batch when none is in flight */
/* The options were read again. */
void shell_budget(struct shell *shell, const struct budget_options *budget);
bool shell_flight(struct shell *shell, int64_t now); /* one step of the transaction in flight */
/* Commits all that was decided; false: the process died. */
bool shell_commit_all(struct shell *shell, int64_t now);
/* The process is gone; what it left open stays open. */
void shell_kill(struct shell *shell);

#endif
