/* Between proto/mr.proto and the plain structs of job_types.h. Any thread; everything made lies in
 * the arena given.
 *
 * `to_wire` borrows from its argument, so that must outlive the message. `from_wire` copies, checks
 * counts against limits.h and texts for NULL; ERR_INVALID says which field. `pack` and `unpack` are
 * for pipes and store files. */
#ifndef MAPREDUCE_MR_RPC_H
#define MAPREDUCE_MR_RPC_H

#include "common/arena.h"
#include "common/buf.h"
#include "common/err.h"
#include "mapreduce/job_types.h"
#include "proto/mr.pb-c.h"

Trireme__V1__JobSpec *job_spec_to_wire(const struct job_spec *from, struct arena *arena);
int job_spec_from_wire(const Trireme__V1__JobSpec *from, struct arena *arena, struct job_spec *ret,
                       struct err *e) MUST_CHECK;
Trireme__V1__JobRecord *job_record_to_wire(const struct job_record *from, struct arena *arena);
int job_record_from_wire(const Trireme__V1__JobRecord *from, struct arena *arena,
                         struct job_record *ret, struct err *e) MUST_CHECK;
Trireme__V1__JobStatus *job_status_to_wire(const struct job_status *from, struct arena *arena);
int job_status_from_wire(const Trireme__V1__JobStatus *from, struct arena *arena,
                         struct job_status *ret, struct err *e) MUST_CHECK;
Trireme__V1__JobOutcome *job_outcome_to_wire(const struct job_outcome *from, struct arena *arena);
int job_outcome_from_wire(const Trireme__V1__JobOutcome *from, struct arena *arena,
                          struct job_outcome *ret, struct err *e) MUST_CHECK;
Trireme__V1__WorkerMessage *worker_message_to_wire(const struct worker_message *from,
                                                   struct arena *arena);
int worker_message_from_wire(const Trireme__V1__WorkerMessage *from, struct arena *arena,
                             struct worker_message *ret, struct err *e) MUST_CHECK;
Trireme__V1__MasterMessage *master_message_to_wire(const struct master_message *from,
                                                   struct arena *arena);
int master_message_from_wire(const Trireme__V1__MasterMessage *from, struct arena *arena,
                             struct master_message *ret, struct err *e) MUST_CHECK;

#endif
