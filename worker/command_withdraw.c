/* infopair withdraw: takes requests back. The requests are what the workers hold them to be, from
 * the ledger; WITHDRAWN and the notice to labellers are written in one transaction. */
#include "command.h"
#include "command_kafka.h"
#include "engine/requests.h"
#include "interrupt.h"
#include "ledger_append.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REASON_MAX = 1000 };

struct withdraw_command {
    struct command_patience patience;
    struct id *ids;
    size_t id_count;
    const char *reason, *space, *version;

    const struct options *options;
    struct ledger_view view;
    struct ledger_append *append; /* NULL: nothing to write yet */
    struct id *written;
    size_t written_count, before, refused;
};

static const struct command_option OPTIONS[] = {
    {"reason", 'r', "TEXT", "why; stands in the ledger and in the notice to labellers"},
    {"feature-space", 0, "NAME", "all open requests of this feature space"},
    {"policy-version", 0, "V", "all open requests whose newer completion is of this policy"},
    COMMAND_PATIENCE,
    {0}};

static bool take_id(struct withdraw_command *withdraw, const char *text, struct error *error)
{
    struct id *ids = realloc(withdraw->ids, (withdraw->id_count + 1) * sizeof *ids);
    if (ids == NULL)
        return error_set(error, ERROR_FATAL, "out of memory");
    withdraw->ids = ids;
    return identity_parse(span_of(text), &ids[withdraw->id_count++]) ||
           error_set(error, ERROR_FATAL, "'%.80s' is no request_id: 32 hex digits", text);
}

static bool take_reason(struct withdraw_command *withdraw, const char *text, struct error *error)
{
    json_t *checked = json_string(text);
    bool good = checked != NULL && strlen(text) <= REASON_MAX;
    json_decref(checked);
    withdraw->reason = text;
    return good || error_set(error, ERROR_FATAL, "--reason: expected at most %d bytes of UTF-8",
                             REASON_MAX);
}

static bool take(void *closure, const char *name, const char *value, struct error *error)
{
    struct withdraw_command *withdraw = closure;
    bool good = true;
    if (name == NULL)
        return take_id(withdraw, value, error);
    if (command_take_patience(&withdraw->patience, name, value, &good, error))
        return good;
    if (strcmp(name, "reason") == 0)
        return take_reason(withdraw, value, error);
    if (strcmp(name, "feature-space") == 0)
        withdraw->space = value;
    else
        withdraw->version = value;
    return true;
}

static const struct command_usage USAGE = {
    .name = "withdraw",
    .arguments = "REQUEST_ID...",
    .summary =
        "Takes requests back: their slots are free for other pairs, and the same pair is not "
        "asked\n"
        "again while the window remembers it. WITHDRAWN entries go into the ledger, and for each "
        "a\n"
        "notice to labellers onto the pairs topic, in the same transaction: a record with the\n"
        "prompt's key, a null value, and the headers infopair.withdrawn (the request_id) and\n"
        "infopair.reason.\n"
        "\n"
        "A label that comes all the same still counts, as one behind its deadline does: the "
        "ledger\n"
        "wastes no judgement. Requests that the ledger does not know, or that are answered, are\n"
        "refused by name; the others are withdrawn, and the command ends with 1. Doing it again\n"
        "changes nothing. Use the workers' configuration.",
    .examples =
        "  infopair withdraw --config infopair.cfg 4f... 9a... --reason 'the prompt was a test'\n"
        "  infopair withdraw --config infopair.cfg --policy-version step-400\n",
    .options = OPTIONS,
    .take = take,
};

/* The record by which labellers learn of it. */
static bool notify(struct withdraw_command *withdraw, const struct request *request, const char *id,
                   struct error *error)
{
    struct append_record notice = {
        .topic = withdraw->options->topics_pairs,
        .key = request_prompt_id(engine_requests(withdraw->view.engine), request),
        .headers = {{"infopair.withdrawn", span_of(id)}}};
    if (withdraw->reason != NULL) {
        notice.headers[1].name = "infopair.reason";
        notice.headers[1].value = span_of(withdraw->reason);
    }
    return ledger_append_record(withdraw->append, &notice, error);
}

static bool withdraw_one(struct withdraw_command *withdraw, const struct request *request,
                         struct error *error)
{
    if (withdraw->append == NULL &&
        (withdraw->append = ledger_append_new(&withdraw->view, error)) == NULL)
        return false;
    struct id *written =
        realloc(withdraw->written, (withdraw->written_count + 1) * sizeof *written);
    if (written == NULL)
        return error_set(error, ERROR_FATAL, "out of memory");
    withdraw->written = written;
    written[withdraw->written_count++] = request->id;
    char id[ID_TEXT_SIZE];
    identity_format(request->id, id);
    const char *reason = withdraw->reason == NULL ? "" : withdraw->reason;
    struct entry entry = {.kind = ENTRY_WITHDRAWN,
                          .withdrawn = {.request_id = span_of(id), .reason = span_of(reason)}};
    return notify(withdraw, request, id, error) &&
           ledger_append_entry(withdraw->append, &entry, request->id, error);
}

/* Those that were named. */
static bool withdraw_named(struct withdraw_command *withdraw, struct error *error)
{
    for (size_t k = 0; k < withdraw->id_count; k++) {
        const struct request *request =
            requests_find(engine_requests(withdraw->view.engine), withdraw->ids[k]);
        bool known = request != NULL && request->selected;
        char id[ID_TEXT_SIZE];
        identity_format(withdraw->ids[k], id);
        if (known && request->withdrawn) {
            withdraw->before++;
            printf("%s withdrawn before\n", id);
        } else if (!known || request->labels != LABELS_NONE || request->elsewhere) {
            withdraw->refused++;
            fprintf(stderr, "infopair withdraw: %s: %s\n", id,
                    known ? "is answered already"
                          : "the ledger knows no such request, or does not know it any more");
        } else if (!withdraw_one(withdraw, request, error)) {
            return false;
        }
    }
    return true;
}

static bool is_meant(const struct withdraw_command *withdraw, const struct request *request)
{
    const struct requests *requests = engine_requests(withdraw->view.engine);
    return (withdraw->space == NULL ||
            span_equal(request_space(requests, request), span_of(withdraw->space))) &&
           (withdraw->version == NULL ||
            span_equal(request_policy_version(requests, request), span_of(withdraw->version)));
}

static bool withdraw_all(struct withdraw_command *withdraw, struct error *error)
{
    const struct request *next;
    for (const struct request *request = engine_requests(withdraw->view.engine)->open_first;
         request != NULL; request = next) {
        next = request->under_way.next; /* it leaves the list */
        if (is_meant(withdraw, request) && !withdraw_one(withdraw, request, error))
            return false;
    }
    return true;
}

static int compare_ids(const void *left, const void *right)
{
    return identity_compare(*(const struct id *)left, *(const struct id *)right);
}

/* An id that is named twice is one. */
static void drop_doubles(struct withdraw_command *withdraw)
{
    size_t kept = 0;
    if (withdraw->id_count > 0)
        qsort(withdraw->ids, withdraw->id_count, sizeof *withdraw->ids, compare_ids);
    for (size_t k = 0; k < withdraw->id_count; k++)
        if (kept == 0 || !identity_equal(withdraw->ids[kept - 1], withdraw->ids[k]))
            withdraw->ids[kept++] = withdraw->ids[k];
    withdraw->id_count = kept;
}

static bool write_all(struct withdraw_command *withdraw, struct error *error)
{
    bool good =
        withdraw->id_count > 0 ? withdraw_named(withdraw, error) : withdraw_all(withdraw, error);
    return good && (withdraw->append == NULL || ledger_append_commit(withdraw->append, error));
}

static int report(const struct withdraw_command *withdraw)
{
    for (size_t k = 0; k < withdraw->written_count; k++) {
        char id[ID_TEXT_SIZE];
        identity_format(withdraw->written[k], id);
        printf("%s withdrawn\n", id);
    }
    fprintf(stderr, "withdrawn %zu requests", withdraw->written_count);
    if (withdraw->before > 0)
        fprintf(stderr, ", %zu were before", withdraw->before);
    if (withdraw->refused > 0)
        fprintf(stderr, ", %zu refused", withdraw->refused);
    fputc('\n', stderr);
    return withdraw->refused > 0 || fflush(stdout) != 0 ? EXIT_FAILED : EXIT_DONE;
}

static int run(struct withdraw_command *withdraw)
{
    struct error error = {ERROR_NONE, ""};
    int code = EXIT_USAGE;
    if (!ledger_view_init(&withdraw->view, withdraw->options, NULL, &error))
        return command_fail(USAGE.name, &error, code);
    rd_kafka_t *admin = command_admin(USAGE.name, withdraw->options, &withdraw->patience, &code);
    if (admin == NULL)
        return code;
    int32_t partitions;
    bool good = command_topic(admin, withdraw->options->topics_ledger, &partitions, &error) &&
                command_topic(admin, withdraw->options->topics_pairs, &partitions, &error) &&
                ledger_view_read(&withdraw->view, USAGE.name, 0, NULL, &error);
    rd_kafka_destroy(admin);
    if (good && !ledger_view_shares(&withdraw->view, &error))
        return command_fail(USAGE.name, &error, EXIT_USAGE);
    return good && write_all(withdraw, &error) ? report(withdraw)
                                               : command_fail(USAGE.name, &error, EXIT_FAILED);
}

static bool check_arguments(const struct withdraw_command *withdraw, struct error *error)
{
    bool all = withdraw->space != NULL || withdraw->version != NULL;
    if (withdraw->id_count > 0 && all)
        return error_set(error, ERROR_FATAL,
                         "either request ids or --feature-space and --policy-version");
    return withdraw->id_count > 0 || all ||
           error_set(error, ERROR_FATAL, "which requests? See --help.");
}

int command_withdraw(int argc, char **argv)
{
    struct withdraw_command withdraw = {0};
    struct options *options = NULL;
    struct error error = {ERROR_NONE, ""};
    int code = command_parse(&USAGE, argc, argv, &withdraw, &options);
    if (code == COMMAND_GO_ON) {
        withdraw.options = options;
        drop_doubles(&withdraw);
        interrupt_catch();
        code = check_arguments(&withdraw, &error) ? run(&withdraw)
                                                  : command_fail(USAGE.name, &error, EXIT_USAGE);
    }
    ledger_append_free(withdraw.append);
    ledger_view_fini(&withdraw.view);
    options_free(options);
    free(withdraw.ids);
    free(withdraw.written);
    return code;
}
