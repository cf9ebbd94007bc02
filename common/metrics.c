/* A family is a name with its help and type; its series differ in labels. Families and series are
 * only ever added, under the registry's lock, and never move, so whoever holds a series changes it
 * with one relaxed atomic addition.
 *
 * Histograms are log-linear: four buckets for each power of two, so a bucket is at most 25 % wide.
 * Prometheus is shown the powers of two only, from 64 us to 67 s: every series costs its users
 * memory. */
#include "common/metrics.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/config.h"
#include "common/limits.h"
#include "common/macros.h"

enum {
    HISTOGRAM_BITS_MAX = 40, /* 2^40 us are 12 days; longer counts as that */
    HISTOGRAM_BUCKETS = 4 * (HISTOGRAM_BITS_MAX - 1),
    SHOWN_BITS_MIN = 6,
    SHOWN_BITS_MAX = 26,
};

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct counter {
    _Atomic uint64_t value;
};

struct gauge {
    _Atomic int64_t value;
};

struct histogram {
    _Atomic uint64_t sum_us;
    _Atomic uint64_t buckets[HISTOGRAM_BUCKETS];
};

struct series {
    struct series *next; /* in order of creation */
    char *labels;        /* "" for none */
    union {
        struct counter counter;
        struct gauge gauge;
        struct histogram histogram; /* only allocated for histograms */
    } value;
};

struct family {
    struct family *next; /* in order of creation */
    char *name;
    char *help;
    enum metric_type type;
    struct series *series;
};

struct metrics {
    pthread_mutex_t lock; /* protects the lists, not the values, and the report */
    struct family *families;
    struct metrics_page page; /* what /varz adds */
    time_ms started_ms;
    char *trouble; /* of the latest report, as the next three; NULL: none */
    char *state;   /* NULL: none */
    time_ms valid_ms;
    time_ms reported_ms; /* mono */
};

struct metrics *metrics_new(void)
{
    struct metrics *m = xcalloc(1, sizeof(*m));
    int r = pthread_mutex_init(&m->lock, NULL);
    CHECK(r == 0);
    m->started_ms = clock_mono_ms();
    return m;
}

static void family_free(struct family *f)
{
    while (f->series != NULL) {
        struct series *s = f->series;
        f->series = s->next;
        free(s->labels);
        free(s);
    }
    free(f->name);
    free(f->help);
    free(f);
}

void metrics_free(struct metrics *m)
{
    if (m == NULL) {
        return;
    }
    while (m->families != NULL) {
        struct family *f = m->families;
        m->families = f->next;
        family_free(f);
    }
    pthread_mutex_destroy(&m->lock);
    free(m->trouble);
    free(m->state);
    free(m);
}

/* With the lock held. */
static struct family *find_family(struct metrics *m, const char *name, enum metric_type type,
                                  const char *help)
{
    struct family **at = &m->families;
    while (*at != NULL && strcmp((*at)->name, name) != 0) {
        at = &(*at)->next;
    }
    if (*at == NULL) {
        *at = xcalloc(1, sizeof(**at));
        **at = (struct family){.name = xstrdup(name), .help = xstrdup(help), .type = type};
    }
    CHECK((*at)->type == type);
    return *at;
}

static struct series *find_series(struct metrics *m, const char *name, const char *labels,
                                  enum metric_type type, const char *help)
{
    static const size_t value_sizes[] = {sizeof(struct counter), sizeof(struct gauge),
                                         sizeof(struct histogram)};
    labels = labels != NULL ? labels : "";
    pthread_mutex_lock(&m->lock);
    struct family *f = find_family(m, name, type, help);
    struct series **at = &f->series;
    while (*at != NULL && strcmp((*at)->labels, labels) != 0) {
        at = &(*at)->next;
    }
    if (*at == NULL) {
        *at = xcalloc(1, offsetof(struct series, value) + value_sizes[type]);
        (*at)->labels = xstrdup(labels);
    }
    struct series *s = *at;
    pthread_mutex_unlock(&m->lock);
    return s;
}

struct counter *metrics_counter(struct metrics *m, const char *name, const char *labels,
                                const char *help)
{
    return &find_series(m, name, labels, METRIC_COUNTER, help)->value.counter;
}

struct gauge *metrics_gauge(struct metrics *m, const char *name, const char *labels,
                            const char *help)
{
    return &find_series(m, name, labels, METRIC_GAUGE, help)->value.gauge;
}

struct histogram *metrics_histogram(struct metrics *m, const char *name, const char *labels,
                                    const char *help)
{
    return &find_series(m, name, labels, METRIC_HISTOGRAM, help)->value.histogram;
}

void counter_add(struct counter *c, uint64_t amount)
{
    atomic_fetch_add_explicit(&c->value, amount, memory_order_relaxed);
}

uint64_t counter_value(const struct counter *c)
{
    return atomic_load_explicit(&c->value, memory_order_relaxed);
}

void gauge_set(struct gauge *g, int64_t value)
{
    atomic_store_explicit(&g->value, value, memory_order_relaxed);
}

void gauge_add(struct gauge *g, int64_t amount)
{
    atomic_fetch_add_explicit(&g->value, amount, memory_order_relaxed);
}

int64_t gauge_value(const struct gauge *g)
{
    return atomic_load_explicit(&g->value, memory_order_relaxed);
}

/* Values below 8 have buckets of their own; above, the three highest bits choose: 1xx and the
 * exponent. */
static size_t bucket_of(uint64_t us)
{
    us = MIN(us, (UINT64_C(1) << HISTOGRAM_BITS_MAX) - 1);
    if (us < 4) {
        return (size_t)us;
    }
    unsigned shift = 61 - (unsigned)__builtin_clzll(us);
    return (size_t)4 * shift + (size_t)(us >> shift);
}

/* The first value above the bucket. */
static uint64_t bucket_end(size_t bucket)
{
    if (bucket < 4) {
        return bucket + 1;
    }
    size_t shift = bucket / 4 - 1;
    return (uint64_t)(bucket % 4 + 5) << shift;
}

void histogram_observe(struct histogram *h, uint64_t us)
{
    atomic_fetch_add_explicit(&h->buckets[bucket_of(us)], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&h->sum_us, us, memory_order_relaxed);
}

/* Observations in the buckets that end at or before end_us. */
static uint64_t count_below(const struct histogram *h, uint64_t end_us)
{
    uint64_t count = 0;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS && bucket_end(i) <= end_us; i++) {
        count += atomic_load_explicit(&h->buckets[i], memory_order_relaxed);
    }
    return count;
}

uint64_t histogram_count(const struct histogram *h)
{
    return count_below(h, UINT64_MAX);
}

uint64_t histogram_quantile_us(const struct histogram *h, double fraction)
{
    double exact = fraction * (double)histogram_count(h);
    uint64_t wanted = (uint64_t)exact;
    wanted += (double)wanted < exact;
    uint64_t count = 0;
    size_t last = 0; /* the last bucket that has something, if wanted is 0 or rounding goes wrong */
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        uint64_t here = atomic_load_explicit(&h->buckets[i], memory_order_relaxed);
        count += here;
        if (here > 0) {
            last = bucket_end(i);
        }
        if (here > 0 && count >= wanted) {
            break;
        }
    }
    return last;
}

static double seconds(uint64_t us)
{
    return (double)us / 1e6;
}

static void render_histogram(const struct family *f, const struct series *s, struct buf *out)
{
    const struct histogram *h = &s->value.histogram;
    const char *comma = s->labels[0] != 0 ? "," : "";
    uint64_t count = histogram_count(h);
    for (unsigned bits = SHOWN_BITS_MIN; bits <= SHOWN_BITS_MAX; bits++) {
        uint64_t bound = UINT64_C(1) << bits;
        uint64_t below =
            MIN(count_below(h, bound), count); /* count may be older than this bucket */
        buf_printf(out, "trireme_%s_bucket{%s%sle=\"%.9g\"} %" PRIu64 "\n", f->name, s->labels,
                   comma, seconds(bound), below);
    }
    buf_printf(out, "trireme_%s_bucket{%s%sle=\"+Inf\"} %" PRIu64 "\n", f->name, s->labels, comma,
               count);
    const char *open = s->labels[0] != 0 ? "{" : "";
    const char *close = s->labels[0] != 0 ? "}" : "";
    uint64_t sum_us = atomic_load_explicit(&h->sum_us, memory_order_relaxed);
    buf_printf(out, "trireme_%s_sum%s%s%s %.6f\n", f->name, open, s->labels, close,
               seconds(sum_us));
    buf_printf(out, "trireme_%s_count%s%s%s %" PRIu64 "\n", f->name, open, s->labels, close, count);
}

static void render_series(const struct family *f, const struct series *s, struct buf *out)
{
    if (f->type == METRIC_HISTOGRAM) {
        render_histogram(f, s, out);
        return;
    }
    buf_printf(out, s->labels[0] != 0 ? "trireme_%s{%s} " : "trireme_%s%s ", f->name, s->labels);
    if (f->type == METRIC_COUNTER) {
        buf_printf(out, "%" PRIu64 "\n", counter_value(&s->value.counter));
    } else {
        buf_printf(out, "%" PRId64 "\n", gauge_value(&s->value.gauge));
    }
}

void metrics_render_prometheus(struct metrics *m, struct buf *out)
{
    static const char *const types[] = {"counter", "gauge", "histogram"};
    pthread_mutex_lock(&m->lock);
    for (const struct family *f = m->families; f != NULL; f = f->next) {
        buf_printf(out, "# HELP trireme_%s %s\n# TYPE trireme_%s %s\n", f->name, f->help, f->name,
                   types[f->type]);
        for (const struct series *s = f->series; s != NULL; s = s->next) {
            render_series(f, s, out);
        }
    }
    pthread_mutex_unlock(&m->lock);
}

/* Names and labels are ours: of what JSON escapes they only have quotes and backslashes. */
static void append_json_key(const struct family *f, const struct series *s, struct buf *out)
{
    buf_printf(out, "\"%s%s", f->name, s->labels[0] != 0 ? "{" : "");
    for (const char *at = s->labels; *at != 0; at++) {
        if (*at == '"' || *at == '\\') {
            buf_append_byte(out, '\\');
        }
        buf_append_byte(out, (uint8_t)*at);
    }
    buf_printf(out, "%s\": ", s->labels[0] != 0 ? "}" : "");
}

static void append_json_value(const struct family *f, const struct series *s, struct buf *out)
{
    const struct histogram *h = &s->value.histogram;
    switch (f->type) {
    case METRIC_COUNTER:
        buf_printf(out, "%" PRIu64, counter_value(&s->value.counter));
        break;
    case METRIC_GAUGE:
        buf_printf(out, "%" PRId64, gauge_value(&s->value.gauge));
        break;
    case METRIC_HISTOGRAM:
        buf_printf(out,
                   "{\"count\": %" PRIu64 ", \"sum_seconds\": %.6f, \"p50_seconds\": %.6f, "
                   "\"p99_seconds\": %.6f}",
                   histogram_count(h),
                   seconds(atomic_load_explicit(&h->sum_us, memory_order_relaxed)),
                   seconds(histogram_quantile_us(h, 0.5)), seconds(histogram_quantile_us(h, 0.99)));
        break;
    }
}

void metrics_render_json(struct metrics *m, struct buf *out)
{
    const char *separator = "";
    buf_append_byte(out, '{');
    pthread_mutex_lock(&m->lock);
    for (const struct family *f = m->families; f != NULL; f = f->next) {
        for (const struct series *s = f->series; s != NULL; s = s->next) {
            buf_append_str(out, separator);
            append_json_key(f, s, out);
            append_json_value(f, s, out);
            separator = ", ";
        }
    }
    pthread_mutex_unlock(&m->lock);
    buf_append_byte(out, '}');
}

void metrics_report(struct metrics *m, const struct metrics_report *report)
{
    char *trouble = report->trouble != NULL ? xstrdup(report->trouble) : NULL;
    char *state = report->state != NULL ? xstrdup(report->state) : NULL;
    pthread_mutex_lock(&m->lock);
    char *old_trouble = m->trouble;
    char *old_state = m->state;
    m->trouble = trouble;
    m->state = state;
    m->valid_ms = report->valid_ms;
    m->reported_ms = clock_mono_ms();
    pthread_mutex_unlock(&m->lock);
    free(old_trouble);
    free(old_state);
}

void metrics_take_report(struct metrics *m, struct buf *trouble, struct buf *members, bool last)
{
    struct buf state = BUF_INIT;
    buf_printf(&state, "{%s%s\"trouble\": ", members->data, members->length > 0 ? ", " : "");
    buf_append_json(&state, trouble->data);
    buf_append_byte(&state, '}');
    metrics_report(m, &(struct metrics_report){
                          .trouble = trouble->length > 0 ? trouble->data : NULL,
                          .state = state.data,
                          .valid_ms = last ? 0 : OWNER_HUNG_MS,
                      });
    buf_deinit(&state);
    buf_deinit(trouble);
    buf_deinit(members);
}

static void collect(struct metrics *m)
{
    if (m->page.collect != NULL) {
        m->page.collect(m->page.context);
    }
}

static void on_metrics(void *context, const struct http_request *request, struct http_reply *reply)
{
    struct metrics *m = context;
    (void)request;
    reply->content_type = "text/plain; version=0.0.4; charset=utf-8";
    collect(m);
    metrics_render_prometheus(m, &reply->body);
}

/* False: the owner says so, or says nothing any more. */
static bool report_is_good(struct metrics *m, struct buf *why)
{
    pthread_mutex_lock(&m->lock);
    time_ms silent_ms = clock_mono_ms() - m->reported_ms;
    bool hangs = m->valid_ms > 0 && silent_ms > m->valid_ms;
    if (hangs) {
        buf_printf(why, "the thread that does the work hangs: silent for %" PRIu64 " s",
                   silent_ms / 1000);
    } else if (m->trouble != NULL) {
        buf_append_str(why, m->trouble);
    }
    bool good = !hangs && m->trouble == NULL;
    pthread_mutex_unlock(&m->lock);
    return good;
}

static void on_healthz(void *context, const struct http_request *request, struct http_reply *reply)
{
    struct metrics *m = context;
    (void)request;
    if (report_is_good(m, &reply->body)) {
        buf_append_str(&reply->body, "ok\n");
    } else {
        reply->status = 503;
        buf_append_byte(&reply->body, '\n');
    }
}

static void on_varz(void *context, const struct http_request *request, struct http_reply *reply)
{
    struct metrics *m = context;
    struct buf *out = &reply->body;
    (void)request;
    reply->content_type = "application/json";
    buf_printf(out, "{\"version\": \"%s\", \"uptime_ms\": %" PRIu64, config_version(),
               clock_mono_ms() - m->started_ms);
    if (m->page.varz != NULL) {
        buf_append_str(out, ", ");
        m->page.varz(m->page.context, out);
    }
    pthread_mutex_lock(&m->lock);
    if (m->state != NULL) {
        buf_printf(out, ", \"state\": %s", m->state);
    }
    pthread_mutex_unlock(&m->lock);
    buf_append_str(out, ", \"metrics\": ");
    collect(m);
    metrics_render_json(m, out);
    buf_append_str(out, "}\n");
}

int metrics_serve(struct metrics *m, const char *address, const struct metrics_page *page,
                  struct http_server **ret_server, struct err *e)
{
    const struct http_route routes[] = {
        {"/metrics", on_metrics, m}, {"/healthz", on_healthz, m}, {"/varz", on_varz, m}};
    struct buf version = BUF_INIT;
    if (page != NULL) {
        m->page = *page;
    }
    buf_printf(&version, "version=\"%s\"", config_version());
    gauge_set(metrics_gauge(m, "build_info", version.data, "Always 1; the label says which build."),
              1);
    buf_deinit(&version);
    return http_server_start(address, routes, ARRAY_COUNT(routes), ret_server, e);
}
