/* The contracts: round trips, foreign writers, hostile bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

#include "schemas/contracts.h"
#include "tests/support/expect.h"

enum { D = 5, DIMENSION_MAX = 8, RECORD_MAX = 4096, ID_MAX = 1024 };

static struct contracts *load(enum framing framing, const char *directory, const char *const *ids,
                              size_t count, struct error *error)
{
    const struct contracts_options options = {.framing = framing,
                                              .directory = directory,
                                              .ids = ids,
                                              .id_count = count,
                                              .record_max = RECORD_MAX,
                                              .dimension_max = DIMENSION_MAX,
                                              .attributes_max = 3};
    return contracts_new(&options, error);
}

static struct contracts *ours(enum framing framing)
{
    struct error error;
    struct contracts *contracts = load(framing, TEST_SOURCE_DIRECTORY "/schemas", NULL, 0, &error);
    if (contracts == NULL)
        fail_msg("%s", error.message);
    return contracts;
}

static struct span taken(const struct buffer *buffer)
{
    return (struct span){buffer->data, buffer->size};
}

static const float FEATURES[D] = {1, -2, .5f, 0, 3e30f};

static struct completion a_completion(void)
{
    return (struct completion){.prompt_id = span_of("prompt"),
                               .completion_id = span_of("completion"),
                               .policy_version = span_of("v1"),
                               .policy_epoch = 3,
                               .feature_space = span_of("space"),
                               .feature_epoch = 4,
                               .features = FEATURES,
                               .dimension = D,
                               .policy_logprob = -1.5,
                               .reference_logprob = (double)NAN,
                               .reward = (double)NAN,
                               .traffic_weight = 2,
                               .candidate = false,
                               .source = SOURCE_OPTIMIST,
                               .reward_deviation = .5,
                               .cost = 3,
                               .domain = span_of("d"),
                               .prompt = span_of("why?"),
                               .text = span_of("because \xe2\x82\xac"),
                               .uri = span_of(""),
                               .created_at = 1700000000000};
}

static bool same_text(struct span text, const char *expected)
{
    return span_equal(text, span_of(expected));
}

/* ---- round trips ---- */

static void a_completion_survives_a_round_trip(void **state)
{
    (void)state;
    for (int framing = 0; framing < 2; framing++) {
        struct contracts *contracts = ours((enum framing)framing);
        struct buffer record = {.maximum = RECORD_MAX}, attributes = {.maximum = 100};
        struct error error;
        struct completion in = a_completion(), out;
        const struct span names[] = {span_of("a"), span_of("b")};
        const struct span values[] = {span_of("1"), span_of("")};
        assert_true(attributes_encode(names, values, 2, &attributes));
        in.attributes = taken(&attributes);
        assert_true(contracts_encode_completion(contracts, &in, &record, &error));
        assert_true(contracts_decode_completion(contracts, taken(&record), &out, NULL, &error));
        assert_true(same_text(out.prompt_id, "prompt"));
        assert_true(same_text(out.completion_id, "completion"));
        assert_true(same_text(out.text, "because \xe2\x82\xac"));
        assert_int_equal(out.uri.size, 0);
        assert_int_equal(out.policy_epoch, 3);
        assert_int_equal(out.dimension, D);
        assert_memory_equal(out.features, FEATURES, sizeof FEATURES);
        assert_float_equal(out.policy_logprob, -1.5, 0);
        assert_true(isnan(out.reference_logprob));
        assert_false(out.candidate);
        assert_int_equal(out.source, SOURCE_OPTIMIST);
        assert_float_equal(out.reward_deviation, .5, 0);
        assert_float_equal(out.cost, 3, 0);
        struct span name, value;
        size_t position = 0;
        assert_true(attributes_next(out.attributes, &position, &name, &value));
        assert_true(same_text(name, "a") && same_text(value, "1"));
        assert_true(attributes_next(out.attributes, &position, &name, &value));
        assert_true(same_text(name, "b") && value.size == 0);
        assert_false(attributes_next(out.attributes, &position, &name, &value));
        buffer_free(&record);
        buffer_free(&attributes);
        contracts_free(contracts);
    }
}

static void a_label_survives_a_round_trip(void **state)
{
    (void)state;
    struct contracts *contracts = ours(FRAMING_CONFLUENT);
    struct buffer record = {.maximum = RECORD_MAX};
    struct error error;
    struct label in = {.request_id = span_of("r"),
                       .outcome = OUTCOME_BOTH_BAD,
                       .confidence = .25,
                       .probability_left = (double)NAN,
                       .lead_time = -1,
                       .labelled_at = 9},
                 out;
    assert_true(contracts_encode_label(contracts, &in, &record, &error));
    assert_true(contracts_decode_label(contracts, taken(&record), &out, NULL, &error));
    assert_int_equal(out.outcome, OUTCOME_BOTH_BAD);
    assert_float_equal(out.confidence, .25, 0);
    assert_int_equal(out.lead_time, -1);
    in = (struct label){.pair_id = span_of("p"),
                        .outcome = OUTCOME_PROBABILITY,
                        .confidence = 1,
                        .probability_left = .75,
                        .lead_time = 70,
                        .annotator_id = span_of("me")};
    record.size = 0;
    assert_true(contracts_encode_label(contracts, &in, &record, &error));
    assert_true(contracts_decode_label(contracts, taken(&record), &out, NULL, &error));
    assert_int_equal(out.outcome, OUTCOME_PROBABILITY);
    assert_float_equal(out.probability_left, .75, 0);
    assert_int_equal(out.lead_time, 70);
    assert_true(same_text(out.annotator_id, "me"));
    buffer_free(&record);
    contracts_free(contracts);
}

static const double WIDE[2] = {1.25, -8};
#define VECTOR(array)                                                                              \
    {                                                                                              \
        (const char *)(array), sizeof(array)                                                       \
    }

static struct entry entry_of(enum entry_kind kind)
{
    struct entry entry = {.version = LEDGER_VERSION,
                          .digest = span_of("digest"),
                          .writer = span_of("slot"),
                          .time = 123,
                          .kind = kind};
    switch (kind) {
    case ENTRY_SELECTED:
        entry.selected = (struct entry_selected){.request_id = span_of("r"),
                                                 .x = VECTOR(FEATURES),
                                                 .weight = .125,
                                                 .arm = ARM_CONTROL,
                                                 .completions_partition = 4,
                                                 .slot = 77,
                                                 .attempt = 1,
                                                 .cost = 2.5,
                                                 .domain = span_of("code")};
        break;
    case ENTRY_LABELLED:
        entry.labelled = (struct entry_labelled){.label_id = span_of("l"),
                                                 .x = VECTOR(FEATURES),
                                                 .outcome = OUTCOME_SKIP,
                                                 .probability_left = (double)NAN,
                                                 .confidence = 1,
                                                 .origin = ORIGIN_CARRIED,
                                                 .supersedes = span_of("k")};
        break;
    case ENTRY_EXPIRED:
        entry.expired =
            (struct entry_expired){.request_id = span_of("r"), .completions_partition = 3};
        break;
    case ENTRY_WITHDRAWN:
        entry.withdrawn =
            (struct entry_withdrawn){.request_id = span_of("r"), .reason = span_of("why")};
        break;
    case ENTRY_MOMENTS:
        entry.moments = (struct entry_moments){.from = 1,
                                               .to = 9,
                                               .pools = 2,
                                               .weight = 1.5,
                                               .chunk = 1,
                                               .chunks = 2,
                                               .sums = VECTOR(FEATURES),
                                               .squares = 1.25};
        break;
    case ENTRY_FIT:
        entry.fit = (struct entry_fit){
            .fit_id = 5, .psi = VECTOR(WIDE), .lambda = VECTOR(WIDE), .iterations = 6};
        break;
    case ENTRY_PRICE:
        entry.price = (struct entry_price){.completions_partition = 1, .price = .5};
        break;
    case ENTRY_SPACE:
        entry.space = (struct entry_space){
            .feature_space = span_of("s"), .dimension = 2, .centre = VECTOR(WIDE), .scale = 3};
        break;
    }
    return entry;
}

static void every_kind_of_entry_survives_a_round_trip(void **state)
{
    (void)state;
    struct contracts *contracts = ours(FRAMING_CONFLUENT);
    for (int kind = ENTRY_SELECTED; kind <= ENTRY_SPACE; kind++) {
        struct buffer first = {.maximum = RECORD_MAX}, second = {.maximum = RECORD_MAX};
        struct error error;
        const struct entry in = entry_of((enum entry_kind)kind);
        struct entry out;
        assert_true(contracts_encode_entry(contracts, &in, &first, &error));
        assert_true(contracts_decode_entry(contracts, taken(&first), &out, NULL, &error));
        assert_int_equal(out.kind, kind);
        assert_int_equal(out.time, 123);
        /* What was read encodes to the same bytes: no field was lost or moved. */
        assert_true(contracts_encode_entry(contracts, &out, &second, &error));
        assert_true(span_equal(taken(&first), taken(&second)));
        if (kind == ENTRY_SELECTED) {
            assert_int_equal(out.selected.slot, 77);
            assert_int_equal(out.selected.arm, ARM_CONTROL);
            assert_memory_equal(out.selected.x.data, FEATURES, sizeof FEATURES);
        }
        if (kind == ENTRY_LABELLED) {
            assert_true(isnan(out.labelled.probability_left));
            assert_int_equal(out.labelled.origin, ORIGIN_CARRIED);
        }
        buffer_free(&first);
        buffer_free(&second);
    }
    contracts_free(contracts);
}

static void a_fit_names_annotators_or_ends_before_them(void **state)
{
    (void)state;
    struct contracts *contracts = ours(FRAMING_CONFLUENT);
    struct buffer region = {.maximum = 4096}, record = {.maximum = RECORD_MAX};
    struct error error;
    struct entry in = entry_of(ENTRY_FIT), out;
    const struct fit_annotator rows[] = {{.id = span_of("ann"),
                                          .kind = span_of("human"),
                                          .labels = 700,
                                          .sided = 600,
                                          .lapse = .25,
                                          .left_bias = -.5,
                                          .left_share = .5,
                                          .agreement = .75,
                                          .compared = 300,
                                          .compared_agreement = .125},
                                         {.id = span_of("bob"), .kind = span_of("")}};
    assert_true(annotators_encode(rows, 2, &region));
    in.fit.annotators = taken(&region);
    in.fit.tie = .5;
    assert_true(contracts_encode_entry(contracts, &in, &record, &error));
    assert_true(contracts_decode_entry(contracts, taken(&record), &out, NULL, &error));
    struct fit_annotator row;
    size_t position = 0;
    assert_float_equal(out.fit.tie, .5, 0);
    assert_true(annotators_next(out.fit.annotators, &position, &row));
    assert_true(same_text(row.id, "ann") && same_text(row.kind, "human"));
    assert_true(row.labels == 700 && row.sided == 600 && row.compared == 300);
    assert_true(row.lapse == .25 && row.left_bias == -.5 && row.left_share == .5);
    assert_true(row.agreement == .75 && row.compared_agreement == .125);
    assert_true(annotators_next(out.fit.annotators, &position, &row));
    assert_true(same_text(row.id, "bob") && row.labels == 0);
    assert_false(annotators_next(out.fit.annotators, &position, &row));
    /* Written before there were any: the record ends with the iterations. */
    const struct span older = {record.data, record.size - region.size - sizeof(double)};
    assert_true(contracts_decode_entry(contracts, older, &out, NULL, &error));
    assert_int_equal(out.fit.iterations, 6);
    assert_float_equal(out.fit.tie, 0, 0);
    position = 0;
    assert_false(annotators_next(out.fit.annotators, &position, &row));
    buffer_free(&region);
    buffer_free(&record);
    contracts_free(contracts);
}

/* Written before the sum of squared weights was: 8 bytes less. */
static void moments_without_squares_are_read(void **state)
{
    (void)state;
    struct contracts *contracts = ours(FRAMING_CONFLUENT);
    struct buffer record = {.maximum = RECORD_MAX};
    struct error error;
    const struct entry in = entry_of(ENTRY_MOMENTS);
    struct entry out;
    assert_true(contracts_encode_entry(contracts, &in, &record, &error));
    const struct span before = {record.data, record.size - sizeof(double)};
    assert_true(contracts_decode_entry(contracts, before, &out, NULL, &error));
    assert_true(out.moments.squares == 0 && out.moments.weight == 1.5);
    assert_memory_equal(out.moments.sums.data, FEATURES, sizeof FEATURES);
    assert_true(contracts_decode_entry(contracts, taken(&record), &out, NULL, &error));
    assert_true(out.moments.squares == 1.25);
    buffer_free(&record);
    contracts_free(contracts);
}

static void texts_of_the_ledger_have_a_limit_of_their_own(void **state)
{
    (void)state;
    enum { MOST = 64 * 1024 };
    struct contracts *contracts = ours(FRAMING_CONFLUENT);
    struct buffer record = {.maximum = 1 << 20};
    struct error error;
    static char text[MOST + 1];
    memset(text, 'x', sizeof text);
    struct entry in = entry_of(ENTRY_WITHDRAWN), out;
    in.digest = (struct span){text, 200};
    in.withdrawn.request_id = (struct span){text, 32};
    in.withdrawn.reason = (struct span){text, MOST};
    assert_true(contracts_encode_entry(contracts, &in, &record, &error));
    if (!contracts_decode_entry(contracts, taken(&record), &out, NULL, &error))
        fail_msg("%s", error.message);
    in.withdrawn.reason.size++;
    record.size = 0;
    assert_true(contracts_encode_entry(contracts, &in, &record, &error));
    assert_false(contracts_decode_entry(contracts, taken(&record), &out, NULL, &error));
    assert_non_null(strstr(error.message, "reason: has 65537 bytes, may have 65536"));
    buffer_free(&record);
    contracts_free(contracts);
}

static void records_print_as_json(void **state)
{
    (void)state;
    struct contracts *contracts = ours(FRAMING_CONFLUENT);
    struct buffer record = {.maximum = RECORD_MAX}, line = {.maximum = RECORD_MAX};
    struct error error;
    const struct entry fit = entry_of(ENTRY_FIT);
    const struct completion completion = a_completion();
    assert_true(contracts_encode_entry(contracts, &fit, &record, &error));
    assert_true(contracts_print_json(contracts, CONTRACT_LEDGER, taken(&record), &line, &error));
    assert_true(buffer_append(&line, "", 1));
    assert_non_null(strstr(line.data, "\"kind\":\"fit\""));
    assert_non_null(strstr(line.data, "\"psi\":[1.25,-8.0]"));
    assert_non_null(strstr(line.data, "\"fit_id\":5"));
    record.size = line.size = 0;
    assert_true(contracts_encode_completion(contracts, &completion, &record, &error));
    assert_true(
        contracts_print_json(contracts, CONTRACT_COMPLETION, taken(&record), &line, &error));
    assert_true(buffer_append(&line, "", 1));
    assert_non_null(strstr(line.data, "\"features\":[1.0,-2.0,0.5,0.0,"));
    assert_non_null(strstr(line.data, "\"reward\":null"));
    buffer_free(&record);
    buffer_free(&line);
    contracts_free(contracts);
}

/* ---- other writers ---- */

/* Loads a completion schema of the test's own beside our other three. */
static struct contracts *with_writer(const char *schema, struct error *error)
{
    char directory[] = "/tmp/infopair-contracts-XXXXXX";
    assert_non_null(mkdtemp(directory));
    char path[128];
    snprintf(path, sizeof path, "%s/completion-other.avsc", directory);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(schema, file);
    fclose(file);
    char id[160];
    snprintf(id, sizeof id, "9=%s", path);
    const char *const ids[] = {"1=completion.avsc", "2=label.avsc", "3=pair.avsc", "4=ledger.avsc",
                               id};
    struct contracts *contracts =
        load(FRAMING_CONFLUENT, TEST_SOURCE_DIRECTORY "/schemas", ids, 5, error);
    remove(path);
    remove(directory);
    return contracts;
}

#define FIELD(name, type) "{\"name\":\"" name "\",\"type\":" type "}"
#define RECORD(fields) "{\"type\":\"record\",\"name\":\"C\",\"fields\":[" fields "]}"

static void a_foreign_writer_may_order_skip_and_widen(void **state)
{
    (void)state;
    struct error error;
    struct contracts *contracts = with_writer(
        RECORD(FIELD(
            "junk",
            "{\"type\":\"array\",\"items\":{\"type\":\"map\",\"values\":"
            "[\"null\",\"long\"]}}") "," FIELD("features",
                                               "{\"type\":\"array\",\"items\":"
                                               "\"double\"}") "," FIELD("completion_id",
                                                                        "\"bytes\"") "," FIELD("fix"
                                                                                               "ed",
                                                                                               "{\""
                                                                                               "typ"
                                                                                               "e\""
                                                                                               ":\""
                                                                                               "fix"
                                                                                               "ed"
                                                                                               "\","
                                                                                               "\"n"
                                                                                               "ame"
                                                                                               "\":"
                                                                                               "\"F"
                                                                                               "\","
                                                                                               "\"s"
                                                                                               "ize"
                                                                                               "\":"
                                                                                               "3}") "," FIELD("reward",
                                                                                                               "[\"float\",\"null\"]") "," FIELD("prompt_id",
                                                                                                                                                 "\"string\"")),
        &error);
    if (contracts == NULL)
        fail_msg("%s", error.message);
    /* junk: one block of one map {"k": 5}, in the form with a size; features: two blocks. */
    const unsigned char record[] = {0, 0,   0,   0,   9,   1, 12, 2,    2,    'k',
                                    2, 10,  0,   0,                                 /* junk */
                                    2, 0,   0,   0,   0,   0, 0,  0xf0, 0x3f,       /* 1.0 */
                                    2, 0,   0,   0,   0,   0, 0,  0,    0xc0, 0,    /* -2.0 */
                                    2, 'c', 'x', 'y', 'z', 0, 0,  0,    0x20, 0x41, /* 10.0f */
                                    2, 'p'};
    struct completion out;
    const char *stage;
    if (!contracts_decode_completion(contracts, (struct span){(const char *)record, sizeof record},
                                     &out, &stage, &error))
        fail_msg("%s: %s", stage, error.message);
    assert_int_equal(out.dimension, 2);
    assert_float_equal(out.features[0], 1, 0);
    assert_float_equal(out.features[1], -2, 0);
    assert_float_equal(out.reward, 10, 0);
    assert_true(same_text(out.completion_id, "c"));
    assert_true(same_text(out.feature_space, "default"));
    assert_float_equal(out.traffic_weight, 1, 0);
    assert_true(out.candidate);
    contracts_free(contracts);
}

static void a_schema_that_cannot_serve_stops_the_start(void **state)
{
    (void)state;
    static const struct {
        const char *schema;
        const char *said;
    } cases[] = {
        {RECORD(FIELD("prompt_id", "\"string\"") "," FIELD("features", "\"bytes\"")),
         "completion_id"},
        {RECORD(FIELD("prompt_id", "\"long\"") "," FIELD("completion_id", "\"string\"") "," FIELD(
             "features", "\"bytes\"")),
         "prompt_id"},
        {RECORD(FIELD("prompt_id", "\"string\"") "," FIELD("completion_id", "\"string\"") "," FIELD(
             "features", "{\"type\":\"array\",\"items\":\"string\"}")),
         "features"},
        {RECORD(FIELD("prompt_id", "\"string\"") "," FIELD("completion_id", "\"string\"") "," FIELD(
             "features", "\"bytes\"") "," FIELD("next", "[\"null\",\"C\"]")),
         "recursive"},
        {"{\"type\":\"recor", "not an Avro schema"},
    };
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        struct error error = {ERROR_NONE, ""};
        assert_null(with_writer(cases[k].schema, &error));
        assert_int_equal(error.class, ERROR_FATAL);
        expect_says(error.message, cases[k].said);
    }
}

/* ---- hostile bytes ---- */

struct hostile {
    struct contracts *contracts;
    struct buffer record;
};

static struct hostile hostile_make(void)
{
    struct hostile hostile = {ours(FRAMING_CONFLUENT), {.maximum = RECORD_MAX}};
    struct error error;
    const struct completion completion = a_completion();
    assert_true(
        contracts_encode_completion(hostile.contracts, &completion, &hostile.record, &error));
    return hostile;
}

static void hostile_end(struct hostile *hostile)
{
    buffer_free(&hostile->record);
    contracts_free(hostile->contracts);
}

/* Decodes a copy on the heap of exactly its size, so that a sanitizer sees any step beyond. */
static bool decode_copy(struct contracts *contracts, enum contract contract, const char *data,
                        size_t size, const char **stage, struct error *error)
{
    char *copy = malloc(size == 0 ? 1 : size);
    assert_non_null(copy);
    memcpy(copy, data, size);
    struct completion completion;
    struct label label;
    struct entry entry;
    const struct span record = {copy, size};
    bool done = contract == CONTRACT_COMPLETION
                    ? contracts_decode_completion(contracts, record, &completion, stage, error)
                : contract == CONTRACT_LABEL
                    ? contracts_decode_label(contracts, record, &label, stage, error)
                    : contracts_decode_entry(contracts, record, &entry, stage, error);
    free(copy);
    return done;
}

/* What a record lacks that ends before cost, reward_deviation and source. */
static const size_t LATER[] = {8, 8 + 9, 8 + 9 + 2};

static void a_record_cut_anywhere_is_refused(void **state)
{
    (void)state;
    struct hostile hostile = hostile_make();
    for (size_t size = 0; size < hostile.record.size; size++) {
        size_t less = hostile.record.size - size;
        if (less == LATER[0] || less == LATER[1] || less == LATER[2])
            continue; /* as an older copy of the contract has it, see below */
        struct error error;
        const char *stage;
        assert_false(decode_copy(hostile.contracts, CONTRACT_COMPLETION, hostile.record.data, size,
                                 &stage, &error));
        assert_int_equal(error.class, ERROR_DATA);
        assert_string_equal(stage, size < 5 ? "framing" : "decode");
    }
    hostile_end(&hostile);
}

static void a_record_of_an_older_copy_of_the_contract_is_read(void **state)
{
    (void)state;
    struct hostile hostile = hostile_make();
    for (size_t k = 0; k < sizeof LATER / sizeof *LATER; k++) {
        struct error error;
        struct completion completion;
        const struct span record = {hostile.record.data, hostile.record.size - LATER[k]};
        assert_true(
            contracts_decode_completion(hostile.contracts, record, &completion, NULL, &error));
        assert_int_equal(completion.source, k < 2 ? SOURCE_OPTIMIST : SOURCE_UNKNOWN);
        assert_true(isnan(completion.reward_deviation) == (k >= 1));
        assert_float_equal(completion.cost, 1, 0);
    }
    hostile_end(&hostile);
}

static void framing_and_ids_are_checked(void **state)
{
    (void)state;
    struct hostile hostile = hostile_make();
    struct error error;
    const char *stage;
    hostile.record.data[0] = 1;
    assert_false(decode_copy(hostile.contracts, CONTRACT_COMPLETION, hostile.record.data,
                             hostile.record.size, &stage, &error));
    assert_string_equal(stage, "framing");
    hostile.record.data[0] = 0;
    hostile.record.data[4] = 77;
    assert_false(decode_copy(hostile.contracts, CONTRACT_COMPLETION, hostile.record.data,
                             hostile.record.size, &stage, &error));
    assert_string_equal(stage, "schema");
    assert_non_null(strstr(error.message, "77"));
    hostile.record.data[4] = 2; /* a label's */
    assert_false(decode_copy(hostile.contracts, CONTRACT_COMPLETION, hostile.record.data,
                             hostile.record.size, &stage, &error));
    assert_string_equal(stage, "schema");
    hostile.record.data[4] = 1;
    assert_true(buffer_append(&hostile.record, "x", 1));
    assert_false(decode_copy(hostile.contracts, CONTRACT_COMPLETION, hostile.record.data,
                             hostile.record.size, &stage, &error));
    assert_non_null(strstr(error.message, "left over"));
    hostile_end(&hostile);
}

static void huge_lengths_and_counts_are_refused_at_once(void **state)
{
    (void)state;
    struct error error;
    const char *stage;
    struct contracts *contracts = with_writer(
        RECORD(FIELD("nulls", "{\"type\":\"array\",\"items\":\"null\"}") "," FIELD(
            "prompt_id", "\"string\"") "," FIELD("completion_id",
                                                 "\"string\"") "," FIELD("features", "\"bytes\"")),
        &error);
    assert_non_null(contracts);
    static const unsigned char records[][16] = {
        {0, 0, 0, 0, 9, 0x80, 0xa8, 0xd6, 0xb9, 0x07, 0},                            /* 1e9 nulls */
        {0, 0, 0, 0, 9, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1},    /* INT64_MIN */
        {0, 0, 0, 0, 9, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2},    /* 65 bits */
        {0, 0, 0, 0, 9, 0, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, /* length */
        {0, 0, 0, 0, 9, 0, 1, 0, 0, 0},                                              /* length -1 */
    };
    for (size_t k = 0; k < sizeof records / sizeof records[0]; k++) {
        assert_false(decode_copy(contracts, CONTRACT_COMPLETION, (const char *)records[k],
                                 sizeof records[k], &stage, &error));
        assert_int_equal(error.class, ERROR_DATA);
    }
    contracts_free(contracts);
}

static void bad_values_are_refused_by_name(void **state)
{
    (void)state;
    struct contracts *contracts = ours(FRAMING_CONFLUENT);
    static const float nan_at_1[2] = {0, (float)NAN}, many[DIMENSION_MAX + 1] = {0};
    static const char long_id[ID_MAX + 2] = {'x', 'x'};
    struct completion cases[7];
    static const char *const said[7] = {"prompt_id",
                                        "completion_id",
                                        "features: value 1",
                                        "features: has 9 values, more than limits.dimension = 8",
                                        "prompt_id: is not valid UTF-8",
                                        "policy_version: has 1025 bytes, may have 1024",
                                        "traffic_weight"};
    for (size_t k = 0; k < 7; k++)
        cases[k] = a_completion();
    cases[0].prompt_id.size = 0;
    cases[1].completion_id.size = 0;
    cases[2].features = nan_at_1;
    cases[2].dimension = 2;
    cases[3].features = many;
    cases[3].dimension = DIMENSION_MAX + 1;
    cases[4].prompt_id = span_of("\xc3(");
    cases[5].policy_version = (struct span){long_id, ID_MAX + 1};
    cases[6].traffic_weight = -1;
    for (size_t k = 0; k < 7; k++) {
        struct buffer record = {.maximum = RECORD_MAX};
        struct error error;
        const char *stage;
        assert_true(contracts_encode_completion(contracts, &cases[k], &record, &error));
        assert_false(
            decode_copy(contracts, CONTRACT_COMPLETION, record.data, record.size, &stage, &error));
        assert_string_equal(stage, "validate");
        expect_says(error.message, said[k]);
        buffer_free(&record);
    }
    contracts_free(contracts);
}

static void impossible_labels_are_refused(void **state)
{
    (void)state;
    struct contracts *contracts = ours(FRAMING_CONFLUENT);
    const struct label good = {.request_id = span_of("r"),
                               .outcome = OUTCOME_LEFT,
                               .confidence = 1,
                               .probability_left = (double)NAN};
    struct label cases[4] = {good, good, good, good};
    cases[0].request_id.size = 0;
    cases[1].confidence = 0;
    cases[2].confidence = 2;
    cases[3].outcome = OUTCOME_PROBABILITY;
    cases[3].probability_left = 1.5;
    struct error error;
    const char *stage;
    struct buffer record = {.maximum = RECORD_MAX};
    for (size_t k = 0; k < 4; k++) {
        record.size = 0;
        assert_true(contracts_encode_label(contracts, &cases[k], &record, &error));
        assert_false(
            decode_copy(contracts, CONTRACT_LABEL, record.data, record.size, &stage, &error));
        assert_string_equal(stage, "validate");
    }
    record.size = 0;
    assert_true(contracts_encode_label(contracts, &good, &record, &error));
    /* label_id null, request_id "r", pair_id null, then the enum's branch and index. */
    assert_int_equal(record.data[5 + 1 + 3 + 1], 2);
    record.data[5 + 1 + 3 + 2] = 2 * 6;
    assert_false(decode_copy(contracts, CONTRACT_LABEL, record.data, record.size, &stage, &error));
    assert_string_equal(stage, "validate");
    assert_non_null(strstr(error.message, "outcome"));
    buffer_free(&record);
    contracts_free(contracts);
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void mutated_records_never_break_the_decoder(void **state)
{
    (void)state;
    struct contracts *contracts = ours(FRAMING_CONFLUENT);
    uint64_t random = 88172645463325252u;
    for (int round = 0; round < 200000; round++) {
        static struct buffer record = {.maximum = RECORD_MAX};
        struct error error;
        const char *stage;
        record.size = 0;
        enum contract contract = round % 2 == 0 ? CONTRACT_COMPLETION : CONTRACT_LEDGER;
        const struct completion completion = a_completion();
        const struct entry entry = entry_of((enum entry_kind)(round / 2 % 8));
        assert_true(contract == CONTRACT_COMPLETION
                        ? contracts_encode_completion(contracts, &completion, &record, &error)
                        : contracts_encode_entry(contracts, &entry, &record, &error));
        for (uint64_t k = next_random(&random) % 4 + 1; k > 0; k--)
            record.data[5 + next_random(&random) % (record.size - 5)] = (char)next_random(&random);
        size_t size = record.size - next_random(&random) % 3;
        (void)decode_copy(contracts, contract, record.data, size, &stage, &error);
        if (round == 199999)
            buffer_free(&record);
    }
    contracts_free(contracts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_completion_survives_a_round_trip),
        cmocka_unit_test(a_label_survives_a_round_trip),
        cmocka_unit_test(every_kind_of_entry_survives_a_round_trip),
        cmocka_unit_test(a_fit_names_annotators_or_ends_before_them),
        cmocka_unit_test(moments_without_squares_are_read),
        cmocka_unit_test(texts_of_the_ledger_have_a_limit_of_their_own),
        cmocka_unit_test(records_print_as_json),
        cmocka_unit_test(a_foreign_writer_may_order_skip_and_widen),
        cmocka_unit_test(a_schema_that_cannot_serve_stops_the_start),
        cmocka_unit_test(a_record_cut_anywhere_is_refused),
        cmocka_unit_test(a_record_of_an_older_copy_of_the_contract_is_read),
        cmocka_unit_test(framing_and_ids_are_checked),
        cmocka_unit_test(huge_lengths_and_counts_are_refused_at_once),
        cmocka_unit_test(bad_values_are_refused_by_name),
        cmocka_unit_test(impossible_labels_are_refused),
        cmocka_unit_test(mutated_records_never_break_the_decoder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
