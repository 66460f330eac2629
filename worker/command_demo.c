/* infopair demo: the whole loop on this machine, without a server.
 *
 * librdkafka's in-process broker, a simulated world whose truth is known, simulated labellers, and
 * the same worker code as `infopair run` in a thread. Beside it eight more worlds go through the
 * engine alone, so that the summary can say how much one world's figure varies. */
#include "command.h"
#include "demo.h"
#include "interrupt.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const PRESETS[] = {"control.share=0.5",     "policy.beta=0.5",
                                      "budget.per_second=30",  "budget.burst=30",
                                      "budget.in_flight=60",   "pool.size=16",
                                      "pool.max=16",           "pool.wait=5s",
                                      "pool.age=20s",          "moments.interval=1s",
                                      "fit.every=25",          "topics.partitions=2",
                                      "kafka.static=false",    "kafka.instance=demo",
                                      "commit.interval=100ms", "http.address=127.0.0.1:0",
                                      "memory.limit=512MiB",   "features.dimension=8",
                                      "labels.max=20000",      "accounting.interval=0s",
                                      "log.level=error",       NULL};

static const struct command_option OPTIONS[] = {
    {"labels", 0, "N", "labels to give in the world with the broker (default 1200)"},
    {"seconds", 0, "N", "end after so many seconds at the latest (default 80)"},
    {"stay", 0, NULL, "go on until interrupted, for looking around"},
    {0}};

static bool parse_count(const char *name, const char *value, int64_t most, int64_t *count,
                        struct error *error)
{
    char *end;
    long long number = strtoll(value, &end, 10);
    if (*value == '\0' || *end != '\0' || number < 1 || number > most)
        return error_set(error, ERROR_FATAL, "--%s: '%s' is not a number from 1 to %" PRId64, name,
                         value, most);
    *count = number;
    return true;
}

static bool take(void *closure, const char *name, const char *value, struct error *error)
{
    struct demo_plan *plan = closure;
    if (name == NULL)
        return error_set(error, ERROR_FATAL, "demo takes no arguments");
    if (strcmp(name, "stay") == 0) {
        plan->stay = true;
        return true;
    }
    if (strcmp(name, "labels") == 0)
        return parse_count(name, value, 20000, &plan->labels, error);
    return parse_count(name, value, 86400, &plan->seconds, error);
}

static const struct command_usage USAGE = {
    .name = "demo",
    .summary =
        "Runs the whole loop without a server: an in-process broker, a simulated world of\n"
        "completions and labellers, and the same worker as `infopair run`, half of the labels in "
        "the\ncontrol arm. Ends by itself within 90 seconds with a summary of the labels saved.",
    .examples = "  infopair demo\n  infopair demo --stay --set seed=7\n",
    .options = OPTIONS,
    .take = take,
    .presets = PRESETS,
    .no_default_file = true,
};

static void print_intro(const struct demo *demo)
{
    const struct options *options = demo_options(demo);
    printf("infopair demo: one simulated world (d = %d features, %d prompts, pools of %zu) through "
           "an\n"
           "in-process broker and the worker; %d more worlds through the engine alone. Half of the "
           "labels\ngo to the control arm (uniform pairs). Status: http://127.0.0.1:%u/metrics\n"
           "This broker stores no transactional offsets, so the demo never restores.\n"
           "The first seconds go into starting the broker and joining the group. One world alone "
           "varies\nwidely, early rows most of all; the summary of all worlds is what counts. "
           "--stay keeps it running.\n\n",
           DEMO_DIMENSION, DEMO_PROMPTS, options->pool_size, DEMO_SOLO_WORLDS,
           (unsigned)demo_port(demo));
    printf("%8s %12s %7s %7s %9s %22s %22s\n", "seconds", "completions", "pairs", "labels",
           "each arm", "true gap, selected", "true gap, control");
    fflush(stdout);
}

static void print_line(const struct demo_state *state)
{
    printf("%8.0f %12" PRId64 " %7" PRId64 " %7zu %9zu %22.4f %22.4f\n", state->seconds,
           state->completions, state->pairs, state->labels, state->each, state->gap_selected,
           state->gap_control);
    fflush(stdout);
}

/* What the worker says of itself, beside what only a simulation knows. */
static void print_report(const struct demo_summary *summary)
{
    const struct account *account = &summary->report.account;
    double labels = (double)summary->report.labels;
    if (!summary->reported)
        return;
    if (account->supported)
        printf(
            "The worker's own account (GET /accounting): each label of the selected arm is "
            "worth %.2f\nuniform ones (90 %% interval %.2f to %.2f), so %.0f labels saved %.0f. ",
            account->labels.mid / labels, account->labels.low / labels,
            account->labels.high / labels, labels, account->labels.mid - labels);
    else
        printf("The worker's own account (GET /accounting) says how many labels are saved: %s. ",
               account->reason);
    printf("Truth: the designs of\nthe two arms at the true reward stand at %.2f.\n",
           summary->design_ratio);
}

static void print_summary(const struct demo_state *state, const struct demo_summary *summary)
{
    printf("\nLabels given: %zu. The arms are compared at equal counts, %zu each.\n", state->labels,
           state->each);
    printf("True gap to the best policy after %zu labels each: %.4f selected, %.4f control.\n",
           state->each, state->gap_selected, state->gap_control);
    if (!isnan(summary->ratios[0]))
        printf(
            "In this world the selected arm needed %.2f x fewer labels to reach the control's last "
            "gap.\n",
            summary->ratios[0]);
    print_report(summary);
    printf("Ratio over %zu worlds (one through the broker, %zu through the engine alone):\n"
           "  %.2f, 95 %% interval %.2f to %.2f (geometric mean; one world alone varies widely)\n",
           summary->worlds, summary->worlds - (isnan(summary->ratios[0]) ? 0 : 1), summary->mean,
           summary->low, summary->high);
    fflush(stdout);
}

static int show(struct demo *demo, const struct demo_plan *plan, struct error *error)
{
    struct demo_state state = {0};
    struct demo_summary summary;
    print_intro(demo);
    while (!interrupt_seen() && demo_wait(demo, &state, error)) {
        print_line(&state);
        if (!plan->stay &&
            (state.labels >= (size_t)plan->labels || state.seconds >= (double)plan->seconds))
            break;
    }
    if (error->class != ERROR_NONE || !demo_finish(demo, &state, &summary, error))
        return command_fail("demo", error, EXIT_FAILED);
    print_summary(&state, &summary);
    return EXIT_DONE;
}

int command_demo(int argc, char **argv)
{
    struct demo_plan plan = {.labels = 1200, .seconds = 80};
    struct options *options = NULL;
    int code = command_parse(&USAGE, argc, argv, &plan, &options);
    if (code != COMMAND_GO_ON)
        return code;
    struct error error = {ERROR_NONE, ""};
    interrupt_catch();
    struct demo *demo = demo_new(options, &plan, &error);
    code = demo == NULL ? command_fail("demo", &error, EXIT_FAILED) : show(demo, &plan, &error);
    demo_free(demo);
    options_free(options);
    return code;
}
