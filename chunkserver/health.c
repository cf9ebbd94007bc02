/* See health.h. */
#include "chunkserver/health.h"

#include <inttypes.h>

#include "common/limits.h"
#include "common/macros.h"

/* ---- What is wrong ---- */

static void say_masters(const struct health *h, struct buf *out)
{
    time_ms answered_ms = 0; /* the latest of them */
    for (size_t i = 0; i < h->master_count; i++) {
        answered_ms = MAX(answered_ms, h->masters[i].answered_ms);
    }
    if (h->master_count == 0 || (answered_ms > 0 && h->now_ms - answered_ms <= MASTERS_SILENT_MS)) {
        return;
    }
    if (answered_ms > 0) {
        buf_printf(out, "no file master has answered for %" PRIu64 " s: ",
                   (h->now_ms - answered_ms) / 1000);
    } else {
        buf_printf(out,
                   "no file master has accepted this server since its start %" PRIu64 " s ago: ",
                   (h->now_ms - h->started_ms) / 1000);
    }
    for (size_t i = 0; i < h->master_count; i++) {
        const struct health_master *m = &h->masters[i];
        buf_printf(out, "%s%s", i > 0 ? ", " : "", m->address);
        if (m->error[0] != '\0') {
            buf_printf(out, " (%s)", m->error);
        }
    }
}

static void begin(struct buf *out)
{
    if (out->length > 0) {
        buf_append_str(out, "; ");
    }
}

static void say_disks(const struct health *h, struct buf *out)
{
    uint64_t room = 0; /* the largest: a chunk lies on one disk */
    for (size_t i = 0; i < h->disk_count; i++) {
        const struct health_disk *d = &h->disks[i];
        if (!d->failed) {
            room = MAX(room, d->free_bytes);
            continue;
        }
        begin(out);
        if (d->failure[0] != '\0') {
            buf_printf(out, "a disk failed, %s (repair or replace it, then restart the server)",
                       d->failure);
        } else {
            buf_printf(out, "a disk failed, data directory %s: the log says why", d->path);
        }
    }
    if (room < CHUNK_BYTES_DEFAULT) {
        begin(out);
        buf_printf(out, "full: no disk has room for a chunk of %d MiB, %" PRIu64 " MiB at most",
                   CHUNK_BYTES_DEFAULT >> 20, room >> 20);
    }
}

void health_trouble(const struct health *h, struct buf *out)
{
    if (h->draining) {
        buf_append_str(out, "chunkserver stops");
        return;
    }
    say_masters(h, out);
    say_disks(h, out);
}

/* ---- State ---- */

static void add_master(const struct health *h, const struct health_master *m, struct buf *out)
{
    buf_append_str(out, "{\"address\": ");
    buf_append_json(out, m->address);
    buf_printf(out, ", \"registered\": %s, \"answered_age_ms\": ", json_bool(m->registered));
    if (m->answered_ms > 0) {
        buf_printf(out, "%" PRIu64, h->now_ms - m->answered_ms);
    } else {
        buf_append_str(out, "null");
    }
    buf_append_str(out, ", \"error\": ");
    buf_append_json(out, m->error);
    buf_append_byte(out, '}');
}

static void add_disk(const struct health_disk *d, struct buf *out)
{
    buf_append_str(out, "{\"path\": ");
    buf_append_json(out, d->path);
    buf_printf(out,
               ", \"capacity_bytes\": %" PRIu64 ", \"used_bytes\": %" PRIu64
               ", \"free_bytes\": %" PRIu64 ", \"failed\": %s, \"failure\": ",
               d->capacity_bytes, d->used_bytes, d->free_bytes, json_bool(d->failed));
    buf_append_json(out, d->failure);
    buf_append_byte(out, '}');
}

void health_state(const struct health *h, struct buf *out)
{
    buf_printf(out,
               "\"server\": %" PRIu64 ", \"draining\": %s, \"chunks\": %" PRIu64
               ", \"streams\": %" PRIu64 ", \"masters\": [",
               h->server, json_bool(h->draining), h->chunk_count, h->stream_count);
    for (size_t i = 0; i < h->master_count; i++) {
        buf_append_str(out, i > 0 ? ", " : "");
        add_master(h, &h->masters[i], out);
    }
    buf_append_str(out, "], \"disks\": [");
    for (size_t i = 0; i < h->disk_count; i++) {
        buf_append_str(out, i > 0 ? ", " : "");
        add_disk(&h->disks[i], out);
    }
    buf_append_byte(out, ']');
}
