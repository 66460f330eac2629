#include "trace.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static void put_hex(struct span bytes)
{
    static const char DIGITS[] = "0123456789abcdef";
    for (size_t k = 0; k < bytes.size; k++) {
        putchar_unlocked(DIGITS[(unsigned char)bytes.data[k] >> 4]);
        putchar_unlocked(DIGITS[(unsigned char)bytes.data[k] & 15]);
    }
}

static const char *truth(bool value)
{
    return value ? "true" : "false";
}

void trace_run(uint64_t seed, const struct engine_options *options, bool cuts)
{
    static const char *const VERSIONS[] = {"keep", "forget", "reset"};
    printf("{\"event\":\"run\",\"seed\":%" PRIu64 ",\"partitions\":%d,\"pool_size\":%zu,"
           "\"pool_min\":%zu,\"pool_max\":%zu,\"pool_age\":%" PRId64 ",\"in_flight\":%" PRId64
           ",\"per_second\":%.17g,\"burst\":%" PRId64 ",\"deadline\":%" PRId64
           ",\"labels_window\":%" PRId64 ",\"pools_bytes\":%zu,\"cuts\":%s,\"slots\":%s"
           ",\"attempts\":%" PRId64 ",\"replicas\":%" PRId64
           ",\"best\":%s,\"both_bad_ignored\":%s,\"skips_again\":%s,\"by_annotator\":%s"
           ",\"policy_window\":%" PRId64 ",\"labels_versions\":\"%s\",\"labels_gamma\":%.17g"
           ",\"moments_gamma\":%.17g}\n",
           seed, options->completions_partitions, options->pool_size, options->pool_min,
           options->pool_max, options->pool_age, options->budget_in_flight,
           options->budget_per_second, options->budget_burst, options->labels_deadline,
           options->labels_window, options->pools_bytes, truth(cuts),
           truth(options->selection.when == WHEN_SLOTS), options->labels_attempts,
           options->labels_replicas < 1 ? (int64_t)1 : options->labels_replicas,
           truth(options->labels_replicate == REPLICATE_BEST),
           truth(options->labels_both_bad == BOTH_BAD_IGNORE),
           truth(options->labels_skips == SKIPS_AGAIN),
           truth(options->labels_by_annotator && isnan(options->labels_lapse)),
           options->policy_window, VERSIONS[options->labels_versions], options->labels_gamma,
           options->moments_fade ? options->moments_gamma : 1);
    const struct budget_limits *limits = &options->budget_limits;
    printf("{\"event\":\"limits\",\"labels_max\":%" PRId64 ",\"per_hour\":%.17g,\"per_day\":%.17g,"
           "\"total\":%.17g,\"per_prompt\":%" PRId64 ",\"by_cost\":%s,\"caps\":[",
           options->labels_max, limits->per_hour, limits->per_day, limits->total,
           limits->per_prompt, limits->by_cost ? "true" : "false");
    static const char *const DOMAINS[] = {"code", "chat"};
    for (size_t k = 0; k < limits->domain_count; k++)
        printf("%s[\"%s\",%.17g]", k == 0 ? "" : ",", DOMAINS[k], limits->domains[k].cap);
    fputs("],\"quiet\":[", stdout);
    for (size_t k = 0; k < limits->quiet_count; k++)
        printf("%s[%d,%d,%d]", k == 0 ? "" : ",", limits->quiet[k].days, limits->quiet[k].from,
               limits->quiet[k].to);
    puts("]}");
}

void trace_groups(size_t blocks, const char *const *definitions, size_t count)
{
    printf("{\"event\":\"groups\",\"blocks\":%zu,\"definitions\":[", blocks);
    for (size_t k = 0; k < count; k++)
        printf("%s\"%s\"", k == 0 ? "" : ",", definitions[k]);
    puts("]}");
}

void trace_input(enum input input, int32_t partition, int64_t offset, int64_t time,
                 struct span record, bool broken)
{
    printf("{\"event\":\"%s\",\"partition\":%d,\"offset\":%" PRId64 ",\"time\":%" PRId64
           ",\"broken\":%s,\"record\":\"",
           input == INPUT_COMPLETIONS ? "completion" : "label", partition, offset, time,
           broken ? "true" : "false");
    put_hex(record);
    puts("\"}");
}

void trace_poison(int32_t partition, int64_t offset)
{
    printf("{\"event\":\"poison\",\"partition\":%d,\"offset\":%" PRId64 "}\n", partition, offset);
}

void trace_cut(int32_t partition, int64_t start)
{
    printf("{\"event\":\"cut\",\"partition\":%d,\"start\":%" PRId64 "}\n", partition, start);
}

void trace_number(const char *event, const char *name, int64_t number)
{
    printf("{\"event\":\"%s\",\"%s\":%" PRId64 "}\n", event, name, number);
}

void trace_crash(int worker, const char *boundary)
{
    printf("{\"event\":\"crash\",\"worker\":%d,\"boundary\":\"%s\"}\n", worker, boundary);
}

void trace_begin(int64_t transaction, int worker, int64_t now)
{
    printf("{\"event\":\"begin\",\"transaction\":%" PRId64 ",\"worker\":%d,\"now\":%" PRId64 "}\n",
           transaction, worker, now);
}

static void put_headers(const struct effect *effect)
{
    fputs(",\"headers\":{", stdout);
    for (size_t k = 0; k < effect->header_count; k++) {
        printf("%s\"%s\":\"", k == 0 ? "" : ",", effect->headers[k].name);
        put_hex(effect->headers[k].value);
        putchar('"');
    }
    putchar('}');
}

void trace_effect(int64_t transaction, const struct effect *effect, int64_t offset)
{
    static const char *const NAMES[] = {"pairs", "ledger", "dead_letters"};
    printf("{\"event\":\"effect\",\"transaction\":%" PRId64 ",\"output\":\"%s\",\"partition\":%d,"
           "\"offset\":%" PRId64,
           transaction, NAMES[effect->output], effect->partition, offset);
    if (effect->output == OUTPUT_DEAD_LETTERS || effect->value.size == 0)
        put_headers(effect);
    fputs(",\"value\":\"", stdout);
    put_hex(effect->value);
    puts("\"}");
}

void trace_offsets(int64_t transaction, const struct batch *batch)
{
    printf("{\"event\":\"offsets\",\"transaction\":%" PRId64 ",\"offsets\":[", transaction);
    for (size_t k = 0; k < batch->offset_count; k++) {
        const struct batch_offset *offset = &batch->offsets[k];
        printf("%s[\"%s\",%d,%" PRId64 ",%" PRId64 ",\"%s\"]", k == 0 ? "" : ",",
               offset->input == INPUT_LABELS ? "labels" : "completions", offset->partition,
               offset->next, offset->low_water, offset->waiting);
    }
    puts("]}");
}

static void put_vector(const char *name, const double *values, size_t count)
{
    printf(",\"%s\":[", name);
    for (size_t k = 0; values != NULL && k < count; k++)
        printf("%s%.17g", k == 0 ? "" : ",", isfinite(values[k]) ? values[k] : 1e308);
    putchar(']');
}

void trace_state(const char *when, int worker, struct engine *engine)
{
    const struct engine_stats *stats = engine_stats(engine);
    size_t d = stats->dimension;
    double scale = 1;
    char digest[33];
    const double *psi = engine_preference(engine, &scale);
    engine_digest(engine, digest);
    printf("{\"event\":\"state\",\"when\":\"%s\",\"who\":%d,\"digest\":\"%s\",\"requests\":%" PRId64
           ",\"open\":%" PRId64 ",\"counted\":%" PRId64 ",\"waiting\":%" PRId64 ",\"held\":%" PRId64
           ",\"pools\":%" PRId64 ",\"refused\":%" PRId64 ",\"pools_bytes\":%zu,\"lambda\":%.17g",
           when, worker, digest, stats->requests, stats->requests_open, stats->labels_counted,
           stats->labels_waiting, stats->completions_held, stats->pools_open,
           stats->entries_refused, stats->pools_bytes, stats->lambda);
    put_vector("psi", psi, psi == NULL ? 0 : d);
    put_vector("policy", engine_policy(engine), d * d);
    put_vector("inverse", engine_inverse(engine), d * d);
    puts("}");
}
