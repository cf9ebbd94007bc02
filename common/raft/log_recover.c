/* Opening the log: find the segments, replay their batches, tell a torn tail from corruption, take
 * over as the writer. The argument why this is right stands in log_store.c. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/limits.h"
#include "common/raft/log_store.h"
#include "common/raft/log_store_internal.h"

/* Offsets in a segment are 32 bits; nothing makes files beyond the default size, tests make smaller
 * ones. */
static_assert(2ULL * LOG_SEGMENT_BYTES < UINT32_MAX, "offsets fit");

/* No real log gets there; additions to an index below it cannot overflow. */
#define INDEX_MAX (UINT64_MAX / 2)

/* ---- names ---- */

struct numbers {
    uint64_t *all; /* sorted after the scan */
    size_t count;
};

struct scan {
    struct numbers segments;
    struct numbers spares;
    bool has_new;  /* a segment that was being made */
    bool has_else; /* a file that is none of ours */
    char other[LOG_NAME_BYTES];
};

/* True when name is prefix and 16 lower-case hexadecimal digits. */
static bool parse_name(const char *name, const char *prefix, uint64_t *ret_number)
{
    size_t length = strlen(prefix);
    char again[LOG_NAME_BYTES];
    if (strncmp(name, prefix, length) != 0) {
        return false;
    }
    *ret_number = strtoull(name + length, NULL, 16);
    log_name(again, prefix, *ret_number);
    return strcmp(again, name) == 0;
}

static void numbers_add(struct numbers *n, uint64_t number)
{
    n->all = xreallocarray(n->all, n->count + 1, sizeof(uint64_t));
    n->all[n->count++] = number;
}

static void see_name(void *arg, const char *name)
{
    struct scan *scan = arg;
    uint64_t number = 0;
    if (parse_name(name, LOG_SEGMENT_PREFIX, &number)) {
        numbers_add(&scan->segments, number);
    } else if (parse_name(name, LOG_SPARE_PREFIX, &number)) {
        numbers_add(&scan->spares, number);
    } else if (strcmp(name, LOG_NEW_NAME) == 0) {
        scan->has_new = true;
    } else {
        scan->has_else = true;
        (void)snprintf(scan->other, sizeof(scan->other), "%s", name);
    }
}

static int compare_numbers(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

static int scan_directory(struct log_store *s, struct scan *scan, struct err *e)
{
    int r = disk_list(s->disk, see_name, scan, e);
    if (r < 0) {
        return r;
    }
    if (scan->has_else) {
        return err_set(e, ERR_INVALID, "the log's directory holds another file: %s", scan->other);
    }
    if (scan->segments.count == 0 && scan->spares.count > 0) {
        return err_set(e, ERR_CORRUPT, "all log segments are missing");
    }
    if (scan->segments.count > 0) {
        qsort(scan->segments.all, scan->segments.count, sizeof(uint64_t), compare_numbers);
        if (scan->segments.all[scan->segments.count - 1] >= UINT32_MAX) {
            return err_set(e, ERR_CORRUPT, "log segment number %" PRIx64 " is impossible",
                           scan->segments.all[scan->segments.count - 1]);
        }
    }
    /* For good, before another one is made under this name: a crash might else keep the renaming of
     * that one alone, and apply it to this one. */
    if (scan->has_new && ((r = disk_unlink(s->disk, LOG_NEW_NAME, e)) < 0 ||
                          (r = disk_sync_names(s->disk, e)) < 0)) {
        return r;
    }
    s->spares = xreallocarray(NULL, scan->spares.count + 1, sizeof(uint64_t));
    for (size_t i = 0; i < scan->spares.count; i++) {
        s->spares[s->spare_count++] = scan->spares.all[i];
    }
    return 0;
}

/* ---- replay ---- */

/* What replay knows beside the store itself. */
struct replay {
    struct log_store *s;
    struct buf image;                 /* of the segment at hand */
    struct log_segment_header header; /* likewise */
    uint64_t number;                  /* likewise */
    uint64_t at;                      /* end of the last batch replayed */
    bool begun;                       /* a segment has been replayed */
};

static int corrupt(const struct replay *p, uint64_t at, const char *what, struct err *e)
{
    return err_set(e, ERR_CORRUPT, "log segment %" PRIx64 " at byte %" PRIu64 ": %s", p->number, at,
                   what);
}

static int replay_record(struct replay *p, const struct log_record *record, uint64_t at,
                         struct err *e)
{
    struct log_store *s = p->s;
    log_index last = log_last(s);
    switch (record->kind) {
    case LOG_RECORD_ENTRY:
        if (record->index != last + 1) {
            return corrupt(p, at, "an entry is out of order", e);
        }
        log_slots_push(s, (struct log_slot){record->term, (uint32_t)p->number, (uint32_t)at,
                                            (uint32_t)record->data.length});
        return 0;
    case LOG_RECORD_HARD:
        s->hard = (struct log_hard_state){record->term, record->index};
        return 0;
    case LOG_RECORD_TRUNCATE:
        if (record->index <= s->start_index || record->index > last) {
            return corrupt(p, at, "a truncation is out of range", e);
        }
        log_slots_cut(s, record->index);
        return 0;
    case LOG_RECORD_START:
        if (record->index <= s->start_index || record->index > last) {
            return corrupt(p, at, "a compaction is out of range", e);
        }
        log_slots_drop(s, record->index);
        break;
    case LOG_RECORD_RESET:
        if (record->index > INDEX_MAX) {
            return corrupt(p, at, "a reset is out of range", e);
        }
        log_slots_restart(s, record->index + 1);
        break;
    }
    s->start_index = record->index;
    s->start_term = record->term;
    return 0;
}

static int replay_batch(struct replay *p, const struct log_batch *batch, struct err *e)
{
    const char *body = p->image.data + p->at + LOG_BATCH_HEADER_BYTES;
    struct cursor c = cursor_of(body, batch->body_bytes);
    for (uint32_t i = 0; i < batch->record_count; i++) {
        struct log_record record;
        uint64_t at = p->at + LOG_BATCH_HEADER_BYTES + (batch->body_bytes - c.left);
        int r = log_record_decode(&c, &record);
        r = r < 0 ? corrupt(p, at, "a record is damaged in a good batch", e)
                  : replay_record(p, &record, at, e);
        if (r < 0) {
            return r;
        }
    }
    if (c.left > 0 || batch->synced_seq >= batch->seq) {
        return corrupt(p, p->at, "a batch contradicts itself", e);
    }
    struct log_store *s = p->s;
    s->last_seq = batch->seq;
    s->epoch = batch->epoch;
    s->synced_seq = batch->synced_seq > s->synced_seq ? batch->synced_seq : s->synced_seq;
    s->covered = batch->record_count == 0;
    p->at += log_batch_bytes(batch);
    return 0;
}

/* Replays the batches of the segment in p->image up to seq_end (exclusive) or the first that is not
 * intact. */
static int replay_batches(struct replay *p, uint64_t seq_end, struct err *e)
{
    struct log_store *s = p->s;
    struct log_batch batch;
    struct span image = {p->image.data, p->image.length};
    p->at = LOG_SEGMENT_HEADER_BYTES;
    while (s->last_seq + 1 < seq_end &&
           log_batch_decode(image, p->at, p->header.salt, &batch) == LOG_BATCH_INTACT &&
           batch.seq == s->last_seq + 1 && batch.epoch >= s->epoch) {
        int r = replay_batch(p, &batch, e);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

/* Looks at what stands behind the last batch of the log: nothing, a torn write (counted), or the
 * damaged remains of what had been synced (ERR_CORRUPT). */
static int judge_tail(struct replay *p, struct err *e)
{
    struct log_store *s = p->s;
    uint64_t damaged_seq = s->last_seq + 1;
    struct span image = {p->image.data, p->image.length};
    struct log_batch batch;
    for (uint64_t at = p->at; at + LOG_BATCH_HEADER_BYTES <= image.length; at += LOG_ALIGN_BYTES) {
        if (log_batch_decode(image, at, p->header.salt, &batch) == LOG_BATCH_NONE) {
            continue;
        }
        if (batch.synced_seq >= damaged_seq) {
            return err_set(e, ERR_CORRUPT,
                           "log segment %" PRIx64 " is damaged at byte %" PRIu64 ": batch %" PRIu64
                           ", after entry %" PRIu64 ", was durable (batch %" PRIu64
                           " says: up to batch %" PRIu64 ", entry %" PRIu64 ")",
                           p->number, p->at, damaged_seq, log_last(s), batch.seq, batch.synced_seq,
                           batch.synced_last);
        }
        if (batch.epoch == s->epoch) {
            s->stats.torn_count = 1;
        }
    }
    return 0;
}

static int read_image(struct replay *p, struct disk_file *file, uint64_t bytes, struct err *e)
{
    buf_clear(&p->image);
    if (bytes > 2ULL * LOG_SEGMENT_BYTES) {
        return corrupt(p, bytes, "the file is too long", e);
    }
    int r = buf_try_reserve(&p->image, (size_t)bytes);
    if (r < 0) {
        return err_wrap(e, r, "log segment %" PRIx64, p->number);
    }
    r = disk_read(file, p->image.data, (size_t)bytes, 0, e);
    if (r < 0) {
        return r;
    }
    p->image.length = (size_t)r;
    p->image.data[r] = '\0';
    return 0;
}

/* Takes over, or compares with what was replayed before, the state that a segment's header tells.
 */
static int replay_header(struct replay *p, struct err *e)
{
    struct log_store *s = p->s;
    const struct log_segment_header *h = &p->header;
    if (h->number != p->number || h->first_seq == 0 || h->last_index < h->start_index ||
        h->last_index > INDEX_MAX) {
        return corrupt(p, 0, "the header is impossible", e);
    }
    if (!p->begun) {
        p->begun = true;
        s->last_seq = h->first_seq - 1;
        s->synced_seq = h->first_seq - 1;
        s->hard = h->hard;
        s->start_index = h->start_index;
        s->start_term = h->start_term;
        log_slots_restart(s, h->last_index + 1);
    } else if (h->first_seq != s->last_seq + 1 || h->epoch < s->epoch ||
               h->hard.term != s->hard.term || h->hard.vote != s->hard.vote ||
               h->start_index != s->start_index || h->start_term != s->start_term ||
               h->last_index != log_last(s)) {
        return corrupt(p, 0, "the header contradicts the segment before it", e);
    }
    s->epoch = h->epoch;
    s->salt = h->salt;
    s->covered = false;
    return 0;
}

static int open_segment(struct log_store *s, uint64_t number, struct err *e)
{
    struct disk_file *file = NULL;
    uint64_t bytes = 0;
    char name[LOG_NAME_BYTES];
    log_name(name, LOG_SEGMENT_PREFIX, number);
    int r = disk_open(s->disk, name, DISK_OPEN_EXISTING, &file, e);
    if (r < 0) {
        return r;
    }
    if ((r = disk_size(file, &bytes, e)) < 0) {
        disk_close(file);
        return r;
    }
    log_segment_add(s, number, file, bytes);
    return 0;
}

/* Where the segment after number i ends the one at i: its first batch's number. */
static int next_first_seq(struct replay *p, size_t i, uint64_t *ret_seq, struct err *e)
{
    char block[LOG_SEGMENT_HEADER_BYTES];
    struct log_segment_header header;
    int r = disk_read(p->s->segments[i + 1].file, block, sizeof(block), 0, e);
    if (r < 0) {
        return r;
    }
    r = log_segment_header_decode((struct span){block, (size_t)r}, &header, e);
    if (r < 0) {
        return err_wrap(e, r, "log segment %" PRIx64, p->s->segments[i + 1].number);
    }
    *ret_seq = header.first_seq;
    return 0;
}

static int replay_segment(struct replay *p, size_t i, struct err *e)
{
    struct log_store *s = p->s;
    bool is_last = i + 1 == s->segment_count;
    uint64_t seq_end = UINT64_MAX;
    p->number = s->segments[i].number;
    int r = read_image(p, s->segments[i].file, s->segments[i].file_bytes, e);
    if (r < 0) {
        return r;
    }
    r = log_segment_header_decode((struct span){p->image.data, p->image.length}, &p->header, e);
    if (r < 0) {
        return err_wrap(e, r, "log segment %" PRIx64, p->number);
    }
    if ((r = replay_header(p, e)) < 0 ||
        (!is_last && (r = next_first_seq(p, i, &seq_end, e)) < 0) ||
        (r = replay_batches(p, seq_end, e)) < 0) {
        return r;
    }
    if (is_last) {
        s->write_at = p->at;
        return judge_tail(p, e);
    }
    return s->last_seq + 1 == seq_end
               ? 0
               : corrupt(p, p->at, "a batch is damaged that was durable before the next segment",
                         e);
}

/* Replays the segments whose numbers are without gaps up to the newest. Older ones behind a gap are
 * what an interrupted compaction left; they go. */
static int replay_all(struct log_store *s, const struct numbers *found, struct err *e)
{
    struct replay p = {.s = s};
    size_t first = found->count - 1;
    int r = 0;
    buf_init(&p.image);
    while (first > 0 && found->all[first - 1] + 1 == found->all[first]) {
        first--;
    }
    for (size_t i = first; i < found->count && r == 0; i++) {
        r = open_segment(s, found->all[i], e);
    }
    for (size_t i = 0; i < s->segment_count && r == 0; i++) {
        r = replay_segment(&p, i, e);
    }
    if (r == 0 && s->base > s->start_index + 1) {
        r = err_set(e, ERR_CORRUPT,
                    "log entries %" PRIu64 " to %" PRIu64 " are missing with their segments",
                    s->start_index + 1, s->base - 1);
    }
    for (size_t i = 0; i < first && r == 0; i++) {
        r = log_file_retire(s, found->all[i], e);
    }
    buf_deinit(&p.image);
    return r;
}

/* ---- taking over ---- */

/* Removes surplus spares and segments that a compaction had permitted to go but not yet dropped. */
static int tidy(struct log_store *s, struct err *e)
{
    uint64_t needed = s->slot_count > 0 ? s->slots[s->slot_head].segment : log_current(s)->number;
    int r = log_segments_drop(s, (size_t)(needed - s->segments[0].number), e);
    while (r == 0 && s->spare_count > LOG_SPARE_COUNT_MAX) {
        char name[LOG_NAME_BYTES];
        log_name(name, LOG_SPARE_PREFIX, s->spares[s->spare_count - 1]);
        r = disk_unlink(s->disk, name, e);
        s->spare_count--;
    }
    return r;
}

/* Makes what was replayed durable (after kill -9 it may be in the page cache alone) and this epoch
 * known. */
static int take_over(struct log_store *s, struct err *e)
{
    s->epoch++;
    int r = log_write_empty(s, e);
    r = r < 0 ? r : log_store_sync(s, e);
    return r < 0 ? r : disk_sync_names(s->disk, e);
}

int log_store_open(const struct log_store_options *options, struct log_store **ret_store,
                   struct err *e)
{
    struct scan scan = {0};
    struct log_store *s = xcalloc(1, sizeof(*s));
    s->disk = options->disk;
    s->segment_bytes = options->segment_bytes ? options->segment_bytes : LOG_SEGMENT_BYTES;
    s->salt_seed = options->salt_seed;
    s->base = 1;
    buf_init(&s->out);
    CHECK(s->segment_bytes <= LOG_SEGMENT_BYTES);
    CHECK(s->segment_bytes >= 2ULL * LOG_SEGMENT_HEADER_BYTES);
    int r = scan_directory(s, &scan, e);
    if (r == 0 && scan.segments.count == 0) {
        s->epoch = 1;
        r = log_segment_begin(s, 1, e);
    } else if (r == 0) {
        r = replay_all(s, &scan.segments, e);
        r = r < 0 ? r : take_over(s, e);
        r = r < 0 ? r : tidy(s, e);
    }
    free(scan.segments.all);
    free(scan.spares.all);
    if (r < 0) {
        log_store_close(s);
        return err_wrap(e, r, "open the Raft log");
    }
    *ret_store = s;
    return 0;
}
