/* What a caller of the library does for one member: carries out updates in the order that raft.h
 * asks for, with a disk that is an image in memory. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/hash.h"
#include "common/macros.h"
#include "tests/lib/raft_cluster_internal.h"

/* ---- entries with their bytes ---- */

log_index image_last(const struct image *m)
{
    return m->start + m->count;
}

const struct log_entry *image_entry(const struct image *m, log_index index)
{
    return index > m->start && index <= image_last(m) ? &m->entries[index - m->start - 1] : NULL;
}

void image_append(struct image *m, const struct log_entry *entry)
{
    CHECK(entry->index == image_last(m) + 1);
    if (m->count == m->capacity) {
        m->capacity = m->capacity ? 2 * m->capacity : 16;
        m->entries = xreallocarray(m->entries, m->capacity, sizeof(*entry));
    }
    m->entries[m->count] = *entry;
    if (entry->data.length > 0) {
        m->entries[m->count].data.data = xmemdup(entry->data.data, entry->data.length);
    }
    m->count++;
}

static void entries_free(struct log_entry *entries, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (entries[i].data.length > 0) {
            free((void *)(uintptr_t)entries[i].data.data);
        }
    }
}

void image_truncate(struct image *m, log_index from)
{
    CHECK(from > m->start);
    if (from <= image_last(m)) {
        size_t kept = from - m->start - 1;
        entries_free(m->entries + kept, m->count - kept);
        m->count = kept;
    }
}

void image_compact(struct image *m, log_index to)
{
    CHECK(to >= m->start);
    CHECK(to <= image_last(m));
    if (to == m->start) {
        return;
    }
    size_t gone = to - m->start;
    m->start_term = m->entries[gone - 1].term;
    entries_free(m->entries, gone);
    m->count -= gone;
    memmove(m->entries, m->entries + gone, m->count * sizeof(m->entries[0]));
    m->start = to;
}

void image_reset(struct image *m, log_index index, term_no term)
{
    entries_free(m->entries, m->count);
    m->count = 0;
    m->start = index;
    m->start_term = term;
}

void image_deinit(struct image *m)
{
    entries_free(m->entries, m->count);
    free(m->entries);
    *m = (struct image){0};
}

static void image_copy(struct image *to, const struct image *from)
{
    image_deinit(to);
    to->start = from->start;
    to->start_term = from->start_term;
    for (size_t i = 0; i < from->count; i++) {
        image_append(to, &from->entries[i]);
    }
}

/* ---- disk ---- */

static void write_begin(struct raft_cluster *c, struct member *m, const struct raft_update *u)
{
    struct image copy = {.start = u->write.count > 0 ? u->write.entries[0].index - 1 : 0};
    for (size_t i = 0; i < u->write.count; i++) {
        image_append(&copy, &u->write.entries[i]);
    }
    m->writes = xreallocarray(m->writes, m->write_count + 1, sizeof(m->writes[0]));
    m->writes[m->write_count++] = (struct disk_write){
        .seq = u->write.seq,
        .done_ms = c->now_ms + c->options.write_ms,
        .has_hard = u->write.has_hard,
        .hard = u->write.hard,
        .truncate = u->write.truncate,
        .entries = copy.entries,
        .count = copy.count,
    };
    if (u->write.truncate > 0) {
        image_truncate(&m->log, u->write.truncate);
    }
    for (size_t i = 0; i < u->write.count; i++) {
        image_append(&m->log, &u->write.entries[i]);
    }
}

static void write_deinit(struct disk_write *w)
{
    entries_free(w->entries, w->count);
    free(w->entries);
}

static void write_carry_out(struct member *m, const struct disk_write *w)
{
    if (w->has_hard) {
        m->disk_hard = w->hard;
    }
    if (w->truncate > 0) {
        image_truncate(&m->disk, w->truncate);
    }
    for (size_t i = 0; i < w->count; i++) {
        image_append(&m->disk, &w->entries[i]);
    }
}

/* Events of the caller's own making come after this step, at the same time. */
static void happen_soon(struct raft_cluster *c, const struct member *m, struct raft_event event)
{
    schedule(c, (struct happening){.at_ms = c->now_ms,
                                   .kind = HAPPENING_EVENT,
                                   .to = (size_t)m->id - 1,
                                   .life = m->life,
                                   .event = event});
}

/* ---- snapshots: the machine, and as many bytes of filling as make several pieces ---- */

enum { SNAPSHOT_FILLING_BYTES = 200 };

static void snapshot_make(const struct machine *machine, struct buf *out)
{
    struct buf config = BUF_INIT;
    raft_config_encode(&machine->config, &config);
    buf_clear(out);
    buf_append_u64le(out, machine->applied);
    buf_append_u64le(out, machine->term);
    buf_append_u64le(out, machine->chain);
    buf_append_u64le(out, machine->config_index);
    buf_append_u32le(out, (uint32_t)config.length);
    buf_append(out, config.data, config.length);
    buf_append_fill(out, (uint8_t)machine->chain, SNAPSHOT_FILLING_BYTES);
    buf_deinit(&config);
}

static int snapshot_read(struct span bytes, struct machine *ret_machine)
{
    struct cursor in = cursor_of(bytes.data, bytes.length);
    struct machine machine = {.applied = cursor_u64le(&in)};
    machine.term = cursor_u64le(&in);
    machine.chain = cursor_u64le(&in);
    machine.config_index = cursor_u64le(&in);
    struct span config = cursor_bytes(&in, cursor_u32le(&in));
    struct span filling = cursor_bytes(&in, SNAPSHOT_FILLING_BYTES);
    if (in.failed || cursor_finish(&in) < 0 ||
        raft_config_decode(config, &machine.config, NULL) < 0) {
        return ERR_CORRUPT;
    }
    for (size_t i = 0; i < filling.length; i++) {
        if (((const uint8_t *)filling.data)[i] != (uint8_t)machine.chain) {
            return ERR_CORRUPT;
        }
    }
    *ret_machine = machine;
    return 0;
}

/* The last step of an installation, in its place among the writes. */
static void install_carry_out(struct raft_cluster *c, struct member *m)
{
    struct machine machine;
    struct raft_event event = {.kind = RAFT_INSTALLED};
    struct raft_update update;
    struct span bytes = {m->incoming.data, m->incoming.length};
    if (snapshot_read(bytes, &machine) < 0) {
        event.snapshot.failed = true;
    } else {
        image_reset(&m->disk, machine.applied, machine.term);
        image_reset(&m->log, machine.applied, machine.term);
        m->machine = machine;
        m->saved = machine;
        event.snapshot.index = machine.applied;
        event.snapshot.last_term = machine.term;
        event.snapshot.config = &machine.config;
        event.snapshot.config_index = machine.config_index;
        oracle_installed(c, m);
        c->stats.snapshots_installed++;
    }
    int r = member_step(c, m, &event, &update);
    CHECK(r == 0);
}

static void offer_snapshot(struct raft_cluster *c, const struct member *m)
{
    struct raft_event event = {.kind = RAFT_SNAPSHOT_MADE};
    happen_soon(c, m, event);
}

static void store_piece(struct raft_cluster *c, struct member *m, const struct raft_snapshot *piece)
{
    if (piece->offset == 0) {
        buf_clear(&m->incoming);
    }
    CHECK(piece->offset == m->incoming.length);
    buf_append(&m->incoming, piece->data.data, piece->data.length);
    struct raft_event event = {.kind = RAFT_SNAPSHOT_STORED};
    event.snapshot.offset = m->incoming.length;
    happen_soon(c, m, event);
}

/* ---- messages ---- */

void message_deinit(struct raft_message *m)
{
    if (m->kind == RAFT_APPEND && m->append.entries != NULL) {
        entries_free((struct log_entry *)(uintptr_t)m->append.entries, m->append.count);
        free((void *)(uintptr_t)m->append.entries);
        m->append.entries = NULL;
    } else if (m->kind == RAFT_SNAPSHOT && m->snapshot.data.length > 0) {
        free((void *)(uintptr_t)m->snapshot.data.data);
        m->snapshot.data = (struct span){NULL, 0};
    }
}

/* A message as it leaves: with the bytes that raft.h wants the caller to fill in. */
static struct raft_message message_fill(const struct raft_cluster *c, const struct member *m,
                                        const struct raft_message *from)
{
    struct raft_message out = *from;
    if (out.kind == RAFT_APPEND && out.append.count > 0) {
        struct image entries = {.start = out.append.prev_index};
        for (size_t i = 0; i < out.append.count; i++) {
            const struct log_entry *entry = image_entry(&m->log, out.append.prev_index + 1 + i);
            CHECK(entry != NULL);
            image_append(&entries, entry);
        }
        out.append.entries = entries.entries;
    } else if (out.kind == RAFT_SNAPSHOT) {
        size_t most = c->options.raft.piece_bytes ? c->options.raft.piece_bytes : RAFT_PIECE_BYTES;
        CHECK(out.snapshot.bytes == m->snapshot.length);
        size_t length = MIN(most, m->snapshot.length - out.snapshot.offset);
        out.snapshot.data.data = xmemdup(m->snapshot.data + out.snapshot.offset, length);
        out.snapshot.data.length = length;
    }
    return out;
}

static void send_held(struct raft_cluster *c, struct member *m)
{
    size_t sent = 0;
    while (sent < m->held_count && m->held[sent].after_seq <= m->done_seq) {
        oracle_message(c, &m->held[sent].message);
        network_send(c, m, &m->held[sent].message);
        message_deinit(&m->held[sent].message);
        sent++;
    }
    m->held_count -= sent;
    if (sent > 0) {
        memmove(m->held, m->held + sent, m->held_count * sizeof(m->held[0]));
    }
}

static void send_at_once(struct raft_cluster *c, struct member *m, const struct raft_update *u)
{
    for (size_t i = 0; i < u->send_count; i++) {
        struct raft_message message = message_fill(c, m, &u->send[i]);
        oracle_message(c, &message);
        network_send(c, m, &message);
        message_deinit(&message);
    }
}

static void hold(struct raft_cluster *c, struct member *m, const struct raft_update *u)
{
    for (size_t i = 0; i < u->send_after_count; i++) {
        m->held = xreallocarray(m->held, m->held_count + 1, sizeof(m->held[0]));
        m->held[m->held_count++] =
            (struct held){u->after_seq, message_fill(c, m, &u->send_after[i])};
    }
    send_held(c, m);
}

/* ---- state ---- */

static void apply(struct raft_cluster *c, struct member *m, log_index to)
{
    while (m->machine.applied < to) {
        const struct log_entry *entry = image_entry(&m->log, m->machine.applied + 1);
        CHECK(entry != NULL);
        m->machine.applied = entry->index;
        m->machine.term = entry->term;
        m->machine.chain =
            hash_bytes(entry->data.data, entry->data.length, m->machine.chain * 31 + entry->type);
        if (entry->type == LOG_ENTRY_CONFIG) {
            int r = raft_config_decode(entry->data, &m->machine.config, NULL);
            CHECK(r == 0);
            m->machine.config_index = entry->index;
        }
        oracle_applied(c, m, entry);
    }
}

static void want_compaction(struct raft_cluster *c, struct member *m)
{
    uint32_t every = c->options.snapshot_every;
    if (every == 0 || m->machine.applied < m->saved.applied + every) {
        return;
    }
    m->saved = m->machine;
    struct raft_event event = {.kind = RAFT_COMPACTED};
    event.snapshot.index = m->machine.applied;
    event.snapshot.last_term = m->machine.term;
    happen_soon(c, m, event);
}

/* The log and what the library knows of it are cut together, and a snapshot is made and told of
 * together. */
void member_event(struct raft_cluster *c, struct member *m, struct raft_event *event)
{
    struct raft_update update;
    if (event->kind == RAFT_SNAPSHOT_MADE) {
        snapshot_make(&m->machine, &m->snapshot);
        event->snapshot.index = m->machine.applied;
        event->snapshot.last_term = m->machine.term;
        event->snapshot.bytes = m->snapshot.length;
    }
    if (event->kind == RAFT_COMPACTED) {
        if (event->snapshot.index <= m->disk.start) {
            return; /* a snapshot was installed meanwhile */
        }
        image_compact(&m->disk, event->snapshot.index);
        image_compact(&m->log, event->snapshot.index);
    }
    int r = member_step(c, m, event, &update);
    CHECK(r == 0);
}

static void answer_reads(struct raft_cluster *c, struct member *m, const struct raft_update *u)
{
    size_t kept = 0;
    for (size_t i = 0; i < m->read_count; i++) {
        if (m->reads[i].asked <= u->read.done && m->status.role == RAFT_LEADER) {
            oracle_read(c, &m->reads[i], u->read.index);
            c->stats.reads_done++;
        } else if (m->status.role != RAFT_LEADER) {
            c->stats.reads_given_up++;
        } else {
            m->reads[kept++] = m->reads[i];
        }
    }
    m->read_count = kept;
}

/* ---- one step ---- */

int member_step(struct raft_cluster *c, struct member *m, struct raft_event *event,
                struct raft_update *ret_update)
{
    event->now_ms = c->now_ms;
    int code = raft_step(m->raft, event, ret_update, NULL);
    if (ret_update->write.seq > 0) {
        write_begin(c, m, ret_update); /* first, so that messages find their entries */
    }
    oracle_update(c, m, ret_update);
    send_at_once(c, m, ret_update);
    hold(c, m, ret_update);
    apply(c, m, ret_update->commit);
    answer_reads(c, m, ret_update);
    if (event->kind == RAFT_READ && code == 0) {
        struct waiting_read read = {ret_update->read.asked, cluster_committed(c)};
        c->stats.rounds = MAX(c->stats.rounds, read.asked);
        m->reads = xreallocarray(m->reads, m->read_count + 1, sizeof(read));
        m->reads[m->read_count++] = read;
        answer_reads(c, m, ret_update);
    }
    if (ret_update->want_snapshot && m->machine.applied > 0) {
        offer_snapshot(c, m);
    }
    if (ret_update->store != NULL) {
        store_piece(c, m, ret_update->store);
    }
    if (ret_update->install != NULL) {
        m->writes = xreallocarray(m->writes, m->write_count + 1, sizeof(m->writes[0]));
        m->writes[m->write_count++] =
            (struct disk_write){.install = true, .done_ms = c->now_ms + c->options.write_ms};
    }
    want_compaction(c, m);
    return code;
}

bool member_disk_done(struct raft_cluster *c, struct member *m)
{
    if (m->raft == NULL || m->hung || m->write_count == 0 || m->writes[0].done_ms > c->now_ms) {
        return false;
    }
    struct disk_write w = m->writes[0];
    m->write_count--;
    memmove(m->writes, m->writes + 1, m->write_count * sizeof(w));
    if (w.install) {
        install_carry_out(c, m);
        return true;
    }
    write_carry_out(m, &w);
    write_deinit(&w);
    m->done_seq = w.seq;
    send_held(c, m);
    struct raft_event event = {.kind = RAFT_WRITTEN, .written.seq = w.seq};
    struct raft_update update;
    int r = member_step(c, m, &event, &update);
    CHECK(r == 0);
    return true;
}

time_ms member_next_ms(const struct member *m)
{
    if (m->raft == NULL) {
        return UINT64_MAX;
    }
    time_ms next = raft_next_ms(m->raft);
    return m->write_count > 0 && !m->hung ? MIN(next, m->writes[0].done_ms) : next;
}

/* ---- life ---- */

static void tell(void *arg, const char *line)
{
    struct member *m = arg;
    cluster_say(m->cluster, m, line);
}

void member_start(struct raft_cluster *c, struct member *m)
{
    struct raft_options o = c->options.raft;
    struct err e = ERR_INIT;
    image_copy(&m->log, &m->disk);
    m->machine = m->saved;
    m->done_seq = 0;
    m->commit = m->saved.applied;
    m->agreed = m->saved.applied;
    m->life++;
    m->hung = false;
    o.self = m->key;
    o.seed = rng_u64(&c->rng);
    o.now_ms = c->now_ms;
    o.hard = m->disk_hard;
    o.start_index = m->disk.start;
    o.start_term = m->disk.start_term;
    o.applied = m->saved.applied;
    o.config = m->saved.config;
    o.config_index = m->saved.config_index;
    int r = raft_new(&o, &m->raft, &e);
    CHECK(r == 0);
    for (size_t i = 0; i < m->disk.count; i++) {
        r = raft_restore(m->raft, &m->disk.entries[i], &e);
        CHECK(r == 0);
    }
    m->status = raft_status(m->raft);
    raft_trace(m->raft, tell, m);
}

void member_stop(struct member *m)
{
    raft_free(m->raft);
    m->raft = NULL;
    for (size_t i = 0; i < m->write_count; i++) {
        write_deinit(&m->writes[i]);
    }
    m->write_count = 0;
    for (size_t i = 0; i < m->held_count; i++) {
        message_deinit(&m->held[i].message);
    }
    m->held_count = 0;
    m->read_count = 0;
    buf_clear(&m->snapshot);
    buf_clear(&m->incoming);
}

void member_deinit(struct member *m)
{
    member_stop(m);
    image_deinit(&m->disk);
    image_deinit(&m->log);
    free(m->writes);
    free(m->held);
    free(m->reads);
    buf_deinit(&m->snapshot);
    buf_deinit(&m->incoming);
}
