#include "tail_print.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_PREFIX "infopair."

/* Standard base64 (RFC 4648, section 4), as a JSON string. */
static json_t *base64(const void *data, size_t size)
{
    static const char DIGITS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *bytes = data;
    char *text = malloc((size + 2) / 3 * 4 + 1);
    if (text == NULL)
        return NULL;
    size_t used = 0;
    for (size_t k = 0; k < size; k += 3) {
        size_t have = size - k < 3 ? size - k : 3;
        uint32_t bits = (uint32_t)bytes[k] << 16;
        bits |= have > 1 ? (uint32_t)bytes[k + 1] << 8 : 0;
        bits |= have > 2 ? bytes[k + 2] : 0;
        for (size_t digit = 0; digit < 4; digit++)
            text[used++] = digit > have ? '=' : DIGITS[bits >> (18 - 6 * digit) & 63];
    }
    json_t *string = json_stringn(text, used);
    free(text);
    return string;
}

/* Text where it is UTF-8, else base64. */
static json_t *text_or_base64(const void *data, size_t size)
{
    json_t *text = size == 0 ? json_string("") : json_stringn(data, size);
    return text != NULL ? text : base64(data, size);
}

static bool out_of_memory(struct error *error)
{
    return error_set(error, ERROR_FATAL, "a record's JSON is too large to be printed");
}

static int append(const char *text, size_t size, void *closure)
{
    return buffer_append(closure, text, size) ? 0 : -1;
}

/* Appends the JSON of `object` to the line and releases it. */
static bool append_json(struct tail_printer *printer, json_t *object, struct error *error)
{
    bool done = object != NULL && json_dump_callback(object, append, &printer->line, 0) == 0;
    json_decref(object);
    return done || out_of_memory(error);
}

/* Puts the record's JSON behind what the line holds; without the newline that may end it. */
static bool append_record(struct tail_printer *printer, enum contract contract, struct span value,
                          struct error *error)
{
    size_t mark = printer->line.size;
    if (!contracts_print_json(printer->contracts, contract, value, &printer->line, error)) {
        printer->line.size = mark;
        return false;
    }
    while (printer->line.size > mark && printer->line.data[printer->line.size - 1] == '\n')
        printer->line.size--;
    return true;
}

static json_t *meta_of(const rd_kafka_message_t *message)
{
    json_t *meta =
        json_pack("{s:s, s:i, s:I, s:I}", "_topic", rd_kafka_topic_name(message->rkt), "_partition",
                  (int)message->partition, "_offset", (json_int_t)message->offset, "_timestamp",
                  (json_int_t)rd_kafka_message_timestamp(message, NULL));
    json_object_set_new(meta, "_key",
                        message->key == NULL ? json_null()
                                             : text_or_base64(message->key, message->key_len));
    return meta;
}

/* {"_error": ..., "_bytes": ...} in place of a record. */
static bool append_unreadable(struct tail_printer *printer, const rd_kafka_message_t *message,
                              const struct error *why, struct error *error)
{
    printer->unreadable++;
    json_t *object = json_object();
    json_object_set_new(object, "_error", text_or_base64(why->message, strlen(why->message)));
    json_object_set_new(object, "_bytes", base64(message->payload, message->len));
    return append_json(printer, object, error);
}

/* Our own headers say where a dead letter came from, or what was withdrawn; numbers among them
 * become numbers. */
static json_t *header_value(const void *data, size_t size)
{
    json_t *value = NULL;
    if (size > 0 && size < 20)
        value = json_loadb(data, size, JSON_DECODE_ANY, NULL);
    if (json_is_integer(value))
        return value;
    json_decref(value);
    return text_or_base64(data, size);
}

static void add_headers(json_t *letter, const rd_kafka_message_t *message)
{
    rd_kafka_headers_t *headers;
    if (rd_kafka_message_headers(message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return;
    json_t *others = json_object();
    const char *name;
    const void *data;
    size_t size;
    const size_t prefix = sizeof HEADER_PREFIX - 1;
    for (size_t k = 0;
         rd_kafka_header_get_all(headers, k, &name, &data, &size) == RD_KAFKA_RESP_ERR_NO_ERROR;
         k++) {
        if (strncmp(name, HEADER_PREFIX, prefix) == 0)
            json_object_set_new(letter, name + prefix, header_value(data, size));
        else
            json_object_set_new(others, name, text_or_base64(data, size));
    }
    if (json_object_size(others) > 0)
        json_object_set(letter, "headers", others);
    json_decref(others);
}

/* A request that was taken back: a pairs record without a value, by whose headers labellers learn
 * of it. */
static bool append_withdrawn(struct tail_printer *printer, const rd_kafka_message_t *message,
                             struct error *error)
{
    json_t *object = json_pack("{s:n}", "withdrawn"); /* until its header says what */
    add_headers(object, message);
    return append_json(printer, object, error);
}

static bool append_contract(struct tail_printer *printer, const rd_kafka_message_t *message,
                            struct error *error)
{
    const struct span value = {message->payload, message->len};
    struct error why;
    if (printer->contract == CONTRACT_PAIR && message->payload == NULL)
        return append_withdrawn(printer, message, error);
    if (append_record(printer, printer->contract, value, &why))
        return true;
    return why.class == ERROR_DATA ? append_unreadable(printer, message, &why, error)
                                   : error_set(error, why.class, "%s", why.message);
}

/* The contract of the topic that a dead letter came from; CONTRACTS when it is none of ours. */
static enum contract origin_of(const struct tail_printer *printer, const json_t *letter)
{
    const char *topic = json_string_value(json_object_get(letter, "topic"));
    if (topic != NULL && strcmp(topic, printer->options->topics_completions) == 0)
        return CONTRACT_COMPLETION;
    if (topic != NULL && strcmp(topic, printer->options->topics_labels) == 0)
        return CONTRACT_LABEL;
    return CONTRACTS;
}

static bool append_dead_letter(struct tail_printer *printer, const rd_kafka_message_t *message,
                               struct error *error)
{
    json_t *letter = json_object();
    add_headers(letter, message);
    if (message->key != NULL)
        json_object_set_new(letter, "key", text_or_base64(message->key, message->key_len));
    json_object_set_new(letter, "bytes", base64(message->payload, message->len));
    enum contract contract = origin_of(printer, letter);
    if (!append_json(printer, letter, error))
        return false;
    if (contract == CONTRACTS)
        return true;
    /* In place of the brace that closes the object, the record behind it, if it is one. */
    static const char MEMBER[] = ", \"record\": ";
    size_t mark = printer->line.size;
    struct error ignored;
    printer->line.size--;
    if (buffer_append(&printer->line, MEMBER, sizeof MEMBER - 1) &&
        append_record(printer, contract, (struct span){message->payload, message->len}, &ignored))
        return buffer_append(&printer->line, "}", 1) || out_of_memory(error);
    printer->line.size = mark;
    printer->line.data[mark - 1] = '}';
    return true;
}

/* Puts the members of the meta object in front of the record's. */
static bool append_with_meta(struct tail_printer *printer, const rd_kafka_message_t *message,
                             bool (*append_body)(struct tail_printer *, const rd_kafka_message_t *,
                                                 struct error *),
                             struct error *error)
{
    if (!append_json(printer, meta_of(message), error))
        return false;
    size_t brace = printer->line.size - 1; /* closes the meta object */
    printer->line.size = brace;
    if (!buffer_append(&printer->line, ", ", 2))
        return out_of_memory(error);
    size_t body = printer->line.size;
    if (!append_body(printer, message, error))
        return false;
    /* `, {"a"...` loses its brace; an empty object, which no contract has, would stay `, {}`. */
    char *opening = printer->line.data + body;
    memmove(opening, opening + 1, printer->line.size - body - 1);
    printer->line.size--;
    return true;
}

bool tail_format(struct tail_printer *printer, const rd_kafka_message_t *message,
                 struct error *error)
{
    bool (*append_body)(struct tail_printer *, const rd_kafka_message_t *, struct error *) =
        printer->contract == CONTRACTS ? append_dead_letter : append_contract;
    printer->line.size = 0;
    bool done = printer->meta ? append_with_meta(printer, message, append_body, error)
                              : append_body(printer, message, error);
    return done && (buffer_append(&printer->line, "\n", 1) || out_of_memory(error));
}
