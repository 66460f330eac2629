#include "jobs.h"

#include "runs.h"
#include "schemas/bytes.h"
#include "worker/clock.h"
#include "worker/interrupt.h"
#include "worker/processes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { LINE_MAX_BYTES = 64 * 1024 * 1024, TELL_MS = 2000 };

struct field {
    struct jobs *jobs;
    size_t *pending;     /* jobs that are still to be run, in the order in which they are begun */
    struct world *world; /* of the seed that was begun last */
    uint64_t world_seed;
    FILE *record;
    size_t total, done, before; /* jobs; before: were in the record */
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

static const char RUN_BEGINS[] = "{\"scene\":";

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
    struct stat found;
    field->record = fopen(jobs->record, "a+e");
    if (field->record == NULL || fstat(fileno(field->record), &found) != 0)
        return error_set(error, ERROR_DATA, "--record: '%.200s': %s", jobs->record,
                         strerror(errno));
    if (!S_ISREG(found.st_mode))
        return error_set(error, ERROR_DATA, "--record: '%.200s' is not a regular file",
                         jobs->record);
    char *line = NULL;
    size_t size = 0;
    ssize_t length;
    bool whole = true;
    rewind(field->record);
    bool fits = true;
    for (size_t number = 0; fits && (length = getline(&line, &size, field->record)) > 0; number++) {
        whole = line[length - 1] == '\n';
        fits = number > 0 || strncmp(line, RUN_BEGINS, strlen(RUN_BEGINS)) == 0 || !whole;
        take_line(jobs, line);
    }
    free(line);
    if (!fits)
        return error_set(error, ERROR_DATA, "--record: '%.200s' holds no runs", jobs->record);
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

static bool prepare(void *closure, size_t place, struct error *error)
{
    struct field *field = closure;
    return world_of(field, seed_of(field->jobs->scene, field->pending[place]), error);
}

/* In its own process: one run, told as a line, or an error behind a '!'. */
static void work(void *closure, size_t place, int out)
{
    const struct field *field = closure;
    size_t job = field->pending[place];
    struct error error = {ERROR_NONE, ""};
    struct run run;
    const struct scene *scene = field->jobs->scene;
    char *line =
        run_rule(scene, field->world, rule_of(scene, job), seed_of(scene, job), &run, &error)
            ? runs_line(field->jobs->text, &run)
            : NULL;
    if (line != NULL) {
        processes_say(out, line, strlen(line));
    } else {
        const char *message =
            error.message[0] != '\0' ? error.message : "out of memory, or a name is no UTF-8";
        processes_say(out, "!", 1);
        processes_say(out, message, strlen(message));
    }
}

static bool finish(void *closure, size_t place, const struct buffer *said, int status,
                   struct error *error)
{
    struct field *field = closure;
    const struct scene *scene = field->jobs->scene;
    size_t job = field->pending[place];
    const char *line = said->data;
    if (line[0] == '!')
        error_set(error, ERROR_DATA, "%s, seed %zu: %s", rule_of(scene, job),
                  (size_t)seed_of(scene, job), line + 1);
    else if (status != 0 || !runs_parse(line, field->jobs->text, &field->jobs->runs[job]))
        error_set(error, ERROR_FATAL, "%s, seed %zu: its process ended with status %d",
                  rule_of(scene, job), (size_t)seed_of(scene, job), status);
    field->done++;
    return field->jobs->runs[job].rule != NULL && keep_line(field, line, error);
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

static bool look(void *closure, struct error *error)
{
    tell(closure);
    return !interrupted(closure, error);
}

/* The jobs that no record holds, seed by seed. */
static size_t list_pending(struct field *field)
{
    size_t count = 0;
    for (size_t k = 0; k < field->total; k++) {
        size_t job = job_at(field->jobs->scene, k);
        if (field->jobs->runs[job].rule == NULL)
            field->pending[count++] = job;
    }
    return count;
}

bool jobs_run(struct jobs *jobs, struct error *error)
{
    struct field field = {.jobs = jobs,
                          .total = jobs->scene->rules.count * jobs->scene->seeds,
                          .start = clock_monotonic_ms()};
    field.told = field.start;
    field.pending = calloc(field.total + 1, sizeof *field.pending);
    jobs->runs = calloc(field.total + 1, sizeof *jobs->runs);
    bool done = (field.pending != NULL && jobs->runs != NULL) ||
                error_set(error, ERROR_FATAL, "out of memory for %zu runs", field.total);
    if (done && open_record(&field, error)) {
        const struct processes processes = {.total = list_pending(&field),
                                            .at_a_time = jobs->processes,
                                            .said_max = LINE_MAX_BYTES,
                                            .closure = &field,
                                            .prepare = prepare,
                                            .work = work,
                                            .finish = finish,
                                            .look = look};
        done = processes_run(&processes, error);
    } else {
        done = false;
    }
    if (field.record != NULL)
        fclose(field.record);
    world_free(field.world);
    free(field.pending);
    return done;
}

void jobs_free(struct jobs *jobs)
{
    for (size_t k = 0; jobs->runs != NULL && k < jobs->scene->rules.count * jobs->scene->seeds; k++)
        run_free(&jobs->runs[k]);
    free(jobs->runs);
    jobs->runs = NULL;
}
