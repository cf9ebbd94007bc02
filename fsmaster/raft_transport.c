/* Who owns what. A lane is one stream of ours to one peer; the owner makes it, the loop runs it,
 * and its end goes loop -> owner as a mail in a slot that was reserved for it, so the owner knows
 * when nothing of it is left. An inbound is one stream of a peer to us; the loop makes it, each of
 * its messages is a mail to the owner, and the last of its mails says that it is over. Mails of the
 * loop arrive in order and so do functions that the owner posts to the loop: what refers to a lane
 * or an inbound is always handled before what frees it.
 *
 * Flow control: an inbound asks for the next message while fewer than RAFT_AHEAD_COUNT_MAX wait for
 * the owner, who gives credit back in batches. */
#include "fsmaster/raft_transport.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/limits.h"
#include "common/list.h"
#include "common/log.h"
#include "common/macros.h"
#include "common/mailbox.h"
#include "common/metrics.h"
#include "fsmaster/raft_rpc.h"

enum { CREDIT_COUNT = 16, UNREACHABLE_MS = 50 };

enum lane_kind { LANE_MESSAGES, LANE_SNAPSHOTS, LANE_COUNT };

static const struct rpc_method *const lane_methods[] = {
    [LANE_MESSAGES] = &raft_method_messages, [LANE_SNAPSHOTS] = &raft_method_snapshots};
static const enum rpc_class lane_classes[] = {
    [LANE_MESSAGES] = RPC_RAFT, [LANE_SNAPSHOTS] = RPC_BULK};

/* Loop's, but for the fields that never change. */
struct lane {
    struct raft_transport *t;
    raft_key key;
    enum lane_kind kind;
    char address[LIMIT_ADDRESS_BYTES_MAX];
    struct rpc_bytes *hello;
    struct rpc_stream *stream; /* NULL: none now */
    time_ms open_at_ms;        /* not before */
    time_ms backoff_ms;
    time_ms told_ms; /* when the owner was last told of a loss */
    int failed;      /* code of the last end that was logged */
    bool ending;     /* the owner has given it up */
    struct mail gone;
};

struct peer {
    struct member_key key;
    raft_key short_key;
    char address[LIMIT_ADDRESS_BYTES_MAX];
    bool listed;      /* by raft_transport_set_peers() */
    time_ms heard_ms; /* its last message to us */
    struct lane *lanes[LANE_COUNT];
    struct list link; /* in transport->peers */
};

struct inbound {
    struct raft_transport *t;
    struct rpc_stream *stream; /* loop; NULL: over */
    unsigned ahead;            /* loop: messages that the owner has not given credit for */
    bool finished;             /* loop: its status is on the way */
    unsigned handled;          /* owner: since the last credit */
    bool refused;              /* owner: the peer was told to go away */
    struct mail gone;
};

struct raft_transport {
    struct raft_transport_options options;
    struct raft_receiver receiver;
    bool attached;
    bool closed;
    struct cluster_id cluster;
    struct cluster_id heard;
    struct list peers;
    unsigned lanes; /* whose `gone` has not come */
    struct counter *sent, *received, *refused, *dropped;
};

/* While ours is not known: that of the only messages that we can be answering. */
static struct cluster_id named_cluster(const struct raft_transport *t)
{
    return cluster_id_known(t->cluster) ? t->cluster : t->heard;
}

/* ---- Loop to owner ------------------------------------------------------------------------- */

struct loss {
    struct mail mail;
    struct raft_transport *t;
    raft_key key;
};

static void lost_on_owner(struct mail *mail)
{
    struct loss *loss = CONTAINER_OF(mail, struct loss, mail);
    struct raft_transport *t = loss->t;
    if (t->attached && !t->closed) {
        t->receiver.unreachable(t->receiver.ctx, loss->key);
    }
    free(loss);
}

/* A hint, so it may itself be lost. */
static void tell_loss(struct lane *lane)
{
    time_ms now = clock_mono_ms();
    counter_add(lane->t->dropped, 1);
    if (lane->ending || now < lane->told_ms + UNREACHABLE_MS) {
        return;
    }
    lane->told_ms = now;
    struct loss *loss = xmalloc(sizeof(*loss));
    *loss = (struct loss){.mail = {.handle = lost_on_owner}, .t = lane->t, .key = lane->key};
    if (mailbox_reserve(lane->t->options.owner) < 0) {
        free(loss);
        return;
    }
    mailbox_post_reserved(lane->t->options.owner, &loss->mail);
}

/* ---- Lanes: the loop's side ------------------------------------------------------------------ */

static void lane_gone_on_owner(struct mail *mail)
{
    struct lane *lane = CONTAINER_OF(mail, struct lane, gone);
    lane->t->lanes--;
    rpc_bytes_unref(lane->hello);
    free(lane);
}

static void lane_end_on_loop(struct lane *lane)
{
    lane->gone.handle = lane_gone_on_owner;
    mailbox_post_reserved(lane->t->options.owner, &lane->gone);
}

static void lane_closed(struct rpc_stream *stream, const struct rpc_result *result)
{
    struct lane *lane = rpc_stream_state(stream);
    lane->stream = NULL;
    if (lane->ending) {
        lane_end_on_loop(lane);
        return;
    }
    if (result->code != lane->failed) {
        log_info("raft", "stream ended peer=%s error=%s: %s", lane->address, err_name(result->code),
                 result->text);
        lane->failed = result->code;
    }
    lane->open_at_ms = clock_mono_ms() + lane->backoff_ms;
    lane->backoff_ms = MIN(2 * lane->backoff_ms, (time_ms)RAFT_REOPEN_MS_MAX);
    tell_loss(lane);
}

static void lane_sent(struct rpc_stream *stream)
{
    struct lane *lane = rpc_stream_state(stream);
    lane->backoff_ms = RAFT_REOPEN_MS_MIN;
    lane->failed = 0;
}

static const struct rpc_stream_ops lane_ops = {.on_sent = lane_sent, .on_close = lane_closed};

/* False: not now. */
static bool lane_open(struct lane *lane)
{
    struct rpc_channel *channel = NULL;
    if (lane->ending || clock_mono_ms() < lane->open_at_ms) {
        return false;
    }
    if (rpc_pool_get(lane->t->options.pool, lane->address, lane_classes[lane->kind], &channel,
                     NULL) < 0) {
        lane->open_at_ms = clock_mono_ms() + RAFT_REOPEN_MS_MAX;
        return false;
    }
    struct rpc_request request = {
        .channel = channel, .method = lane_methods[lane->kind], .deadline = RPC_NO_DEADLINE};
    lane->stream = rpc_stream_open(lane->t->options.loop, &request, &lane_ops, lane);
    rpc_channel_unref(channel);
    rpc_stream_read(lane->stream); /* else its end would not be heard */
    return rpc_stream_send_bytes(lane->stream, lane->hello) == 0;
}

struct parcel {
    struct lane *lane;
    struct rpc_bytes *bytes;
};

static void parcel_on_loop(void *arg)
{
    struct parcel *parcel = arg;
    struct lane *lane = parcel->lane;
    if ((lane->stream || lane_open(lane)) &&
        rpc_stream_queued(lane->stream) < RAFT_LANE_BYTES_MAX &&
        rpc_stream_send_bytes(lane->stream, parcel->bytes) == 0) {
        counter_add(lane->t->sent, 1);
    } else {
        tell_loss(lane);
    }
    rpc_bytes_unref(parcel->bytes);
    free(parcel);
}

static void end_on_loop(void *arg)
{
    struct lane *lane = arg;
    lane->ending = true;
    if (lane->stream) {
        rpc_stream_cancel(lane->stream);
    } else {
        lane_end_on_loop(lane);
    }
}

/* ---- Lanes and peers: the owner's side ------------------------------------------------------- */

static struct lane *lane_new(struct raft_transport *t, const struct peer *peer, enum lane_kind kind)
{
    struct lane *lane = xcalloc(1, sizeof(*lane));
    struct raft_envelope envelope = {named_cluster(t), t->options.self, peer->key};
    struct raft_hello hello = {.wire_version = TRIREME_WIRE_VERSION};
    size_t length = strnlen(t->options.address, sizeof(hello.address) - 1);
    memcpy(hello.address, t->options.address, length);
    *lane = (struct lane){.t = t,
                          .key = peer->short_key,
                          .kind = kind,
                          .hello = raft_hello_pack(&envelope, &hello),
                          .backoff_ms = RAFT_REOPEN_MS_MIN};
    memcpy(lane->address, peer->address, sizeof(lane->address));
    CHECK(mailbox_reserve(t->options.owner) == 0); /* for its end */
    t->lanes++;
    return lane;
}

static void lanes_end(struct peer *peer)
{
    for (int i = 0; i < LANE_COUNT; i++) {
        if (peer->lanes[i]) {
            rpc_loop_call(peer->lanes[i]->t->options.loop, end_on_loop, peer->lanes[i]);
            peer->lanes[i] = NULL;
        }
    }
}

static struct peer *peer_find(struct raft_transport *t, raft_key key)
{
    LIST_FOR_EACH(node, &t->peers)
    {
        struct peer *peer = LIST_ENTRY(node, struct peer, link);
        if (peer->short_key == key) {
            return peer;
        }
    }
    return NULL;
}

static void peer_forget(struct peer *peer)
{
    lanes_end(peer);
    list_remove(&peer->link);
    free(peer);
}

static struct peer *peer_put(struct raft_transport *t, struct member_key key, const char *address)
{
    struct peer *peer = peer_find(t, raft_key_of(key));
    if (!peer) {
        peer = xcalloc(1, sizeof(*peer));
        peer->key = key;
        peer->short_key = raft_key_of(key);
        list_push_back(&t->peers, &peer->link);
    }
    if (strcmp(peer->address, address) != 0) {
        size_t length = strnlen(address, sizeof(peer->address) - 1);
        lanes_end(peer);
        memcpy(peer->address, address, length);
        peer->address[length] = '\0';
    }
    return peer;
}

/* Those that nobody has listed are kept while they write to us: a leader that removes itself needs
 * the answers of members that no longer count it. */
static void forget_strangers(struct raft_transport *t)
{
    time_ms now = clock_mono_ms();
    LIST_FOR_EACH_SAFE(node, &t->peers)
    {
        struct peer *peer = LIST_ENTRY(node, struct peer, link);
        if (!peer->listed && now >= peer->heard_ms + RAFT_STRANGER_MS) {
            peer_forget(peer);
        }
    }
}

void raft_transport_set_peers(struct raft_transport *t, const struct raft_transport_peer *peers,
                              size_t count)
{
    LIST_FOR_EACH(node, &t->peers)
    {
        LIST_ENTRY(node, struct peer, link)->listed = false;
    }
    for (size_t i = 0; i < count; i++) {
        peer_put(t, peers[i].key, peers[i].address)->listed = true;
    }
    forget_strangers(t);
}

void raft_transport_send(struct raft_transport *t, const struct raft_message *message)
{
    struct peer *peer = peer_find(t, message->to);
    if (!peer || t->closed) {
        counter_add(t->dropped, 1);
        return;
    }
    enum lane_kind kind = message->kind == RAFT_SNAPSHOT ? LANE_SNAPSHOTS : LANE_MESSAGES;
    if (!peer->lanes[kind]) {
        peer->lanes[kind] = lane_new(t, peer, kind);
    }
    struct raft_envelope envelope = {named_cluster(t), t->options.self, peer->key};
    struct parcel *parcel = xmalloc(sizeof(*parcel));
    *parcel = (struct parcel){peer->lanes[kind], raft_message_pack(&envelope, message)};
    rpc_loop_call(t->options.loop, parcel_on_loop, parcel);
}

/* ---- Inbound: the owner's side --------------------------------------------------------------- */

struct credit {
    struct inbound *inbound;
    unsigned count;
};

static void credit_on_loop(void *arg)
{
    struct credit *credit = arg;
    struct inbound *in = credit->inbound;
    in->ahead -= credit->count;
    if (in->stream) {
        rpc_stream_read(in->stream);
    }
    free(credit);
}

struct refusal {
    struct inbound *inbound;
    int code;
    char text[ERR_MSG_BYTES_MAX];
};

static void inbound_finish(struct inbound *in, int code, const char *text)
{
    if (in->stream && !in->finished) {
        in->finished = true;
        rpc_stream_finish(in->stream, code, text);
    }
}

static void refuse_on_loop(void *arg)
{
    struct refusal *refusal = arg;
    inbound_finish(refusal->inbound, refusal->code, refusal->text);
    free(refusal);
}

/* The sender hears why, once. */
static void refuse(struct inbound *in, const struct err *e)
{
    counter_add(in->t->refused, 1);
    if (in->refused) {
        return;
    }
    in->refused = true;
    struct refusal *refusal = xcalloc(1, sizeof(*refusal));
    *refusal = (struct refusal){.inbound = in, .code = e->code};
    memcpy(refusal->text, e->msg, sizeof(refusal->text));
    rpc_loop_call(in->t->options.loop, refuse_on_loop, refusal);
}

struct incoming {
    struct mail mail;
    struct inbound *inbound;
    struct arena arena;
    struct raft_unpacked unpacked;
};

static int check(const struct raft_transport *t, const struct raft_unpacked *u, struct err *e)
{
    char ours[CLUSTER_ID_TEXT_BYTES], theirs[CLUSTER_ID_TEXT_BYTES];
    if (!member_key_equal(u->envelope.to, t->options.self)) {
        return err_set(e, ERR_STALE, "the member that was here has another data directory now");
    }
    if (cluster_id_known(t->cluster) && !cluster_id_equal(t->cluster, u->envelope.cluster)) {
        return err_set(e, ERR_WRONG_CLUSTER, "this member is of cluster %s, not %s",
                       cluster_id_format(t->cluster, ours),
                       cluster_id_format(u->envelope.cluster, theirs));
    }
    if (!cluster_id_known(u->envelope.cluster)) {
        return err_set(e, ERR_INVALID, "a message of no cluster");
    }
    return 0;
}

static void take_hello(struct raft_transport *t, const struct raft_unpacked *u, struct inbound *in)
{
    struct err e = ERR_INIT;
    if (u->hello.wire_version != TRIREME_WIRE_VERSION) {
        (void)err_set(&e, ERR_VERSION, "wire version %" PRIu32 ", here %d", u->hello.wire_version,
                      TRIREME_WIRE_VERSION);
        refuse(in, &e);
    } else if (!peer_find(t, raft_key_of(u->envelope.from)) && u->hello.address[0]) {
        forget_strangers(t);
        if (list_count(&t->peers) < RAFT_PEER_COUNT_MAX) {
            peer_put(t, u->envelope.from, u->hello.address)->heard_ms = clock_mono_ms();
        }
    }
}

static void take(struct raft_transport *t, const struct raft_unpacked *u, struct inbound *in)
{
    struct err e = ERR_INIT;
    struct peer *peer = peer_find(t, raft_key_of(u->envelope.from));
    if (check(t, u, &e) < 0) {
        refuse(in, &e);
    } else if (peer && !member_key_equal(peer->key, u->envelope.from)) {
        (void)err_set(&e, ERR_INVALID, "a member key that begins like another one's");
        refuse(in, &e);
    } else if (u->is_hello) {
        take_hello(t, u, in);
    } else if (t->attached && !in->refused) {
        counter_add(t->received, 1);
        if (peer) {
            peer->heard_ms = clock_mono_ms();
        }
        t->heard = u->envelope.cluster;
        t->receiver.received(t->receiver.ctx, &u->message, u->envelope.from);
    }
}

static void incoming_on_owner(struct mail *mail)
{
    struct incoming *incoming = CONTAINER_OF(mail, struct incoming, mail);
    struct inbound *in = incoming->inbound;
    struct raft_transport *t = in->t;
    if (!t->closed) {
        take(t, &incoming->unpacked, in);
    }
    if (++in->handled == CREDIT_COUNT) {
        struct credit *credit = xmalloc(sizeof(*credit));
        *credit = (struct credit){in, in->handled};
        in->handled = 0;
        rpc_loop_call(t->options.loop, credit_on_loop, credit);
    }
    arena_deinit(&incoming->arena);
    free(incoming);
}

static void inbound_gone_on_owner(struct mail *mail)
{
    struct inbound *in = CONTAINER_OF(mail, struct inbound, gone);
    rpc_loop_call(in->t->options.loop, free, in); /* behind what else the owner has posted of it */
}

/* ---- Inbound: the loop's side ---------------------------------------------------------------- */

static void inbound_opened(struct rpc_stream *stream)
{
    struct raft_transport *t = rpc_stream_service(stream);
    struct inbound *in = xcalloc(1, sizeof(*in));
    *in = (struct inbound){.t = t, .stream = stream, .gone = {.handle = inbound_gone_on_owner}};
    rpc_stream_set_state(stream, in);
    if (mailbox_reserve(t->options.owner) < 0) { /* for its end */
        rpc_stream_set_state(stream, NULL);
        free(in);
        rpc_stream_finish(stream, ERR_BUSY, "too much to do");
        return;
    }
    rpc_stream_read(stream);
}

static void inbound_message(struct rpc_stream *stream, struct rpc_bytes *message)
{
    struct inbound *in = rpc_stream_state(stream);
    struct err e = ERR_INIT;
    if (!in || in->finished) {
        return;
    }
    struct incoming *incoming = xcalloc(1, sizeof(*incoming));
    incoming->mail.handle = incoming_on_owner;
    incoming->inbound = in;
    arena_init(&incoming->arena, 0);
    int r = raft_message_unpack(message, &incoming->arena, &incoming->unpacked, &e);
    if (r < 0) {
        inbound_finish(in, r, err_message(&e));
    } else if (mailbox_reserve(in->t->options.owner) < 0) {
        counter_add(in->t->dropped, 1); /* Raft sends it again */
        rpc_stream_read(stream);
        r = ERR_BUSY;
    }
    if (r < 0) {
        arena_deinit(&incoming->arena);
        free(incoming);
        return;
    }
    mailbox_post_reserved(in->t->options.owner, &incoming->mail);
    if (++in->ahead < RAFT_AHEAD_COUNT_MAX) {
        rpc_stream_read(stream);
    }
}

static void inbound_ended(struct rpc_stream *stream)
{
    struct inbound *in = rpc_stream_state(stream);
    if (in) {
        inbound_finish(in, 0, NULL);
    }
}

static void inbound_closed(struct rpc_stream *stream, const struct rpc_result *result)
{
    struct inbound *in = rpc_stream_state(stream);
    (void)result;
    if (in) {
        in->stream = NULL;
        mailbox_post_reserved(in->t->options.owner, &in->gone);
    }
}

const struct rpc_stream_ops raft_transport_ops = {.on_open = inbound_opened,
                                                  .on_message = inbound_message,
                                                  .on_half_close = inbound_ended,
                                                  .on_close = inbound_closed};

/* ---- Life ------------------------------------------------------------------------------------ */

struct raft_transport *raft_transport_new(const struct raft_transport_options *options)
{
    struct raft_transport *t = xcalloc(1, sizeof(*t));
    struct metrics *m = options->metrics;
    t->options = *options;
    list_init(&t->peers);
    t->sent =
        metrics_counter(m, "fsmaster_raft_messages_total", "way=\"sent\"", "Raft messages by way.");
    t->received = metrics_counter(m, "fsmaster_raft_messages_total", "way=\"received\"",
                                  "Raft messages by way.");
    t->refused = metrics_counter(m, "fsmaster_raft_messages_total", "way=\"refused\"",
                                 "Raft messages by way.");
    t->dropped = metrics_counter(m, "fsmaster_raft_messages_total", "way=\"dropped\"",
                                 "Raft messages by way.");
    return t;
}

void raft_transport_attach(struct raft_transport *t, const struct raft_receiver *receiver)
{
    t->attached = receiver != NULL;
    t->receiver = receiver ? *receiver : (struct raft_receiver){0};
}

void raft_transport_set_cluster(struct raft_transport *t, struct cluster_id cluster)
{
    if (cluster_id_equal(t->cluster, cluster)) {
        return;
    }
    LIST_FOR_EACH(node, &t->peers)
    {
        lanes_end(LIST_ENTRY(node, struct peer, link)); /* their hellos name another one */
    }
    t->cluster = cluster;
}

struct cluster_id raft_transport_heard_cluster(const struct raft_transport *t)
{
    return t->heard;
}

void raft_transport_close(struct raft_transport *t)
{
    t->closed = true;
    LIST_FOR_EACH_SAFE(node, &t->peers)
    {
        peer_forget(LIST_ENTRY(node, struct peer, link));
    }
}

bool raft_transport_idle(const struct raft_transport *t)
{
    return t->closed && t->lanes == 0;
}

void raft_transport_free(struct raft_transport *t)
{
    if (t) {
        CHECK(t->lanes == 0 && list_empty(&t->peers));
        free(t);
    }
}
