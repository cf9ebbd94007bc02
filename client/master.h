/* Calls to the file master: finds the leader, asks others when it is silent (race.h), retries with
 * back-off until an answer is definite or the call's time is over. A read that allows some age goes
 * to one member first, the same for the whole connection, and to the leader when that one cannot
 * answer. */
#ifndef CLIENT_MASTER_H
#define CLIENT_MASTER_H

#include "client/internal.h"

struct master_request {
    const struct rpc_method *method;
    const struct ProtobufCMessage *message; /* the same in each attempt */
    bool changes;        /* a lost reply may have done something; otherwise it only means "again" */
    bool anybody;        /* any member may answer it, not the leader alone */
    uint32_t attempt_ms; /* one attempt; 0: 10 s */
    unsigned sent;       /* out: attempts whose outcome is not known */
};

/* 0: the reply is in c->arena. ERR_UNKNOWN: gave up, and an attempt may have run. ERR_TIMEOUT,
 * ERR_UNAVAILABLE: gave up, nothing happened. Else what the master said. */
int master_call(struct call *c, struct master_request *request, struct ProtobufCMessage **ret_reply,
                struct err *e) MUST_CHECK;

/* The one on this host, else any: for master_request.anybody. At the start of a connection. */
void master_choose_near(struct dfs *dfs);
/* The highest position of the master's state that the connection has heard of. */
uint64_t master_seen(struct dfs *dfs);
void master_see(struct dfs *dfs, uint64_t index);

/* Tells the user (call_waits()) that of all file masters none is even connected. */
void master_tell_silence(struct call *c);

/* Whether the same request may be answered otherwise soon: it is not the request's fault. */
bool master_is_passing(int code);

#endif
