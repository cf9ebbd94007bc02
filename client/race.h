/* One request at one file master, and at others too when that one is silent.
 *
 * A master that is stopped, cut off or hung does not refuse: it says nothing, and the connection to
 * it looks alive for seconds. Nor can a client tell it from one that is busy. So after a short
 * silence the same request goes to the next configured master as well, and so on; whoever leads
 * answers it. The first one keeps its turn: where nobody else leads, the others refuse, and a slow
 * leader has no more work than before. A change carries its sequence number, so it runs once
 * however many masters get it (DESIGN 5 "Sessions"). */
#ifndef CLIENT_RACE_H
#define CLIENT_RACE_H

#include "client/master.h"

/* Ends when `first` has answered or failed, or when another one has answered as the leader, or
 * names a leader that is not being asked: that is ERR_NOT_LEADER then, with its hint in
 * ret_result. ret_by: whose result it is, except in that last case `first`. Nothing is in flight
 * when it returns. Counts in request->sent the attempts, other than the one returned, that may have
 * run. Returns ret_result->code. */
int race_run(struct call *c, struct master_request *request, const char *first,
             char ret_by[LIMIT_ADDRESS_BYTES_MAX], struct ProtobufCMessage **ret_reply,
             struct rpc_result *ret_result) MUST_CHECK;

#endif
