#include "processes.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LOOK_MS = 200, READ_BYTES = 65536 };

/* One process at work. */
struct worker {
    pid_t process; /* 0: none */
    int pipe;
    size_t job;
    struct buffer said;
};

struct field {
    const struct processes *processes;
    struct worker *workers;
    size_t next;
};

void processes_say(int out, const void *data, size_t size)
{
    const char *text = data;
    while (size > 0) {
        ssize_t written = write(out, text, size);
        if (written < 0 && errno != EINTR)
            _exit(1);
        if (written > 0) {
            text += written;
            size -= (size_t)written;
        }
    }
}

static bool begin(struct field *field, struct worker *worker, size_t job, struct error *error)
{
    const struct processes *processes = field->processes;
    int ends[2];
    if (processes->prepare != NULL && !processes->prepare(processes->closure, job, error))
        return false;
    if (pipe(ends) != 0)
        return error_set(error, ERROR_FATAL, "pipe: %s", strerror(errno));
    fflush(NULL);
    pid_t process = fork();
    if (process == 0) {
        close(ends[0]);
        /* A terminal interrupts the whole group: it is for the parent to say so, and to end us. */
        signal(SIGINT, SIG_IGN);
        signal(SIGTERM, SIG_IGN);
        processes->work(processes->closure, job, ends[1]);
        _exit(0);
    }
    close(ends[1]);
    if (process < 0) {
        close(ends[0]);
        return error_set(error, ERROR_FATAL, "fork: %s", strerror(errno));
    }
    *worker = (struct worker){
        .process = process, .pipe = ends[0], .job = job, .said = {.maximum = processes->said_max}};
    return true;
}

/* Begins a job on each idle worker. */
static bool begin_all(struct field *field, struct error *error)
{
    for (size_t k = 0; k < field->processes->at_a_time; k++) {
        if (field->workers[k].process != 0 || field->next == field->processes->total)
            continue;
        if (!begin(field, &field->workers[k], field->next++, error))
            return false;
    }
    return true;
}

static bool finish(struct field *field, struct worker *worker, struct error *error)
{
    const struct processes *processes = field->processes;
    int status = 0;
    while (waitpid(worker->process, &status, 0) < 0 && errno == EINTR) {
    }
    worker->process = 0;
    close(worker->pipe);
    bool done =
        buffer_append(&worker->said, "", 1)
            ? processes->finish(processes->closure, worker->job, &worker->said, status, error)
            : error_set(error, ERROR_FATAL, "out of memory for what a process says");
    buffer_free(&worker->said);
    return done;
}

/* Reads what a worker says; at its end the job is done. */
static bool listen_to(struct field *field, struct worker *worker, struct error *error)
{
    char bytes[READ_BYTES];
    ssize_t size = read(worker->pipe, bytes, sizeof bytes);
    if (size < 0)
        return errno == EINTR || error_set(error, ERROR_FATAL, "pipe: %s", strerror(errno));
    if (size > 0)
        return buffer_append(&worker->said, bytes, (size_t)size) ||
               error_set(error, ERROR_FATAL, "out of memory for what a process says");
    return finish(field, worker, error);
}

static bool listen_all(struct field *field, size_t *busy, struct error *error)
{
    struct pollfd polled[field->processes->at_a_time];
    struct worker *of[field->processes->at_a_time];
    *busy = 0;
    for (size_t k = 0; k < field->processes->at_a_time; k++) {
        if (field->workers[k].process == 0)
            continue;
        of[*busy] = &field->workers[k];
        polled[(*busy)++] = (struct pollfd){.fd = field->workers[k].pipe, .events = POLLIN};
    }
    if (*busy == 0 || poll(polled, *busy, LOOK_MS) <= 0)
        return true;
    for (size_t k = 0; k < *busy; k++) {
        if (polled[k].revents != 0 && !listen_to(field, of[k], error))
            return false;
    }
    return true;
}

static void end_all(struct field *field)
{
    for (size_t k = 0; k < field->processes->at_a_time; k++) {
        struct worker *worker = &field->workers[k];
        if (worker->process == 0)
            continue;
        kill(worker->process, SIGKILL);
        while (waitpid(worker->process, NULL, 0) < 0 && errno == EINTR) {
        }
        close(worker->pipe);
        buffer_free(&worker->said);
    }
}

bool processes_run(const struct processes *processes, struct error *error)
{
    struct field field = {.processes = processes};
    field.workers = calloc(processes->at_a_time, sizeof *field.workers);
    bool done = field.workers != NULL || error_set(error, ERROR_FATAL, "out of memory");
    for (size_t busy = 1; done && busy > 0;) {
        done = (processes->look == NULL || processes->look(processes->closure, error)) &&
               begin_all(&field, error) && listen_all(&field, &busy, error);
    }
    if (field.workers != NULL)
        end_all(&field);
    free(field.workers);
    return done;
}
