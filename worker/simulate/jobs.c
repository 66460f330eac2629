#include "jobs.h"

#include "runs.h"
#include "schemas/bytes.h"
#include "worker/clock.h"
#include "worker/interrupt.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 64 * 1024 * 1024, LOOK_MS = 200, TELL_MS = 2000, READ_BYTES = 65536 };

/* One process at work. */
struct worker {
    pid_t process; /* 0: none */
    int pipe;
    size_t job;
    struct buffer said;
};

struct field {
    struct jobs *jobs;
    struct worker *workers;
    struct world *world; /* of the seed that was begun last */
    uint64_t world_seed;
    FILE *record;
    size_t next, total, done, before; /* jobs; before: were in the record */
    int64_t start, told;
};

static uint64_t seed_of(const struct scene *scene, size_t job)
{
    return scene->first_seed + job % scene->seeds;
}

static const char *rule_of(const struct scene *scene, size_t job)
{
    return scene->rules.items[job / scene->seeds];
}

/* Jobs are begun seed by seed, so that a world is made once. */
static size_t job_at(const struct scene *scene, size_t order)
{
    size_t rule = order % scene->rules.count, seed = order / scene->rules.count;
    return rule * scene->seeds + seed;
}

/* ---- the record ---- */

static void take_line(struct jobs *jobs, const char *line)
{
    struct run run;
    const struct scene *scene = jobs->scene;
    if (!runs_parse(line, jobs->text, &run))
        return;
    for (size_t job = 0; job < scene->rules.count * scene->seeds; job++) {
        if (jobs->runs[job].rule == NULL && run.seed == seed_of(scene, job) &&
            strcmp(run.rule, rule_of(scene, job)) == 0) {
            jobs->runs[job] = run;
            return;
        }
    }
    run_free(&run);
}

/* A line that was cut off by a crash counts for nothing, and must not spoil the next. */
static bool open_record(struct field *field, struct error *error)
{
    struct jobs *jobs = field->jobs;
    if (jobs->record == NULL)
        return true;
    field->record = fopen(jobs->record, "a+e");
    if (field->record == NULL)
        return error_set(error, ERROR_DATA, "%s: %s", jobs->record, strerror(errno));
    char *line = NULL;
    size_t size = 0;
    ssize_t length;
    bool whole = true;
    rewind(field->record);
    while ((length = getline(&line, &size, field->record)) > 0) {
        whole = line[length - 1] == '\n';
        take_line(jobs, line);
    }
    free(line);
    for (size_t job = 0; job < field->total; job++)
        field->before += jobs->runs[job].rule != NULL;
    field->done = field->before;
    fseek(field->record, 0, SEEK_END);
    return whole || fputc('\n', field->record) != EOF ||
           error_set(error, ERROR_FATAL, "%s: %s", jobs->record, strerror(errno));
}

static bool keep_line(struct field *field, const char *line, struct error *error)
{
    if (field->record == NULL)
        return true;
    return (fprintf(field->record, "%s\n", line) > 0 && fflush(field->record) == 0) ||
           error_set(error, ERROR_FATAL, "%s: %s", field->jobs->record, strerror(errno));
}

/* ---- processes ---- */

static bool world_of(struct field *field, uint64_t seed, struct error *error)
{
    if (field->world != NULL && field->world_seed == seed)
        return true;
    world_free(field->world);
    field->world = scene_world(field->jobs->scene, seed, error);
    field->world_seed = seed;
    return field->world != NULL;
}

static void write_all(int file, const char *text, size_t size)
{
    while (size > 0) {
        ssize_t written = write(file, text, size);
        if (written < 0 && errno != EINTR)
            _exit(1);
        if (written > 0) {
            text += written;
            size -= (size_t)written;
        }
    }
}

/* The child: one run, told as a line, or an error behind a '!'. */
static void work(const struct field *field, size_t job, int out)
{
    struct error error = {ERROR_NONE, ""};
    struct run run;
    const struct scene *scene = field->jobs->scene;
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    char *line =
        run_rule(scene, field->world, rule_of(scene, job), seed_of(scene, job), &run, &error)
            ? runs_line(field->jobs->text, &run)
            : NULL;
    if (line != NULL) {
        write_all(out, line, strlen(line));
    } else {
        write_all(out, "!", 1);
        write_all(out, error.message, strlen(error.message));
    }
    _exit(0);
}

static bool begin(struct field *field, struct worker *worker, size_t job, struct error *error)
{
    int ends[2];
    if (!world_of(field, seed_of(field->jobs->scene, job), error))
        return false;
    if (pipe(ends) != 0)
        return error_set(error, ERROR_FATAL, "pipe: %s", strerror(errno));
    fflush(NULL);
    pid_t process = fork();
    if (process == 0) {
        close(ends[0]);
        work(field, job, ends[1]);
    }
    close(ends[1]);
    if (process < 0) {
        close(ends[0]);
        return error_set(error, ERROR_FATAL, "fork: %s", strerror(errno));
    }
    *worker = (struct worker){
        .process = process, .pipe = ends[0], .job = job, .said = {.maximum = LINE_MAX_BYTES}};
    return true;
}

/* Begins a job on each idle worker. */
static bool begin_all(struct field *field, struct error *error)
{
    for (size_t k = 0; k < field->jobs->processes; k++) {
        while (field->next < field->total &&
               field->jobs->runs[job_at(field->jobs->scene, field->next)].rule != NULL)
            field->next++;
        if (field->workers[k].process != 0 || field->next == field->total)
            continue;
        size_t job = job_at(field->jobs->scene, field->next++);
        if (!begin(field, &field->workers[k], job, error))
            return false;
    }
    return true;
}

static bool finish(struct field *field, struct worker *worker, struct error *error)
{
    int status = 0;
    const struct scene *scene = field->jobs->scene;
    size_t job = worker->job;
    bool done = buffer_append(&worker->said, "", 1);
    const char *line = done ? worker->said.data : "";
    while (waitpid(worker->process, &status, 0) < 0 && errno == EINTR) {
    }
    worker->process = 0;
    close(worker->pipe);
    if (line[0] == '!')
        error_set(error, ERROR_DATA, "%s, seed %zu: %s", rule_of(scene, job),
                  (size_t)seed_of(scene, job), line + 1);
    else if (status != 0 || !runs_parse(line, field->jobs->text, &field->jobs->runs[job]))
        error_set(error, ERROR_FATAL, "%s, seed %zu: its process ended with status %d",
                  rule_of(scene, job), (size_t)seed_of(scene, job), status);
    done = field->jobs->runs[job].rule != NULL && keep_line(field, line, error);
    buffer_free(&worker->said);
    field->done++;
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
               error_set(error, ERROR_FATAL, "out of memory for a run");
    return finish(field, worker, error);
}

static bool listen_all(struct field *field, size_t *busy, struct error *error)
{
    struct pollfd polled[field->jobs->processes];
    struct worker *of[field->jobs->processes];
    *busy = 0;
    for (size_t k = 0; k < field->jobs->processes; k++) {
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
    for (size_t k = 0; k < field->jobs->processes; k++) {
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

static void tell(struct field *field)
{
    int64_t now = clock_monotonic_ms();
    if (field->jobs->quiet || now - field->told < TELL_MS)
        return;
    field->told = now;
    size_t here = field->done - field->before;
    double left = here == 0 ? -1
                            : (double)(now - field->start) / 1e3 / (double)here *
                                  (double)(field->total - field->done);
    fprintf(stderr, "simulate: %s: %zu of %zu runs", field->jobs->scene->name, field->done,
            field->total);
    if (left >= 0)
        fprintf(stderr, ", %.0f s left", left);
    fprintf(stderr, "\n");
}

static bool interrupted(const struct field *field, struct error *error)
{
    if (!interrupt_seen())
        return false;
    if (field->record != NULL)
        error_set(error, ERROR_RETRY,
                  "interrupted; %zu of %zu runs are in %s, and the same command "
                  "goes on from there",
                  field->done, field->total, field->jobs->record);
    else
        error_set(error, ERROR_RETRY, "interrupted");
    return true;
}

bool jobs_run(struct jobs *jobs, struct error *error)
{
    struct field field = {.jobs = jobs,
                          .total = jobs->scene->rules.count * jobs->scene->seeds,
                          .start = clock_monotonic_ms()};
    field.told = field.start;
    field.workers = calloc(jobs->processes, sizeof *field.workers);
    jobs->runs = calloc(field.total + 1, sizeof *jobs->runs);
    bool done = (field.workers != NULL && jobs->runs != NULL) ||
                error_set(error, ERROR_FATAL, "out of memory for %zu runs", field.total);
    done = done && open_record(&field, error);
    for (size_t busy = 1; done && busy > 0;) {
        done = !interrupted(&field, error) && begin_all(&field, error) &&
               listen_all(&field, &busy, error);
        tell(&field);
    }
    if (field.workers != NULL)
        end_all(&field);
    if (field.record != NULL)
        fclose(field.record);
    world_free(field.world);
    free(field.workers);
    return done;
}

void jobs_free(struct jobs *jobs)
{
    for (size_t k = 0; jobs->runs != NULL && k < jobs->scene->rules.count * jobs->scene->seeds; k++)
        run_free(&jobs->runs[k]);
    free(jobs->runs);
    jobs->runs = NULL;
}
