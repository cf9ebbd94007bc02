/* The log on disk: one sequence of batches, only ever appended to, cut into segment files.
 * Truncation, compaction, reset, term and vote are records in it like the entries, so there is one
 * rule of recovery: replay the batches in order up to the first one that is not intact
 * (log_recover.c). Bytes: log_format.h and docs/formats-log.md.
 *
 * Why a crash loses nothing that was synced, and nothing else comes back
 *
 * 1. A batch counts only if its header CRC, body CRC, segment salt and sequence number fit. A batch
 * that was synced is intact, and so are all before it, because a sync covers the whole file and a
 * segment is synced before the next one is begun. So replay reaches every synced batch.
 * 2. What was not synced may survive in any combination of sectors. Replay stops at the first gap,
 * and the next writer overwrites from there. Could an old batch behind the gap ever be taken for
 * the continuation of the new ones? Its sequence number might fit, but its epoch is lower than that
 * of the batches before it: each open raises the epoch, writes it down in an empty batch and syncs
 * that before anything else. A batch of a lower epoch is never accepted. So what was cut once stays
 * cut.
 * 3. Old bytes of a recycled file cannot be taken for batches: the salt of a segment is new each
 * time, and unknown to whoever fills entries with data.
 * 4. A segment appears under its name by a rename after its header has been synced, and is used
 * only after the directory has been synced. So a file with a segment's name and a bad header is
 * damage, never a crash. Everything that a segment needs from those before it (start of the log,
 * hard state, last index) is in its header.
 * 5. Segments are dropped only after the record that permits it has been synced, oldest first; if
 * only some of the renames survive a crash, open drops the rest. That none is missing that is still
 * needed is checked by indexes.
 * 6. After kill -9 the tail may be in the page cache alone. So open syncs the last segment and the
 * directory before it reports anything as being in the log.
 *
 * Torn write or corruption? Every batch header carries synced_seq: all batches up to it were
 * durable when it was written. If replay stops before a batch S, and any header found behind it
 * says synced_seq >= S, then S was durable and has been damaged: ERR_CORRUPT. Otherwise nobody can
 * have been promised S, and it is cut. The rule is DESIGN section 5's, over batches instead of
 * indexes: indexes go down again after a truncation, and a vote has none. A batch that no later one
 * vouches for looks torn when damaged; log_store_tick() therefore writes an empty batch on an idle
 * log.
 *
 * Why fdatasync is cheap: space is reserved when a segment is made, and blocks ahead are zeroed in
 * steps of LOG_ZERO_BYTES, so that most syncs change neither length nor extents and need no journal
 * commit; a recycled file never does.
 *
 * Assumed of the disk, as in disk.h: a sector is written whole or not at all, so that rewriting the
 * shared last sector does not damage the batch before. */
#include "common/raft/log_store.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/limits.h"
#include "common/raft/log_store_internal.h"

static_assert(LOG_BATCH_BYTES_MAX + LOG_ENTRY_BYTES_MAX + LOG_SEGMENT_HEADER_BYTES + 4096 <
                  LOG_SEGMENT_BYTES,
              "the largest batch fits into a segment");

/* ---- slots: where each entry is ---- */

void log_slots_push(struct log_store *s, struct log_slot slot)
{
    if (s->slot_head + s->slot_count == s->slot_capacity) {
        if (s->slot_head > s->slot_capacity / 2) {
            memmove(s->slots, s->slots + s->slot_head, s->slot_count * sizeof(slot));
            s->slot_head = 0;
        } else {
            s->slot_capacity = s->slot_capacity ? 2 * s->slot_capacity : 1024;
            s->slots = xreallocarray(s->slots, s->slot_capacity, sizeof(slot));
        }
    }
    s->slots[s->slot_head + s->slot_count++] = slot;
}

void log_slots_cut(struct log_store *s, log_index from)
{
    if (from < s->base) { /* only while replaying: those below base stand in dropped segments */
        s->base = from;
        s->slot_count = 0;
    } else {
        s->slot_count = (size_t)(from - s->base);
    }
}

void log_slots_drop(struct log_store *s, log_index up_to)
{
    if (up_to < s->base) {
        return;
    }
    size_t count = (size_t)(up_to + 1 - s->base);
    CHECK(count <= s->slot_count);
    s->slot_head += count;
    s->slot_count -= count;
    s->base = up_to + 1;
}

void log_slots_restart(struct log_store *s, log_index first)
{
    s->slot_head = 0;
    s->slot_count = 0;
    s->base = first;
}

static const struct log_slot *slot_of(const struct log_store *s, log_index index)
{
    CHECK(index >= s->base && index - s->base < s->slot_count);
    return &s->slots[s->slot_head + (size_t)(index - s->base)];
}

/* ---- segments ---- */

void log_name(char ret_name[LOG_NAME_BYTES], const char *prefix, uint64_t number)
{
    (void)snprintf(ret_name, LOG_NAME_BYTES, "%s%016" PRIx64, prefix, number);
}

static int fail(struct log_store *s, int code)
{
    s->failed = code;
    return code;
}

void log_segment_add(struct log_store *s, uint64_t number, struct disk_file *file,
                     uint64_t file_bytes)
{
    s->segments = xreallocarray(s->segments, s->segment_count + 1, sizeof(struct log_segment));
    s->segments[s->segment_count++] = (struct log_segment){number, file, file_bytes};
}

/* A number that differs from segment to segment and that entries' authors cannot know (splitmix64).
 */
static uint64_t salt_of(uint64_t seed, uint64_t number)
{
    uint64_t z = seed + number * 0x9e3779b97f4a7c15U;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
}

/* Before a spare is overwritten, its old name as a segment must be gone for good. */
static int spares_settle(struct log_store *s, struct err *e)
{
    int r = s->spares_settled ? 0 : disk_sync_names(s->disk, e);
    s->spares_settled = s->spares_settled || r == 0;
    return r;
}

/* Makes a file with this header and its space, durable but under a preliminary name, which is given
 * back. After an error nothing has changed. */
static int segment_prepare(struct log_store *s, const struct log_segment_header *header,
                           struct log_segment *ret_segment, char ret_name[LOG_NAME_BYTES],
                           struct err *e)
{
    bool recycle = s->spare_count > 0;
    struct log_segment segment = {.number = header->number};
    struct buf block = BUF_INIT;
    log_name(ret_name, LOG_SPARE_PREFIX, recycle ? s->spares[s->spare_count - 1] : 0);
    if (!recycle) {
        (void)snprintf(ret_name, LOG_NAME_BYTES, "%s", LOG_NEW_NAME);
    }
    int r = disk_open(s->disk, ret_name, recycle ? DISK_OPEN_EXISTING : DISK_OPEN_CREATE,
                      &segment.file, e);
    if (r < 0) {
        return r;
    }
    log_segment_header_encode(header, &block);
    r = recycle ? spares_settle(s, e) : disk_preallocate(segment.file, s->segment_bytes, e);
    r = r < 0 ? r : disk_write(segment.file, (struct span){block.data, block.length}, 0, e);
    r = r < 0 ? r : disk_size(segment.file, &segment.file_bytes, e);
    r = r < 0 ? r : disk_sync(segment.file, e);
    buf_deinit(&block);
    if (r == 0) {
        *ret_segment = segment;
        return 0;
    }
    disk_close(segment.file);
    if (!recycle &&
        (disk_unlink(s->disk, ret_name, NULL) < 0 || disk_sync_names(s->disk, NULL) < 0)) {
        s->failed = r; /* the name is in the way of a next attempt; open would remove it */
    }
    return r;
}

int log_segment_begin(struct log_store *s, uint64_t number, struct err *e)
{
    CHECK(number <= UINT32_MAX);
    struct log_segment segment = {0};
    char name[LOG_NAME_BYTES];
    char final_name[LOG_NAME_BYTES];
    struct log_segment_header header = {
        .number = number,
        .salt = salt_of(s->salt_seed, number),
        .first_seq = s->last_seq + 1,
        .epoch = s->epoch,
        .hard = s->hard,
        .start_index = s->start_index,
        .start_term = s->start_term,
        .last_index = log_last(s),
    };
    int r = segment_prepare(s, &header, &segment, name, e);
    if (r < 0) {
        return r;
    }
    log_name(final_name, LOG_SEGMENT_PREFIX, number);
    r = disk_rename(s->disk, name, final_name, e);
    r = r < 0 ? r : disk_sync_names(s->disk, e);
    if (r < 0) {
        disk_close(segment.file);
        return fail(s, r);
    }
    if (s->spare_count > 0) {
        s->spare_count--;
        s->stats.recycled_count++;
    }
    log_segment_add(s, number, segment.file, segment.file_bytes);
    s->salt = header.salt;
    s->write_at = LOG_SEGMENT_HEADER_BYTES;
    return 0;
}

int log_file_retire(struct log_store *s, uint64_t number, struct err *e)
{
    char name[LOG_NAME_BYTES];
    char spare[LOG_NAME_BYTES];
    log_name(name, LOG_SEGMENT_PREFIX, number);
    if (s->spare_count >= LOG_SPARE_COUNT_MAX) {
        return disk_unlink(s->disk, name, e);
    }
    log_name(spare, LOG_SPARE_PREFIX, number);
    int r = disk_rename(s->disk, name, spare, e);
    if (r == 0) {
        s->spares = xreallocarray(s->spares, s->spare_count + 1, sizeof(uint64_t));
        s->spares[s->spare_count++] = number;
        s->spares_settled = false;
    }
    return r;
}

int log_segments_drop(struct log_store *s, size_t count, struct err *e)
{
    CHECK(count < s->segment_count);
    int r = 0;
    size_t done = 0;
    while (done < count && r == 0) {
        disk_close(s->segments[done].file);
        r = log_file_retire(s, s->segments[done].number, e);
        done++;
    }
    s->segment_count -= done;
    memmove(s->segments, s->segments + done, s->segment_count * sizeof(struct log_segment));
    return r < 0 ? fail(s, r) : 0;
}

/* ---- writing ---- */

static int check_health(const struct log_store *s, struct err *e)
{
    return s->failed ? err_set(e, s->failed, "the log has failed before: %s", err_text(s->failed))
                     : 0;
}

static void batch_begin(struct log_store *s)
{
    buf_clear(&s->out);
    buf_append_fill(&s->out, 0, LOG_BATCH_HEADER_BYTES);
}

/* Zeroes blocks ahead of a batch that ends at `end`, so that the syncs of the next ones allocate
 * nothing. */
static int zero_ahead(struct log_store *s, uint64_t end, struct err *e)
{
    struct log_segment *segment = log_current(s);
    if (end <= segment->file_bytes) {
        return 0;
    }
    uint64_t to = end + LOG_ZERO_BYTES < s->segment_bytes ? end + LOG_ZERO_BYTES : s->segment_bytes;
    if (to > end) {
        void *zero = xcalloc(1, (size_t)(to - end));
        int r = disk_write(segment->file, (struct span){zero, (size_t)(to - end)}, end, e);
        free(zero);
        if (r < 0) {
            return r == ERR_NO_SPACE ? r : fail(s, r);
        }
    }
    segment->file_bytes = to > end ? to : end;
    return 0;
}

/* Writes the batch that stands in s->out; *ret_at is where its records begin. */
static int batch_write(struct log_store *s, uint32_t record_count, uint64_t *ret_at, struct err *e)
{
    size_t bytes = s->out.length;
    if (bytes > s->segment_bytes - LOG_SEGMENT_HEADER_BYTES) {
        return err_set(e, ERR_TOO_LARGE, "a batch of %zu bytes does not fit into a segment", bytes);
    }
    if (s->write_at + bytes > s->segment_bytes) {
        int r = log_store_sync(s, e);
        r = r < 0 ? r : log_segment_begin(s, log_current(s)->number + 1, e);
        if (r < 0) {
            return r;
        }
    }
    struct log_batch batch = {
        .seq = s->last_seq + 1,
        .epoch = s->epoch,
        .synced_seq = s->synced_seq,
        .synced_last = s->synced_last,
        .record_count = record_count,
    };
    log_batch_seal(&batch, s->salt, &s->out, 0);
    int r = zero_ahead(s, s->write_at + bytes, e);
    if (r < 0) {
        return r;
    }
    r = disk_write(log_current(s)->file, (struct span){s->out.data, bytes}, s->write_at, e);
    if (r < 0) {
        return fail(s, r); /* some of it may be there: nothing may be written after it */
    }
    *ret_at = s->write_at + LOG_BATCH_HEADER_BYTES;
    s->write_at += bytes;
    s->last_seq++;
    s->covered = record_count == 0;
    s->stats.batch_count++;
    s->stats.byte_count += bytes;
    return 0;
}

int log_write_empty(struct log_store *s, struct err *e)
{
    uint64_t at = 0;
    batch_begin(s);
    return batch_write(s, 0, &at, e);
}

/* Writes one batch of the hard state, unless NULL, and as many of the entries as go into it.
 * Returns their count. */
static int append_batch(struct log_store *s, const struct log_hard_state *hard,
                        const struct log_entry *entries, size_t count, struct err *e)
{
    size_t taken = 0;
    uint64_t at = 0;
    batch_begin(s);
    if (hard) {
        log_record_encode(
            &(struct log_record){.kind = LOG_RECORD_HARD, .index = hard->vote, .term = hard->term},
            &s->out);
    }
    size_t room = s->segment_bytes - LOG_SEGMENT_HEADER_BYTES;
    room = room < LOG_BATCH_BYTES_MAX ? room : LOG_BATCH_BYTES_MAX;
    while (taken < count &&
           (taken == 0 || s->out.length + log_record_bytes(entries[taken].data.length) <= room)) {
        const struct log_entry *entry = &entries[taken++];
        log_record_encode(&(struct log_record){LOG_RECORD_ENTRY, entry->type, entry->index,
                                               entry->term, entry->data},
                          &s->out);
    }
    int r = batch_write(s, (uint32_t)taken + (hard ? 1 : 0), &at, e);
    if (r < 0) {
        return r;
    }
    at += hard ? log_record_bytes(0) : 0;
    s->hard = hard ? *hard : s->hard;
    for (size_t i = 0; i < taken; i++) {
        log_slots_push(s, (struct log_slot){entries[i].term, (uint32_t)log_current(s)->number,
                                            (uint32_t)at, (uint32_t)entries[i].data.length});
        at += log_record_bytes(entries[i].data.length);
    }
    return (int)taken;
}

int log_store_append(struct log_store *s, const struct log_hard_state *hard,
                     const struct log_entry *entries, size_t count, struct err *e)
{
    int r = check_health(s, e);
    if (r < 0) {
        return r;
    }
    for (size_t i = 0; i < count; i++) {
        CHECK(entries[i].index == log_last(s) + 1 + i);
        if (entries[i].data.length > LOG_ENTRY_BYTES_MAX) {
            return err_set(e, ERR_TOO_LARGE, "log entry of %zu bytes", entries[i].data.length);
        }
    }
    while (hard || count > 0) {
        r = append_batch(s, hard, entries, count, e);
        if (r < 0) {
            return r;
        }
        hard = NULL;
        entries += r;
        count -= (size_t)r;
    }
    return 0;
}

/* Writes a batch of one record without data. */
static int write_record(struct log_store *s, enum log_record_kind kind, log_index index,
                        term_no term, struct err *e)
{
    uint64_t at = 0;
    batch_begin(s);
    log_record_encode(&(struct log_record){.kind = kind, .index = index, .term = term}, &s->out);
    return batch_write(s, 1, &at, e);
}

int log_store_truncate(struct log_store *s, log_index from, struct err *e)
{
    CHECK(from > s->start_index && from <= log_last(s) + 1);
    int r = check_health(s, e);
    if (r < 0 || from == log_last(s) + 1) {
        return r;
    }
    r = write_record(s, LOG_RECORD_TRUNCATE, from, 0, e);
    if (r == 0) {
        log_slots_cut(s, from);
    }
    return r;
}

int log_store_sync(struct log_store *s, struct err *e)
{
    int r = check_health(s, e);
    if (r < 0 || s->synced_seq == s->last_seq) {
        return r;
    }
    r = disk_sync(log_current(s)->file, e);
    if (r < 0) {
        return fail(s, r); /* never again: the kernel may have dropped the pages */
    }
    s->synced_seq = s->last_seq;
    s->synced_last = log_last(s);
    s->stats.sync_count++;
    return 0;
}

int log_store_compact(struct log_store *s, log_index index, struct err *e)
{
    CHECK(index <= log_last(s));
    int r = check_health(s, e);
    if (r < 0 || index <= s->start_index) {
        return r;
    }
    uint64_t needed = index < log_last(s) ? slot_of(s, index + 1)->segment : log_current(s)->number;
    size_t count = (size_t)(needed - s->segments[0].number);
    if (count == 0) {
        return 0;
    }
    log_index start = index; /* and back to the first entry of the oldest segment that stays */
    while (start > s->start_index && slot_of(s, start)->segment >= needed) {
        start--;
    }
    term_no term = start > s->start_index ? slot_of(s, start)->term : s->start_term;
    if (start > s->start_index) { /* else only entries since truncated stand in what goes */
        if ((r = write_record(s, LOG_RECORD_START, start, term, e)) < 0) {
            return r;
        }
        s->start_index = start;
        s->start_term = term;
        log_slots_drop(s, start);
    }
    r = log_store_sync(s, e);
    return r < 0 ? r : log_segments_drop(s, count, e);
}

int log_store_reset(struct log_store *s, log_index index, term_no term, struct err *e)
{
    int r = check_health(s, e);
    if (r < 0 || (r = write_record(s, LOG_RECORD_RESET, index, term, e)) < 0) {
        return r;
    }
    s->start_index = index;
    s->start_term = term;
    log_slots_restart(s, index + 1);
    r = log_store_sync(s, e);
    return r < 0 ? r : log_segments_drop(s, s->segment_count - 1, e);
}

int log_store_tick(struct log_store *s, time_ms now, struct err *e)
{
    int r = check_health(s, e);
    if (r < 0) {
        return r;
    }
    if (s->tick_seq != s->last_seq) {
        s->tick_seq = s->last_seq;
        s->tick_since_ms = now;
        return 0;
    }
    if (s->covered || s->synced_seq != s->last_seq || now < s->tick_since_ms + LOG_IDLE_MS) {
        return 0;
    }
    r = log_write_empty(s, e);
    return r < 0 ? r : log_store_sync(s, e);
}

/* ---- reading ---- */

void log_read_init(struct log_read *r)
{
    memset(r, 0, sizeof(*r));
    buf_init(&r->bytes);
}

void log_read_deinit(struct log_read *r)
{
    free(r->entries);
    buf_deinit(&r->bytes);
    memset(r, 0, sizeof(*r));
}

/* Entries that one read of the file gets: [from, to) of one segment, from `offset` on. */
struct run {
    log_index from;
    log_index to;
    uint64_t offset;
    size_t bytes;
};

/* The longest run from index `from` on, within the limits, at least one entry. */
static struct run run_of(const struct log_store *s, log_index from, log_index to, size_t bytes_max)
{
    const struct log_slot *first = slot_of(s, from);
    struct run run = {from, from + 1, first->offset, log_record_bytes(first->length)};
    while (run.to < to) {
        const struct log_slot *next = slot_of(s, run.to);
        size_t bytes = next->offset + log_record_bytes(next->length) - first->offset;
        if (next->segment != first->segment || bytes > bytes_max ||
            bytes > run.bytes + log_record_bytes(next->length) + LOG_SEGMENT_HEADER_BYTES) {
            break;
        }
        run.bytes = bytes;
        run.to++;
    }
    return run;
}

static int read_run(struct log_store *s, const struct run *run, struct log_read *into,
                    struct err *e)
{
    const struct log_segment *segment =
        &s->segments[slot_of(s, run->from)->segment - s->segments[0].number];
    buf_clear(&into->bytes);
    int r = buf_try_reserve(&into->bytes, run->bytes);
    if (r < 0) {
        return err_wrap(e, r, "read %zu bytes of log", run->bytes);
    }
    r = disk_read(segment->file, into->bytes.data, run->bytes, run->offset, e);
    if (r < 0) {
        return r;
    }
    if ((size_t)r != run->bytes) {
        return err_set(e, ERR_CORRUPT, "log segment %" PRIu64 " is too short", segment->number);
    }
    into->bytes.length = run->bytes;
    into->bytes.data[run->bytes] = '\0';
    for (log_index index = run->from; index < run->to; index++) {
        const struct log_slot *slot = slot_of(s, index);
        struct log_record record;
        size_t at = (size_t)(slot->offset - run->offset);
        struct cursor c = cursor_of(into->bytes.data + at, log_record_bytes(slot->length));
        r = log_record_decode(&c, &record);
        if (r < 0 || record.kind != LOG_RECORD_ENTRY || record.index != index ||
            record.term != slot->term || record.data.length != slot->length) {
            return err_set(e, ERR_CORRUPT, "log segment %" PRIu64 ": entry %" PRIu64 " is damaged",
                           segment->number, index);
        }
        into->entries[into->count++] =
            (struct log_entry){record.index, record.term, record.type, record.data};
    }
    return 0;
}

int log_store_read(struct log_store *s, log_index from, log_index to, size_t bytes_max,
                   struct log_read *ret_read, struct err *e)
{
    ret_read->count = 0;
    if (from < s->base || from > log_last(s) || to <= from) {
        return err_set(e, ERR_NOT_FOUND,
                       "entry %" PRIu64 " is not in the log, which has %" PRIu64 " to %" PRIu64,
                       from, s->base, log_last(s));
    }
    to = to <= log_last(s) ? to : log_last(s) + 1;
    struct run run = run_of(s, from, to, bytes_max);
    size_t count = (size_t)(run.to - run.from);
    if (count > ret_read->capacity) {
        ret_read->entries = xreallocarray(ret_read->entries, count, sizeof(struct log_entry));
        ret_read->capacity = count;
    }
    int r = read_run(s, &run, ret_read, e);
    return r < 0 ? r : (int)count;
}

int log_store_term(const struct log_store *s, log_index index, term_no *ret_term)
{
    if (index == s->start_index) {
        *ret_term = s->start_term;
        return 0;
    }
    if (index < s->base || index > log_last(s)) {
        return ERR_NOT_FOUND;
    }
    *ret_term = slot_of(s, index)->term;
    return 0;
}

struct log_hard_state log_store_hard(const struct log_store *s)
{
    return s->hard;
}

log_index log_store_start(const struct log_store *s)
{
    return s->start_index;
}

log_index log_store_last(const struct log_store *s)
{
    return log_last(s);
}

struct log_store_stats log_store_stats(const struct log_store *s)
{
    struct log_store_stats stats = s->stats;
    stats.segment_count = s->segment_count;
    stats.spare_count = s->spare_count;
    return stats;
}

void log_store_close(struct log_store *s)
{
    if (!s) {
        return;
    }
    for (size_t i = 0; i < s->segment_count; i++) {
        disk_close(s->segments[i].file);
    }
    free(s->segments);
    free(s->spares);
    free(s->slots);
    buf_deinit(&s->out);
    free(s);
}
