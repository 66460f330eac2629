#include "worker/http.h"
#include "worker/log.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    struct metrics *metrics;
    struct http *http;
    char answer[65536];
};

static int begin(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    if (fixture == NULL)
        return -1;
    log_set_stream(NULL);
    struct error error;
    fixture->metrics = metrics_new();
    fixture->http = http_new("127.0.0.1:0", fixture->metrics, &error);
    *state = fixture;
    return fixture->http == NULL ? -1 : 0;
}

static int end(void **state)
{
    struct fixture *fixture = *state;
    http_free(fixture->http);
    metrics_free(fixture->metrics);
    free(fixture);
    return 0;
}

/* Sends a request with the given start line and headers; returns the status, the whole answer is in
 * the fixture. */
static int request(struct fixture *fixture, const char *start, const char *headers)
{
    int peer = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(peer >= 0);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(http_port(fixture->http)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    assert_int_equal(connect(peer, (struct sockaddr *)&address, sizeof address), 0);
    char text[512];
    int size = snprintf(text, sizeof text, "%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s\r\n",
                        start, headers);
    assert_int_equal(send(peer, text, (size_t)size, 0), size);
    size_t used = 0;
    for (ssize_t got;
         (got = recv(peer, fixture->answer + used, sizeof fixture->answer - 1 - used, 0)) > 0;)
        used += (size_t)got;
    fixture->answer[used] = '\0';
    close(peer);
    int status = 0;
    assert_int_equal(sscanf(fixture->answer, "HTTP/1.1 %d", &status), 1);
    return status;
}

static const char *body(const struct fixture *fixture)
{
    const char *gap = strstr(fixture->answer, "\r\n\r\n");
    assert_non_null(gap);
    return gap + 4;
}

static void test_live_is_always_ok(void **state)
{
    assert_int_equal(request(*state, "GET /live", ""), 200);
}

static void test_a_worker_is_not_ready_at_first(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(request(fixture, "GET /ready", ""), 503);
    assert_string_equal(body(fixture), "starting\n");
}

static void test_ready_follows_the_reasons(void **state)
{
    struct fixture *fixture = *state;
    http_set_ready(fixture->http, NULL);
    assert_int_equal(request(fixture, "GET /ready", ""), 200);
    assert_string_equal(body(fixture), "ready\n");
    assert_true(metrics_get(fixture->metrics, METRIC_READY, NULL, NULL) == 1);
    http_set_ready(fixture->http, "not assigned\nrestoring: 40 %\n");
    assert_int_equal(request(fixture, "GET /ready", ""), 503);
    assert_string_equal(body(fixture), "not assigned\nrestoring: 40 %\n");
    assert_true(metrics_get(fixture->metrics, METRIC_READY, NULL, NULL) == 0);
}

static void test_ready_speaks_json_when_asked(void **state)
{
    struct fixture *fixture = *state;
    http_set_ready(fixture->http, "say \"hello\"\nrestoring\n");
    assert_int_equal(request(fixture, "GET /ready", "Accept: application/json\r\n"), 503);
    assert_string_equal(
        body(fixture),
        "{\"ready\": false, \"reasons\": [\"say \\\"hello\\\"\", \"restoring\"], \"notes\": []}");
    http_set_ready(fixture->http, "");
    assert_int_equal(request(fixture, "GET /ready", "Accept: application/json\r\n"), 200);
    assert_string_equal(body(fixture), "{\"ready\": true, \"reasons\": [], \"notes\": []}");
}

static void test_metrics_are_served(void **state)
{
    struct fixture *fixture = *state;
    metrics_add(fixture->metrics, METRIC_COMMITS, NULL, NULL, 3);
    assert_int_equal(request(fixture, "GET /metrics", ""), 200);
    assert_non_null(strstr(fixture->answer, "text/plain; version=0.0.4"));
    assert_non_null(strstr(body(fixture), "\ninfopair_commits_total 3\n"));
}

static void test_a_certificate_is_asked_for(void **state)
{
    struct fixture *fixture = *state;
    struct error error;
    assert_int_equal(request(fixture, "GET /certificate", ""), 202);
    assert_string_equal(body(fixture), "{\"reason\": \"starting\"}");
    struct options *options = options_new();
    assert_non_null(options);
    struct certificate *certificate = certificate_new(options, 1 << 20, fixture->metrics, &error);
    assert_non_null(certificate);
    http_set_certificate(fixture->http, certificate);
    assert_int_equal(request(fixture, "GET /certificate", ""), 202);
    assert_non_null(strstr(fixture->answer, "Content-Type: application/json"));
    assert_string_equal(body(fixture), "{\"reason\": \"one has been asked for\"}");
    assert_int_equal(request(fixture, "POST /certificate", "Content-Length: 0\r\n"), 405);
    assert_int_equal(request(fixture, "GET /metrics", ""), 200);
    assert_non_null(strstr(body(fixture), "\ninfopair_certificate_efficiency NaN\n"));
    assert_non_null(strstr(body(fixture), "\ninfopair_certificate_timestamp_seconds NaN\n"));
    http_set_certificate(fixture->http, NULL);
    certificate_free(certificate);
    options_free(options);
}

static void test_annotators_are_those_told_last(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(request(fixture, "GET /annotators", ""), 202);
    assert_string_equal(body(fixture), "{\"reason\": \"there is no fit yet\"}");
    http_set_annotators(fixture->http, strdup("{\"fit_id\": 1}"));
    http_set_annotators(fixture->http, strdup("{\"fit_id\": 2}"));
    assert_int_equal(request(fixture, "GET /annotators", ""), 200);
    assert_non_null(strstr(fixture->answer, "Content-Type: application/json"));
    assert_string_equal(body(fixture), "{\"fit_id\": 2}");
}

static void test_an_account_is_asked_for(void **state)
{
    struct fixture *fixture = *state;
    struct error error;
    assert_int_equal(request(fixture, "GET /accounting", ""), 202);
    assert_string_equal(body(fixture), "{\"reason\": \"starting\"}");
    struct options *options = options_new();
    assert_non_null(options);
    struct accounting *accounting = accounting_new(options, 1 << 20, fixture->metrics, &error);
    assert_non_null(accounting);
    http_set_accounting(fixture->http, accounting);
    assert_int_equal(request(fixture, "GET /accounting", ""), 202);
    assert_non_null(strstr(fixture->answer, "Content-Type: application/json"));
    assert_string_equal(body(fixture), "{\"reason\": \"one has been asked for\"}");
    assert_int_equal(request(fixture, "GET /metrics", ""), 200);
    assert_non_null(strstr(body(fixture), "\ninfopair_labels_factor NaN\n"));
    assert_null(strstr(body(fixture), "\ninfopair_labels_saved{"));
    http_set_accounting(fixture->http, NULL);
    accounting_free(accounting);
    options_free(options);
}

static void test_other_paths_and_methods_are_refused(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(request(fixture, "GET /other", ""), 404);
    assert_non_null(strstr(body(fixture), "/ready"));
    assert_non_null(strstr(body(fixture), "/certificate"));
    assert_int_equal(request(fixture, "POST /ready", "Content-Length: 0\r\n"), 405);
    assert_non_null(strstr(fixture->answer, "Allow: GET, HEAD"));
    assert_int_equal(request(fixture, "DELETE /metrics", ""), 405);
    assert_int_equal(request(fixture, "HEAD /live", ""), 200);
    assert_string_equal(body(fixture), "");
}

static void test_reasons_beyond_the_limit_are_cut(void **state)
{
    struct fixture *fixture = *state;
    char *reasons = malloc(100001);
    assert_non_null(reasons);
    memset(reasons, 'x', 100000);
    reasons[100000] = '\0';
    http_set_ready(fixture->http, reasons);
    free(reasons);
    assert_int_equal(request(fixture, "GET /ready", ""), 503);
    assert_in_range(strlen(body(fixture)), 1000, 5000);
}

static void test_an_address_is_checked(void **state)
{
    (void)state;
    static const char *const good[] = {"", "127.0.0.1:0", "[::1]:8080", "localhost:65535"};
    static const char *const wrong[] = {
        "8080", ":8080", "::1:8080", "a:", "a:65536", "a:8x", "[]:1"};
    struct error error;
    for (size_t k = 0; k < sizeof good / sizeof *good; k++)
        assert_true(http_check_address(good[k], &error));
    for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++)
        assert_false(http_check_address(wrong[k], &error));
}

static void test_no_address_means_no_server(void **state)
{
    (void)state;
    struct error error;
    struct metrics *metrics = metrics_new();
    struct http *http = http_new("", metrics, &error);
    assert_non_null(http);
    assert_int_equal(http_port(http), 0);
    http_set_ready(http, NULL);
    assert_true(metrics_get(metrics, METRIC_READY, NULL, NULL) == 1);
    http_free(http);
    metrics_free(metrics);
}

static void test_a_taken_port_is_an_error(void **state)
{
    struct fixture *fixture = *state;
    char address[32];
    struct error error;
    snprintf(address, sizeof address, "127.0.0.1:%u", (unsigned)http_port(fixture->http));
    assert_null(http_new(address, fixture->metrics, &error));
    assert_non_null(strstr(error.message, address));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_live_is_always_ok, begin, end),
        cmocka_unit_test_setup_teardown(test_a_worker_is_not_ready_at_first, begin, end),
        cmocka_unit_test_setup_teardown(test_ready_follows_the_reasons, begin, end),
        cmocka_unit_test_setup_teardown(test_ready_speaks_json_when_asked, begin, end),
        cmocka_unit_test_setup_teardown(test_metrics_are_served, begin, end),
        cmocka_unit_test_setup_teardown(test_a_certificate_is_asked_for, begin, end),
        cmocka_unit_test_setup_teardown(test_annotators_are_those_told_last, begin, end),
        cmocka_unit_test_setup_teardown(test_an_account_is_asked_for, begin, end),
        cmocka_unit_test_setup_teardown(test_other_paths_and_methods_are_refused, begin, end),
        cmocka_unit_test_setup_teardown(test_reasons_beyond_the_limit_are_cut, begin, end),
        cmocka_unit_test(test_an_address_is_checked),
        cmocka_unit_test(test_no_address_means_no_server),
        cmocka_unit_test_setup_teardown(test_a_taken_port_is_an_error, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
