/* The one codec of commands: MutateRequest and log entries as protobuf, to and from plain structs.
 * Any thread. Decoders take any bytes; what they accept may still be nonsense, which apply answers.
 */
#ifndef FSMASTER_COMMAND_RPC_H
#define FSMASTER_COMMAND_RPC_H

#include "common/buf.h"
#include "common/err.h"
#include "fsmaster/command.h"
#include "fsmaster/namespace.h"

struct ProtobufCMessage;
struct arena;

/* A client's request as plain operations. request is a Trireme__V1__MutateRequest, which must live
 * as long as the result (strings are borrowed). Allocate.servers is left out whatever the client
 * put there; the arrays are writable by whoever owns the arena, so that placement can fill them in.
 * ERR_TOO_LARGE: more operations or preconditions than allowed. */
int command_from_request(const struct ProtobufCMessage *request, struct arena *arena,
                         struct cmd_mutate *ret, struct err *e) MUST_CHECK;

/* Appends the entry to out. ERR_TOO_LARGE: more than LOG_ENTRY_BYTES_MAX. */
int command_encode(const struct command_entry *entry, struct arena *arena, struct buf *out,
                   struct err *e) MUST_CHECK;

/* ERR_CORRUPT: not an entry. ERR_VERSION: holds something that this program does not know, so the
 * member must stop. The result lives in arena. */
int command_decode(struct span bytes, struct arena *arena, struct command_entry *ret,
                   struct err *e) MUST_CHECK;

/* Results of an applied ENTRY_MUTATE, and a position that has it, into reply, an initialised
 * Trireme__V1__MutateReply whose memory is arena. Borrows from result. */
void command_to_reply(const struct apply_result *result, log_index applied, struct arena *arena,
                      struct ProtobufCMessage *reply);

#endif
