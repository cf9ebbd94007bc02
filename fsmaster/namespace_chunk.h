/* Extents and chunks of files inside the namespace core (namespace_chunk.c). Nobody but the
 * namespace's .c files includes this. */
#ifndef FSMASTER_NAMESPACE_CHUNK_H
#define FSMASTER_NAMESPACE_CHUNK_H

#include "fsmaster/namespace_internal.h"

int ns_apply_allocate(struct namespace *ns, const struct op_allocate *op, struct op_result *result);
int ns_apply_seal_chunk(struct namespace *ns, const struct op_seal_chunk *op,
                        struct op_result *result);
int ns_apply_abandon_chunk(struct namespace *ns, const struct op_abandon_chunk *op,
                           struct op_result *result);
int ns_apply_seal_begin(struct namespace *ns, const struct cmd_seal_begin *cmd,
                        struct apply_result *result);
int ns_apply_seal_end(struct namespace *ns, const struct cmd_seal_end *cmd,
                      struct apply_result *result);

int ns_chunk_get(struct namespace *ns, chunk_id id, struct chunk_record *ret) MUST_CHECK;
void ns_chunk_put(struct namespace *ns, const struct chunk_record *chunk);
/* The chunk at the end of the file that is not sealed; ERR_NOT_FOUND. */
int ns_open_chunk(struct namespace *ns, const struct ns_node *file,
                  struct chunk_record *ret) MUST_CHECK;
/* Whether a chunk may go to the servers that the leader chose. ERR_FEW_SERVERS: none. */
int ns_may_allocate(struct namespace *ns, const server_id *servers, uint32_t count) MUST_CHECK;
/* After that, and with nothing open in the file: its next chunk, into the result. */
int ns_allocate(struct namespace *ns, const struct ns_node *file, const server_id *servers,
                uint32_t count, struct op_result *result) MUST_CHECK;
/* One extent less names the chunk; with the last one the chunk goes. */
int ns_chunk_release(struct namespace *ns, chunk_id id) MUST_CHECK;

/* What a writer's word "chunk ref has length bytes" means for its file. */
struct ns_settle {
    enum {
        NS_SETTLE_NOTHING, /* it is so already */
        NS_SETTLE_SEAL,
        NS_SETTLE_DROP, /* nothing was written */
    } kind;
    struct chunk_record chunk; /* to be sealed or dropped */
    uint64_t length;           /* to be sealed at */
};
/* ref.id 0: the writer says that no chunk is open. ERR_STALE: another version, or recovery has
 * begun; ERR_SEALED: at another length; ERR_INVALID: too long, not this file's; ERR_PRECONDITION:
 * another chunk is open. */
int ns_settle_plan(struct namespace *ns, const struct ns_node *file, struct chunk_ref ref,
                   uint64_t length, struct ns_settle *ret) MUST_CHECK;
int ns_settle_do(struct namespace *ns, struct ns_node *file, struct ns_settle *settle) MUST_CHECK;

#endif
