#include "reload.h"

#include "log.h"
#include "options_table.h"
#include "session.h"

#include <stdlib.h>
#include <string.h>

/* Without the masks: values that are shown alike may differ. */
static bool same(const struct options *left, const struct options *right,
                 const struct option_row *row)
{
    char *first = option_text(left, row, false), *second = option_text(right, row, false);
    bool equal = first != NULL && second != NULL && strcmp(first, second) == 0;
    free(first);
    free(second);
    return equal;
}

static void tell(const struct options *running, const struct options *fresh,
                 const struct option_row *row)
{
    char *before = option_text(running, row, true), *after = option_text(fresh, row, true);
    bool told = before != NULL && after != NULL;
    if (told && row->live)
        log_write(LOG_LEVEL_INFO, "options", "%s: %s -> %s", row->name, before, after);
    else if (told)
        log_write(LOG_LEVEL_WARN, "options", "%s: %s waits for a restart; %s is in force",
                  row->name, after, before);
    free(before);
    free(after);
}

static size_t scalar_size(const struct option_row *row)
{
    switch (row->type) {
    case TYPE_BOOL:
        return sizeof(bool);
    case TYPE_NAME:
        return sizeof(int);
    default:
        return sizeof(int64_t); /* as size_t and double */
    }
}

static bool copy(struct options *to, const struct options *from, const struct option_row *row,
                 struct error *error)
{
    const void *member = option_member(from, row);
    if (row->type == TYPE_LIST) {
        const struct string_list *list = member;
        return option_assign_list(to, row, (const char *const *)list->items, list->count, error);
    }
    if (row->type != TYPE_STRING) {
        memcpy(option_member(to, row), member, scalar_size(row));
        return true;
    }
    char *text = strdup(*(char *const *)member);
    if (text == NULL)
        return error_set(error, ERROR_FATAL, "out of memory");
    option_clear(to, row);
    *(char **)option_member(to, row) = text;
    return true;
}

bool reload_merge(struct options *fresh, const struct options *running, struct error *error)
{
    for (const struct option_row *row = OPTION_ROWS; row->name != NULL; row++) {
        if (same(running, fresh, row))
            continue;
        tell(running, fresh, row);
        if (!row->live && !copy(fresh, running, row, error))
            return false;
    }
    return true;
}

/* Checks what a start would check, before anything changes. */
static struct options *load(struct session *session, struct error *error)
{
    struct memory_plan plan;
    struct options *fresh = session->flags->reload(session->flags->reload_closure, error);
    if (fresh != NULL && options_require_worker(fresh, error) && memory_plan(fresh, &plan, error))
        return fresh;
    options_free(fresh);
    return NULL;
}

bool session_budget(struct session *session, struct error *error)
{
    if (session->reload->options == NULL)
        return true;
    char digest[OPTIONS_DIGEST_SIZE];
    const struct budget_options budget = options_budget(session->reload->options);
    options_digest(session->reload->options, digest);
    const struct event event = {
        .kind = EVENT_BUDGET,
        .source = {.key = span_of(digest), .value = {(const char *)&budget, sizeof budget}}};
    return session_event(session, &event, error);
}

const struct options *session_settings(const struct session *session)
{
    return session->reload->options != NULL ? session->reload->options : session->options;
}

bool session_reload(struct session *session, struct error *error)
{
    struct reload *reload = session->reload;
    struct error reason = {ERROR_NONE, ""};
    if (!atomic_exchange(&reload->asked, false) || session->flags->reload == NULL)
        return true;
    struct options *fresh = load(session, &reason);
    if (fresh == NULL || !reload_merge(fresh, session_settings(session), &reason)) {
        log_write(LOG_LEVEL_ERROR, "options", "nothing has changed: %s", reason.message);
        options_free(fresh);
        return true;
    }
    options_free(reload->options);
    reload->options = fresh;
    log_set_level(fresh->log_level);
    certificate_set_interval(session->certificate, fresh->certificate_interval);
    session->foreign[0] = session->foreign_digest[0] = '\0';
    log_write(LOG_LEVEL_INFO, "options", "read again");
    return session_budget(session, error);
}
