#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "common/metrics.h"
#include "common/rng.h"

static int setup(void **state)
{
    *state = metrics_new();
    return 0;
}

static int teardown(void **state)
{
    metrics_free(*state);
    metrics_free(NULL);
    return 0;
}

static void prometheus_text(void **state)
{
    struct metrics *m = *state;
    struct buf text = BUF_INIT;
    struct counter *reads = metrics_counter(m, "reads_total", "disk=\"0\"", "Reads served.");
    counter_add(metrics_counter(m, "reads_total", "disk=\"1\"", "Reads served."), 3);
    gauge_set(metrics_gauge(m, "open_chunks", NULL, "Chunks being written."), -2);
    counter_add(reads, 40);
    counter_add(metrics_counter(m, "reads_total", "disk=\"0\"", "Reads served."), 2);
    assert_int_equal(counter_value(reads), 42);
    metrics_render_prometheus(m, &text);
    assert_string_equal(text.data, "# HELP trireme_reads_total Reads served.\n"
                                   "# TYPE trireme_reads_total counter\n"
                                   "trireme_reads_total{disk=\"0\"} 42\n"
                                   "trireme_reads_total{disk=\"1\"} 3\n"
                                   "# HELP trireme_open_chunks Chunks being written.\n"
                                   "# TYPE trireme_open_chunks gauge\n"
                                   "trireme_open_chunks -2\n");
    buf_deinit(&text);
}

static void histograms_are_shown_cumulative(void **state)
{
    struct metrics *m = *state;
    struct buf text = BUF_INIT;
    struct histogram *h = metrics_histogram(m, "read_seconds", "op=\"read\"", "Time of a read.");
    histogram_observe(h, 10);
    histogram_observe(h, 100);
    histogram_observe(h, 1000000);
    histogram_observe(h, UINT64_C(1) << 50);
    metrics_render_prometheus(m, &text);
    assert_non_null(
        strstr(text.data, "trireme_read_seconds_bucket{op=\"read\",le=\"6.4e-05\"} 1\n"));
    assert_non_null(
        strstr(text.data, "trireme_read_seconds_bucket{op=\"read\",le=\"0.000128\"} 2\n"));
    assert_non_null(
        strstr(text.data, "trireme_read_seconds_bucket{op=\"read\",le=\"67.108864\"} 3\n"));
    assert_non_null(strstr(text.data, "trireme_read_seconds_bucket{op=\"read\",le=\"+Inf\"} 4\n"));
    assert_non_null(strstr(text.data, "trireme_read_seconds_count{op=\"read\"} 4\n"));
    assert_non_null(strstr(text.data, "trireme_read_seconds_sum{op=\"read\"} 1125899907.842734\n"));
    buf_deinit(&text);
}

/* Of one value v, every quantile is above v and at most 25 % (or 1 us) too high. */
static void quantiles_are_near(void **state)
{
    struct metrics *m = *state;
    struct rng r;
    rng_seed(&r, 5);
    for (int i = 0; i < 300; i++) {
        char name[32];
        uint64_t us = rng_u64(&r) >> rng_range(&r, 25, 63);
        snprintf(name, sizeof(name), "h%d_seconds", i);
        struct histogram *h = metrics_histogram(m, name, NULL, "x");
        assert_int_equal(histogram_quantile_us(h, 0.5), 0);
        histogram_observe(h, us);
        uint64_t q = histogram_quantile_us(h, 0.99);
        assert_true(q > us);
        assert_true(q <= us + us / 4 + 1);
    }
    struct histogram *h = metrics_histogram(m, "steps_seconds", NULL, "x");
    for (uint64_t us = 1; us <= 1000; us++) {
        histogram_observe(h, us);
    }
    assert_in_range(histogram_quantile_us(h, 0.5), 500, 626);
    assert_in_range(histogram_quantile_us(h, 1), 1000, 1250);
    assert_in_range(histogram_quantile_us(h, 0), 1, 2);
    assert_int_equal(histogram_count(h), 1000);
}

static void *count_much(void *argument)
{
    for (int i = 0; i < 10000; i++) {
        counter_add(metrics_counter(argument, "n_total", NULL, "x"), 1);
    }
    return NULL;
}

static void threads_lose_nothing(void **state)
{
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, count_much, *state), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(counter_value(metrics_counter(*state, "n_total", NULL, "x")), 40000);
}

/* One request over a plain socket; the whole answer is appended to out. */
static void request(uint16_t port, const char *method, const char *path, struct buf *out)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct buf text = BUF_INIT;
    char piece[4096];
    ssize_t n = 0;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    buf_printf(&text, "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n", method, path);
    buf_append_str(&text, strcmp(method, "POST") == 0 ? "Content-Length: 3\r\n\r\nabc" : "\r\n");
    assert_int_equal(send(fd, text.data, text.length, 0), text.length);
    while ((n = recv(fd, piece, sizeof(piece), 0)) > 0) {
        buf_append(out, piece, (size_t)n);
    }
    close(fd);
    buf_deinit(&text);
}

static void expect(uint16_t port, const char *method, const char *path, const char *part)
{
    struct buf answer = BUF_INIT;
    request(port, method, path, &answer);
    if (strstr(answer.data, part) == NULL) {
        fail_msg("%s %s: no \"%s\" in: %s", method, path, part, answer.data);
    }
    buf_deinit(&answer);
}

static void varz(void *context, struct buf *json)
{
    (void)context;
    buf_append_str(json, "\"role\": \"leader\"");
}

static void pages_are_served(void **state)
{
    struct metrics_page page = {.varz = varz};
    struct http_server *server = NULL, *second = NULL;
    struct err e = ERR_INIT;
    struct buf answer = BUF_INIT;
    counter_add(metrics_counter(*state, "n_total", "a=\"b\"", "x"), 5);
    histogram_observe(metrics_histogram(*state, "t_seconds", NULL, "x"), 5);
    assert_int_equal(metrics_serve(*state, ":0", &page, &server, &e), 0);
    uint16_t port = http_server_port(server);
    expect(port, "GET", "/metrics", "\ntrireme_n_total{a=\"b\"} 5\n");
    expect(port, "GET", "/healthz", " 200 OK");
    expect(port, "GET", "/healthz", "\r\n\r\nok\n");
    expect(port, "GET", "/other", " 404 ");
    expect(port, "GET", "/metrics/below", " 404 ");
    expect(port, "POST", "/metrics", " 405 ");
    expect(port, "HEAD", "/metrics", " 200 OK");
    request(port, "GET", "/varz", &answer);
    json_t *json = json_loads(strstr(answer.data, "\r\n\r\n"), 0, NULL);
    assert_non_null(json);
    assert_string_equal(json_string_value(json_object_get(json, "role")), "leader");
    json_t *values = json_object_get(json, "metrics");
    assert_int_equal(json_integer_value(json_object_get(values, "n_total{a=\"b\"}")), 5);
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(values, "t_seconds"), "count")), 1);
    json_decref(json);

    char taken[32];
    snprintf(taken, sizeof(taken), "127.0.0.1:%u", port);
    assert_int_equal(metrics_serve(*state, taken, NULL, &second, &e), ERR_BUSY);
    assert_int_equal(metrics_serve(*state, "nonsense", NULL, &second, &e), ERR_INVALID);
    http_server_stop(server);
    http_server_stop(NULL);
    buf_deinit(&answer);
}

static void collect(void *context)
{
    counter_add(context, 1);
}

/* What the owner reports is shown until it reports something else, and missed when it does not. */
static void the_owner_reports(void **state)
{
    struct metrics *m = *state;
    struct metrics_page page = {.collect = collect,
                                .context = metrics_counter(m, "looks_total", NULL, "x")};
    struct http_server *server = NULL;
    assert_int_equal(metrics_serve(m, ":0", &page, &server, NULL), 0);
    uint16_t port = http_server_port(server);
    expect(port, "GET", "/healthz", "\r\n\r\nok\n"); /* there may be no owner who reports */
    metrics_report(m, &(struct metrics_report){.trouble = "it starts"});
    expect(port, "GET", "/healthz", " 503 ");
    expect(port, "GET", "/healthz", "\r\n\r\nit starts\n");
    metrics_report(m, &(struct metrics_report){.state = "{\"jobs\": 3}", .valid_ms = 3600 * 1000});
    expect(port, "GET", "/healthz", "\r\n\r\nok\n");
    expect(port, "GET", "/varz", "\"state\": {\"jobs\": 3}, \"metrics\": {\"looks_total\": 1, ");
    expect(port, "GET", "/metrics", "\ntrireme_looks_total 2\n");
    expect(port, "GET", "/metrics", "\ntrireme_build_info{version=\"");
    metrics_report(m, &(struct metrics_report){.valid_ms = 1});
    struct buf answer = BUF_INIT;
    while (strstr(answer.data, "hangs: silent for ") == NULL) {
        buf_clear(&answer);
        request(port, "GET", "/healthz", &answer);
    }
    assert_non_null(strstr(answer.data, " 503 "));
    metrics_report(m, &(struct metrics_report){.valid_ms = 0});
    expect(port, "GET", "/healthz", "\r\n\r\nok\n");
    buf_deinit(&answer);
    http_server_stop(server);
}

/* What the owners of daemons say: trouble is both a reason and part of the state. */
static void trouble_and_state_are_reported_together(void **state)
{
    struct buf trouble = BUF_INIT, members = BUF_INIT;
    struct http_server *server = NULL;
    assert_int_equal(metrics_serve(*state, "localhost:0", NULL, &server, NULL), 0);
    uint16_t port = http_server_port(server);
    buf_append_str(&trouble, "no \"quorum\"");
    buf_append_str(&members, "\"term\": 7");
    metrics_take_report(*state, &trouble, &members, false);
    assert_int_equal(trouble.length, 0);
    assert_int_equal(members.length, 0);
    expect(port, "GET", "/healthz", " 503 ");
    expect(port, "GET", "/healthz", "\r\n\r\nno \"quorum\"\n");
    expect(port, "GET", "/varz",
           "\"state\": {\"term\": 7, \"trouble\": \"no \\\"quorum\\\"\"}, \"metrics\"");
    metrics_take_report(*state, &trouble, &members, true);
    expect(port, "GET", "/healthz", "\r\n\r\nok\n");
    expect(port, "GET", "/varz", "\"state\": {\"trouble\": \"\"}, \"metrics\"");
    http_server_stop(server);
}

static void show_name(void *context, const struct http_request *request, struct http_reply *reply)
{
    const char *name = http_query(request, "name");
    (void)context;
    buf_printf(&reply->body, "%s %s", request->path, name != NULL ? name : "nobody");
}

static void routes_and_queries(void **state)
{
    const struct http_route routes[] = {{"/tree/", show_name, NULL}, {"/exact", show_name, NULL}};
    struct http_server *server = NULL;
    (void)state;
    assert_int_equal(http_server_start("127.0.0.1:0", routes, 2, &server, NULL), 0);
    uint16_t port = http_server_port(server);
    expect(port, "GET", "/tree/a/b?name=ada%20l", "\r\n\r\n/tree/a/b ada l");
    expect(port, "GET", "/exact", "\r\n\r\n/exact nobody");
    expect(port, "GET", "/tree", " 404 ");
    http_server_stop(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(prometheus_text, setup, teardown),
        cmocka_unit_test_setup_teardown(histograms_are_shown_cumulative, setup, teardown),
        cmocka_unit_test_setup_teardown(quantiles_are_near, setup, teardown),
        cmocka_unit_test_setup_teardown(threads_lose_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(pages_are_served, setup, teardown),
        cmocka_unit_test_setup_teardown(trouble_and_state_are_reported_together, setup, teardown),
        cmocka_unit_test_setup_teardown(the_owner_reports, setup, teardown),
        cmocka_unit_test(routes_and_queries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
