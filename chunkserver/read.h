/* Read streams: whole blocks with their CRCs, verified here too, as fast as the reader takes them
 * (DESIGN 4, "Read"). A stream runs on its loop; it passes the owner once, to learn how far the
 * chunk may be read, and then workers read one message ahead of the connection. */
#ifndef CHUNKSERVER_READ_H
#define CHUNKSERVER_READ_H

struct rpc_stream_ops;

extern const struct rpc_stream_ops read_ops; /* of the method Read; service is struct server */

#endif
