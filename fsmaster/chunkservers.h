/* The chunkservers as this master knows them: who is registered (from the log), who was heard, how
 * full and how busy each is. Pure; owner thread.
 *
 *   EXPECTED  registered in the log, not heard since this master started
 *   LIVE      heard within the dead time
 *   DEAD      not heard for so long; its copies do not count until it comes back
 *
 * A process of a chunkserver is known by its start count: messages of an earlier start are stale,
 * of a later one mean that it must register again. */
#ifndef FSMASTER_CHUNKSERVERS_H
#define FSMASTER_CHUNKSERVERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/arena.h"
#include "common/err.h"
#include "common/ids.h"
#include "fsmaster/command.h" /* struct server_record */
#include "fsmaster/placement.h"

enum chunkserver_state {
    CHUNKSERVER_EXPECTED,
    CHUNKSERVER_LIVE,
    CHUNKSERVER_DEAD,
};

struct chunkserver {
    struct server_record record; /* strings owned */
    enum chunkserver_state state;
    bool joined;       /* has registered with this master in its present start */
    bool reported;     /* and since then sent its full list to the end */
    bool listing;      /* a full list is coming in */
    time_ms joined_ms; /* when it registered */
    uint64_t start_count;
    chunk_id trusted_from; /* chunks from here on were allocated in its present start, while this
                            * master led: what it does not have of them it has never had, or lost
                            * with a disk */
    uint64_t sequence;     /* of its last heartbeat */
    time_ms heard_ms;      /* last message, or when it became EXPECTED */
    uint64_t capacity_bytes;
    uint64_t free_bytes;
    uint64_t used_bytes;
    uint64_t chunk_count; /* as it says */
    uint32_t streams;     /* likewise */
    int64_t moved_bytes;  /* by balancing, since about its last heartbeat */
    uint32_t allocated;   /* chunks given to it since its last heartbeat */
    uint32_t copies_in;   /* repairs to it in progress */
    uint32_t copies_out;  /* and from it */
    uint32_t host;        /* label as a number, from 1 */
    uint32_t rack;
    char **failed_disks; /* data directories that it goes on without, as it says; owned */
    size_t failed_disk_count;
    bool told_done; /* out of service, and the log says that it can be stopped */
    size_t place;   /* in the array */
};

struct chunkservers;

/* dead_ms: silence that makes a server DEAD. Never NULL. */
struct chunkservers *chunkservers_new(time_ms dead_ms);
void chunkservers_free(struct chunkservers *c); /* accepts NULL */

/* A registration was applied, or found in the state at start. Copies the record. */
struct chunkserver *chunkservers_put(struct chunkservers *c, const struct server_record *record,
                                     time_ms now);

struct chunkserver *chunkservers_find(const struct chunkservers *c, server_id id); /* or NULL */
struct chunkserver *chunkservers_find_key(const struct chunkservers *c, struct member_key key);
size_t chunkservers_count(const struct chunkservers *c);
struct chunkserver *chunkservers_at(const struct chunkservers *c, size_t place);

/* What it says of itself. */
struct chunkserver_load {
    uint64_t capacity_bytes;
    uint64_t free_bytes;
    uint64_t used_bytes;
    uint64_t chunk_count;
    uint32_t streams;
};

/* Registered with this master: LIVE, nothing reported yet. True if it was not LIVE. */
bool chunkservers_join(struct chunkservers *c, struct chunkserver *server, uint64_t start_count,
                       time_ms now);

/* What it has, or they have, reported is not to be relied on: the next heartbeat is answered with
 * the wish for a full list. */
void chunkserver_ask_again(struct chunkserver *server, time_ms now);
void chunkservers_ask_again(struct chunkservers *c, time_ms now);
/* This master begins to lead, and the next chunk will have this id. */
void chunkservers_trust_from(struct chunkservers *c, chunk_id next);

/* 0; ERR_NOT_FOUND: unknown, or not joined in this start: it must register again; ERR_STALE: of an
 * earlier start. *ret_revived: it was DEAD. */
int chunkservers_hear(struct chunkservers *c, server_id id, uint64_t start_count, time_ms now,
                      struct chunkserver **ret, bool *ret_revived) MUST_CHECK;
void chunkserver_set_load(struct chunkserver *server, const struct chunkserver_load *load);

/* Data directories that it goes on without, for a human; copied. True if they are more than it said
 * before. */
bool chunkserver_set_failed_disks(struct chunkserver *server, char *const *texts, size_t count);
/* failed_disk_count texts in the arena; never NULL. */
char **chunkserver_copy_failed_disks(const struct chunkserver *server, struct arena *arena);

/* A server that has been silent for too long and is DEAD now; NULL: no more. */
struct chunkserver *chunkservers_expire(struct chunkservers *c, time_ms now);

/* Every server that is not dead has sent its full list. */
bool chunkservers_all_reported(const struct chunkservers *c);
/* As many as can be expected have: nobody that may yet come is awaited, and a live server that has
 * not sent its list within the dead time is not either. Before that a chunk with few known copies
 * need not have few, and copying would be waste. */
bool chunkservers_settled(const struct chunkservers *c, time_ms now);
uint32_t chunkservers_live_count(const struct chunkservers *c);
/* Servers in maintenance that are not there and of which this master has never heard what they
 * hold: each may have a copy of any chunk. */
uint32_t chunkservers_away_count(const struct chunkservers *c);
/* Servers that an operator has taken out of service. */
uint32_t chunkservers_leaving_count(const struct chunkservers *c);

/* Number of a host label; 0 if no server has it. */
uint32_t chunkservers_host(const struct chunkservers *c, const char *host);

/* All servers as placement wants them, up to date; count entries. Valid until the next call. */
const struct placement_server *chunkservers_candidates(struct chunkservers *c, size_t *ret_count);

#endif
