/* See judge.h. The numbers of the rules are those of RELIABILITY 4.1, where the rules stand. */
#include "tests/sim/judge.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/hash.h"
#include "common/map.h"
#include "common/raft/raft_internal.h" /* what a leader has decided, but not told yet */
#include "tests/sim/faults.h"

#define RULE_ELECTION    "4.1.1 election safety"
#define RULE_APPEND_ONLY "4.1.2 leader append-only"
#define RULE_MATCHING    "4.1.3 log matching"
#define RULE_COMPLETE    "4.1.4 leader completeness"
#define RULE_STATE       "4.1.5 state machine safety"
#define RULE_PROMISES    "4.1.6 terms and votes"
#define RULE_KEPT        "4.1.7 committed entries stay"
#define RULE_QUORUM      "4.1.8 applied <= committed <= persisted on a quorum"
#define RULE_CONFIG      "4.1.9 one change at a time"
#define RULE_SNAPSHOT    "4.1.10 snapshot = replay"
#define RULE_ONCE        "4.1.11 each request once"
#define RULE_READ        "4.1.12 reads see what was acknowledged"

enum { CONFIG_NONE = -1 };

/* An entry that some member has written at some time. */
struct fact {
    struct fact *older; /* another entry of the same index, of another term */
    term_no term;
    uint64_t chain; /* of this entry and all before it */
    int config;     /* number in judge.configs, or CONFIG_NONE */
};

struct committed {
    term_no term;
    uint64_t chain;
    term_no leader_term; /* in which it was committed; at least term */
    bool applied;        /* somewhere: the digest is known */
    uint64_t digest;     /* of the state after it */
};

struct known_config {
    log_index index;
    term_no term;
    struct raft_config config;
};

struct judge {
    struct sim *sim;
    struct fact **facts; /* by index */
    struct committed *committed;
    log_index capacity; /* of both */
    log_index committed_last;
    struct known_config *configs;
    size_t config_count;
    int config_committed;                  /* number of the newest committed one */
    struct map leaders;                    /* term -> key */
    struct map votes;                      /* key and term -> key voted for */
    term_no sent_term[SIM_SLOT_COUNT_MAX]; /* highest in a message of this slot's present key */
    uint64_t sent_key[SIM_SLOT_COUNT_MAX];
    uint64_t floor[MACHINE_KEY_COUNT];
    struct fact *block; /* facts are cut from blocks */
    size_t block_left;
    struct fact **blocks;
    size_t block_count;
};

enum { FACTS_PER_BLOCK = 1024 };

struct judge *judge_new(struct sim *s)
{
    struct judge *j = xcalloc(1, sizeof(*j));
    j->sim = s;
    j->config_committed = CONFIG_NONE;
    return j;
}

void judge_free(struct judge *j)
{
    for (size_t i = 0; i < j->block_count; i++) {
        free(j->blocks[i]);
    }
    free(j->blocks);
    free(j->facts);
    free(j->committed);
    free(j->configs);
    map_deinit(&j->leaders);
    map_deinit(&j->votes);
    free(j);
}

static struct judge *judge_of(const struct node *n)
{
    return n->sim->judge;
}

static void reach(struct judge *j, log_index index)
{
    if (index < j->capacity) {
        return;
    }
    log_index capacity = j->capacity ? j->capacity : 1024;
    while (capacity <= index) {
        capacity *= 2;
    }
    j->facts = xreallocarray(j->facts, capacity, sizeof(j->facts[0]));
    j->committed = xreallocarray(j->committed, capacity, sizeof(j->committed[0]));
    memset(j->facts + j->capacity, 0, (capacity - j->capacity) * sizeof(j->facts[0]));
    memset(j->committed + j->capacity, 0, (capacity - j->capacity) * sizeof(j->committed[0]));
    j->capacity = capacity;
}

static struct fact *new_fact(struct judge *j)
{
    if (j->block_left == 0) {
        j->block = xcalloc(FACTS_PER_BLOCK, sizeof(struct fact));
        j->block_left = FACTS_PER_BLOCK;
        j->blocks = xreallocarray(j->blocks, j->block_count + 1, sizeof(j->blocks[0]));
        j->blocks[j->block_count++] = j->block;
    }
    return &j->block[FACTS_PER_BLOCK - j->block_left--];
}

static struct fact *find_fact(const struct judge *j, log_index index, term_no term)
{
    struct fact *f = index < j->capacity ? j->facts[index] : NULL;
    while (f && f->term != term) {
        f = f->older;
    }
    return f;
}

/* ---- entries ---- */

static int learn_config(struct node *n, const struct log_entry *entry)
{
    struct judge *j = judge_of(n);
    j->configs = xreallocarray(j->configs, j->config_count + 1, sizeof(j->configs[0]));
    struct known_config *known = &j->configs[j->config_count];
    known->index = entry->index;
    known->term = entry->term;
    if (raft_config_decode(entry->data, &known->config, NULL) < 0) {
        sim_fail(n->sim, RULE_CONFIG, "entry %" PRIu64 " is no configuration", entry->index);
    }
    return (int)j->config_count++;
}

static uint64_t chain_after(struct node *n, const struct log_entry *entry)
{
    struct judge *j = judge_of(n);
    uint64_t before = 0;
    if (n->log.count > 0) {
        before = mirror_at(&n->log, mirror_last(&n->log))->chain;
    } else if (n->log.start > 0) {
        before = j->committed[n->log.start].chain;
    }
    uint64_t data = hash_bytes(entry->data.data, entry->data.length, entry->type);
    return hash_u64(hash_u64(before ^ entry->index) ^ hash_u64(entry->term) ^ data);
}

uint64_t judge_entry(struct node *n, const struct log_entry *entry)
{
    struct judge *j = judge_of(n);
    CHECK(entry->index == mirror_last(&n->log) + 1);
    reach(j, entry->index);
    uint64_t chain = chain_after(n, entry);
    struct fact *f = find_fact(j, entry->index, entry->term);
    if (!f) {
        f = new_fact(j);
        *f = (struct fact){j->facts[entry->index], entry->term, chain, CONFIG_NONE};
        j->facts[entry->index] = f;
        if (entry->type == LOG_ENTRY_CONFIG) {
            f->config = learn_config(n, entry);
        }
    } else if (f->chain != chain) {
        sim_fail(n->sim, RULE_MATCHING,
                 "node %u writes entry %" PRIu64 " of term %" PRIu64
                 ", and it or one before it is another one elsewhere",
                 n->slot, entry->index, entry->term);
    }
    return chain;
}

uint64_t judge_recovered_entry(struct node *n, const struct log_entry *entry)
{
    if (entry->index > 1 && !find_fact(judge_of(n), entry->index, entry->term)) {
        sim_fail(n->sim, RULE_MATCHING,
                 "node %u recovers entry %" PRIu64 " of term %" PRIu64 ", which nobody ever wrote",
                 n->slot, entry->index, entry->term);
    }
    return judge_entry(n, entry);
}

void judge_truncate(struct node *n, log_index from)
{
    const struct judge *j = judge_of(n);
    if (from <= n->commit) {
        sim_fail(n->sim, RULE_KEPT, "node %u cuts from %" PRIu64 ", committed up to %" PRIu64,
                 n->slot, from, n->commit);
    }
    /* In a term before that in which it was committed, a leader may still not know the entry, and
     * make somebody cut it who had no part in that. */
    const struct committed *c = &j->committed[from];
    if (from <= j->committed_last && from <= mirror_last(&n->log) &&
        c->term == mirror_term(&n->log, from) && raft_status(n->raft).term >= c->leader_term) {
        sim_fail(n->sim, RULE_KEPT,
                 "node %u cuts entry %" PRIu64 ", which was committed in term %" PRIu64, n->slot,
                 from, c->leader_term);
    }
}

void judge_reset(struct node *n, struct mirror *before, log_index index)
{
    const struct judge *j = judge_of(n);
    log_index last = mirror_last(before);
    last = last < j->committed_last ? last : j->committed_last;
    if (last > index && last > before->start &&
        mirror_term(before, last) == j->committed[last].term) {
        sim_fail(n->sim, RULE_KEPT,
                 "node %u forgets committed entries up to %" PRIu64
                 " for a snapshot that reaches %" PRIu64,
                 n->slot, last, index);
    }
}

/* ---- commit ---- */

static bool holds_durably(struct sim *s, uint64_t key, log_index index, term_no term)
{
    for (uint32_t i = 0; i < s->node_count; i++) {
        struct node *n = s->nodes[i];
        if (n->member.key == key) {
            return index <= n->log.start ||
                   (index <= n->durable_last && index <= mirror_last(&n->log) &&
                    mirror_term(&n->log, index) == term);
        }
    }
    return faults_lost(s, key); /* it had it, when it still had its disk */
}

static void check_quorum(struct node *n, log_index index)
{
    const struct raft_config *config = raft_configuration(n->raft);
    size_t count = 0;
    for (size_t i = 0; i < config->count; i++) {
        count += config->members[i].voter && holds_durably(n->sim, config->members[i].key, index,
                                                           judge_of(n)->committed[index].term);
    }
    if (count < raft_config_quorum(config)) {
        sim_fail(n->sim, RULE_QUORUM,
                 "node %u commits %" PRIu64 ", which is durable on %zu of %zu voters", n->slot,
                 index, count, raft_config_voter_count(config));
    }
}

/* Or has led until this very step: one that is removed goes when its removal is committed. */
static bool leads(const struct node *n, const struct raft_status *now)
{
    return now->role == RAFT_LEADER ||
           (n->status.role == RAFT_LEADER && n->status.term == now->term);
}

static void commit_one(struct node *n, const struct raft_status *now, log_index index)
{
    struct judge *j = judge_of(n);
    struct committed *c = &j->committed[index];
    const struct mirror_entry *own = mirror_at(&n->log, index);
    if (index <= j->committed_last) {
        if (c->term != own->term || c->chain != own->chain) {
            sim_fail(n->sim, RULE_STATE,
                     "node %u commits entry %" PRIu64 " of term %" PRIu64
                     ", others that of term %" PRIu64,
                     n->slot, index, own->term, c->term);
        }
        return;
    }
    if (!leads(n, now)) {
        sim_fail(n->sim, RULE_QUORUM, "node %u commits %" PRIu64 " before any leader does", n->slot,
                 index);
    }
    *c = (struct committed){.term = own->term, .chain = own->chain, .leader_term = now->term};
    j->committed_last = index;
    const struct fact *f = find_fact(j, index, own->term);
    if (f->config != CONFIG_NONE) {
        j->config_committed = f->config;
        n->sim->stats->changes += index > 1;
    }
}

/* n says that everything up to here is committed. */
static void learn_commit(struct node *n, const struct raft_status *now, log_index from,
                         log_index commit)
{
    struct judge *j = judge_of(n);
    log_index known = j->committed_last;
    if (commit > mirror_last(&n->log)) {
        sim_fail(n->sim, RULE_QUORUM, "node %u commits %" PRIu64 ", its log ends at %" PRIu64,
                 n->slot, commit, mirror_last(&n->log));
    }
    from = from > n->log.start ? from : n->log.start;
    for (log_index i = from + 1; i <= commit; i++) {
        commit_one(n, now, i);
    }
    if (j->committed_last > known) {
        if (j->committed[commit].term != now->term) {
            sim_fail(n->sim, RULE_QUORUM,
                     "node %u, leader of term %" PRIu64 ", commits up to entry %" PRIu64
                     " of term %" PRIu64 " (5.4.2)",
                     n->slot, now->term, commit, j->committed[commit].term);
        }
        check_quorum(n, commit);
    }
}

static void check_commit(struct node *n, const struct raft_status *now, log_index commit)
{
    if (commit < n->commit) {
        sim_fail(n->sim, RULE_PROMISES, "node %u: commit falls from %" PRIu64 " to %" PRIu64,
                 n->slot, n->commit, commit);
    }
    if (commit > n->durable_last && commit > n->log.start) {
        sim_fail(n->sim, RULE_QUORUM,
                 "node %u gives out %" PRIu64 " to apply, has %" PRIu64 " on its disk", n->slot,
                 commit, n->durable_last);
    }
    learn_commit(n, now, n->commit, commit);
}

/* ---- leaders ---- */

static void check_complete(struct node *n, term_no term)
{
    const struct judge *j = judge_of(n);
    log_index at = j->committed_last;
    while (at > 0 && j->committed[at].leader_term >= term) {
        at--;
    }
    if (at > n->log.start &&
        (at > mirror_last(&n->log) || mirror_term(&n->log, at) != j->committed[at].term)) {
        sim_fail(n->sim, RULE_COMPLETE,
                 "node %u leads in term %" PRIu64 " without entry %" PRIu64
                 ", committed in term %" PRIu64,
                 n->slot, term, at, j->committed[at].leader_term);
    }
}

static void check_leader(struct node *n, const struct raft_status *now, const struct raft_update *u)
{
    struct judge *j = judge_of(n);
    bool led = n->status.role == RAFT_LEADER && n->status.term == now->term;
    if (led) {
        if (u->write.seq != 0 && u->write.truncate != 0) {
            sim_fail(n->sim, RULE_APPEND_ONLY, "node %u cuts its own log", n->slot);
        }
        return;
    }
    void *other = map_put_u64(&j->leaders, now->term, (void *)n->member.key); /* NOLINT */
    if (other && (uint64_t)other != n->member.key) {
        sim_fail(n->sim, RULE_ELECTION, "node %u leads in term %" PRIu64 ", as another one did",
                 n->slot, now->term);
    }
    n->sim->stats->elections++;
    check_complete(n, now->term);
}

static size_t differing_voters(const struct raft_config *a, const struct raft_config *b)
{
    size_t count = 0;
    for (size_t i = 0; i < a->count; i++) {
        count += a->members[i].voter && !raft_config_is_voter(b, a->members[i].key);
    }
    for (size_t i = 0; i < b->count; i++) {
        count += b->members[i].voter && !raft_config_is_voter(a, b->members[i].key);
    }
    return count;
}

/* The configuration in force in this log before an entry. */
static const struct raft_config *config_before(struct node *n, log_index index)
{
    const struct judge *j = judge_of(n);
    const struct known_config *best = NULL;
    for (size_t i = 0; i < j->config_count; i++) {
        const struct known_config *k = &j->configs[i];
        bool own = k->index > n->log.start ? k->index <= mirror_last(&n->log) &&
                                                 mirror_term(&n->log, k->index) == k->term
                                           : j->committed[k->index].term == k->term;
        if (own && k->index < index && (!best || k->index > best->index)) {
            best = k;
        }
    }
    return best ? &best->config : NULL;
}

/* A leader appends a configuration. What it knows counts: it may have been deposed. */
static void check_change(struct node *n, const struct raft_status *now,
                         const struct log_entry *entry)
{
    struct judge *j = judge_of(n);
    struct raft_config config;
    const struct raft_config *before = config_before(n, entry->index);
    if (n->status.config_index > n->decided) {
        sim_fail(n->sim, RULE_CONFIG,
                 "node %u changes the configuration while that of entry %" PRIu64
                 " is not committed",
                 n->slot, n->status.config_index);
    }
    if (j->committed[n->decided].term != now->term) {
        sim_fail(n->sim, RULE_CONFIG,
                 "node %u changes the configuration before an entry of its term is committed",
                 n->slot);
    }
    if (!before || raft_config_decode(entry->data, &config, NULL) < 0 ||
        differing_voters(&config, before) > 1) {
        sim_fail(n->sim, RULE_CONFIG, "node %u changes more than one voter at once", n->slot);
    }
}

void judge_step(struct node *n, const struct raft_status *now, const struct raft_update *u)
{
    if (now->term < n->status.term) {
        sim_fail(n->sim, RULE_PROMISES, "node %u: term falls from %" PRIu64 " to %" PRIu64, n->slot,
                 n->status.term, now->term);
    }
    if (now->role == RAFT_LEADER) {
        check_leader(n, now, u);
        for (size_t i = 0; u->write.seq != 0 && i < u->write.count; i++) {
            if (u->write.entries[i].type == LOG_ENTRY_CONFIG) {
                check_change(n, now, &u->write.entries[i]);
            }
        }
    }
    /* A leader decides before its own disk has the entries, and tells its caller only then. */
    log_index decided = n->raft->commit;
    if (leads(n, now) && decided > judge_of(n)->committed_last) {
        learn_commit(n, now, judge_of(n)->committed_last, decided);
    }
    n->decided = decided;
    if (u->commit != n->commit) {
        check_commit(n, now, u->commit);
    }
}

/* ---- messages ---- */

static void check_vote(struct node *n, const struct raft_message *m)
{
    struct judge *j = judge_of(n);
    const struct log_hard_state *hard = &n->durable_hard;
    if (!(hard->term > m->term || (hard->term == m->term && hard->vote == m->to))) {
        sim_fail(n->sim, RULE_PROMISES,
                 "node %u grants a vote in term %" PRIu64 " that is not on its disk", n->slot,
                 m->term);
    }
    void *other =
        map_put_u64(&j->votes, hash_u64(n->member.key) ^ m->term, (void *)m->to); /* NOLINT */
    if (other && (uint64_t)other != m->to) {
        sim_fail(n->sim, RULE_PROMISES, "node %u votes twice in term %" PRIu64, n->slot, m->term);
    }
}

/* A request that waited for the disk may be of an election that is over: nobody counts its answers.
 */
static void check_request(struct node *n, const struct raft_message *m)
{
    const struct raft_vote *v = &m->vote;
    bool alive = v->pre ? n->status.role == RAFT_PRE_CANDIDATE && n->status.term + 1 == m->term
                        : n->status.role == RAFT_CANDIDATE && n->status.term == m->term;
    if (alive && v->last_index > n->durable_last && v->last_index > n->log.start) {
        sim_fail(n->sim, RULE_PROMISES,
                 "node %u asks for votes with entry %" PRIu64 ", durable up to %" PRIu64, n->slot,
                 v->last_index, n->durable_last);
    }
    if (!v->pre && n->durable_hard.term < m->term) {
        sim_fail(n->sim, RULE_PROMISES,
                 "node %u asks for votes in term %" PRIu64 ", which is not on its disk", n->slot,
                 m->term);
    }
}

void judge_send(struct node *n, const struct raft_message *m)
{
    struct judge *j = judge_of(n);
    bool pre =
        (m->kind == RAFT_VOTE && m->vote.pre) || (m->kind == RAFT_VOTE_REPLY && m->vote_reply.pre);
    if (j->sent_key[n->slot] != n->member.key) {
        j->sent_key[n->slot] = n->member.key;
        j->sent_term[n->slot] = 0;
    }
    if (!pre) {
        if (m->term < j->sent_term[n->slot] && m->kind != RAFT_APPEND_REPLY &&
            m->kind != RAFT_SNAPSHOT_REPLY && m->kind != RAFT_VOTE_REPLY) {
            sim_fail(n->sim, RULE_PROMISES,
                     "node %u sends a message of term %" PRIu64 " after one of term %" PRIu64,
                     n->slot, m->term, j->sent_term[n->slot]);
        }
        j->sent_term[n->slot] = m->term > j->sent_term[n->slot] ? m->term : j->sent_term[n->slot];
    }
    if (m->kind == RAFT_VOTE) {
        check_request(n, m);
    } else if (m->kind == RAFT_VOTE_REPLY && m->vote_reply.granted && !pre) {
        check_vote(n, m);
    } else if (m->kind == RAFT_APPEND_REPLY && m->append_reply.ok && m->term == n->status.term &&
               m->append_reply.match > n->durable_last && m->append_reply.match > n->log.start) {
        sim_fail(n->sim, RULE_PROMISES,
                 "node %u acknowledges up to entry %" PRIu64 ", durable up to %" PRIu64, n->slot,
                 m->append_reply.match, n->durable_last);
    } else if ((m->kind == RAFT_APPEND || m->kind == RAFT_SNAPSHOT) &&
               (uint64_t)map_get_u64(&j->leaders, m->term) != n->member.key) {
        sim_fail(n->sim, RULE_ELECTION,
                 "node %u speaks as the leader of term %" PRIu64 ", which it is not", n->slot,
                 m->term);
    }
}

/* ---- state ---- */

static void check_once(struct node *n, const struct log_entry *entry, struct machine_reply reply)
{
    struct machine_put put;
    if (reply.result != MACHINE_DONE || !machine_decode_put(entry->data, &put)) {
        return;
    }
    struct op *op = &n->sim->clients->ops[put.op];
    if (reply.repeated) {
        n->sim->stats->repeats++;
        return;
    }
    if (op->executed_index != 0) {
        sim_fail(n->sim, RULE_ONCE,
                 "operation %u, request %" PRIu64 " of session %" PRIx64 ", ran by entry %" PRIu64
                 " and again by %" PRIu64,
                 put.op, put.seq, put.session, op->executed_index, entry->index);
    }
    if (op->state == OP_FAILED) {
        sim_fail(n->sim, RULE_ONCE,
                 "operation %u was reported as not done, and runs by entry %" PRIu64, put.op,
                 entry->index);
    }
    op->executed_index = entry->index;
    op->version = reply.version;
}

void judge_applied(struct node *n, const struct log_entry *entry, struct machine_reply reply)
{
    struct judge *j = judge_of(n);
    struct committed *c = &j->committed[entry->index];
    if (entry->index > j->committed_last || c->term != entry->term ||
        entry->index > n->durable_last) {
        sim_fail(n->sim, RULE_QUORUM,
                 "node %u applies entry %" PRIu64 " of term %" PRIu64
                 ", which is not committed, or not on its own disk",
                 n->slot, entry->index, entry->term);
    }
    if (!c->applied) {
        c->applied = true;
        c->digest = n->live->digest;
        check_once(n, entry, reply);
    } else if (c->digest != n->live->digest) {
        sim_fail(n->sim, RULE_STATE, "node %u differs from others after entry %" PRIu64, n->slot,
                 entry->index);
    }
}

void judge_state(struct node *n, const struct machine *m, const char *whence)
{
    const struct judge *j = judge_of(n);
    if (m->applied == 0) {
        return;
    }
    const struct committed *c = &j->committed[m->applied];
    if (m->applied > j->committed_last || !c->applied || c->term != m->applied_term ||
        c->digest != machine_digest(m) || m->digest != c->digest) {
        sim_fail(n->sim, RULE_SNAPSHOT,
                 "node %u: the state %s, as of entry %" PRIu64
                 ", is not what applying the log gives",
                 n->slot, whence, m->applied);
    }
}

static bool was_reset(const struct node *n)
{
    return n->has_aside && n->log.start == n->aside.index && n->log.count == 0;
}

void judge_recovered(struct node *n, struct mirror *before, struct log_hard_state hard)
{
    const struct log_hard_state *was = &n->durable_hard;
    if (hard.term < was->term ||
        (hard.term == was->term && was->vote != 0 && hard.vote != was->vote)) {
        sim_fail(n->sim, RULE_PROMISES,
                 "node %u restarts in term %" PRIu64 " with vote %" PRIx64 ", had term %" PRIu64
                 " and %" PRIx64 " on its disk",
                 n->slot, hard.term, hard.vote, was->term, was->vote);
    }
    if (was_reset(n)) {
        judge_reset(n, before, n->log.start);
        return;
    }
    log_index from = n->log.start > before->start ? n->log.start : before->start;
    for (log_index i = from + 1; i <= n->durable_last; i++) {
        if (i > mirror_last(&n->log) || mirror_term(&n->log, i) != mirror_term(before, i)) {
            sim_fail(n->sim, RULE_KEPT,
                     "node %u restarts without entry %" PRIu64 ", which was durable", n->slot, i);
        }
    }
}

/* ---- clients ---- */

uint64_t judge_floor(struct sim *s, uint32_t key)
{
    return s->judge->floor[key];
}

void judge_read(struct node *n, uint32_t key, uint64_t floor, uint64_t version)
{
    if (version < floor) {
        sim_fail(n->sim, RULE_READ,
                 "node %u answers a read of register %u with version %" PRIu64 ", when %" PRIu64
                 " had been acknowledged before it was sent",
                 n->slot, key, version, floor);
    }
}

void judge_done(struct sim *s, const struct op *op, uint64_t version, uint32_t seen_op)
{
    uint64_t *floor = &s->judge->floor[op->key];
    if (op->is_read) {
        const struct op *seen = &s->clients->ops[seen_op];
        if (version < op->floor) {
            sim_fail(s, RULE_READ,
                     "register %u: version %" PRIu64 " was known before a read began, which saw "
                     "%" PRIu64,
                     op->key, op->floor, version);
        }
        if (version > 0 && (seen->is_read || seen->key != op->key || seen->version != version ||
                            seen->executed_index == 0)) {
            sim_fail(s, RULE_READ, "register %u: a read saw version %" PRIu64 " with a wrong value",
                     op->key, version);
        }
    } else if (op->executed_index == 0 || op->version != version || version <= op->floor) {
        sim_fail(s, RULE_READ,
                 "register %u: a write was acknowledged as version %" PRIu64 ", is %" PRIu64
                 " by entry %" PRIu64 ", and %" PRIu64 " was known before it began",
                 op->key, version, op->version, op->executed_index, op->floor);
    }
    *floor = version > *floor ? version : *floor;
}

void judge_given_up(struct sim *s, const struct op *op)
{
    if (op->state == OP_FAILED && op->executed_index != 0) {
        sim_fail(s, RULE_ONCE, "an operation is reported as not done, but ran by entry %" PRIu64,
                 op->executed_index);
    }
}

log_index judge_committed(const struct judge *j)
{
    return j->committed_last;
}

const struct raft_config *judge_config(const struct judge *j)
{
    return j->config_committed == CONFIG_NONE ? NULL : &j->configs[j->config_committed].config;
}

log_index judge_config_index(const struct judge *j)
{
    return j->config_committed == CONFIG_NONE ? 0 : j->configs[j->config_committed].index;
}

bool judge_config_pending(const struct sim *s)
{
    const struct judge *j = s->judge;
    for (size_t i = 0; i < j->config_count; i++) {
        const struct known_config *k = &j->configs[i];
        for (uint32_t slot = 0; k->index > judge_config_index(j) && slot < s->node_count; slot++) {
            struct mirror *log = &s->nodes[slot]->log;
            if (k->index > log->start && k->index <= mirror_last(log) &&
                mirror_term(log, k->index) == k->term) {
                return true;
            }
        }
    }
    return false;
}

void judge_end(struct sim *s)
{
    for (uint32_t i = 1; i < s->clients->op_count; i++) {
        const struct op *op = &s->clients->ops[i];
        if (!op->is_read && op->state == OP_DONE && op->executed_index == 0) {
            sim_fail(s, RULE_KEPT, "operation %u was acknowledged and is lost", i);
        }
    }
    for (uint32_t i = 0; i < s->node_count; i++) {
        if (s->nodes[i]->up && s->nodes[i]->installing < INSTALL_SWITCH) {
            judge_state(s->nodes[i], s->nodes[i]->live, "at the end");
        }
    }
}
