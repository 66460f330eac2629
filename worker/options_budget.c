/* What the texts of budget.* mean: shares of domains, quiet hours, and what does not go together.
 */
#include "nearest.h"
#include "options_table.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MINUTE = 60 * 1000, DAY_MINUTES = 24 * 60 };

static const char *const DAYS[] = {"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"};

/* "file:line: budget.quiet: ..." where the place is known. */
static bool fail_item(const struct string_list *list, size_t k, const char *option,
                      struct error *error)
{
    error_prefix(error, "%s: '%.80s'", option, list->items[k]);
    const char *place = list->places == NULL ? NULL : list->places[k];
    return place == NULL ? false : error_prefix(error, "%s", place);
}

/* ---- domains ---- */

/* "", or a share from 0 to 1 and nothing else. */
static bool read_share(const char *text, size_t size, double fallback, double *share)
{
    char copy[32];
    *share = fallback;
    if (size == 0)
        return true;
    if (size >= sizeof copy || text[strspn(text, "0123456789.eE-")] != '\0')
        return false;
    snprintf(copy, sizeof copy, "%.*s", (int)size, text);
    char *end;
    *share = strtod(copy, &end);
    return *end == '\0' && *share >= 0 && *share <= 1;
}

static bool read_domain(const char *item, struct budget_domain *domain, struct error *error)
{
    /* A name may hold any character: the shares stand behind the last '='. */
    const char *equals = strrchr(item, '=');
    const char *shares = equals == NULL ? "" : equals + 1;
    const char *dots = strstr(shares, "..");
    if (dots == NULL || equals == item ||
        !read_share(shares, (size_t)(dots - shares), 0, &domain->floor) ||
        !read_share(dots + 2, strlen(dots + 2), 1, &domain->cap))
        return error_set(error, ERROR_FATAL,
                         "expected name=FLOOR..CAP with shares from 0 to 1, as code=0.2..0.5, "
                         "chat=..0.3 or math=0.1..");
    domain->name = identity_of((struct span){item, (size_t)(equals - item)});
    return domain->floor <= domain->cap ||
           error_set(error, ERROR_FATAL, "its floor %g is above its cap %g", domain->floor,
                     domain->cap);
}

static bool read_domains(struct options *options, struct error *error)
{
    const struct string_list *list = &options->budget_domains;
    struct budget_limits *limits = &options->budget_limits;
    double floors = 0;
    if (list->count > BUDGET_DOMAINS_MAX)
        return error_set(error, ERROR_FATAL, "budget.domains: %zu domains, at most %d", list->count,
                         BUDGET_DOMAINS_MAX);
    for (size_t k = 0; k < list->count; k++) {
        struct budget_domain *domain = &limits->domains[k];
        if (!read_domain(list->items[k], domain, error))
            return fail_item(list, k, "budget.domains", error);
        for (size_t other = 0; other < k; other++)
            if (identity_equal(limits->domains[other].name, domain->name)) {
                error_set(error, ERROR_FATAL, "its domain has a share already");
                return fail_item(list, k, "budget.domains", error);
            }
        floors += domain->floor;
        limits->domain_count = k + 1;
    }
    if (floors > 1 + 1e-9)
        return error_set(error, ERROR_FATAL, "budget.domains: the floors add up to %g, at most 1",
                         floors);
    if (floors > 0 && options->selection_when != WHEN_SLOTS)
        return error_set(error, ERROR_FATAL,
                         "budget.domains: a floor needs selection.when = \"slots\", where pools "
                         "wait for each other");
    return true;
}

/* ---- quiet hours ---- */

/* Two digits, ':', two digits; *text moves behind. */
static bool read_clock(const char **text, int most, int *minutes)
{
    const char *c = *text;
    for (int k = 0; k < 5; k++)
        if (k == 2 ? c[k] != ':' : !isdigit((unsigned char)c[k]))
            return false;
    int minute = (c[3] - '0') * 10 + (c[4] - '0');
    *minutes = ((c[0] - '0') * 10 + (c[1] - '0')) * 60 + minute;
    *text = c + 5;
    return minute < 60 && *minutes <= most;
}

/* Three letters; *text moves behind. -1 with the nearest name in `error`. */
static int read_day(const char **text, struct error *error)
{
    char name[16];
    struct nearest nearest = {0};
    size_t size = strcspn(*text, " -");
    snprintf(name, sizeof name, "%.*s", (int)(size < 15 ? size : 15), *text);
    for (int day = 0; day < 7; day++) {
        nearest_offer(&nearest, name, DAYS[day]);
        if (strcmp(name, DAYS[day]) != 0)
            continue;
        *text += size;
        return day;
    }
    error_set(error, ERROR_FATAL, "unknown day '%s'; the nearest is '%s'", name, nearest.name);
    return -1;
}

static bool read_days(const char **text, struct budget_quiet *quiet, struct error *error)
{
    if (isdigit((unsigned char)**text)) {
        quiet->days = 0x7F;
        return true;
    }
    int first = read_day(text, error), last = first;
    if (first >= 0 && **text == '-') {
        ++*text;
        last = read_day(text, error);
    }
    if (first < 0 || last < 0)
        return false;
    for (int day = first;; day = (day + 1) % 7) {
        quiet->days = (uint8_t)(quiet->days | 1u << day);
        if (day == last)
            break;
    }
    if (**text != ' ')
        return error_set(error, ERROR_FATAL, "expected a blank behind the days");
    *text += strspn(*text, " ");
    return true;
}

static bool read_quiet(const char *item, struct budget_quiet *quiet, struct error *error)
{
    const char *text = item;
    int from, to;
    *quiet = (struct budget_quiet){0};
    if (!read_days(&text, quiet, error))
        return false;
    bool read = read_clock(&text, DAY_MINUTES - 1, &from) && *text == '-';
    text += read;
    if (!read || !read_clock(&text, DAY_MINUTES, &to) || *text != '\0')
        return error_set(error, ERROR_FATAL,
                         "expected times from 00:00 to 24:00 as 22:00-07:00, with days before them "
                         "as in \"Sat 00:00-24:00\" or \"Mon-Fri 18:00-08:00\"");
    quiet->from = (int16_t)from;
    quiet->to = (int16_t)to;
    return from != to || error_set(error, ERROR_FATAL, "begins when it ends; a day is 00:00-24:00");
}

static bool read_quiets(struct options *options, struct error *error)
{
    const struct string_list *list = &options->budget_quiet;
    struct budget_limits *limits = &options->budget_limits;
    if (list->count > BUDGET_QUIET_MAX)
        return error_set(error, ERROR_FATAL, "budget.quiet: %zu times, at most %d", list->count,
                         BUDGET_QUIET_MAX);
    for (size_t k = 0; k < list->count; k++) {
        if (!read_quiet(list->items[k], &limits->quiet[k], error))
            return fail_item(list, k, "budget.quiet", error);
        limits->quiet_count = k + 1;
    }
    return true;
}

/* A week without an hour in which something may be asked is a mistake. */
static bool leaves_time(const struct options *options, struct error *error)
{
    const struct budget_limits *limits = &options->budget_limits;
    for (int64_t minute = 0; minute < (int64_t)7 * DAY_MINUTES; minute++)
        if (!budget_is_quiet(limits, minute * MINUTE))
            return true;
    return error_set(error, ERROR_FATAL, "budget.quiet: leaves no time of the week");
}

static bool read_offset(struct options *options, struct error *error)
{
    const char *text = options->budget_utc_offset;
    int minutes = 0;
    bool minus = text[0] == '-';
    const char *clock = text + 1;
    if ((text[0] != '+' && !minus) || !read_clock(&clock, 14 * 60, &minutes) || *clock != '\0')
        return error_set(error, ERROR_FATAL,
                         "budget.utc_offset: '%.40s' is not a time from -14:00 to +14:00, as "
                         "+02:00",
                         text);
    options->budget_limits.utc_offset = (minus ? -1 : 1) * (int64_t)minutes * MINUTE;
    return true;
}

/* ---- all of it ---- */

static bool check_least(const char *name, double value, struct error *error)
{
    return value == 0 || value >= 1 ||
           error_set(error, ERROR_FATAL, "%s: must be at least 1 label, not %g", name, value);
}

bool options_check_budget(struct options *options, struct error *error)
{
    struct budget_limits *limits = &options->budget_limits;
    *limits = (struct budget_limits){.per_hour = options->budget_per_hour,
                                     .per_day = options->budget_per_day,
                                     .total = options->budget_total,
                                     .per_prompt = options->budget_per_prompt,
                                     .by_cost = options->budget_unit == UNIT_COST};
    if (!limits->by_cost && (!check_least("budget.per_hour", limits->per_hour, error) ||
                             !check_least("budget.per_day", limits->per_day, error)))
        return false;
    return read_domains(options, error) && read_offset(options, error) &&
           read_quiets(options, error) && (limits->quiet_count == 0 || leaves_time(options, error));
}

struct budget_options options_budget(const struct options *options)
{
    return (struct budget_options){.per_second = options->budget_per_second,
                                   .burst = options->budget_burst,
                                   .in_flight = options->budget_in_flight,
                                   .limits = options->budget_limits};
}

bool options_require_budget(const struct options *options, struct error *error)
{
    return options->budget_per_second > 0 || options->budget_per_hour > 0 ||
           options->budget_per_day > 0 ||
           error_set(error, ERROR_FATAL,
                     "budget.per_second, budget.per_hour or budget.per_day must be given: in the "
                     "file, as INFOPAIR_BUDGET_PER_SECOND, or with --set budget.per_second=VALUE");
}
