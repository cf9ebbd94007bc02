/* The roster: which workers have joined, in the store, so that a mrmaster that starts knows for
 * whom to wait. One directory per worker, named by its key, kept up with them by one step at a
 * time.
 *
 * A job that is taken up has finished maps on workers of before. It begins when all of these are
 * back, or have not come back for as long as a silent worker is waited for. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/macros.h"
#include "common/parse.h"
#include "mapreduce/master_internal.h"

/* A worker that stands in the roster. */
struct rostered {
    bool awaited; /* it was there before our start and has not come back */
    char key[];   /* in hexadecimal */
};

struct roster_step {
    struct job work;
    struct mr_master *m;
    struct store_at at;
    char **add;
    char **remove;
    size_t add_count, remove_count;
    int code;
    struct err err;
};

enum { KEY_TEXT_BYTES = 2 * sizeof(struct member_key) + 1 };

static const char *key_text(struct member_key key, char text[KEY_TEXT_BYTES])
{
    (void)format_hex(key.bytes, sizeof(key.bytes), text);
    return text;
}

static struct rostered *roster_put(struct mr_master *m, const char *key)
{
    size_t length = strlen(key) + 1;
    struct rostered *row = xcalloc(1, sizeof(*row) + length);
    memcpy(row->key, key, length);
    map_put_str(&m->roster, row->key, row);
    return row;
}

static void roster_wait_ends(struct mr_master *m)
{
    m->awaited = 0;
    MAP_FOR_EACH(it, &m->roster)
    {
        ((struct rostered *)it.value)->awaited = false;
    }
    steps_go_on(m);
}

int roster_load(struct mr_master *m, struct err *e)
{
    char **keys = NULL;
    size_t count = 0;
    int r = store_read_roster(m->dfs, &keys, &count, e);
    for (size_t i = 0; i < count; i++) {
        roster_put(m, keys[i])->awaited = true;
        free(keys[i]);
    }
    free(keys);
    m->awaited = count;
    m->awaited_until = clock_mono_ms() + m->options.worker_silent_ms;
    return r;
}

void roster_free(struct mr_master *m)
{
    MAP_FOR_EACH(it, &m->roster)
    {
        free(it.value);
    }
    map_deinit(&m->roster);
}

void roster_returned(struct mr_master *m, struct member_key key)
{
    char text[KEY_TEXT_BYTES];
    struct rostered *row = map_get_str(&m->roster, key_text(key, text));
    if (row && row->awaited) {
        row->awaited = false;
        if (--m->awaited == 0) {
            log_info("mrmaster", "all workers of before are back");
            roster_wait_ends(m);
        }
    }
}

static void step_free(struct roster_step *s)
{
    for (size_t i = 0; i < s->add_count; i++) {
        free(s->add[i]);
    }
    for (size_t i = 0; i < s->remove_count; i++) {
        free(s->remove[i]);
    }
    free(s->add);
    free(s->remove);
    free(s);
}

static void step_done(void *arg)
{
    struct roster_step *s = arg;
    struct mr_master *m = s->m;
    m->roster_busy = false;
    if (s->code == ERR_PRECONDITION) {
        master_check_fence(m);
    } else if (s->code < 0) {
        log_warning("mrmaster", "roster of workers not written error=\"%s\"", err_message(&s->err));
    }
    for (size_t i = 0; s->code == 0 && i < s->add_count; i++) {
        (void)roster_put(m, s->add[i]);
    }
    for (size_t i = 0; s->code == 0 && i < s->remove_count; i++) {
        free(map_remove_str(&m->roster, s->remove[i]));
    }
    step_free(s);
}

static void step_run(struct job *work)
{
    struct roster_step *s = CONTAINER_OF(work, struct roster_step, work);
    for (size_t i = 0; i < s->add_count && s->code == 0; i++) {
        s->code = store_roster_add(s->at, s->add[i], &s->err);
    }
    for (size_t i = 0; i < s->remove_count && s->code == 0; i++) {
        s->code = store_roster_remove(s->at, s->remove[i], &s->err);
    }
    rpc_loop_post(s->m->options.loop, step_done, s);
}

static void text_add(char ***list, size_t *count, const char *text)
{
    *list = xreallocarray(*list, *count + 1, sizeof(char *));
    (*list)[(*count)++] = xstrdup(text);
}

/* Who has joined and does not stand there, and the other way round. */
static void roster_compare(const struct mr_master *m, struct roster_step *s)
{
    char text[KEY_TEXT_BYTES];
    struct map here;
    map_init(&here, 0);
    LIST_FOR_EACH(node, &m->workers)
    {
        struct mr_worker *w = LIST_ENTRY(node, struct mr_worker, link);
        map_put_bytes(&here, w->key.bytes, sizeof(w->key.bytes), w);
        if (!map_get_str(&m->roster, key_text(w->key, text))) {
            text_add(&s->add, &s->add_count, text);
        }
    }
    MAP_FOR_EACH(it, &m->roster)
    {
        const struct rostered *row = it.value;
        struct member_key key;
        bool known = parse_hex(row->key, key.bytes, sizeof(key.bytes), NULL) == 0;
        if (!row->awaited && !(known && map_get_bytes(&here, key.bytes, sizeof(key.bytes)))) {
            text_add(&s->remove, &s->remove_count, row->key);
        }
    }
    map_deinit(&here);
}

void roster_tick(struct mr_master *m)
{
    if (m->awaited > 0 && clock_mono_ms() >= m->awaited_until) {
        log_warning("mrmaster", "workers of before have not come back count=%zu", m->awaited);
        roster_wait_ends(m);
    }
    if (m->roster_busy) {
        return;
    }
    struct roster_step *s = xcalloc(1, sizeof(*s));
    roster_compare(m, s);
    if (s->add_count + s->remove_count == 0) {
        step_free(s);
        return;
    }
    s->work.run = step_run;
    s->m = m;
    s->at = (struct store_at){m->dfs, m->fence};
    m->roster_busy = true;
    int r = workpool_submit(m->pool, &s->work, NULL);
    CHECK(r == 0); /* the pool takes more than JOB_COUNT_MAX jobs have steps */
}
