#include "demo.h"

#include "clock.h"
#include "command_kafka.h"
#include "interrupt.h"
#include "kafka.h"
#include "solo.h"
#include "topics.h"
#include "worker.h"

#include <jansson.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LABELS_MAX = 200000, LABEL_PARTITIONS = 1, POOLS_A_LABEL = 1 };

struct demo {
    struct options *options;
    const struct demo_plan *plan;
    rd_kafka_t *host; /* carries the in-process broker */
    rd_kafka_mock_cluster_t *cluster;
    struct world *world;
    struct worker *worker;
    pthread_t threads[4];
    size_t thread_count;
    atomic_bool stopping;
    int64_t started;
    pthread_mutex_t mutex; /* guards labels, label_count, ratios, failed */
    struct world_label *labels;
    size_t label_count;
    double ratios[DEMO_WORLDS];
    struct error failed;
};

static void fail(struct demo *demo, const struct error *error)
{
    pthread_mutex_lock(&demo->mutex);
    if (demo->failed.class == ERROR_NONE)
        demo->failed = *error;
    pthread_mutex_unlock(&demo->mutex);
}

/* ---- threads ---- */

static void *run_worker(void *opaque)
{
    struct demo *demo = opaque;
    struct error error;
    if (!worker_run(demo->worker, &error))
        fail(demo, &error);
    return NULL;
}

/* Sends one pool: a prompt and its completions, drawn from the reference policy. */
static bool send_pool(struct demo *demo, rd_kafka_t *producer, struct contracts *contracts,
                      struct sel_random *random, size_t draw, struct error *error)
{
    size_t n = demo->options->pool_size;
    size_t rows[DEMO_COMPLETIONS];
    size_t prompt = world_draw(demo->world, random, n, rows);
    char prompt_id[SOLO_ID_SIZE], completion_id[SOLO_ID_SIZE];
    struct buffer record = {.maximum = 1 << 20};
    bool done = true;
    solo_prompt_id(prompt, draw, prompt_id);
    for (size_t k = 0; done && k < n; k++) {
        float features[DEMO_DIMENSION];
        for (size_t j = 0; j < DEMO_DIMENSION; j++)
            features[j] = (float)world_row(demo->world, prompt, rows[k])[j];
        solo_completion_id(rows[k], completion_id);
        const struct completion completion = {.prompt_id = span_of(prompt_id),
                                              .completion_id = span_of(completion_id),
                                              .feature_space = span_of("world"),
                                              .features = features,
                                              .dimension = DEMO_DIMENSION,
                                              COMPLETION_ABSENT};
        record.size = 0;
        done = contracts_encode_completion(contracts, &completion, &record, error);
        rd_kafka_resp_err_t code = RD_KAFKA_RESP_ERR_NO_ERROR;
        if (done)
            code = rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(demo->options->topics_completions),
                                     RD_KAFKA_V_KEY(prompt_id, strlen(prompt_id)),
                                     RD_KAFKA_V_VALUE(record.data, record.size),
                                     RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
        if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
            done = error_set(error, ERROR_FATAL, "completions: %s", rd_kafka_err2str(code));
    }
    buffer_free(&record);
    return done;
}

static rd_kafka_t *open_plain(struct demo *demo, enum kafka_role role, struct error *error)
{
    return kafka_open(role, kafka_conf(demo->options, role, 0, error), error);
}

/* Pools come at the pace of the labels, after enough of them to estimate the scale. */
static void *produce_completions(void *opaque)
{
    struct demo *demo = opaque;
    struct error error = {ERROR_NONE, ""};
    rd_kafka_t *producer = open_plain(demo, KAFKA_SENDER, &error);
    struct contracts *contracts =
        producer == NULL ? NULL
                         : command_contracts(demo->options, demo->options->limits_record, &error);
    struct sel_random random = sel_random_init(demo->options->seed, 2);
    double rate = demo->options->budget_per_second * POOLS_A_LABEL;
    bool done = contracts != NULL;
    for (size_t sent = 0; done && !atomic_load(&demo->stopping);) {
        double passed = (double)(clock_monotonic_ms() - demo->started) / 1000;
        double due = 2 * (double)demo->options->features_scale_pools + passed * rate;
        for (; done && (double)sent < due; sent++)
            done = send_pool(demo, producer, contracts, &random, sent, &error);
        rd_kafka_poll(producer, 50);
    }
    if (!done)
        fail(demo, &error);
    contracts_free(contracts);
    if (producer != NULL)
        rd_kafka_destroy(producer);
    return NULL;
}

/* What a labeller needs of a pair, taken from the line of JSON that any other program would see. */
static bool read_pair(struct contracts *contracts, const rd_kafka_message_t *message,
                      struct world_label *label, char *request_id, size_t size, struct error *error)
{
    struct buffer line = {.maximum = 1 << 20};
    const struct span record = {message->payload, message->len};
    if (!contracts_print_json(contracts, CONTRACT_PAIR, record, &line, error)) {
        buffer_free(&line);
        return false;
    }
    json_t *pair = json_loadb(line.data, line.size, 0, NULL);
    buffer_free(&line);
    const char *prompt = json_string_value(json_object_get(pair, "prompt_id"));
    const char *left =
        json_string_value(json_object_get(json_object_get(pair, "left"), "completion_id"));
    const char *right =
        json_string_value(json_object_get(json_object_get(pair, "right"), "completion_id"));
    const char *arm = json_string_value(json_object_get(pair, "arm"));
    const char *request = json_string_value(json_object_get(pair, "request_id"));
    bool whole = prompt != NULL && left != NULL && right != NULL && arm != NULL && request != NULL;
    if (whole) {
        *label =
            (struct world_label){.arm = strcmp(arm, "control") == 0 ? ARM_CONTROL : ARM_SELECTED,
                                 .prompt = solo_number(span_of(prompt)),
                                 .left = solo_number(span_of(left)),
                                 .right = solo_number(span_of(right))};
        snprintf(request_id, size, "%s", request);
    }
    json_decref(pair);
    return whole || error_set(error, ERROR_FATAL, "pairs: a pair lacks a field");
}

static bool answer(struct demo *demo, rd_kafka_t *producer, struct contracts *contracts,
                   struct sel_random *random, const rd_kafka_message_t *message,
                   struct error *error)
{
    struct world_label answered;
    char request_id[64];
    if (!read_pair(contracts, message, &answered, request_id, sizeof request_id, error))
        return false;
    double margin = world_margin(demo->world, answered.prompt, answered.left, answered.right);
    answered.y = sel_random_uniform(random) < sel_sigmoid(margin) ? 1 : 0;
    const struct label label = {.request_id = span_of(request_id),
                                .outcome = answered.y > 0 ? OUTCOME_LEFT : OUTCOME_RIGHT,
                                .probability_left = (double)NAN,
                                .confidence = 1,
                                .annotator_id = span_of("simulated"),
                                .lead_time = -1,
                                .labelled_at = clock_now_ms()};
    struct buffer record = {.maximum = 1 << 16};
    bool done = contracts_encode_label(contracts, &label, &record, error);
    if (done)
        rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(demo->options->topics_labels),
                          RD_KAFKA_V_KEY(request_id, strlen(request_id)),
                          RD_KAFKA_V_VALUE(record.data, record.size),
                          RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
    buffer_free(&record);
    pthread_mutex_lock(&demo->mutex);
    if (demo->label_count < LABELS_MAX)
        demo->labels[demo->label_count++] = answered;
    pthread_mutex_unlock(&demo->mutex);
    return done;
}

static bool follow_pairs(struct demo *demo, rd_kafka_t *reader)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(2);
    for (int32_t k = 0; k < (int32_t)demo->options->topics_partitions; k++)
        rd_kafka_topic_partition_list_add(list, demo->options->topics_pairs, k)->offset =
            RD_KAFKA_OFFSET_BEGINNING;
    rd_kafka_resp_err_t code = rd_kafka_assign(reader, list);
    rd_kafka_topic_partition_list_destroy(list);
    return code == RD_KAFKA_RESP_ERR_NO_ERROR;
}

static void *label_pairs(void *opaque)
{
    struct demo *demo = opaque;
    struct error error = {ERROR_NONE, ""};
    rd_kafka_t *producer = open_plain(demo, KAFKA_SENDER, &error);
    rd_kafka_t *reader = producer == NULL ? NULL : open_plain(demo, KAFKA_READER, &error);
    struct contracts *contracts =
        reader == NULL ? NULL
                       : command_contracts(demo->options, demo->options->limits_record, &error);
    struct sel_random random = sel_random_init(demo->options->seed, 3);
    bool done = contracts != NULL;
    if (done && !follow_pairs(demo, reader))
        done = error_set(&error, ERROR_FATAL, "pairs: cannot be read");
    while (done && !atomic_load(&demo->stopping)) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(reader, 50);
        if (message != NULL && message->err == RD_KAFKA_RESP_ERR_NO_ERROR)
            done = answer(demo, producer, contracts, &random, message, &error);
        if (message != NULL)
            rd_kafka_message_destroy(message);
        rd_kafka_poll(producer, 0);
    }
    if (!done)
        fail(demo, &error);
    contracts_free(contracts);
    if (reader != NULL)
        rd_kafka_destroy(reader);
    if (producer != NULL)
        rd_kafka_destroy(producer);
    return NULL;
}

/* The other worlds, one after the other. */
static void *run_worlds(void *opaque)
{
    struct demo *demo = opaque;
    const struct solo_plan plan = {.labels = (size_t)demo->plan->labels,
                                   .pool = demo->options->pool_size,
                                   .pools_per_round = 30 * POOLS_A_LABEL,
                                   .pairs_per_round = 30,
                                   .partitions = (int32_t)demo->options->topics_partitions};
    for (size_t k = 1; k < DEMO_WORLDS && !atomic_load(&demo->stopping); k++) {
        struct solo_plan seeded = plan;
        struct solo_result result;
        struct error error = {ERROR_NONE, ""};
        seeded.seed = demo->options->seed * DEMO_WORLDS + k;
        struct world *world = world_new(DEMO_DIMENSION, DEMO_PROMPTS, DEMO_COMPLETIONS,
                                        demo->options->policy_beta, seeded.seed);
        double ratio = (double)NAN;
        if (world == NULL)
            error_set(&error, ERROR_FATAL, "out of memory for a world");
        else if (solo_run(world, demo->options, &seeded, &result, &error)) {
            ratio = world_saving(world, result.labels, result.count, 25);
            solo_free(&result);
        }
        if (error.class != ERROR_NONE)
            fail(demo, &error);
        pthread_mutex_lock(&demo->mutex);
        demo->ratios[k] = ratio;
        pthread_mutex_unlock(&demo->mutex);
        world_free(world);
    }
    return NULL;
}

/* ---- life ---- */

static bool make_broker(struct demo *demo, struct error *error)
{
    char reason[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "log_level", "0", NULL, 0);
    demo->host = rd_kafka_new(RD_KAFKA_PRODUCER, conf, reason, sizeof reason);
    demo->cluster = demo->host == NULL ? NULL : rd_kafka_mock_cluster_new(demo->host, 1);
    if (demo->cluster == NULL)
        return error_set(error, ERROR_FATAL, "the in-process broker does not start");
    const struct options *options = demo->options;
    const struct {
        const char *name;
        int partitions;
    } topics[] = {{options->topics_completions, (int)options->topics_partitions},
                  {options->topics_pairs, (int)options->topics_partitions},
                  {options->topics_labels, LABEL_PARTITIONS},
                  {options->topics_ledger, LEDGER_PARTITIONS},
                  {options->topics_dead_letters, 1}};
    for (size_t k = 0; k < sizeof topics / sizeof topics[0]; k++)
        rd_kafka_mock_topic_create(demo->cluster, topics[k].name, topics[k].partitions, 1);
    free(demo->options->kafka_brokers);
    demo->options->kafka_brokers = strdup(rd_kafka_mock_cluster_bootstraps(demo->cluster));
    return demo->options->kafka_brokers != NULL ||
           error_set(error, ERROR_FATAL, "out of memory for the demo");
}

static bool start_threads(struct demo *demo, struct error *error)
{
    static void *(*const RUN[])(void *) = {run_worker, produce_completions, label_pairs,
                                           run_worlds};
    for (size_t k = 0; k < sizeof RUN / sizeof RUN[0]; k++) {
        if (pthread_create(&demo->threads[k], NULL, RUN[k], demo) != 0)
            return error_set(error, ERROR_FATAL, "a thread does not start");
        demo->thread_count++;
    }
    return true;
}

struct demo *demo_new(struct options *options, const struct demo_plan *plan, struct error *error)
{
    struct demo *demo = calloc(1, sizeof *demo);
    if (demo == NULL) {
        error_set(error, ERROR_FATAL, "out of memory for the demo");
        return NULL;
    }
    demo->options = options;
    demo->plan = plan;
    demo->started = clock_monotonic_ms();
    pthread_mutex_init(&demo->mutex, NULL);
    for (size_t k = 0; k < DEMO_WORLDS; k++)
        demo->ratios[k] = (double)NAN;
    demo->labels = calloc(LABELS_MAX, sizeof *demo->labels);
    demo->world = world_new(DEMO_DIMENSION, DEMO_PROMPTS, DEMO_COMPLETIONS, options->policy_beta,
                            options->seed);
    const struct worker_flags flags = {0};
    if (demo->labels == NULL || demo->world == NULL)
        error_set(error, ERROR_FATAL, "out of memory for the demo");
    else if (make_broker(demo, error) &&
             (demo->worker = worker_new(options, &flags, error)) != NULL &&
             start_threads(demo, error))
        return demo;
    demo_free(demo);
    return NULL;
}

static void stop_threads(struct demo *demo)
{
    atomic_store(&demo->stopping, true);
    if (demo->worker != NULL)
        worker_stop(demo->worker);
    for (size_t k = 0; k < demo->thread_count; k++)
        pthread_join(demo->threads[k], NULL);
    demo->thread_count = 0;
}

void demo_free(struct demo *demo)
{
    if (demo == NULL)
        return;
    stop_threads(demo);
    worker_free(demo->worker);
    world_free(demo->world);
    if (demo->cluster != NULL)
        rd_kafka_mock_cluster_destroy(demo->cluster);
    if (demo->host != NULL)
        rd_kafka_destroy(demo->host);
    pthread_mutex_destroy(&demo->mutex);
    free(demo->labels);
    free(demo);
}

const struct options *demo_options(const struct demo *demo)
{
    return demo->options;
}

uint16_t demo_port(const struct demo *demo)
{
    return worker_port(demo->worker);
}

/* ---- watching ---- */

static size_t count_arm(const struct world_label *labels, size_t count, enum pair_arm arm)
{
    size_t of_arm = 0;
    for (size_t k = 0; k < count; k++)
        of_arm += labels[k].arm == arm;
    return of_arm;
}

/* A copy of the labels so far, for the caller to free. */
static struct world_label *copy_labels(struct demo *demo, size_t *count)
{
    pthread_mutex_lock(&demo->mutex);
    *count = demo->label_count;
    struct world_label *labels = malloc((*count + 1) * sizeof *labels);
    if (labels != NULL)
        memcpy(labels, demo->labels, *count * sizeof *labels);
    pthread_mutex_unlock(&demo->mutex);
    return labels;
}

static double gap_of(const struct demo *demo, const struct world_label *labels, size_t count,
                     enum pair_arm arm, size_t most)
{
    double psi[DEMO_DIMENSION] = {0};
    if (world_fit(demo->world, labels, count, arm, most, psi) == 0)
        memset(psi, 0, sizeof psi);
    return world_gap(demo->world, psi);
}

static void look(struct demo *demo, struct demo_state *state)
{
    struct metrics *metrics = worker_metrics(demo->worker);
    size_t count;
    struct world_label *labels = copy_labels(demo, &count);
    if (labels == NULL)
        return;
    size_t selected = count_arm(labels, count, ARM_SELECTED);
    size_t control = count - selected;
    state->seconds = (double)(clock_monotonic_ms() - demo->started) / 1000;
    state->labels = count;
    state->each = selected < control ? selected : control;
    state->completions = (int64_t)metrics_get(metrics, METRIC_COMPLETIONS, NULL, NULL);
    state->pairs = (int64_t)(metrics_get(metrics, METRIC_PAIRS, "selected", NULL) +
                             metrics_get(metrics, METRIC_PAIRS, "control", NULL));
    /* Figures of the worker are half a second old at most; a label has a pair. */
    if (!(state->pairs >= (int64_t)count))
        state->pairs = (int64_t)count;
    state->gap_selected = gap_of(demo, labels, count, ARM_SELECTED, state->each);
    state->gap_control = gap_of(demo, labels, count, ARM_CONTROL, state->each);
    free(labels);
}

static bool healthy(struct demo *demo, struct error *error)
{
    pthread_mutex_lock(&demo->mutex);
    *error = demo->failed;
    pthread_mutex_unlock(&demo->mutex);
    return error->class == ERROR_NONE;
}

bool demo_wait(struct demo *demo, struct demo_state *state, struct error *error)
{
    int64_t until = clock_monotonic_ms() + 1000;
    while (clock_monotonic_ms() < until && !interrupt_seen())
        rd_kafka_poll(demo->host, 50);
    look(demo, state);
    return healthy(demo, error);
}

/* Two-sided 95 % quantiles of Student's t for 1, 2, ... degrees of freedom. */
static const double T95[DEMO_SOLO_WORLDS] = {12.706, 4.303, 3.182, 2.776,
                                             2.571,  2.447, 2.365, 2.306};

void demo_summarise(struct demo_summary *summary)
{
    double sum = 0, squares = 0;
    summary->worlds = 0;
    for (size_t k = 0; k < DEMO_WORLDS; k++) {
        if (isnan(summary->ratios[k]))
            continue;
        sum += log(summary->ratios[k]);
        squares += log(summary->ratios[k]) * log(summary->ratios[k]);
        summary->worlds++;
    }
    double n = (double)summary->worlds;
    double mean = sum / n;
    double deviation = n > 1 ? sqrt(fmax(0, (squares - n * mean * mean) / (n - 1)) / n) : INFINITY;
    double half = summary->worlds > 1 ? T95[summary->worlds - 2] * deviation : INFINITY;
    summary->mean = exp(mean);
    summary->low = exp(mean - half);
    summary->high = exp(mean + half);
}

/* True when every world of the engine alone has its ratio. */
static bool worlds_done(struct demo *demo)
{
    size_t done = 0;
    pthread_mutex_lock(&demo->mutex);
    for (size_t k = 1; k < DEMO_WORLDS; k++)
        done += isnan(demo->ratios[k]) ? 0 : 1;
    pthread_mutex_unlock(&demo->mutex);
    return done == DEMO_SOLO_WORLDS;
}

/* c of an arm's labels: how good a design of as many labels is, nearly without noise. */
static double design_of(const struct demo *demo, enum pair_arm arm)
{
    struct world_label *of_arm = malloc((demo->label_count + 1) * sizeof *of_arm);
    size_t count = 0;
    if (of_arm == NULL)
        return (double)NAN;
    for (size_t k = 0; k < demo->label_count; k++) {
        if (demo->labels[k].arm == arm)
            of_arm[count++] = demo->labels[k];
    }
    double design = world_design(demo->world, of_arm, count);
    free(of_arm);
    return design;
}

bool demo_finish(struct demo *demo, struct demo_state *state, struct demo_summary *summary,
                 struct error *error)
{
    enum { REPORT_MOST = 5000 };
    summary->reported = !interrupt_seen() && accounting_wait(worker_accounting(demo->worker),
                                                             REPORT_MOST, &summary->report);
    worker_stop(demo->worker);
    /* The last world may want a moment; nobody waits for it past the plan or an interrupt. */
    while (!worlds_done(demo) && !interrupt_seen() && healthy(demo, error) &&
           clock_monotonic_ms() - demo->started < demo->plan->seconds * 1000)
        rd_kafka_poll(demo->host, 50);
    stop_threads(demo);
    if (!healthy(demo, error))
        return false;
    look(demo, state);
    summary->design_ratio = design_of(demo, ARM_CONTROL) / design_of(demo, ARM_SELECTED);
    memcpy(summary->ratios, demo->ratios, sizeof summary->ratios);
    summary->ratios[0] = world_saving(demo->world, demo->labels, demo->label_count, 25);
    demo_summarise(summary);
    return true;
}
