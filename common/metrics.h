/* Metrics of a process: counters, gauges and histograms that any thread changes without locks,
 * shown as Prometheus text and as JSON. Metrics are made at start-up and live as long as their
 * registry.
 *
 *     struct counter *reads;
 *     reads = metrics_counter(m, "reads_total", "disk=\"0\"", "Read requests served.");
 *     counter_add(reads, 1);
 *
 * Names follow Prometheus: snake_case, unit last, counters end with _total; "trireme_" is put in
 * front. Labels are given ready-made (`key="value",...`, NULL for none) and must be few: one time
 * series each. */
#ifndef COMMON_METRICS_H
#define COMMON_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/http.h"
#include "common/ids.h" /* time_ms */

struct metrics; /* the registry */
struct counter;
struct gauge;
struct histogram;

struct metrics *metrics_new(void);
void metrics_free(struct metrics *m); /* accepts NULL; the HTTP server must be stopped */

/* Never NULL; the same name and labels give the same metric again (CHECK: of the same type).
 * Strings are copied. */
struct counter *metrics_counter(struct metrics *m, const char *name, const char *labels,
                                const char *help);
struct gauge *metrics_gauge(struct metrics *m, const char *name, const char *labels,
                            const char *help);

/* Observations in microseconds, shown in seconds: give it a name that ends with _seconds. */
struct histogram *metrics_histogram(struct metrics *m, const char *name, const char *labels,
                                    const char *help);

void counter_add(struct counter *c, uint64_t amount);
uint64_t counter_value(const struct counter *c);
void gauge_set(struct gauge *g, int64_t value);
void gauge_add(struct gauge *g, int64_t amount); /* may be negative */
int64_t gauge_value(const struct gauge *g);
void histogram_observe(struct histogram *h, uint64_t us);
uint64_t histogram_count(const struct histogram *h);

/* The value below which `fraction` (0..1) of the observations lie, in microseconds: the upper bound
 * of its bucket, at most 25 % too high; 0 without observations. */
uint64_t histogram_quantile_us(const struct histogram *h, double fraction);

void metrics_render_prometheus(struct metrics *m, struct buf *out);

/* {"name{labels}": value, "histogram": {"count":, "sum_seconds":, "p50_seconds":, "p99_seconds":},
 * ...} */
void metrics_render_json(struct metrics *m, struct buf *out);

/* What /varz adds to the metrics. Both run on the HTTP thread, one at a time; NULL for none. */
struct metrics_page {
    void (*varz)(void *context, struct buf *json); /* appends `"key": value, ...` without braces */
    void (*collect)(
        void *context); /* before metrics are shown: brings up to date what others count */
    void *context;
};

/* What the thread that owns a daemon's state says of itself, for the HTTP thread to show, which may
 * not look at that state. Any thread; copied; the latest counts. */
struct metrics_report {
    const char *trouble; /* /healthz answers 503 with it; NULL: healthy */
    const char *state;   /* a JSON object, the value of "state" in /varz; NULL: none */
    time_ms valid_ms; /* /healthz answers 503 when no newer report has come for so long: the thread
                         hangs; 0: it may be silent */
};
void metrics_report(struct metrics *m, const struct metrics_report *report);

/* The same as owners of daemons do it, each OWNER_REPORT_MS and when much has changed. `trouble` is
 * empty when all is well; `members` are those of the state, `"key": value, ...` without braces, and
 * "trouble" is added to them. Both are empty afterwards. An owner that is silent for OWNER_HUNG_MS
 * hangs, unless this is `last`: the daemon comes to its end. */
void metrics_take_report(struct metrics *m, struct buf *trouble, struct buf *members, bool last);

/* Serves /metrics, /healthz and /varz (see http.h for address, port and errors), and makes the
 * metric build_info. page may be NULL, else is copied. */
int metrics_serve(struct metrics *m, const char *address, const struct metrics_page *page,
                  struct http_server **ret_server, struct err *e) MUST_CHECK;

#endif
