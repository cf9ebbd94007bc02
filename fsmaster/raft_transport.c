/* A lane is one stream of ours to one peer, an inbound one stream of a peer to us. Messages of all
 * kinds begin on a lane; answers go back on the inbound where the peer wrote last, or on a lane
 * when that is gone.
 *
 * When a stream is read. gRPC tells the sender at once that there is room again (WINDOW_UPDATE)
 * when somebody waits for the next message, but lets that ride along with whatever is written next
 * on the connection when nobody does: a packet and a wake-up at the other end less for each
 * message. So an inbound is read again when it has answered, a lane when it has asked, and either
 * after RAFT_READ_LATER_MS in any case: an answer may be behind a flush, and one more may come than
 * was asked for, when a stream has taken the place of another one. */
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

enum { UNREACHABLE_MS = 50, FORGET_MS = 50 };

enum lane_kind { LANE_MESSAGES, LANE_SNAPSHOTS, LANE_COUNT };

static const struct rpc_method *const lane_methods[] = {
    [LANE_MESSAGES] = &raft_method_messages, [LANE_SNAPSHOTS] = &raft_method_snapshots};
static const enum rpc_class lane_classes[] = {
    [LANE_MESSAGES] = RPC_RAFT, [LANE_SNAPSHOTS] = RPC_BULK};

/* The next message of a stream. */
struct reading {
    bool put_off;           /* nobody waits for it yet ... */
    struct rpc_timer later; /* ... but will then */
    bool is_late;           /* that was in vain: messages are taken as they come, until an answer */
};

struct lane {
    struct raft_transport *t;
    raft_key key;
    enum lane_kind kind;
    char address[LIMIT_ADDRESS_BYTES_MAX];
    struct rpc_bytes *hello;
    struct rpc_stream *stream; /* NULL: none now */
    struct reading reading;
    unsigned unanswered; /* messages sent on it, about: not all are */
    time_ms sent_ms;     /* the last of them */
    time_ms open_at_ms;  /* not before */
    time_ms backoff_ms;
    time_ms told_ms; /* when the owner was last told of a loss */
    int failed;      /* code of the last end that was logged */
    bool ending;     /* given up: freed when its stream has closed */
};

struct inbound {
    struct raft_transport *t;
    struct rpc_stream *stream;
    struct reading reading;
    bool takes_answers; /* of messages, not of pieces of snapshots */
    bool finished;      /* its status is on the way */
};

struct peer {
    struct member_key key;
    raft_key short_key;
    char address[LIMIT_ADDRESS_BYTES_MAX];
    bool listed;      /* by raft_transport_set_peers() */
    time_ms heard_ms; /* its last message to us */
    struct lane *lanes[LANE_COUNT];
    struct inbound *inbound; /* where its messages last came from; NULL: none is open */
    struct list link;        /* in transport->peers */
};

struct raft_transport {
    struct raft_transport_options options;
    struct raft_receiver receiver;
    bool attached;
    bool closed;
    struct cluster_id cluster;
    struct cluster_id heard;
    struct list peers;
    unsigned lanes; /* not freed yet */
    struct counter *sent, *received, *refused, *dropped;
};

/* While ours is not known: that of the only messages that we can be answering. */
static struct cluster_id named_cluster(const struct raft_transport *t)
{
    return cluster_id_known(t->cluster) ? t->cluster : t->heard;
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

/* ---- Losses ---------------------------------------------------------------------------------- */

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

/* By mail, because the receiver may be just sending. A hint, so it may itself be lost. */
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

/* ---- Taking messages ------------------------------------------------------------------------- */

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

static struct peer *peer_put(struct raft_transport *t, struct member_key key, const char *address);

static int take_hello(struct raft_transport *t, const struct raft_unpacked *u, struct err *e)
{
    if (u->hello.wire_version != TRIREME_WIRE_VERSION) {
        return err_set(e, ERR_VERSION, "wire version %" PRIu32 ", here %d", u->hello.wire_version,
                       TRIREME_WIRE_VERSION);
    }
    if (!peer_find(t, raft_key_of(u->envelope.from)) && u->hello.address[0] &&
        list_count(&t->peers) < RAFT_PEER_COUNT_MAX) {
        peer_put(t, u->envelope.from, u->hello.address)->heard_ms = clock_mono_ms();
    }
    return 0;
}

/* The peer's answers go to `in` from now on, unless it is NULL. */
static int take(struct raft_transport *t, const struct raft_unpacked *u, struct inbound *in,
                struct err *e)
{
    struct peer *peer = peer_find(t, raft_key_of(u->envelope.from));
    int r = check(t, u, e);
    if (r == 0 && peer && !member_key_equal(peer->key, u->envelope.from)) {
        r = err_set(e, ERR_INVALID, "a member key that begins like another one's");
    }
    if (r < 0 || u->is_hello) {
        return r < 0 ? r : take_hello(t, u, e);
    }
    if (!t->attached) {
        return 0;
    }
    counter_add(t->received, 1);
    if (peer) {
        peer->heard_ms = clock_mono_ms();
        peer->inbound = in ? in : peer->inbound;
    }
    t->heard = u->envelope.cluster;
    t->receiver.received(t->receiver.ctx, &u->message, u->envelope.from);
    return 0;
}

static int take_bytes(struct raft_transport *t, struct rpc_bytes *bytes, struct inbound *in,
                      struct err *e)
{
    struct arena arena;
    struct raft_unpacked unpacked;
    if (t->closed) {
        return 0;
    }
    arena_init(&arena, 0);
    int r = raft_message_unpack(bytes, &arena, &unpacked, e);
    r = r < 0 ? r : take(t, &unpacked, in, e);
    counter_add(t->refused, r < 0);
    arena_deinit(&arena);
    return r;
}

/* ---- Reading --------------------------------------------------------------------------------- */

static void read_now(struct rpc_stream *stream, struct reading *reading)
{
    reading->put_off = false;
    rpc_timer_cancel(rpc_stream_loop(stream), &reading->later);
    rpc_stream_read(stream);
}

static void put_off(struct rpc_stream *stream, struct reading *reading, rpc_fn fn, void *arg)
{
    reading->put_off = true;
    rpc_timer_set(rpc_stream_loop(stream), &reading->later, clock_mono_ms() + RAFT_READ_LATER_MS,
                  fn, arg);
}

static void reading_end(struct rpc_stream *stream, struct reading *reading)
{
    reading->put_off = false;
    rpc_timer_cancel(rpc_stream_loop(stream), &reading->later);
}

/* ---- Lanes ----------------------------------------------------------------------------------- */

static void lane_free(struct lane *lane)
{
    lane->t->lanes--;
    rpc_bytes_unref(lane->hello);
    free(lane);
}

static void lane_end(struct lane *lane)
{
    lane->ending = true;
    if (lane->stream) {
        rpc_stream_cancel(lane->stream);
    } else {
        lane_free(lane);
    }
}

static void lane_read(void *arg)
{
    struct lane *lane = arg;
    read_now(lane->stream, &lane->reading);
}

/* One that does not fit ends the stream; the next message opens another one. */
static void lane_answered(struct rpc_stream *stream, struct rpc_bytes *message)
{
    struct lane *lane = rpc_stream_state(stream);
    struct err e = ERR_INIT;
    if (lane->ending) {
        return;
    }
    lane->unanswered -= lane->unanswered > 0;
    if (take_bytes(lane->t, message, NULL, &e) < 0) {
        log_warning("raft", "answer refused peer=%s: %s", lane->address, err_message(&e));
        rpc_stream_cancel(stream);
    } else if (lane->unanswered > 0) {
        lane_read(lane);
    } else {
        put_off(stream, &lane->reading, lane_read, lane);
    }
}

static void lane_closed(struct rpc_stream *stream, const struct rpc_result *result)
{
    struct lane *lane = rpc_stream_state(stream);
    reading_end(stream, &lane->reading);
    lane->stream = NULL;
    lane->unanswered = 0;
    if (lane->ending) {
        lane_free(lane);
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

static const struct rpc_stream_ops lane_ops = {
    .on_message = lane_answered, .on_sent = lane_sent, .on_close = lane_closed};

/* False: not now. */
static bool lane_open(struct lane *lane)
{
    struct rpc_channel *channel = NULL;
    if (clock_mono_ms() < lane->open_at_ms) {
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
    CHECK(rpc_stream_send_bytes(lane->stream, lane->hello) == 0); /* an empty queue has room */
    return true;
}

static void lane_send(struct lane *lane, struct rpc_bytes *bytes)
{
    if ((lane->stream || lane_open(lane)) &&
        rpc_stream_queued(lane->stream) < RAFT_LANE_BYTES_MAX &&
        rpc_stream_send_bytes(lane->stream, bytes) == 0) {
        counter_add(lane->t->sent, 1);
        time_ms now = clock_mono_ms();
        bool forgotten = now >= lane->sent_ms + FORGET_MS; /* what is not answered by now */
        lane->unanswered = forgotten ? 1 : lane->unanswered + 1;
        lane->sent_ms = now;
        lane_read(lane);
    } else {
        tell_loss(lane);
    }
}

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
    t->lanes++;
    return lane;
}

/* ---- Peers ----------------------------------------------------------------------------------- */

static void lanes_end(struct peer *peer)
{
    for (int i = 0; i < LANE_COUNT; i++) {
        if (peer->lanes[i]) {
            lane_end(peer->lanes[i]);
            peer->lanes[i] = NULL;
        }
    }
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

/* ---- Inbound --------------------------------------------------------------------------------- */

static void inbound_read(struct inbound *in)
{
    read_now(in->stream, &in->reading);
}

/* A slow disk: the sender goes on, and what it sends is to share the next flush. */
static void inbound_read_late(void *arg)
{
    struct inbound *in = arg;
    in->reading.is_late = true;
    inbound_read(in);
}

static void inbound_finish(struct inbound *in, int code, const char *text)
{
    if (!in->finished) {
        in->finished = true;
        rpc_stream_finish(in->stream, code, text);
    }
}

/* False: not on this way. */
static bool inbound_send(struct inbound *in, struct rpc_bytes *bytes)
{
    if (in->finished || rpc_stream_queued(in->stream) >= RAFT_LANE_BYTES_MAX ||
        rpc_stream_send_bytes(in->stream, bytes) < 0) {
        return false;
    }
    counter_add(in->t->sent, 1);
    in->reading.is_late = false;
    if (in->reading.put_off) {
        inbound_read(in);
    }
    return true;
}

static void inbound_open(struct rpc_stream *stream, bool takes_answers)
{
    struct raft_transport *t = rpc_stream_service(stream);
    struct inbound *in = xcalloc(1, sizeof(*in));
    *in = (struct inbound){.t = t, .stream = stream, .takes_answers = takes_answers};
    rpc_stream_set_state(stream, in);
    rpc_stream_read(stream);
    forget_strangers(t); /* makes room for whom its hello names */
}

static void messages_opened(struct rpc_stream *stream)
{
    inbound_open(stream, true);
}

static void pieces_opened(struct rpc_stream *stream)
{
    inbound_open(stream, false);
}

/* The sender of one that is refused hears why. */
static void inbound_message(struct rpc_stream *stream, struct rpc_bytes *message)
{
    struct inbound *in = rpc_stream_state(stream);
    struct err e = ERR_INIT;
    if (in->finished) {
        return;
    }
    put_off(stream, &in->reading, inbound_read_late, in);
    int r = take_bytes(in->t, message, in->takes_answers ? in : NULL, &e);
    if (r < 0) {
        inbound_finish(in, r, err_message(&e));
    } else if (in->reading.put_off && (!in->takes_answers || in->reading.is_late)) {
        inbound_read(in);
    }
}

static void inbound_ended(struct rpc_stream *stream)
{
    inbound_finish(rpc_stream_state(stream), 0, NULL);
}

static void inbound_closed(struct rpc_stream *stream, const struct rpc_result *result)
{
    struct inbound *in = rpc_stream_state(stream);
    (void)result;
    LIST_FOR_EACH(node, &in->t->peers)
    {
        struct peer *peer = LIST_ENTRY(node, struct peer, link);
        peer->inbound = peer->inbound == in ? NULL : peer->inbound;
    }
    reading_end(stream, &in->reading);
    free(in);
}

const struct rpc_stream_ops raft_message_stream_ops = {.on_open = messages_opened,
                                                       .on_message = inbound_message,
                                                       .on_half_close = inbound_ended,
                                                       .on_close = inbound_closed};
const struct rpc_stream_ops raft_snapshot_stream_ops = {.on_open = pieces_opened,
                                                        .on_message = inbound_message,
                                                        .on_half_close = inbound_ended,
                                                        .on_close = inbound_closed};

/* ---- Sending --------------------------------------------------------------------------------- */

static bool is_answer(const struct raft_message *message)
{
    return message->kind == RAFT_APPEND_REPLY || message->kind == RAFT_VOTE_REPLY ||
           message->kind == RAFT_SNAPSHOT_REPLY;
}

void raft_transport_send(struct raft_transport *t, const struct raft_message *message)
{
    struct peer *peer = peer_find(t, message->to);
    if (!peer || t->closed) {
        counter_add(t->dropped, 1);
        return;
    }
    struct raft_envelope envelope = {named_cluster(t), t->options.self, peer->key};
    struct rpc_bytes *bytes = raft_message_pack(&envelope, message);
    if (!is_answer(message) || !peer->inbound || !inbound_send(peer->inbound, bytes)) {
        enum lane_kind kind = message->kind == RAFT_SNAPSHOT ? LANE_SNAPSHOTS : LANE_MESSAGES;
        if (!peer->lanes[kind]) {
            peer->lanes[kind] = lane_new(t, peer, kind);
        }
        lane_send(peer->lanes[kind], bytes);
    }
    rpc_bytes_unref(bytes);
}

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
