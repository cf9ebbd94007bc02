/* One Append stream: the state machine around the append core, on the loop of the stream (DESIGN 4,
 * "Append: one write path").
 *
 * A received message goes three ways at once: its bytes, by reference, downstream; to a worker that
 * checks and writes them and puts {length, CRCs} into the index; and its header through the core.
 * One worker job of a stream is in flight at a time and takes all that has gathered, so index
 * writes are few under load. The next message is asked for as long as less than APPEND_WINDOW_BYTES
 * wait for the disk and the connection downstream takes bytes; beyond that, flow control holds the
 * writer. */
#ifndef CHUNKSERVER_CHAIN_H
#define CHUNKSERVER_CHAIN_H

struct chain;
struct rpc_stream_ops;

extern const struct rpc_stream_ops chain_ops; /* of the method Append; service is struct server */

/* Tells the stream to end: nothing more is acknowledged, what was received is written, then the
 * claim is released. From the owner, while the chain holds its claim. */
void chain_stop(struct chain *c, int code, const char *why);

#endif
