/* What the engine keeps, in bytes a piece: an engine alone takes COUNT open completions, or COUNT
 * requests with a label each.
 *
 *   memory completions D COUNT TEXT URI    16 of a prompt, TEXT bytes of text and URI of uri each
 *   memory requests D COUNT                4 of a prompt
 *
 * Prints {"resident": B, "store": B, "text": B}: growth of the resident set, what the engine counts
 * against its budget, and all text that is held, for all COUNT together. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/records.h"
#include "worker/engine/engine.h"
#include "worker/engine/identity.h"

enum { OF_PROMPT = 16, PAIRS_OF_PROMPT = 4 };

struct bench {
    struct engine *engine;
    size_t d;
    float *values;
    size_t text; /* held so far */
};

static size_t resident(void)
{
    size_t total = 0, pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file != NULL && fscanf(file, "%zu %zu", &total, &pages) != 2)
        pages = 0;
    if (file != NULL)
        fclose(file);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static struct engine *make_engine(struct contracts *contracts, struct error *error)
{
    const struct engine_options options = {.topics = {"completions", "labels"},
                                           .completions_partitions = 1,
                                           .ledger_partitions = 3,
                                           .writer = "bench",
                                           .digest = "digest",
                                           .features_space = "",
                                           .features_scale_pools = 1000000,
                                           .limits_record = 1 << 20,
                                           .limits_dimension = 4096,
                                           .limits_text = 1 << 16,
                                           .limits_clock_ahead = 300000,
                                           .pool_size = OF_PROMPT,
                                           .pool_min = 2,
                                           .pool_max = 64,
                                           .pool_wait = 300000,
                                           .pool_age = 86400000,
                                           .policy_beta = .5,
                                           .labels_window = 30 * 86400000ll,
                                           .labels_max = 1000000000,
                                           .fit_every = 50,
                                           .selection =
                                               selection_defaults(sel_rule_find("policy_trace")),
                                           .budget_per_second = 1,
                                           .budget_burst = 1,
                                           .budget_in_flight = 1};
    struct engine *engine = engine_new(&options, contracts, error);
    if (engine != NULL && engine_tick(engine, 1000, error) &&
        engine_gain(engine, INPUT_COMPLETIONS, 0, 0, 0, 0, "", error) &&
        engine_barrier(engine, INPUT_COMPLETIONS, 0, error))
        return engine;
    engine_free(engine);
    return NULL;
}

static void vary(struct bench *bench, size_t number)
{
    for (size_t k = 0; k < bench->d; k++)
        bench->values[k] = (float)((number + 1) % (k + 3));
}

static bool give_completion(struct bench *bench, size_t number, struct span text, struct span uri,
                            struct error *error)
{
    char prompt[32], name[32];
    snprintf(prompt, sizeof prompt, "p%06zu", number / OF_PROMPT);
    snprintf(name, sizeof name, "c%07zu", number);
    vary(bench, number);
    struct completion completion = records_completion(prompt, name, bench->values, bench->d);
    completion.text = text;
    completion.uri = uri;
    const struct source source = {
        .input = INPUT_COMPLETIONS, .offset = (int64_t)number, .timestamp = 1000};
    bench->text += completion.completion_id.size + completion.policy_version.size + text.size +
                   uri.size + (number % OF_PROMPT == 0 ? completion.prompt_id.size : 0);
    return engine_completion(bench->engine, &source, &completion, error);
}

static bool give_request(struct bench *bench, size_t number, struct error *error)
{
    char prompt[32], left[32], right[32], label[32], request_id[ID_TEXT_SIZE],
        pair_id[ID_TEXT_SIZE];
    snprintf(prompt, sizeof prompt, "p%06zu", number / PAIRS_OF_PROMPT);
    snprintf(left, sizeof left, "c%07zu", 2 * number);
    snprintf(right, sizeof right, "c%07zu", 2 * number + 1);
    snprintf(label, sizeof label, "labels-0-%zu", number);
    struct id pair = identity_pair(span_of(prompt), span_of(left), span_of(right));
    identity_format(pair, pair_id);
    struct id request = identity_request(span_of("space"), pair, 1, 1);
    identity_format(request, request_id);
    int32_t partition = engine_ledger_partition(bench->engine, request);
    vary(bench, number);
    const struct span x = {(const char *)bench->values, bench->d * sizeof(float)};
    struct entry entry = {.version = LEDGER_VERSION,
                          .digest = span_of("digest"),
                          .kind = ENTRY_SELECTED,
                          .time = (int64_t)number,
                          .selected = {.request_id = span_of(request_id),
                                       .pair_id = span_of(pair_id),
                                       .prompt_id = span_of(prompt),
                                       .left_id = span_of(left),
                                       .right_id = span_of(right),
                                       .feature_space = span_of("space"),
                                       .policy_version = span_of("v"),
                                       .x = x,
                                       .weight = .2,
                                       .issued_at = (int64_t)number,
                                       .deadline = (int64_t)number + 86400000,
                                       .replica = 1,
                                       .attempt = 1,
                                       .cost = 1}};
    if (!engine_entry(bench->engine, &entry, partition, (int64_t)(2 * number), error))
        return false;
    entry.kind = ENTRY_LABELLED;
    entry.labelled = (struct entry_labelled){.label_id = span_of(label),
                                             .request_id = span_of(request_id),
                                             .pair_id = span_of(pair_id),
                                             .prompt_id = span_of(prompt),
                                             .left_id = span_of(left),
                                             .right_id = span_of(right),
                                             .feature_space = span_of("space"),
                                             .policy_version = span_of("v"),
                                             .x = x,
                                             .outcome = OUTCOME_LEFT,
                                             .probability_left = 1,
                                             .confidence = 1};
    bench->text += strlen(prompt) + strlen(left) + strlen(right);
    return engine_entry(bench->engine, &entry, partition, (int64_t)(2 * number) + 1, error);
}

static struct span filler(size_t size)
{
    char *text = malloc(size + 1);
    if (text != NULL)
        memset(text, 'x', size);
    return (struct span){text, text == NULL ? 0 : size};
}

int main(int argc, char **argv)
{
    struct error error = {ERROR_NONE, ""};
    bool completions = argc == 6 && strcmp(argv[1], "completions") == 0;
    if (!completions && !(argc == 4 && strcmp(argv[1], "requests") == 0)) {
        fprintf(stderr, "usage: memory completions D COUNT TEXT URI | memory requests D COUNT\n");
        return 2;
    }
    struct bench bench = {.d = strtoul(argv[2], NULL, 10)};
    size_t count = strtoul(argv[3], NULL, 10);
    struct span text = filler(completions ? strtoul(argv[4], NULL, 10) : 0);
    struct span uri = filler(completions ? strtoul(argv[5], NULL, 10) : 0);
    struct contracts *contracts = records_contracts(&error);
    bench.values = calloc(bench.d, sizeof *bench.values);
    bench.engine = contracts == NULL ? NULL : make_engine(contracts, &error);
    size_t before = resident();
    bool done = bench.engine != NULL && bench.values != NULL;
    for (size_t number = 0; done && number < count; number++)
        done = completions ? give_completion(&bench, number, text, uri, &error)
                           : give_request(&bench, number, &error);
    size_t after = resident();
    done = done && engine_tick(bench.engine, 1001, &error);
    if (done) {
        const struct engine_stats *stats = engine_stats(bench.engine);
        size_t held = (size_t)(completions ? stats->completions_held : stats->requests);
        done = held == count || error_set(&error, ERROR_FATAL, "%zu are held", held);
        printf("{\"resident\": %zu, \"store\": %zu, \"text\": %zu}\n", after - before,
               completions ? stats->pools_bytes : stats->window_bytes, bench.text);
    }
    if (!done)
        fprintf(stderr, "memory: %s\n", error.message);
    engine_free(bench.engine);
    contracts_free(contracts);
    free(bench.values);
    free((void *)(uintptr_t)text.data);
    free((void *)(uintptr_t)uri.data);
    return done ? 0 : 1;
}
