#include "source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SCHEMA_BYTES_MAX = 1 << 20 };

static const char *const NAMES[CONTRACTS] = {"completion", "label", "pair", "ledger"};

static const char *const DEFAULT_IDS[] = {"1=completion.avsc", "2=label.avsc", "3=pair.avsc",
                                          "4=ledger.avsc"};

const char *contract_name(enum contract contract)
{
    return NAMES[contract];
}

/* The contract whose name the file's name begins with. */
static bool contract_of(const char *file, enum contract *contract)
{
    const char *slash = strrchr(file, '/');
    const char *base = slash == NULL ? file : slash + 1;
    for (int k = 0; k < CONTRACTS; k++) {
        if (strncmp(base, NAMES[k], strlen(NAMES[k])) == 0) {
            *contract = (enum contract)k;
            return true;
        }
    }
    return false;
}

static char *read_file(const char *path, size_t *size, struct error *error)
{
    FILE *file = fopen(path, "rb");
    char *text = file == NULL ? NULL : malloc(SCHEMA_BYTES_MAX + 1);
    if (text == NULL) {
        error_set(error, ERROR_FATAL, "%s: cannot be read", path);
        if (file != NULL)
            fclose(file);
        return NULL;
    }
    *size = fread(text, 1, SCHEMA_BYTES_MAX + 1, file);
    bool bad = ferror(file) != 0;
    fclose(file);
    if (!bad && *size <= SCHEMA_BYTES_MAX)
        return text;
    error_set(error, ERROR_FATAL, bad ? "%s: cannot be read" : "%s: is larger than 1 MiB", path);
    free(text);
    return NULL;
}

static bool load_schema(struct writer *writer, const char *directory, struct error *error)
{
    char path[4096];
    size_t size, count;
    int used = writer->file[0] == '/'
                   ? snprintf(path, sizeof path, "%s", writer->file)
                   : snprintf(path, sizeof path, "%s/%s", directory, writer->file);
    if (used < 0 || (size_t)used >= sizeof path)
        return error_set(error, ERROR_FATAL, "schemas.ids: the path of %s is too long",
                         writer->file);
    char *text = read_file(path, &size, error);
    if (text == NULL)
        return false;
    int status = avro_schema_from_json_length(text, size, &writer->schema);
    free(text);
    if (status != 0)
        return error_set(error, ERROR_FATAL, "%s: is not an Avro schema: %s", path,
                         avro_strerror());
    const struct target *targets = targets_of(writer->contract, &count);
    writer->plan = plan_new(writer->schema, targets, count, error);
    return writer->plan != NULL || error_prefix(error, "%s", path);
}

/* Parses "id=file". */
static bool parse_id(struct writer *writer, const char *item, struct error *error)
{
    char *end;
    long long id = strtoll(item, &end, 10);
    if (end == item || *end != '=' || end[1] == '\0' || id < 0 || id > INT32_MAX)
        return error_set(error, ERROR_FATAL, "schemas.ids: '%s' is not id=file", item);
    writer->id = (int32_t)id;
    writer->file = strdup(end + 1);
    if (writer->file == NULL)
        return error_set(error, ERROR_FATAL, "out of memory for schemas");
    return contract_of(writer->file, &writer->contract) ||
           error_set(error, ERROR_FATAL,
                     "schemas.ids: the file of '%s' must begin with completion, label, pair or "
                     "ledger",
                     item);
}

static bool is_ours(const struct writer *writer)
{
    char own[32];
    snprintf(own, sizeof own, "%s.avsc", NAMES[writer->contract]);
    return strcmp(writer->file, own) == 0;
}

static bool make_encoder(struct contracts *contracts, enum contract contract, struct error *error)
{
    const struct writer *ours = NULL;
    for (size_t k = 0; k < contracts->writer_count; k++) {
        const struct writer *writer = &contracts->writers[k];
        if (writer->contract == contract && is_ours(writer) &&
            (ours == NULL || writer->id < ours->id))
            ours = writer;
    }
    if (ours == NULL)
        return error_set(error, ERROR_FATAL, "schemas.ids: no id for %s.avsc", NAMES[contract]);
    struct encoder *encoder = &contracts->encoders[contract];
    encoder->id = ours->id;
    encoder->class = avro_generic_class_from_schema(ours->schema);
    if (encoder->class == NULL || avro_generic_value_new(encoder->class, &encoder->value) != 0)
        return error_set(error, ERROR_FATAL, "%s: %s", ours->file, avro_strerror());
    return true;
}

bool source_load(struct contracts *contracts, const struct contracts_options *options,
                 struct error *error)
{
    const char *const *ids = options->id_count == 0 ? DEFAULT_IDS : options->ids;
    size_t count = options->id_count == 0 ? CONTRACTS : options->id_count;
    contracts->writers = calloc(count, sizeof *contracts->writers);
    if (contracts->writers == NULL)
        return error_set(error, ERROR_FATAL, "out of memory for schemas");
    for (size_t k = 0; k < count; k++) {
        struct writer *writer = &contracts->writers[k];
        contracts->writer_count = k + 1;
        if (!parse_id(writer, ids[k], error) || !load_schema(writer, options->directory, error))
            return false;
        for (size_t other = 0; other < k; other++) {
            if (contracts->writers[other].id == writer->id)
                return error_set(error, ERROR_FATAL, "schemas.ids: id %d is given twice",
                                 writer->id);
        }
    }
    for (int k = 0; k < CONTRACTS; k++) {
        if (!make_encoder(contracts, (enum contract)k, error))
            return false;
    }
    return true;
}

void source_unload(struct contracts *contracts)
{
    for (int k = 0; k < CONTRACTS; k++) {
        struct encoder *encoder = &contracts->encoders[k];
        if (encoder->value.self != NULL)
            avro_value_decref(&encoder->value);
        if (encoder->class != NULL)
            avro_value_iface_decref(encoder->class);
    }
    for (size_t k = 0; k < contracts->writer_count; k++) {
        struct writer *writer = &contracts->writers[k];
        plan_free(writer->plan);
        if (writer->schema != NULL)
            avro_schema_decref(writer->schema);
        free(writer->file);
    }
    free(contracts->writers);
}

static const struct writer *find_id(const struct contracts *contracts, int32_t id)
{
    for (size_t k = 0; k < contracts->writer_count; k++) {
        if (contracts->writers[k].id == id)
            return &contracts->writers[k];
    }
    return NULL;
}

const struct writer *source_find(const struct contracts *contracts, enum contract contract,
                                 struct span *record, const char **stage, struct error *error)
{
    const unsigned char *head = (const unsigned char *)record->data;
    *stage = "framing";
    if (record->size == 0) {
        error_set(error, ERROR_DATA, "record: is empty");
        return NULL;
    }
    if (contracts->framing == FRAMING_BARE)
        return find_id(contracts, contracts->encoders[contract].id);
    if (head[0] != 0) {
        error_set(error, ERROR_DATA,
                  "framing: the first byte is %d, not 0 (schemas.framing = confluent)",
                  (int)head[0]);
        return NULL;
    }
    if (record->size < 5) {
        error_set(error, ERROR_DATA, "framing: the record has %zu bytes, a frame has 5",
                  record->size);
        return NULL;
    }
    uint32_t id = (uint32_t)head[1] << 24 | (uint32_t)head[2] << 16 | (uint32_t)head[3] << 8 |
                  (uint32_t)head[4];
    const struct writer *writer = id > INT32_MAX ? NULL : find_id(contracts, (int32_t)id);
    *stage = "schema";
    if (writer == NULL || writer->contract != contract) {
        error_set(error, ERROR_DATA,
                  writer == NULL ? "schema id %u: is not in schemas.ids"
                                 : "schema id %u: is of another contract",
                  id);
        return NULL;
    }
    record->data += 5;
    record->size -= 5;
    return writer;
}
