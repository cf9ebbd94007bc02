/* What no member can see alone: the properties of the paper's Figure 3, and what of them must be on
 * disk. */
#include <stdlib.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/hash.h"
#include "common/macros.h"
#include "common/raft/raft_internal.h"
#include "tests/lib/raft_cluster_internal.h"

static struct known_term *term_of(struct raft_cluster *c, term_no term)
{
    for (size_t i = c->term_count; i > 0; i--) {
        if (c->terms[i - 1].term == term) {
            return &c->terms[i - 1];
        }
    }
    c->terms = xreallocarray(c->terms, c->term_count + 1, sizeof(c->terms[0]));
    c->terms[c->term_count] = (struct known_term){.term = term};
    return &c->terms[c->term_count++];
}

/* Election Safety: at most one leader in a term. */
static void check_role(struct raft_cluster *c, struct member *m, const struct raft_update *u)
{
    struct raft_status now = raft_status(m->raft);
    CHECK(now.term >= m->status.term);
    if (now.role == RAFT_LEADER) {
        struct known_term *t = term_of(c, now.term);
        CHECK(t->leader == 0 || t->leader == m->key);
        c->stats.elections += t->leader == 0;
        t->leader = m->key;
        CHECK(u->write.truncate == 0); /* Leader Append-Only */
        CHECK(m->disk_hard.term == now.term);
        CHECK(m->disk_hard.vote == m->key); /* it counted its own vote, so that is durable */
    }
    CHECK(u->changed || (now.role == m->status.role && now.term == m->status.term &&
                         now.leader == m->status.leader));
    m->status = now;
}

static void check_commit(struct member *m, const struct raft_update *u)
{
    CHECK(u->commit >= m->commit);
    CHECK(u->commit <= image_last(&m->disk)); /* nothing is applied that the own disk lacks */
    m->commit = u->commit;
}

/* What a leader calls committed is on a quorum of disks, crashed or not, by the configuration that
 * is in force with it at that moment. */
static void check_quorum(struct raft_cluster *c, struct member *m, bool led)
{
    log_index index = m->raft->commit;
    if (!led || index <= m->agreed) {
        m->agreed = index;
        return;
    }
    m->agreed = index;
    const struct raft_config *config = raft_configuration(m->raft);
    term_no term = raft_log_term(&m->raft->log, index);
    CHECK(term == m->status.term); /* 5.4.2 */
    size_t count = 0;
    for (size_t i = 0; i < c->member_count; i++) {
        const struct member *other = &c->members[i];
        const struct log_entry *entry = image_entry(&other->disk, index);
        bool has = index <= other->disk.start || (entry != NULL && entry->term == term);
        count += has && raft_config_is_voter(config, other->key);
    }
    CHECK(count >= raft_config_quorum(config));
}

void oracle_update(struct raft_cluster *c, struct member *m, const struct raft_update *u)
{
    term_no led_in = m->status.role == RAFT_LEADER ? m->status.term : 0;
    check_role(c, m, u);
    check_commit(m, u);
    check_quorum(c, m, led_in == m->status.term); /* else it commits as another's follower */
}

void oracle_applied(struct raft_cluster *c, struct member *m, const struct log_entry *entry)
{
    size_t at = (size_t)entry->index - 1;
    CHECK(at <= c->history_count);
    if (at < c->history_count) { /* State Machine Safety */
        CHECK(c->history[at].term == m->machine.term);
        CHECK(c->history[at].chain == m->machine.chain);
        return;
    }
    if (c->history_count == c->history_capacity) {
        c->history_capacity = c->history_capacity ? 2 * c->history_capacity : 64;
        c->history = xreallocarray(c->history, c->history_capacity, sizeof(c->history[0]));
        c->commands = xreallocarray(c->commands, c->history_capacity, sizeof(c->commands[0]));
    }
    c->history[at] = m->machine;
    c->commands[at] =
        entry->type == LOG_ENTRY_COMMAND ? hash_bytes(entry->data.data, entry->data.length, 1) : 0;
    c->history_count++;
}

void oracle_installed(struct raft_cluster *c, const struct member *m)
{
    CHECK(m->machine.applied <= c->history_count);
    const struct machine *known = &c->history[m->machine.applied - 1];
    CHECK(known->chain == m->machine.chain);
    CHECK(known->term == m->machine.term);
    CHECK(known->config_index == m->machine.config_index);
}

/* A message leaves: what it promises is on disk. */
void oracle_message(struct raft_cluster *c, const struct raft_message *m)
{
    struct member *from = NULL;
    for (size_t i = 0; i < c->member_count; i++) {
        from = c->members[i].key == m->from ? &c->members[i] : from;
    }
    CHECK(from != NULL);
    if (m->kind == RAFT_VOTE_REPLY && m->vote_reply.granted && !m->vote_reply.pre) {
        struct known_term *t = term_of(c, m->term);
        raft_key *vote = &t->votes[from->id - 1];
        CHECK(*vote == 0 || *vote == m->to); /* one vote per term, over restarts */
        *vote = m->to;
        CHECK(from->disk_hard.term >= m->term);
    } else if (m->kind == RAFT_VOTE && !m->vote.pre) {
        CHECK(from->disk_hard.term >= m->term);
    } else if (m->kind == RAFT_APPEND_REPLY && m->append_reply.ok) {
        CHECK(from->disk_hard.term >= m->term);
        CHECK(m->term < raft_status(from->raft).term ||
              m->append_reply.match <= image_last(&from->disk));
    }
}

void oracle_read(struct raft_cluster *c, const struct waiting_read *read, log_index index)
{
    (void)c;
    CHECK(index >= read->committed);
}
