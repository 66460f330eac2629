/* GET /live, /ready, /metrics, /certificate and /annotators, on a thread of libmicrohttpd's own.
 *
 *   /live         200 as long as the process lives
 *   /ready        200 "ready", or 503 and one reason a line, then notes; JSON where the request
 *                 accepts application/json
 *   /metrics      Prometheus text 0.0.4
 *   /certificate  asks for a new certificate; JSON, 200 the newest, or 202 and why there is none
 *   /annotators   JSON: what the fit in force says of those who label, or 202 before there is one
 */
#ifndef INFOPAIR_HTTP_H
#define INFOPAIR_HTTP_H

#include "accounting.h"
#include "certificate.h"
#include "metrics.h"
#include "schemas/error.h"

#include <stdbool.h>
#include <stdint.h>

struct http;

/* Listens on `address`, "HOST:PORT", "[::1]:PORT" or "" for no server at all (the object still
 * works). Port 0 takes a free one. `metrics` is borrowed and must outlive the server. Not ready
 * ("starting") at first. */
struct http *http_new(const char *address, struct metrics *metrics, struct error *error);
/* False when `address` is neither empty nor HOST:PORT; resolves nothing. */
bool http_check_address(const char *address, struct error *error);
/* Ends the thread; requests under way are answered. */
void http_free(struct http *http);
/* The port in use; 0 without a server. */
uint16_t http_port(const struct http *http);
/* Any thread. reasons: lines ended by newlines, why the worker is not ready, copied; NULL or "": it
 * is. Also sets METRIC_READY. */
void http_set_ready(struct http *http, const char *reasons);
/* The worker's loop has gone round: when it does not for HTTP_BEAT_MOST milliseconds, /ready says
 * so instead of what was set last. Never called: nothing is expected. */
enum { HTTP_BEAT_MOST = 15000 };
void http_beat(struct http *http);
/* Any thread. Lines ended by newlines that stand on /ready whether it is ready or not, copied. */
void http_set_notes(struct http *http, const char *notes);
/* Any thread. What stands on /annotators, taken over (malloc made it); NULL: nothing yet. */
void http_set_annotators(struct http *http, char *text);
/* Any thread. Where /certificate is answered from, borrowed; none before ("starting"). */
void http_set_certificate(struct http *http, struct certificate *certificate);
/* The same of /accounting. */
void http_set_accounting(struct http *http, struct accounting *accounting);

#endif
