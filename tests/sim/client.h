/* Clients: each has a session and a few lanes, one request at a time in each. A request goes to
 * whom the client believes to lead and is tried again, with the same number, at another machine
 * until it is answered or patience ends. Outcomes are done, failed (definitely not done) or unknown
 * (DESIGN 4, 5). */
#ifndef TESTS_SIM_CLIENT_H
#define TESTS_SIM_CLIENT_H

#include "tests/sim/machine.h"
#include "tests/sim/sim.h"

enum { CLIENT_LANE_COUNT_MAX = 4 };

enum op_state {
    OP_RUNNING,
    OP_DONE,
    OP_FAILED,  /* given up; no attempt can have been accepted */
    OP_UNKNOWN, /* given up; an attempt may have been accepted, or may be yet */
};

struct op {
    uint32_t client;
    uint32_t lane;
    uint32_t key;
    bool is_read;
    bool maybe; /* an attempt has ended without a definite answer */
    enum op_state state;
    uint64_t session;
    uint64_t seq;
    uint32_t attempt;
    uint64_t floor; /* of its register: the highest version that anybody knew when it began */
    uint64_t executed_index; /* a write: of the entry that ran, 0: none has */
    uint64_t version;        /* a write: what it made; a read: what it saw */
    uint32_t seen_op;        /* a read: whose write it saw */
    sim_us began;
    sim_us ended;
};

enum reply_kind {
    REPLY_DONE,
    REPLY_NOT_LEADER, /* definite; hint */
    REPLY_BUSY,       /* definite */
    REPLY_REFUSED,    /* definite: nobody listens there */
    REPLY_NO_SESSION,
    REPLY_STALE,
    REPLY_UNKNOWN, /* accepted, and then leadership was lost */
};

struct reply {
    enum reply_kind kind;
    uint32_t op;
    uint32_t attempt;
    uint32_t hint; /* slot + 1; 0: none */
    uint64_t version;
    uint32_t seen_op;
};

struct client {
    uint64_t session;
    uint64_t next_seq;
    uint32_t sessions;                     /* opened so far */
    uint32_t target;                       /* slot */
    bool asleep;                           /* long enough for its session to end */
    uint32_t lanes[CLIENT_LANE_COUNT_MAX]; /* op under way; 0: none */
};

struct clients {
    struct op *ops; /* ops[0] is nobody's */
    uint32_t op_count;
    uint32_t op_capacity;
    struct client all[SIM_CLIENT_COUNT_MAX];
    bool stopped; /* no new requests */
    bool sleeper; /* one client sleeps; the others keep the cluster busy */
};

struct clients *clients_new(struct sim *s);
void clients_free(struct clients *c);
bool clients_idle(const struct clients *c);
void client_on_event(struct sim *s, struct event *ev);
void client_on_reply(struct sim *s, struct event *ev);

/* Sends a reply, which may be lost. */
void client_answer(struct sim *s, struct reply reply);

/* What the clients saw, as tests/lib/lin.h reads it. */
void clients_write_history(struct sim *s, const char *path);

#endif
