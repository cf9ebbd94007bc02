/* One member, and the fuzzer as everybody else: peers that say anything, and a caller that keeps to
 * the contract. Whatever comes, the member's invariants hold (raft_check.c, by DCHECK), and a
 * message that is refused has changed nothing. */
#include <string.h>

#include "common/raft/raft.h"

enum { STEPS_MAX = 200, ENTRIES_MAX = 6 };

struct world {
    struct cursor in;
    struct raft *r;
    time_ms now_ms;
    uint64_t seq; /* newest write */
    struct raft_update update;
    struct raft_snapshot receiving; /* with the caller, by `storing` or `installing` */
    bool storing;
    bool installing;
    struct raft_config config;
};

/* Mostly a small number, so that terms and indexes meet; now and then any. */
static uint64_t number(struct world *w)
{
    uint8_t byte = cursor_u8(&w->in);
    return byte < 250 ? byte % 12 : byte < 253 ? UINT64_MAX - byte : cursor_u64le(&w->in);
}

static struct raft_member member(uint64_t id)
{
    struct raft_member m = {.key = id, .id = id, .voter = true, .address = "a"};
    m.directory.bytes[0] = (uint8_t)id;
    return m;
}

static void step(struct world *w, struct raft_event *event)
{
    struct raft_status before = raft_status(w->r);
    event->now_ms = w->now_ms;
    int code = raft_step(w->r, event, &w->update, NULL);
    struct raft_status after = raft_status(w->r);
    if (code == ERR_INVALID &&
        (before.term != after.term || before.last != after.last || before.role != after.role ||
         before.leader != after.leader || w->update.write.seq != 0)) {
        __builtin_trap();
    }
    if (w->update.commit < before.commit) {
        __builtin_trap();
    }
    w->seq = w->update.write.seq > 0 ? w->update.write.seq : w->seq;
    if (w->update.store != NULL) {
        w->receiving = *w->update.store;
        w->storing = true;
    }
    if (w->update.install != NULL) {
        w->receiving = *w->update.install;
        w->installing = true;
    }
}

static void fill_append(struct world *w, struct raft_append *a, struct log_entry *entries,
                        struct span config)
{
    *a = (struct raft_append){
        number(w), number(w), number(w), number(w), cursor_u8(&w->in) % (ENTRIES_MAX + 1), entries};
    for (size_t i = 0; i < a->count; i++) {
        uint8_t what = cursor_u8(&w->in);
        entries[i] = (struct log_entry){
            .index = what < 240 ? a->prev_index + 1 + i : number(w),
            .term = number(w),
            .type = what % 16 == 0 ? LOG_ENTRY_CONFIG : LOG_ENTRY_COMMAND,
            .data = what % 16 == 0 ? config : (struct span){"x", what % 2},
        };
    }
}

static void fill_message(struct world *w, struct raft_message *m, struct log_entry *entries,
                         struct span config)
{
    *m = (struct raft_message){.kind = (enum raft_message_kind)(cursor_u8(&w->in) % 9),
                               .from = cursor_u8(&w->in) % 5,
                               .to = 1,
                               .term = number(w)};
    uint8_t flags = cursor_u8(&w->in);
    switch (m->kind) {
    case RAFT_APPEND:
        fill_append(w, &m->append, entries, config);
        break;
    case RAFT_APPEND_REPLY:
        m->append_reply = (struct raft_append_reply){flags % 2, number(w), number(w),
                                                     number(w), number(w), number(w)};
        break;
    case RAFT_VOTE:
        m->vote = (struct raft_vote){number(w), number(w), flags % 2, flags / 2 % 2};
        break;
    case RAFT_VOTE_REPLY:
        m->vote_reply = (struct raft_vote_reply){flags % 2, flags / 2 % 2};
        break;
    case RAFT_SNAPSHOT:
        m->snapshot = (struct raft_snapshot){
            number(w), number(w), number(w), number(w), {"0123456789", number(w) % 11}};
        break;
    case RAFT_SNAPSHOT_REPLY:
        m->snapshot_reply =
            (struct raft_snapshot_reply){number(w), number(w), flags % 2, flags / 2 % 2};
        break;
    case RAFT_TIMEOUT_NOW:
        break;
    }
}

static void receive(struct world *w)
{
    struct log_entry entries[ENTRIES_MAX];
    struct raft_message m;
    struct buf config = BUF_INIT;
    struct raft_config c = w->config;
    uint64_t removed = cursor_u8(&w->in) % 6;
    if (raft_config_remove(&c, removed, NULL) < 0) {
        struct raft_member four = member(4);
        (void)!raft_config_add_learner(&c, &four, NULL);
    }
    raft_config_encode(&c, &config);
    fill_message(w, &m, entries, (struct span){config.data, config.length});
    struct raft_event event = {.kind = RAFT_RECEIVE, .message = &m};
    step(w, &event);
    buf_deinit(&config);
}

/* What the own caller does, as it may. */
static void caller(struct world *w, uint8_t what)
{
    struct raft_event event = {.kind = (enum raft_event_kind)(what % 13)};
    struct raft_status status = raft_status(w->r);
    struct log_entry entry = {.type = LOG_ENTRY_COMMAND, .data = {"y", 1}};
    switch (event.kind) {
    case RAFT_TICK:
        w->now_ms += 10 * (uint64_t)cursor_u8(&w->in);
        break;
    case RAFT_PROPOSE:
        event.propose.entries = &entry;
        event.propose.count = 1;
        break;
    case RAFT_WRITTEN:
        event.written.seq = w->seq;
        break;
    case RAFT_CHANGE:
        event.change.change = (enum raft_change)(cursor_u8(&w->in) % 4);
        event.change.member = member(1 + cursor_u8(&w->in) % 5);
        break;
    case RAFT_TRANSFER:
    case RAFT_UNREACHABLE:
        event.peer = cursor_u8(&w->in) % 5;
        break;
    case RAFT_SNAPSHOT_MADE:
    case RAFT_COMPACTED:
        event.snapshot.index = number(w);
        event.snapshot.bytes = 20;
        if (event.snapshot.index > status.commit ||
            raft_term_at(w->r, event.snapshot.index, &event.snapshot.last_term) < 0) {
            return;
        }
        break;
    case RAFT_SNAPSHOT_STORED:
        event.snapshot.failed = cursor_u8(&w->in) % 8 == 0;
        event.snapshot.offset = w->receiving.offset + w->receiving.data.length;
        if (!w->storing) {
            return;
        }
        w->storing = false;
        break;
    case RAFT_INSTALLED:
        event.snapshot.failed = cursor_u8(&w->in) % 8 == 0;
        event.snapshot.index = w->receiving.index;
        event.snapshot.last_term = w->receiving.last_term;
        event.snapshot.config = &w->config;
        event.snapshot.config_index = w->receiving.index;
        if (!w->installing) {
            return;
        }
        w->installing = false;
        break;
    case RAFT_RECEIVE:
    case RAFT_READ:
        break;
    }
    if (event.kind == RAFT_RECEIVE) {
        receive(w);
    } else {
        step(w, &event);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct world w = {.in = cursor_of(data, size), .now_ms = 1000};
    struct raft_options o = {
        .self = 1, .seed = 1, .now_ms = w.now_ms, .hard = {1, 0}, .config_index = 0};
    for (uint64_t id = 1; id <= 3; id++) {
        w.config.members[w.config.count++] = member(id);
    }
    o.config = w.config;
    o.config.count = cursor_u8(&w.in) % 2 == 0 ? 3 : 1;
    o.lease_reads = cursor_u8(&w.in) % 2 == 0;
    if (raft_new(&o, &w.r, NULL) < 0) {
        __builtin_trap();
    }
    for (int i = 0; i < STEPS_MAX && w.in.left > 0; i++) {
        uint8_t what = cursor_u8(&w.in);
        if (what < 140) {
            receive(&w);
        } else {
            caller(&w, what);
        }
    }
    raft_free(w.r);
    return 0;
}
