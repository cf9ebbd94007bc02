/* Raft's messages between members: streams of our own to each peer, and the peers' to us, which
 * also take our answers (docs/raft-shell.md, "Peers"). Nothing here is reliable: what cannot go now
 * is dropped and told to the owner, who lets the library send it again.
 *
 * Everything here belongs to the owner thread, which drives the loop. */
#ifndef FSMASTER_RAFT_TRANSPORT_H
#define FSMASTER_RAFT_TRANSPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/ident.h"
#include "common/raft/raft.h"
#include "common/rpc/rpc.h"
#include "common/rpc/rpc_stream.h"

struct mailbox;
struct metrics;
struct raft_transport;

struct raft_transport_options {
    struct rpc_loop *loop;  /* driven until the transport is idle after its close */
    struct rpc_pool *pool;  /* of channels */
    struct mailbox *owner;  /* where losses are told */
    struct member_key self; /* of this data directory */
    const char *address;    /* own, for peers without a configuration; borrowed */
    struct metrics *metrics;
};

/* Where what happens goes. */
struct raft_receiver {
    void *ctx;
    /* Entries and data live until it returns. `from` is the sender's whole key. */
    void (*received)(void *ctx, const struct raft_message *message, struct member_key from);
    /* Messages to this peer are being lost. */
    void (*unreachable)(void *ctx, raft_key peer);
};

struct raft_transport *raft_transport_new(const struct raft_transport_options *options);

/* Messages that come before this, or after a NULL, are dropped. */
void raft_transport_attach(struct raft_transport *t, const struct raft_receiver *receiver);

/* The cluster that messages name. While none is set, messages of any cluster that name our key are
 * taken: whose they are is the receiver's to find out: raft_transport_heard_cluster(). */
void raft_transport_set_cluster(struct raft_transport *t, struct cluster_id cluster);
/* Of the message that is being received. */
struct cluster_id raft_transport_heard_cluster(const struct raft_transport *t);

/* Whom messages may go to, and where. A peer that is not in `peers` any more is forgotten when it
 * has not written to us for RAFT_STRANGER_MS; one that never was is where it says itself. */
struct raft_transport_peer {
    struct member_key key;
    const char *address;
};
void raft_transport_set_peers(struct raft_transport *t, const struct raft_transport_peer *peers,
                              size_t count);

/* Packs and sends; entries and data are filled in and may go when it returns. To a peer that nobody
 * named it is dropped. */
void raft_transport_send(struct raft_transport *t, const struct raft_message *message);

/* Ends all streams; then idle comes. */
void raft_transport_close(struct raft_transport *t);
bool raft_transport_idle(const struct raft_transport *t);
/* Idle, and the loop driven by nobody any more. Accepts NULL. */
void raft_transport_free(struct raft_transport *t);

/* The streams of a service table whose service is a struct raft_transport. */
extern const struct rpc_stream_ops raft_message_stream_ops;
extern const struct rpc_stream_ops raft_snapshot_stream_ops;

#endif
