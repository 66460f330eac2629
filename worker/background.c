#include "background.h"

#include "clock.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PAUSE = 1000, OK = 200, ACCEPTED = 202 };

struct background {
    const struct background_kind *kind;
    void *context;
    int64_t interval;
    int64_t began; /* the last snapshot, or the try; the engine's thread only */
    pthread_t thread;
    atomic_bool stop; /* readable without the lock */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* Under the lock. */
    bool wanted;           /* somebody asked */
    bool busy;             /* the thread has the snapshot */
    uint64_t begun, ended; /* tries */
    void *snapshot;
    void *newest;
    bool known;                                      /* there is one */
    char reason[sizeof((struct error *)0)->message]; /* why the last try came to nothing; "" */
};

/* ---- the thread ---- */

static void keep(struct background *background, void *outcome)
{
    if (background->known)
        background->kind->discard(background->newest);
    memcpy(background->newest, outcome, background->kind->outcome_size);
    background->known = true;
}

static void end_try(struct background *background, const struct error *error)
{
    memcpy(background->reason, error->message, sizeof background->reason);
    background->ended = background->begun;
    pthread_cond_broadcast(&background->changed);
}

static void *work(void *opaque)
{
    struct background *background = opaque;
    const struct background_kind *kind = background->kind;
    void *outcome = malloc(kind->outcome_size);
    pthread_mutex_lock(&background->lock);
    while (!atomic_load(&background->stop)) {
        if (!background->busy) {
            pthread_cond_wait(&background->changed, &background->lock);
            continue;
        }
        pthread_mutex_unlock(&background->lock);
        struct error error = {ERROR_NONE, ""};
        bool done = outcome != NULL
                        ? kind->solve(background->context, background->snapshot, &background->stop,
                                      outcome, &error)
                        : error_set(&error, ERROR_DATA, "out of memory for %s", kind->name);
        kind->drop(background->snapshot);
        pthread_mutex_lock(&background->lock);
        if (done)
            keep(background, outcome);
        background->busy = false;
        end_try(background, &error);
    }
    pthread_mutex_unlock(&background->lock);
    free(outcome);
    return NULL;
}

/* ---- its life ---- */

struct background *background_new(const struct background_kind *kind, void *context,
                                  int64_t interval, struct error *error)
{
    struct background *background = calloc(1, sizeof *background);
    if (background != NULL) {
        background->snapshot = calloc(1, kind->snapshot_size);
        background->newest = calloc(1, kind->outcome_size);
    }
    if (background == NULL || background->snapshot == NULL || background->newest == NULL) {
        error_set(error, ERROR_FATAL, "out of memory for %s", kind->name);
        goto failed;
    }
    background->kind = kind;
    background->context = context;
    background->interval = interval;
    background->began = clock_monotonic_ms() - PAUSE; /* the first may begin at once */
    pthread_mutex_init(&background->lock, NULL);
    pthread_cond_init(&background->changed, NULL);
    int code = pthread_create(&background->thread, NULL, work, background);
    if (code == 0)
        return background;
    error_set(error, ERROR_FATAL, "a thread for %s: %s", kind->name, strerror(code));
    pthread_cond_destroy(&background->changed);
    pthread_mutex_destroy(&background->lock);
failed:
    if (background != NULL) {
        free(background->snapshot);
        free(background->newest);
    }
    free(background);
    return NULL;
}

void background_free(struct background *background)
{
    if (background == NULL)
        return;
    pthread_mutex_lock(&background->lock);
    atomic_store(&background->stop, true);
    pthread_cond_broadcast(&background->changed);
    pthread_mutex_unlock(&background->lock);
    pthread_join(background->thread, NULL);
    pthread_cond_destroy(&background->changed);
    pthread_mutex_destroy(&background->lock);
    if (background->busy)
        background->kind->drop(background->snapshot);
    if (background->known)
        background->kind->discard(background->newest);
    free(background->snapshot);
    free(background->newest);
    free(background);
}

/* ---- taking ---- */

static bool is_due(struct background *background, int64_t since)
{
    int64_t interval = background->interval;
    pthread_mutex_lock(&background->lock);
    bool due = !background->busy && since >= PAUSE &&
               (background->wanted || (interval > 0 && since >= interval));
    pthread_mutex_unlock(&background->lock);
    return due;
}

void background_set_interval(struct background *background, int64_t interval)
{
    background->interval = interval;
}

void background_tick(struct background *background, const struct engine *engine)
{
    int64_t now = clock_monotonic_ms();
    if (!is_due(background, now - background->began))
        return;
    struct error error = {ERROR_NONE, ""};
    /* The thread has no snapshot: this one is free. */
    bool done = background->kind->take(background->context, engine, background->snapshot, &error);
    if (!done && error.class == ERROR_RETRY)
        return; /* after the next tick */
    background->began = now;
    pthread_mutex_lock(&background->lock);
    background->wanted = false;
    background->busy = done;
    background->begun++;
    if (!done)
        end_try(background, &error);
    pthread_cond_broadcast(&background->changed);
    pthread_mutex_unlock(&background->lock);
}

/* ---- telling ---- */

int background_answer(struct background *background, char **body)
{
    pthread_mutex_lock(&background->lock);
    const char *reason = background->busy                ? "the first one is being computed"
                         : background->reason[0] != '\0' ? background->reason
                                                         : "one has been asked for";
    bool known = background->known;
    json_t *root =
        known ? background->kind->tell(background->newest) : json_pack("{s:s}", "reason", reason);
    if (known && root != NULL && background->reason[0] != '\0')
        json_object_set_new(root, "reason", json_string(background->reason));
    if (!background->busy)
        background->wanted = true;
    pthread_mutex_unlock(&background->lock);
    *body = root == NULL ? NULL : json_dumps(root, 0);
    json_decref(root);
    return *body == NULL ? 0 : known ? OK : ACCEPTED;
}

bool background_wait(struct background *background, int64_t timeout,
                     void (*look)(void *context, const void *outcome), void *context)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += timeout / 1000;
    until.tv_nsec += timeout % 1000 * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&background->lock);
    background->wanted = true;
    uint64_t next = background->begun + 1;
    while (background->ended < next &&
           pthread_cond_timedwait(&background->changed, &background->lock, &until) == 0)
        ;
    bool known = background->known;
    if (known)
        look(context, background->newest);
    pthread_mutex_unlock(&background->lock);
    return known;
}

void background_settle(struct background *background)
{
    pthread_mutex_lock(&background->lock);
    while (background->busy)
        pthread_cond_wait(&background->changed, &background->lock);
    pthread_mutex_unlock(&background->lock);
}
