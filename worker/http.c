#include "http.h"

#include "clock.h"

#include "log.h"

#include <jansson.h>
#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { REASONS_SIZE = 4096, PAGE_MAX = 8 << 20, CONNECTIONS_MAX = 64, IDLE_SECONDS = 10 };

struct http {
    struct MHD_Daemon *daemon; /* NULL: no server */
    struct metrics *metrics;
    uint16_t port;
    pthread_mutex_t mutex; /* over reasons, notes, annotators, certificate, accounting */
    char reasons[REASONS_SIZE];
    char notes[REASONS_SIZE];
    char *annotators;                /* NULL: none yet */
    struct certificate *certificate; /* under the mutex; NULL: none yet */
    struct accounting *accounting;   /* likewise */
    atomic_llong beat;               /* monotonic milliseconds; 0: never */
};

struct address {
    char host[256];
    char port[8];
};

/* "HOST:PORT" or "[HOST]:PORT", split. */
static bool split_address(const char *text, struct address *address, struct error *error)
{
    const char *colon = strrchr(text, ':');
    const char *host = text;
    size_t size = colon == NULL ? 0 : (size_t)(colon - text);
    if (size > 2 && host[0] == '[' && host[size - 1] == ']') {
        host++;
        size -= 2;
    } else if (memchr(host, ':', size) != NULL || host[0] == '[') {
        size = 0; /* a bare IPv6 address: where does the port begin? */
    }
    size_t digits = colon == NULL ? 0 : strspn(colon + 1, "0123456789");
    if (size == 0 || size >= sizeof address->host || digits == 0 || digits > 5 ||
        colon[1 + digits] != '\0' || strtol(colon + 1, NULL, 10) > UINT16_MAX)
        return error_set(error, ERROR_FATAL,
                         "expected HOST:PORT such as 127.0.0.1:8080, [::1]:8080 or an empty "
                         "string, not '%.80s'",
                         text);
    snprintf(address->host, sizeof address->host, "%.*s", (int)size, host);
    snprintf(address->port, sizeof address->port, "%s", colon + 1);
    return true;
}

bool http_check_address(const char *address, struct error *error)
{
    struct address parts;
    return address[0] == '\0' || split_address(address, &parts, error);
}

/* Takes over `body`, which malloc made. */
static enum MHD_Result answer(struct MHD_Connection *connection, unsigned status, const char *type,
                              char *body, size_t size)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(size, body, MHD_RESPMEM_MUST_FREE);
    if (response == NULL) {
        free(body);
        return MHD_NO;
    }
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    enum MHD_Result result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result answer_text(struct MHD_Connection *connection, unsigned status,
                                   const char *text)
{
    char *body = strdup(text);
    return body == NULL
               ? MHD_NO
               : answer(connection, status, "text/plain; charset=utf-8", body, strlen(body));
}

static json_t *lines_of(const char *text)
{
    json_t *lines = json_array();
    while (*text != '\0') {
        size_t size = strcspn(text, "\n");
        if (size > 0)
            json_array_append_new(lines, json_stringn(text, size));
        text += size + (text[size] == '\n' ? 1 : 0);
    }
    return lines;
}

/* {"ready": false, "reasons": ["...", ...], "notes": [...]} */
static char *ready_json(const char *reasons, const char *notes)
{
    json_t *root = json_pack("{s:b, s:o, s:o}", "ready", reasons[0] == '\0', "reasons",
                             lines_of(reasons), "notes", lines_of(notes));
    char *text = json_dumps(root, 0);
    json_decref(root);
    return text;
}

static enum MHD_Result answer_ready(struct http *http, struct MHD_Connection *connection)
{
    char reasons[REASONS_SIZE], notes[REASONS_SIZE], text[2 * REASONS_SIZE];
    pthread_mutex_lock(&http->mutex);
    memcpy(reasons, http->reasons, sizeof reasons);
    memcpy(notes, http->notes, sizeof notes);
    pthread_mutex_unlock(&http->mutex);
    int64_t silent = clock_monotonic_ms() - atomic_load(&http->beat);
    if (atomic_load(&http->beat) != 0 && silent > HTTP_BEAT_MOST && reasons[0] == '\0')
        snprintf(reasons, sizeof reasons,
                 "the worker's loop has not gone round for %lld seconds: it waits for a broker\n",
                 (long long)silent / 1000);
    snprintf(text, sizeof text, "%s%s", reasons[0] == '\0' ? "ready\n" : reasons, notes);
    unsigned status = reasons[0] == '\0' ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE;
    const char *accept =
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT);
    if (accept == NULL || strstr(accept, "application/json") == NULL)
        return answer_text(connection, status, text);
    char *body = ready_json(reasons, notes);
    return body == NULL ? MHD_NO
                        : answer(connection, status, "application/json", body, strlen(body));
}

static enum MHD_Result answer_metrics(struct http *http, struct MHD_Connection *connection)
{
    struct buffer page = {.maximum = PAGE_MAX};
    if (!metrics_render(http->metrics, &page)) {
        buffer_free(&page);
        return answer_text(connection, MHD_HTTP_INTERNAL_SERVER_ERROR, "the page is too large\n");
    }
    return answer(connection, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", page.data,
                  page.size);
}

/* A figure that is computed when it is asked for. body NULL: out of memory. */
static enum MHD_Result answer_figure(struct MHD_Connection *connection, int status, char *body)
{
    return body == NULL
               ? MHD_NO
               : answer(connection, (unsigned)status, "application/json", body, strlen(body));
}

static enum MHD_Result answer_starting(struct MHD_Connection *connection)
{
    return answer_figure(connection, MHD_HTTP_ACCEPTED, strdup("{\"reason\": \"starting\"}"));
}

static enum MHD_Result answer_certificate(struct http *http, struct MHD_Connection *connection)
{
    pthread_mutex_lock(&http->mutex);
    struct certificate *certificate = http->certificate;
    pthread_mutex_unlock(&http->mutex);
    if (certificate == NULL)
        return answer_starting(connection);
    char *body = NULL;
    int status = certificate_answer(certificate, &body);
    return answer_figure(connection, status, body);
}

static enum MHD_Result answer_accounting(struct http *http, struct MHD_Connection *connection)
{
    pthread_mutex_lock(&http->mutex);
    struct accounting *accounting = http->accounting;
    pthread_mutex_unlock(&http->mutex);
    if (accounting == NULL)
        return answer_starting(connection);
    char *body = NULL;
    int status = accounting_answer(accounting, &body);
    return answer_figure(connection, status, body);
}

static enum MHD_Result answer_annotators(struct http *http, struct MHD_Connection *connection)
{
    pthread_mutex_lock(&http->mutex);
    bool known = http->annotators != NULL;
    char *body = strdup(known ? http->annotators : "{\"reason\": \"there is no fit yet\"}");
    pthread_mutex_unlock(&http->mutex);
    return body == NULL ? MHD_NO
                        : answer(connection, known ? MHD_HTTP_OK : MHD_HTTP_ACCEPTED,
                                 "application/json", body, strlen(body));
}

static enum MHD_Result handle(void *closure, struct MHD_Connection *connection, const char *url,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_size, void **request)
{
    static int seen;
    (void)version;
    (void)upload;
    struct http *http = closure;
    /* The first call comes before the body: an answer to it would close the connection. */
    if (*request == NULL) {
        *request = &seen;
        return MHD_YES;
    }
    if (*upload_size > 0) {
        *upload_size = 0;
        return MHD_YES;
    }
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
        return answer_text(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD\n");
    if (strcmp(url, "/live") == 0)
        return answer_text(connection, MHD_HTTP_OK, "live\n");
    if (strcmp(url, "/ready") == 0)
        return answer_ready(http, connection);
    if (strcmp(url, "/metrics") == 0)
        return answer_metrics(http, connection);
    if (strcmp(url, "/certificate") == 0)
        return answer_certificate(http, connection);
    if (strcmp(url, "/annotators") == 0)
        return answer_annotators(http, connection);
    if (strcmp(url, "/accounting") == 0)
        return answer_accounting(http, connection);
    return answer_text(
        connection, MHD_HTTP_NOT_FOUND,
        "not found; try\n/live\n/ready\n/metrics\n/certificate\n/annotators\n/accounting\n");
}

static bool start(struct http *http, const char *text, struct error *error)
{
    struct address parts;
    if (!split_address(text, &parts, error))
        return error_prefix(error, "http.address");
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    int code = getaddrinfo(parts.host, parts.port, &hints, &found);
    if (code != 0)
        return error_set(error, ERROR_FATAL, "http.address: %s: %s", parts.host,
                         gai_strerror(code));
    unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_ITC;
    if (found->ai_family == AF_INET6)
        flags |= MHD_USE_IPv6;
    http->daemon =
        MHD_start_daemon(flags, 0, NULL, NULL, handle, http, MHD_OPTION_SOCK_ADDR, found->ai_addr,
                         MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
                         MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SECONDS, MHD_OPTION_END);
    freeaddrinfo(found);
    if (http->daemon == NULL)
        return error_set(error, ERROR_FATAL,
                         "http.address: cannot listen on %s; is the port taken?", text);
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_BIND_PORT);
    http->port = info == NULL ? 0 : info->port;
    log_write(LOG_LEVEL_INFO, "http", "listening\taddress=%s port=%u", parts.host,
              (unsigned)http->port);
    return true;
}

struct http *http_new(const char *address, struct metrics *metrics, struct error *error)
{
    struct http *http = calloc(1, sizeof *http);
    if (http == NULL) {
        error_set(error, ERROR_FATAL, "out of memory");
        return NULL;
    }
    pthread_mutex_init(&http->mutex, NULL);
    http->metrics = metrics;
    http_set_ready(http, "starting\n");
    if (address[0] == '\0' || start(http, address, error))
        return http;
    http_free(http);
    return NULL;
}

void http_free(struct http *http)
{
    if (http == NULL)
        return;
    if (http->daemon != NULL)
        MHD_stop_daemon(http->daemon);
    pthread_mutex_destroy(&http->mutex);
    free(http->annotators);
    free(http);
}

uint16_t http_port(const struct http *http)
{
    return http->port;
}

void http_set_ready(struct http *http, const char *reasons)
{
    pthread_mutex_lock(&http->mutex);
    snprintf(http->reasons, sizeof http->reasons, "%s", reasons == NULL ? "" : reasons);
    bool ready = http->reasons[0] == '\0';
    pthread_mutex_unlock(&http->mutex);
    metrics_set(http->metrics, METRIC_READY, NULL, NULL, ready ? 1 : 0);
}

void http_set_notes(struct http *http, const char *notes)
{
    pthread_mutex_lock(&http->mutex);
    snprintf(http->notes, sizeof http->notes, "%s", notes);
    pthread_mutex_unlock(&http->mutex);
}

void http_set_annotators(struct http *http, char *text)
{
    pthread_mutex_lock(&http->mutex);
    char *before = http->annotators;
    http->annotators = text;
    pthread_mutex_unlock(&http->mutex);
    free(before);
}

void http_beat(struct http *http)
{
    atomic_store(&http->beat, clock_monotonic_ms());
}

void http_set_certificate(struct http *http, struct certificate *certificate)
{
    pthread_mutex_lock(&http->mutex);
    http->certificate = certificate;
    pthread_mutex_unlock(&http->mutex);
}

void http_set_accounting(struct http *http, struct accounting *accounting)
{
    pthread_mutex_lock(&http->mutex);
    http->accounting = accounting;
    pthread_mutex_unlock(&http->mutex);
}
