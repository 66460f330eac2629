#include "worker.h"

#include "clock.h"
#include "http.h"
#include "log.h"
#include "memory.h"
#include "session.h"

#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct worker {
    const struct options *options;
    struct worker_flags flags;
    struct memory_plan plan;
    atomic_bool stopping;
    struct reload reload;
    struct metrics *metrics;
    struct http *http;
    struct certificate *certificate;
    struct accounting *accounting;
    struct contracts *contracts;
    struct journal *journal;
};

static struct contracts *load_contracts(const struct options *options, struct error *error)
{
    const struct contracts_options contracts = options_contracts(options);
    return contracts_new(&contracts, error);
}

struct worker *worker_new(const struct options *options, const struct worker_flags *flags,
                          struct error *error)
{
    struct worker *worker = calloc(1, sizeof *worker);
    if (worker == NULL) {
        error_set(error, ERROR_FATAL, "out of memory for the worker");
        return NULL;
    }
    sel_init();
    worker->options = options;
    worker->flags = *flags;
    worker->metrics = metrics_new();
    if (worker->metrics == NULL)
        error_set(error, ERROR_FATAL, "out of memory for metrics");
    else if (flags->journal != NULL &&
             (worker->journal = journal_create(flags->journal, options, error)) == NULL)
        ;
    else if (memory_plan(options, &worker->plan, error) &&
             (worker->contracts = load_contracts(options, error)) != NULL &&
             (worker->certificate = certificate_new(options, worker->plan.certificate_bytes,
                                                    worker->metrics, error)) != NULL &&
             (worker->accounting = accounting_new(options, worker->plan.accounting_bytes,
                                                  worker->metrics, error)) != NULL)
        worker->http = http_new(options->http_address, worker->metrics, error);
    if (worker->http == NULL) {
        worker_free(worker);
        return NULL;
    }
    http_set_certificate(worker->http, worker->certificate);
    http_set_accounting(worker->http, worker->accounting);
    metrics_set(worker->metrics, METRIC_BUILD_INFO, INFOPAIR_VERSION, NULL, 1);
    return worker;
}

void worker_free(struct worker *worker)
{
    if (worker == NULL)
        return;
    http_free(worker->http);
    certificate_free(worker->certificate);
    accounting_free(worker->accounting);
    contracts_free(worker->contracts);
    journal_free(worker->journal);
    metrics_free(worker->metrics);
    options_free(worker->reload.options);
    free(worker);
}

void worker_stop(struct worker *worker)
{
    atomic_store(&worker->stopping, true);
}

void worker_reload(struct worker *worker)
{
    atomic_store(&worker->reload.asked, true);
}

uint16_t worker_port(const struct worker *worker)
{
    return http_port(worker->http);
}

struct accounting *worker_accounting(struct worker *worker)
{
    return worker->accounting;
}

struct metrics *worker_metrics(struct worker *worker)
{
    return worker->metrics;
}

/* Waits between two sessions, a little longer each time, and not at all once told to stop. */
static void pause_between(const struct worker *worker, int round)
{
    int64_t until = clock_monotonic_ms() + (round < 5 ? 200 << round : 5000);
    while (clock_monotonic_ms() < until && !atomic_load(&worker->stopping))
        poll(NULL, 0, 50);
}

bool worker_run(struct worker *worker, struct error *error)
{
    for (int round = 0;; round++) {
        struct session session = {.options = worker->options,
                                  .reload = &worker->reload,
                                  .flags = &worker->flags,
                                  .plan = &worker->plan,
                                  .stopping = &worker->stopping,
                                  .http = worker->http,
                                  .metrics = worker->metrics,
                                  .certificate = worker->certificate,
                                  .accounting = worker->accounting,
                                  .contracts = worker->contracts,
                                  .journal = worker->journal};
        options_digest(worker->options, session.digest);
        int64_t started = clock_monotonic_ms();
        error->class = ERROR_NONE;
        if (session_run(&session, error))
            return true;
        bool again = error->class == ERROR_RETRY || error->class == ERROR_ABORT;
        if (!again || (worker->flags.no_wait && !session.restored))
            return false;
        log_write(LOG_LEVEL_WARN, "worker", "starting anew: %s", error->message);
        if (clock_monotonic_ms() - started > 60000)
            round = 0;
        session_not_ready(&session, "%s", error->message);
        pause_between(worker, round);
    }
}
