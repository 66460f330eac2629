#include "replay.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "worker/clock.h"
#include "worker/command.h"
#include "worker/interrupt.h"
#include "worker/processes.h"

enum { TELL_MS = 2000 };

/* One replay under way. Jobs: the rules, I, and the estimates for uniform pairs. */
struct replay {
    const struct replay_request *request;
    struct options *options; /* without a rule of its own */
    struct string_list rules;
    FILE *asked; /* NULL: not wanted */
    struct past past;
    struct recorded recorded;
    struct common common;
    struct outcome *outcomes;
    size_t count;   /* of them: rules times seeds */
    double *policy; /* I, d x d */
    struct replay_report report;
    size_t done, jobs;
    int64_t told, started;
};

/* ---- inputs ---- */

static bool list_rules(struct replay *replay, struct error *error)
{
    const char *text = replay->request->rules;
    bool done = true, uniform = false;
    if (text == NULL)
        text = replay->options->rule->name;
    for (size_t size; done && *text != '\0'; text += size + (text[size] == ';')) {
        size = strcspn(text, ";");
        done = size == 0 || string_list_append(&replay->rules, text, size);
    }
    for (size_t k = 0; done && k < replay->rules.count; k++) {
        if (!uniform && strcmp(replay->rules.items[k], "uniform") == 0) {
            uniform = true;
            replay->report.base = k;
        }
    }
    if (done && !uniform) {
        replay->report.base = replay->rules.count;
        done = string_list_append(&replay->rules, "uniform", strlen("uniform"));
    }
    return done || error_set(error, ERROR_FATAL, "out of memory");
}

static bool load_rules(struct replay *replay, struct error *error)
{
    replay->options = replay_options(replay->request, NULL, NULL, error);
    if (replay->options == NULL || !list_rules(replay, error))
        return false;
    log_set_level(replay->options->log_level);
    replay->count = replay->rules.count * replay->request->seeds;
    replay->outcomes = calloc(replay->count, sizeof *replay->outcomes);
    if (replay->outcomes == NULL)
        return error_set(error, ERROR_FATAL, "out of memory");
    for (size_t k = 0; k < replay->count; k++) {
        struct outcome *outcome = &replay->outcomes[k];
        char seed[32];
        snprintf(seed, sizeof seed, "seed=%" PRIu64,
                 replay->options->seed + k / replay->rules.count);
        outcome->rule = replay->rules.items[k % replay->rules.count];
        outcome->options = replay_options(replay->request, outcome->rule, seed, error);
        if (outcome->options == NULL)
            return false;
    }
    return true;
}

/* The file is none of those that are read. */
static bool check_asked(const struct replay *replay, struct error *error)
{
    const struct replay_request *request = replay->request;
    const struct past_files *files = &request->files;
    const struct {
        const char *option, *path;
    } inputs[] = {{"config", request->config},
                  {"completions", files->completions},
                  {"features", files->features},
                  {"prompts", files->prompts},
                  {"labels", files->labels},
                  {"oracle", request->oracle == ORACLE_GIVEN ? request->oracle_file : NULL}};
    struct stat asked, input;
    if (fstat(fileno(replay->asked), &asked) != 0)
        return error_set(error, ERROR_DATA, "--asked: %s: %s", request->asked, strerror(errno));
    for (size_t k = 0; S_ISREG(asked.st_mode) && k < sizeof inputs / sizeof *inputs; k++) {
        if (inputs[k].path != NULL && stat(inputs[k].path, &input) == 0 &&
            input.st_dev == asked.st_dev && input.st_ino == asked.st_ino)
            return error_set(error, ERROR_DATA, "--asked: %s is the file of --%s", request->asked,
                             inputs[k].option);
    }
    return true;
}

/* Before anything is read or run; what the file holds stays until there is something to write. */
static bool open_asked(struct replay *replay, struct error *error)
{
    const char *path = replay->request->asked;
    if (path == NULL)
        return true;
    int number = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    replay->asked = number < 0 ? NULL : fdopen(number, "w");
    if (replay->asked != NULL)
        return check_asked(replay, error);
    error_set(error, ERROR_DATA, "--asked: %s: %s", path, strerror(errno));
    if (number >= 0)
        close(number);
    return false;
}

/* An exit code, EXIT_DONE when the past has been read. */
static int read_past(struct replay *replay)
{
    const struct replay_request *request = replay->request;
    struct error error = {ERROR_NONE, ""};
    int code = EXIT_DONE;
    bool done;
    if (request->files.completions != NULL) {
        done = past_read_files(&replay->past, replay->options, &request->files, &error);
    } else {
        rd_kafka_t *admin = command_admin("replay", replay->options, &request->patience, &code);
        if (admin == NULL)
            return code;
        done = past_read_topics(&replay->past, replay->options, &request->range, admin, &error);
        rd_kafka_destroy(admin);
    }
    bool usage =
        error.class == ERROR_DATA || (request->files.completions != NULL && !interrupt_seen());
    return done ? EXIT_DONE : command_fail("replay", &error, usage ? EXIT_USAGE : EXIT_FAILED);
}

static bool find_common(struct replay *replay, struct error *error)
{
    const struct replay_request *request = replay->request;
    if (!recorded_read(&replay->recorded, &replay->past, replay->options, error))
        return false;
    if (request->oracle == ORACLE_GIVEN)
        return common_given(&replay->common, request->oracle_file, &replay->recorded, &replay->past,
                            replay->options, error);
    return common_fit(&replay->common, &replay->recorded, &replay->past, replay->options, error);
}

/* ---- jobs ---- */

static size_t policy_bytes(const struct replay *replay)
{
    return replay->common.dimension * replay->common.dimension * sizeof(double);
}

static bool run_rule(const struct replay *replay, const struct outcome *outcome,
                     struct buffer *said, struct error *error)
{
    const struct trial_plan plan = {.past = &replay->past,
                                    .options = outcome->options,
                                    .recorded = &replay->recorded,
                                    .common = &replay->common,
                                    .oracle = replay->request->oracle,
                                    .labels = replay->request->labels,
                                    .scores = replay->request->asked != NULL};
    struct trial trial;
    struct off_policy estimates = {0};
    int64_t started = clock_thread_ns();
    bool done = trial_run(&plan, &trial, error);
    double seconds = (double)(clock_thread_ns() - started) / 1e9;
    if (done && !replay->request->quiet)
        fprintf(stderr,
                "replay: %s: %" PRId64 " completions in %.3f s of a processor, %zu pairs asked\n",
                outcome->rule, trial.completions, seconds, trial.count);
    const struct off_policy_target target = {.options = outcome->options,
                                             .recorded = replay->options};
    bool first = outcome < replay->outcomes + replay->rules.count;
    if (done && first && off_policy_draws(outcome->options) && replay->past.requests > 0)
        done = off_policy_run(&replay->past, &target, &replay->recorded, &replay->common,
                              &estimates, error);
    if (done && !(buffer_append(said, &estimates, sizeof estimates) && trial_encode(&trial, said)))
        done = error_set(error, ERROR_FATAL, "out of memory for what a rule asks");
    trial_free(&trial);
    return done;
}

static bool run_job(const struct replay *replay, size_t job, struct buffer *said,
                    struct error *error)
{
    if (job < replay->count)
        return run_rule(replay, &replay->outcomes[job], said, error);
    if (job == replay->count)
        return compare_policy(&replay->past, replay->options, &replay->common, replay->policy,
                              error) &&
               buffer_append(said, replay->policy, policy_bytes(replay));
    struct off_policy uniform;
    const struct off_policy_target target = {.uniform = true,
                                             .options =
                                                 replay->outcomes[replay->report.base].options,
                                             .recorded = replay->options};
    return off_policy_run(&replay->past, &target, &replay->recorded, &replay->common, &uniform,
                          error) &&
           buffer_append(said, &uniform, sizeof uniform);
}

static const char *job_name(const struct replay *replay, size_t job)
{
    return job < replay->count    ? replay->outcomes[job].rule
           : job == replay->count ? "the policy"
                                  : "estimates for uniform pairs";
}

static void work(void *closure, size_t job, int out)
{
    const struct replay *replay = closure;
    struct error error = {ERROR_NONE, ""};
    struct buffer said = {.maximum = SIZE_MAX / 2};
    bool done = buffer_append(&said, ".", 1) && run_job(replay, job, &said, &error);
    if (done) {
        processes_say(out, said.data, said.size);
    } else {
        processes_say(out, "!", 1);
        processes_say(out, error.message, strlen(error.message));
    }
}

static bool take_said(struct replay *replay, size_t job, struct span said)
{
    size_t size = 0;
    if (job == replay->count) {
        if (said.size < policy_bytes(replay))
            return false;
        memcpy(replay->policy, said.data, policy_bytes(replay));
        return true;
    }
    struct off_policy *estimates =
        job < replay->count ? &replay->outcomes[job].estimates : &replay->report.uniform;
    if (said.size < sizeof *estimates)
        return false;
    memcpy(estimates, said.data, sizeof *estimates);
    said = (struct span){said.data + sizeof *estimates, said.size - sizeof *estimates};
    return job > replay->count || trial_decode(&replay->outcomes[job].trial, said, &size);
}

static bool finish(void *closure, size_t job, const struct buffer *said, int status,
                   struct error *error)
{
    struct replay *replay = closure;
    replay->done++;
    if (said->data[0] == '!')
        return error_set(error, ERROR_FATAL, "%.100s: %s", job_name(replay, job), said->data + 1);
    const struct span bytes = {said->data + 1, said->size - 2};
    return (status == 0 && said->size > 2 && take_said(replay, job, bytes)) ||
           error_set(error, ERROR_FATAL, "%.100s: its process ended with status %d",
                     job_name(replay, job), status);
}

static bool look(void *closure, struct error *error)
{
    struct replay *replay = closure;
    int64_t now = clock_monotonic_ms();
    if (!replay->request->quiet && now - replay->told >= TELL_MS) {
        replay->told = now;
        fprintf(stderr, "replay: %zu of %zu passages through %zu completions, %.0f s\n",
                replay->done, replay->jobs, spool_count(replay->past.completions),
                (double)(now - replay->started) / 1000);
    }
    return !interrupt_seen() || error_set(error, ERROR_FATAL, "interrupted");
}

static bool run_jobs(struct replay *replay, struct error *error)
{
    bool propensities = replay->past.requests > 0;
    replay->jobs = replay->count + 1 + propensities;
    replay->started = replay->told = clock_monotonic_ms();
    replay->policy = calloc(1, policy_bytes(replay) + 1);
    if (replay->policy == NULL)
        return error_set(error, ERROR_FATAL, "out of memory for the policy");
    const struct processes processes = {.total = replay->jobs,
                                        .at_a_time = replay->request->processes,
                                        .said_max = SIZE_MAX / 2,
                                        .closure = replay,
                                        .work = work,
                                        .finish = finish,
                                        .look = look};
    return processes_run(&processes, error);
}

/* ---- the report ---- */

static void count_answers(struct outcome *outcome)
{
    for (size_t k = 0; k < outcome->trial.count; k++) {
        outcome->by_record += outcome->trial.asked[k].answered == ANSWERED_BY_RECORD;
        outcome->by_oracle += outcome->trial.asked[k].answered == ANSWERED_BY_ORACLE;
    }
}

static bool compare(struct replay *replay, struct error *error)
{
    struct replay_report *report = &replay->report;
    for (size_t k = 0; k < replay->count; k++) {
        struct outcome *outcome = &replay->outcomes[k];
        count_answers(outcome);
        if (!design_of_trial(&outcome->design, &outcome->trial, &replay->recorded, &replay->common,
                             replay->policy, error) ||
            !compare_overlap(&outcome->trial, &replay->recorded, &outcome->overlap, error))
            return false;
    }
    report->past = &replay->past;
    report->recorded = &replay->recorded;
    report->common = &replay->common;
    report->oracle = replay->request->oracle;
    report->outcomes = replay->outcomes;
    report->count = replay->rules.count;
    report->seeds = replay->request->seeds;
    if (!design_of_past(&report->design, &replay->recorded, &replay->common, replay->policy, error))
        return false;
    report->labels = report_labels(report);
    return true;
}

static bool tell(const struct replay *replay, struct error *error)
{
    const struct replay_request *request = replay->request;
    if (replay->asked != NULL && !report_asked(&replay->report, replay->asked, error))
        return error_prefix(error, "--asked: %s", request->asked);
    return (request->json ? report_json(&replay->report, error)
                          : report_table(&replay->report, error));
}

static void close_all(struct replay *replay)
{
    for (size_t k = 0; replay->outcomes != NULL && k < replay->count; k++) {
        options_free(replay->outcomes[k].options);
        trial_free(&replay->outcomes[k].trial);
        design_fini(&replay->outcomes[k].design);
    }
    if (replay->asked != NULL)
        fclose(replay->asked);
    free(replay->outcomes);
    free(replay->policy);
    design_fini(&replay->report.design);
    common_fini(&replay->common);
    recorded_fini(&replay->recorded);
    past_fini(&replay->past);
    string_list_free(&replay->rules);
    options_free(replay->options);
}

int replay(const struct replay_request *request)
{
    struct replay replay = {.request = request};
    struct error error = {ERROR_NONE, ""};
    sel_init();
    bool ready = load_rules(&replay, &error) && open_asked(&replay, &error);
    int code = ready ? read_past(&replay) : command_fail("replay", &error, EXIT_USAGE);
    if (code == EXIT_DONE && !find_common(&replay, &error))
        code = command_fail("replay", &error, error.class == ERROR_DATA ? EXIT_USAGE : EXIT_FAILED);
    if (code == EXIT_DONE &&
        (!run_jobs(&replay, &error) || !compare(&replay, &error) || !tell(&replay, &error)))
        code = command_fail("replay", &error, EXIT_FAILED);
    close_all(&replay);
    return code;
}
