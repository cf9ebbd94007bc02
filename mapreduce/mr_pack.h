/* The plain structs as bytes, for pipes between a worker and its tasks and for the files of a job
 * in the store. The bytes are the protobuf messages of proto/mr.proto. Any thread. */
#ifndef MAPREDUCE_MR_PACK_H
#define MAPREDUCE_MR_PACK_H

#include "common/arena.h"
#include "common/buf.h"
#include "common/err.h"
#include "mapreduce/job_types.h"

/* Each appends to `out`. */
void job_spec_pack(const struct job_spec *from, struct buf *out);
void job_record_pack(const struct job_record *from, struct buf *out);
void job_status_pack(const struct job_status *from, struct buf *out);
void job_outcome_pack(const struct job_outcome *from, struct buf *out);
void worker_message_pack(const struct worker_message *from, struct buf *out);
void master_message_pack(const struct master_message *from, struct buf *out);

/* ERR_CORRUPT: not such a message. Else as in mr_rpc.h. */
int job_spec_unpack(struct span bytes, struct arena *arena, struct job_spec *ret,
                    struct err *e) MUST_CHECK;
int job_record_unpack(struct span bytes, struct arena *arena, struct job_record *ret,
                      struct err *e) MUST_CHECK;
int job_status_unpack(struct span bytes, struct arena *arena, struct job_status *ret,
                      struct err *e) MUST_CHECK;
int job_outcome_unpack(struct span bytes, struct arena *arena, struct job_outcome *ret,
                       struct err *e) MUST_CHECK;
int worker_message_unpack(struct span bytes, struct arena *arena, struct worker_message *ret,
                          struct err *e) MUST_CHECK;
int master_message_unpack(struct span bytes, struct arena *arena, struct master_message *ret,
                          struct err *e) MUST_CHECK;

/* Deep copies into the arena, by way of the bytes. */
int job_status_copy(const struct job_status *from, struct arena *arena, struct job_status *ret,
                    struct err *e) MUST_CHECK;
int job_record_copy(const struct job_record *from, struct arena *arena, struct job_record *ret,
                    struct err *e) MUST_CHECK;

#endif
