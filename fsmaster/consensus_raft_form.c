/* How a cluster begins (DESIGN 5, "Members"). The first configuration is an entry like any other,
 * but nobody can vote for it: it is written by the one member that may, the lowest id of --peers,
 * when all the others say that they are empty.
 *
 * Why a crash at any point is harmless. Before the entry is durable here nothing was promised to
 * anybody, and IDENTITY at most names the cluster's id: the next start asks again, with that id.
 * After it this log is not empty, so it never forms again; it stands for election and sends the
 * entry, as any leader does. The others stay empty until they take it from a leader; their answer
 * "empty" promised nothing. Two formations cannot both happen: both would need this log to be
 * empty, or (had this disk been lost in between) all others to be, and then nothing that the first
 * one did was ever acknowledged by a majority.
 *
 * A directory from before Raft has a log without any configuration. Its only member was itself, so
 * its cluster of one is formed behind what the log has. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/macros.h"
#include "common/mailbox.h"
#include "fsmaster/consensus_raft_internal.h"
#include "fsmaster/raft_rpc.h"
#include "fsmaster/raft_transport.h"

/* What one other peer says of itself. Lives as long as the consensus. */
struct form_question {
    struct consensus *c;
    const struct consensus_peer *peer;
    struct mail mail;
    bool asking;
    bool heard; /* identity is the answer to the last question */
    struct raft_identity identity;
    char text[ERR_MSG_BYTES_MAX]; /* why there is none */
};

static bool is_empty_log(const struct consensus *c)
{
    return c->options.position.index == 0 && log_store_start(c->log) == 0 &&
           log_store_last(c->log) == 0;
}

static size_t other_count(const struct consensus *c)
{
    return c->options.peer_count > 0 ? c->options.peer_count - 1 : 0;
}

static int own_peer(const struct consensus *c, struct err *e)
{
    for (size_t i = 0; i < c->options.peer_count; i++) {
        if (i > 0 && c->peers[i].id == c->peers[i - 1].id) {
            return err_set(e, ERR_INVALID, "--peers names id %" PRIu64 " twice", c->peers[i].id);
        }
    }
    for (size_t i = 0; i < c->options.peer_count; i++) {
        if (c->peers[i].id == c->options.id) {
            return 0;
        }
    }
    return c->options.peer_count == 0
               ? 0
               : err_set(e, ERR_INVALID, "--peers does not name --id %" PRIu64, c->options.id);
}

/* ---- The entry --------------------------------------------------------------------------------
 */

static struct raft_member member_of(uint64_t id, struct member_key key, const char *address)
{
    struct raft_member m = {.key = raft_key_of(key), .directory = key, .id = id, .voter = true};
    memcpy(m.address, address, strnlen(address, sizeof(m.address) - 1));
    return m;
}

static int bind(struct consensus *c, struct err *e)
{
    if (!cluster_id_known(c->cluster)) {
        c->cluster =
            cluster_id_known(c->options.new_cluster) ? c->options.new_cluster : cluster_id_random();
    }
    return c->options.machine.adopt(c->options.machine.owner_ctx, c->cluster, e);
}

/* Its own vote stands beside it: this member has no need of another one in that term. */
static void prepare(struct consensus *c, const struct raft_config *config)
{
    struct upkeep *u = &c->forming;
    u->index = log_store_last(c->log) + 1;
    u->term = MAX(log_store_hard(c->log).term, 1U);
    u->hard = (struct log_hard_state){.term = u->term, .vote = c->self};
    buf_init(&u->config);
    raft_config_encode(config, &u->config);
}

/* A cluster of one asks nobody, so it can be done before anything runs. */
static int form_alone(struct consensus *c, struct err *e)
{
    struct raft_config config = {.count = 1,
                                 .members = {member_of(c->options.id, c->options.key, c->address)}};
    int r = bind(c, e);
    if (r < 0) {
        return r;
    }
    prepare(c, &config);
    struct upkeep *u = &c->forming;
    struct log_entry entry = {.index = u->index,
                              .term = u->term,
                              .type = LOG_ENTRY_CONFIG,
                              .data = {u->config.data, u->config.length}};
    r = log_store_append(c->log, &u->hard, &entry, 1, e);
    r = r < 0 ? r : log_store_sync(c->log, e);
    buf_deinit(&u->config);
    return r < 0 ? err_wrap(e, r, "form the cluster") : 0;
}

static void formed(struct job *job)
{
    struct upkeep *u = CONTAINER_OF(job, struct upkeep, job);
    struct consensus *c = u->c;
    struct err e = ERR_INIT;
    u->busy = false;
    consensus_job_end(c);
    c->form = FORM_NONE;
    if (u->code < 0) {
        (void)err_wrap(&u->err, u->code, "form the cluster");
        consensus_fail(c, &u->err);
    } else {
        struct log_entry entry = {.index = u->index,
                                  .term = u->term,
                                  .type = LOG_ENTRY_CONFIG,
                                  .data = {u->config.data, u->config.length}};
        if (consensus_raft_reborn(c, &u->hard, &entry, &e) < 0) {
            consensus_fail(c, &e);
        }
    }
    buf_deinit(&u->config);
    if (!c->broken) {
        char text[CLUSTER_ID_TEXT_BYTES];
        log_info("raft", "formed cluster=%s members=%zu", cluster_id_format(c->cluster, text),
                 c->options.peer_count);
        members_follow(c);
        consensus_look(c);
    }
}

static void form_with(struct consensus *c)
{
    struct raft_config config = {.count = 0};
    struct err e = ERR_INIT;
    for (size_t i = 0; i < c->options.peer_count; i++) {
        const struct consensus_peer *peer = &c->peers[i];
        struct member_key key =
            i == 0 ? c->options.key : c->questions[i - 1].identity.key; /* we are the lowest */
        config.members[config.count++] = member_of(peer->id, key, peer->address);
    }
    if (bind(c, &e) < 0) {
        consensus_fail(c, &e);
        return;
    }
    raft_transport_set_cluster(c->options.transport, c->cluster);
    prepare(c, &config);
    c->form = FORM_WRITING;
    log_upkeep_start(c, &c->forming, UPKEEP_FORM, formed);
}

/* ---- Asking -----------------------------------------------------------------------------------
 */

static void answered_on_owner(struct mail *mail)
{
    struct form_question *q = CONTAINER_OF(mail, struct form_question, mail);
    q->asking = false;
}

static void answered_on_loop(void *arg, int code, const char *text,
                             const struct raft_identity *identity)
{
    struct form_question *q = arg;
    q->heard = code == 0;
    if (code == 0) {
        q->identity = *identity;
    } else {
        memcpy(q->text, text, strnlen(text, sizeof(q->text) - 1) + 1);
        q->text[sizeof(q->text) - 1] = '\0';
    }
    mailbox_post_reserved(q->c->options.owner, &q->mail);
}

static void ask(struct form_question *q)
{
    struct consensus *c = q->c;
    struct rpc_channel *channel = NULL;
    if (rpc_pool_get(c->options.pool, q->peer->address, RPC_CONTROL, &channel, NULL) < 0) {
        return;
    }
    CHECK(mailbox_reserve(c->options.owner) == 0);
    q->asking = true;
    q->mail.handle = answered_on_owner;
    rpc_pending_unref(raft_identify_start(c->options.loop, channel,
                                          clock_mono_ms() + RAFT_IDENTIFY_MS, answered_on_loop, q));
    rpc_channel_unref(channel);
}

/* NULL: it may be a member of what we form. */
static const char *objection(const struct consensus *c, const struct form_question *q)
{
    const struct raft_identity *i = &q->identity;
    if (q->asking || !q->heard) {
        return q->text[0] ? q->text : "not heard yet";
    }
    if (i->id != q->peer->id) {
        return "it has another --id";
    }
    if (i->wire_version != TRIREME_WIRE_VERSION) {
        return "it speaks another wire version";
    }
    if (!i->empty || (cluster_id_known(i->cluster) && !cluster_id_equal(i->cluster, c->cluster))) {
        return "it is of a cluster already: this empty directory has to be added to that (dfs "
               "admin "
               "raft add)";
    }
    for (const struct form_question *other = c->questions; other < q; other++) {
        if (raft_key_of(other->identity.key) == raft_key_of(i->key)) {
            return "it has the key of another peer: a copied data directory";
        }
    }
    return raft_key_of(i->key) == c->self ? "it has our key: a copied data directory" : NULL;
}

void form_tick(struct consensus *c, time_ms now)
{
    if (c->form != FORM_ASKING || now < c->form_next_ms || c->closed) {
        return;
    }
    bool all = true;
    const char *why = NULL;
    const char *whom = NULL;
    c->form_next_ms = now + RAFT_FORM_ASK_MS;
    for (size_t i = 0; i < other_count(c); i++) {
        struct form_question *q = &c->questions[i];
        const char *text = objection(c, q);
        if (text) {
            all = false;
            why = why ? why : text;
            whom = whom ? whom : q->peer->address;
        }
    }
    if (all) {
        form_with(c);
        return;
    }
    if (now >= c->form_told_ms + RAFT_FORM_TELL_MS) {
        c->form_told_ms = now;
        log_info("raft", "no cluster is formed yet peer=%s: %s", whom, why);
    }
    for (size_t i = 0; i < other_count(c); i++) {
        if (!c->questions[i].asking) {
            ask(&c->questions[i]);
        }
    }
}

/* ---- Life -------------------------------------------------------------------------------------
 */

int form_start(struct consensus *c, struct err *e)
{
    bool is_old = !is_empty_log(c) && c->options.position.config.count == 0;
    int r = own_peer(c, e);
    if (r < 0) {
        return r;
    }
    if (is_old) {
        bool has_config = false;
        r = log_has_config(c, &has_config, e);
        return r < 0 || has_config ? r : form_alone(c, e);
    }
    if (!is_empty_log(c)) {
        return 0;
    }
    if (other_count(c) == 0) {
        return form_alone(c, e);
    }
    if (c->peers[0].id != c->options.id) {
        log_info("raft", "an empty directory id=%" PRIu64 ": waits for a cluster", c->options.id);
        return 0;
    }
    c->questions = xcalloc(other_count(c), sizeof(*c->questions));
    for (size_t i = 0; i < other_count(c); i++) {
        c->questions[i].c = c;
        c->questions[i].peer = &c->peers[i + 1];
    }
    c->form = FORM_ASKING;
    return 0;
}

bool form_idle(const struct consensus *c)
{
    for (size_t i = 0; c->questions && i < other_count(c); i++) {
        if (c->questions[i].asking) {
            return false;
        }
    }
    return !c->forming.busy;
}

void form_free(struct consensus *c)
{
    free(c->questions);
}

bool consensus_is_empty(const struct consensus *c)
{
    return c->form != FORM_WRITING && c->status.last == 0 && c->applied == 0 &&
           raft_configuration(c->raft)->count == 0;
}
