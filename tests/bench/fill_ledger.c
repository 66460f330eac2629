/* Fills a ledger topic as a worker would have: a SPACE, pairs that were asked and answered, the
 * FITs that came of the answers, and MOMENTS for an I.
 *
 *   fill_ledger --set NAME=VALUE... [--pairs N] [--no-fit] [--engine]
 *
 * Options are the worker's, so that the entries carry its digest; features.dimension is required.
 * Requests go to the partition of their id, everything else to partition 0, in the order of time. A
 * label comes LAG pairs after its request; the times cover half of labels.window and end now.
 * --no-fit: the labels have never been fitted. --engine: the entries go into an engine in this
 * process instead, which tells what decoding and applying them cost without a broker.
 * Prints {"entries": N, "bytes": B}, for --engine also "seconds" of processor time for the entries,
 * "rebuild" for the first rebuild of Sigma, and "policy_trace". */
#include <getopt.h>
#include <librdkafka/rdkafka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "worker/clock.h"
#include "worker/engine/event.h"
#include "worker/kafka.h"
#include "worker/memory.h"
#include "worker/topics.h"

enum { LAG = 500, PAIRS_OF_PROMPT = 4, PANES = 20, POOLS_OF_PANE = 50, CHUNK_VALUES = 64000 };
enum { ID_SIZE = 32, FIT_EVERY = 50, FIT_SHARE = 100, FIT_SHARE_FROM = 5000 };

struct filler {
    const struct options *options;
    struct contracts *contracts;
    struct buffer record;
    char digest[OPTIONS_DIGEST_SIZE];
    rd_kafka_t *producer; /* or */
    struct engine *engine;
    int64_t entries, bytes, undelivered;
    double seconds; /* in the engine */
    size_t dimension, pairs;
    bool no_fit;
    double *psi, *deviation;
    float *x; /* LAG rows: of the requests under way */
    int64_t began, fit_id, fit_labels;
};

/* One pair and its names, made from its number alone. */
struct pair_names {
    char prompt[ID_SIZE], left[ID_SIZE], right[ID_SIZE], label[ID_SIZE];
    char pair[ID_TEXT_SIZE], request[ID_TEXT_SIZE];
    int32_t ledger_partition;
};

static const char *const SPACE = "bench", *const VERSION = "policy-1";

/* Of this thread alone, so that a busy machine does not count. */
static double processor_seconds(void)
{
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void name_pair(size_t number, struct pair_names *names)
{
    snprintf(names->prompt, ID_SIZE, "prompt-%09zu", number / PAIRS_OF_PROMPT);
    snprintf(names->left, ID_SIZE, "completion-%09zu", 2 * number);
    snprintf(names->right, ID_SIZE, "completion-%09zu", 2 * number + 1);
    snprintf(names->label, ID_SIZE, "label-%09zu", number);
    struct id pair =
        identity_pair(span_of(names->prompt), span_of(names->left), span_of(names->right));
    struct id request = identity_request(span_of(SPACE), pair, 1, 1);
    identity_format(pair, names->pair);
    identity_format(request, names->request);
    names->ledger_partition = (int32_t)(request.low % LEDGER_PARTITIONS);
}

/* ---- where entries go ---- */

static bool give_engine(struct filler *filler, int32_t partition, struct error *error)
{
    const struct event event = {.kind = EVENT_ENTRY,
                                .partition = partition,
                                .offset = filler->entries,
                                .source.value = {filler->record.data, filler->record.size}};
    double start = processor_seconds();
    bool done = event_apply(filler->engine, filler->contracts, &event, error);
    filler->seconds += processor_seconds() - start;
    if (done && engine_stats(filler->engine)->entries_refused > 0)
        return error_set(error, ERROR_DATA, "refused: %s", engine_refusal(filler->engine));
    return done;
}

static bool give_topic(struct filler *filler, int32_t partition, struct error *error)
{
    for (;;) {
        rd_kafka_resp_err_t code = rd_kafka_producev(
            filler->producer, RD_KAFKA_V_TOPIC(filler->options->topics_ledger),
            RD_KAFKA_V_PARTITION(partition), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
            RD_KAFKA_V_VALUE(filler->record.data, filler->record.size), RD_KAFKA_V_END);
        rd_kafka_poll(filler->producer, code == RD_KAFKA_RESP_ERR__QUEUE_FULL ? 100 : 0);
        if (code != RD_KAFKA_RESP_ERR__QUEUE_FULL)
            return kafka_failure(filler->producer, code, "ledger", error);
    }
}

static bool give(struct filler *filler, struct entry *entry, int32_t partition, struct error *error)
{
    entry->version = LEDGER_VERSION;
    entry->digest = span_of(filler->digest);
    entry->writer = span_of("fill_ledger");
    filler->record.size = 0;
    if (!contracts_encode_entry(filler->contracts, entry, &filler->record, error))
        return false;
    filler->entries++;
    filler->bytes += (int64_t)filler->record.size;
    return filler->engine != NULL ? give_engine(filler, partition, error)
                                  : give_topic(filler, partition, error);
}

/* ---- what is written ---- */

static bool write_space(struct filler *filler, struct error *error)
{
    double *centre = calloc(filler->dimension, sizeof *centre);
    if (centre == NULL)
        return error_set(error, ERROR_FATAL, "out of memory");
    struct entry entry = {
        .time = filler->began,
        .kind = ENTRY_SPACE,
        .space = {.feature_space = span_of(SPACE),
                  .dimension = (int32_t)filler->dimension,
                  .centre = {(const char *)centre, filler->dimension * sizeof *centre},
                  .scale = 1,
                  .pools = 50}};
    bool done = give(filler, &entry, 0, error);
    free(centre);
    return done;
}

/* Half of the window goes by over all pairs. */
static int64_t time_of(const struct filler *filler, size_t number)
{
    double share = (double)number / (double)(filler->pairs + LAG);
    return filler->began + (int64_t)(share * (double)(filler->options->labels_window / 2));
}

static float *features_of(const struct filler *filler, size_t number)
{
    return filler->x + number % LAG * filler->dimension;
}

static double probability_left(const struct filler *filler, size_t number)
{
    const float *x = features_of(filler, number);
    double margin = 0;
    for (size_t k = 0; k < filler->dimension; k++)
        margin += filler->psi[k] * (double)x[k];
    return sel_sigmoid(margin);
}

static bool write_selected(struct filler *filler, size_t number, struct sel_random *random,
                           struct error *error)
{
    struct pair_names names;
    name_pair(number, &names);
    float *x = features_of(filler, number);
    for (size_t k = 0; k < filler->dimension; k++)
        x[k] = (float)(filler->deviation[k] * sqrt(3) * (2 * sel_random_uniform(random) - 1));
    double p = filler->fit_id == 0 ? .5 : probability_left(filler, number);
    struct entry entry = {
        .time = time_of(filler, number),
        .kind = ENTRY_SELECTED,
        .selected = {.request_id = span_of(names.request),
                     .pair_id = span_of(names.pair),
                     .prompt_id = span_of(names.prompt),
                     .left_id = span_of(names.left),
                     .right_id = span_of(names.right),
                     .feature_space = span_of(SPACE),
                     .policy_version = span_of(VERSION),
                     .x = {(const char *)x, filler->dimension * sizeof *x},
                     .weight = p * (1 - p),
                     .fit_id = filler->fit_id,
                     .propensity = 1,
                     .slot = (int64_t)number,
                     .issued_at = time_of(filler, number),
                     .deadline = time_of(filler, number) + filler->options->labels_deadline,
                     .replica = 1,
                     .attempt = 1,
                     .cost = 1}};
    return give(filler, &entry, names.ledger_partition, error);
}

static bool write_labelled(struct filler *filler, size_t number, struct sel_random *random,
                           struct error *error)
{
    struct pair_names names;
    name_pair(number, &names);
    bool left = sel_random_uniform(random) < probability_left(filler, number);
    struct entry entry = {.time = time_of(filler, number + LAG),
                          .kind = ENTRY_LABELLED,
                          .labelled = {.label_id = span_of(names.label),
                                       .request_id = span_of(names.request),
                                       .pair_id = span_of(names.pair),
                                       .prompt_id = span_of(names.prompt),
                                       .left_id = span_of(names.left),
                                       .right_id = span_of(names.right),
                                       .feature_space = span_of(SPACE),
                                       .policy_version = span_of(VERSION),
                                       .x = {(const char *)features_of(filler, number),
                                             filler->dimension * sizeof(float)},
                                       .source_topic = span_of(filler->options->topics_labels),
                                       .source_offset = (int64_t)number,
                                       .outcome = left ? OUTCOME_LEFT : OUTCOME_RIGHT,
                                       .probability_left = left ? 1 : 0,
                                       .confidence = 1,
                                       .labelled_at = time_of(filler, number + LAG)}};
    return give(filler, &entry, names.ledger_partition, error);
}

/* When the worker's rule asks for one, and behind the last label. */
static bool write_fit(struct filler *filler, size_t labels, struct error *error)
{
    size_t every = labels > FIT_SHARE_FROM ? labels / FIT_SHARE : FIT_EVERY;
    if (filler->no_fit || (labels < (size_t)filler->fit_labels + every && labels < filler->pairs))
        return true;
    const double lambda = 1;
    filler->fit_labels = (int64_t)labels;
    filler->fit_id++;
    struct entry entry = {
        .time = time_of(filler, labels + LAG) + 1,
        .kind = ENTRY_FIT,
        .fit = {.fit_id = filler->fit_id,
                .feature_space = span_of(SPACE),
                .psi = {(const char *)filler->psi, filler->dimension * sizeof(double)},
                .lambda = {(const char *)&lambda, sizeof lambda},
                .return_rate = 1,
                .labels = (int64_t)labels}};
    return give(filler, &entry, 0, error);
}

/* Panes of pools whose moments are the identity. */
static bool write_moments(struct filler *filler, struct error *error)
{
    size_t d = filler->dimension, values = d * (d + 1) / 2;
    float *sums = calloc(values, sizeof *sums);
    if (sums == NULL)
        return error_set(error, ERROR_FATAL, "out of memory");
    for (size_t k = 0; k < d; k++)
        sums[k * (k + 1) / 2 + k] = POOLS_OF_PANE;
    bool done = true;
    int32_t chunks = (int32_t)((values + CHUNK_VALUES - 1) / CHUNK_VALUES);
    for (int32_t at = 0; done && at < PANES * chunks; at++) {
        int32_t pane = at / chunks, chunk = at % chunks;
        size_t start = (size_t)chunk * CHUNK_VALUES;
        size_t count = values - start < CHUNK_VALUES ? values - start : CHUNK_VALUES;
        struct entry entry = {
            .time = time_of(filler, filler->pairs + LAG),
            .kind = ENTRY_MOMENTS,
            .moments = {.from = 100 * pane,
                        .to = 100 * (pane + 1),
                        .feature_space = span_of(SPACE),
                        .policy_version = span_of(VERSION),
                        .fit_id = filler->fit_id,
                        .stream_time = filler->began + pane,
                        .dimension = (int32_t)d,
                        .pools = POOLS_OF_PANE,
                        .weight = POOLS_OF_PANE,
                        .effective_sample_size = POOLS_OF_PANE,
                        .chunk = chunk,
                        .chunks = chunks,
                        .sums = {(const char *)(sums + start), count * sizeof *sums}}};
        done = give(filler, &entry, 0, error);
    }
    free(sums);
    return done;
}

static bool fill(struct filler *filler, struct error *error)
{
    struct sel_random random = sel_random_init(1, 1);
    double total = 0;
    for (size_t k = 0; k < filler->dimension; k++)
        total += 1 / (double)(k + 1);
    for (size_t k = 0; k < filler->dimension; k++) {
        filler->deviation[k] = sqrt((double)filler->dimension / ((double)(k + 1) * total));
        filler->psi[k] = sel_random_normal(&random) * 1.5 / sqrt((double)filler->dimension);
    }
    if (!write_space(filler, error))
        return false;
    for (size_t k = 0; k < filler->pairs + LAG; k++) {
        if (k >= LAG && (!write_labelled(filler, k - LAG, &random, error) ||
                         !write_fit(filler, k - LAG + 1, error)))
            return false;
        if (k < filler->pairs && !write_selected(filler, k, &random, error))
            return false;
    }
    return write_moments(filler, error);
}

/* ---- the program ---- */

static void on_delivery(rd_kafka_t *kafka, const rd_kafka_message_t *message, void *opaque)
{
    (void)kafka;
    ((struct filler *)opaque)->undelivered += message->err != RD_KAFKA_RESP_ERR_NO_ERROR;
}

static bool open_producer(struct filler *filler, struct error *error)
{
    rd_kafka_conf_t *conf = kafka_conf(filler->options, KAFKA_SENDER, 64 << 20, error);
    if (conf == NULL)
        return false;
    rd_kafka_conf_set_opaque(conf, filler);
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    filler->producer = kafka_open(KAFKA_SENDER, conf, error);
    return filler->producer != NULL;
}

static bool open_engine(struct filler *filler, struct error *error)
{
    struct memory_plan plan;
    if (!memory_plan(filler->options, &plan, error))
        return false;
    struct engine_options options = memory_engine_options(filler->options, &plan);
    options.completions_partitions = 3;
    options.ledger_partitions = LEDGER_PARTITIONS;
    options.writer = "fill_ledger";
    options.digest = filler->digest;
    filler->engine = engine_new(&options, filler->contracts, error);
    return filler->engine != NULL;
}

static bool finish(struct filler *filler, struct error *error)
{
    double start = processor_seconds();
    if (filler->engine != NULL && !engine_tick(filler->engine, clock_now_ms(), error))
        return false;
    double rebuild = processor_seconds() - start;
    if (filler->producer != NULL && rd_kafka_flush(filler->producer, 60000) != 0)
        return error_set(error, ERROR_RETRY, "not all entries were delivered in time");
    if (filler->undelivered > 0)
        return error_set(error, ERROR_RETRY, "%lld entries were not delivered",
                         (long long)filler->undelivered);
    printf("{\"entries\": %lld, \"bytes\": %lld", (long long)filler->entries,
           (long long)filler->bytes);
    if (filler->engine != NULL)
        printf(", \"seconds\": %.6f, \"rebuild\": %.6f, \"policy_trace\": %.6f", filler->seconds,
               rebuild, engine_stats(filler->engine)->policy_trace);
    printf("}\n");
    return true;
}

static bool run(struct filler *filler, bool engine, struct error *error)
{
    const struct contracts_options contracts = options_contracts(filler->options);
    filler->dimension = filler->options->features_dimension;
    filler->began = clock_now_ms() - filler->options->labels_window / 2;
    filler->psi = calloc(filler->dimension + 1, sizeof *filler->psi);
    filler->deviation = calloc(filler->dimension + 1, sizeof *filler->deviation);
    filler->x = calloc(filler->dimension * LAG + 1, sizeof *filler->x);
    filler->record.maximum = 64 << 20;
    options_digest(filler->options, filler->digest);
    if (filler->psi == NULL || filler->deviation == NULL || filler->x == NULL)
        return error_set(error, ERROR_FATAL, "out of memory");
    if (filler->dimension == 0)
        return error_set(error, ERROR_FATAL, "features.dimension is required");
    filler->contracts = contracts_new(&contracts, error);
    return filler->contracts != NULL &&
           (engine ? open_engine(filler, error) : open_producer(filler, error)) &&
           fill(filler, error) && finish(filler, error);
}

static void filler_fini(struct filler *filler)
{
    if (filler->producer != NULL)
        rd_kafka_destroy(filler->producer);
    engine_free(filler->engine);
    contracts_free(filler->contracts);
    buffer_free(&filler->record);
    free(filler->psi);
    free(filler->deviation);
    free(filler->x);
}

int main(int argc, char **argv)
{
    static const struct option long_options[] = {{"set", 1, NULL, 's'},
                                                 {"pairs", 1, NULL, 'p'},
                                                 {"no-fit", 0, NULL, 'n'},
                                                 {"engine", 0, NULL, 'e'},
                                                 {NULL, 0, NULL, 0}};
    const char *sets[argc + 1];
    size_t set_count = 0;
    bool engine = false, known = true;
    struct filler filler = {.pairs = 100000};
    for (int option; (option = getopt_long(argc, argv, "", long_options, NULL)) != -1;) {
        if (option == 's')
            sets[set_count++] = optarg;
        else if (option == 'p')
            filler.pairs = strtoul(optarg, NULL, 10);
        else if (option == 'n')
            filler.no_fit = true;
        else if (option == 'e')
            engine = true;
        else
            known = false;
    }
    sets[set_count] = NULL;
    struct error error = {ERROR_NONE, ""};
    struct options *options = options_new();
    const struct options_input input = {.no_default_file = true, .sets = sets};
    filler.options = options;
    sel_init();
    bool done = known && options != NULL && options_load(options, &input, &error) &&
                run(&filler, engine, &error);
    if (!done)
        fprintf(stderr, "fill_ledger: %s\n", known ? error.message : "see the head of its source");
    filler_fini(&filler);
    options_free(options);
    return done ? 0 : 1;
}
