/* Identities that cross module borders. Plain integers with names; 0 is never a valid id unless
 * said. */
#ifndef COMMON_IDS_H
#define COMMON_IDS_H

#include <stdint.h>

typedef uint64_t inode_id;   /* a file or directory; 1 is the root */
typedef uint64_t chunk_id;   /* rises by one at each allocation; never used again */
typedef uint64_t server_id;  /* a chunkserver, given at its first registration; rises, unique */
typedef uint64_t session_id; /* a client session (DESIGN 5, sessions) */
typedef uint64_t term_no;    /* Raft term; 0 before the first election */
typedef uint64_t log_index;  /* Raft log index; the first entry has 1, 0 is "before the log" */
typedef uint64_t time_ms;    /* on the clock that the variable's name says: mono, wall or cluster */

/* A chunk at one version: what leases, reads, fences and deletes name. Each recovery raises it. */
enum { CHUNK_VERSION_FIRST = 1 };
struct chunk_ref {
    chunk_id id;
    uint64_t version;
};

/* The 128-bit random key that a data directory is given once; a member's true identity (DESIGN
 * 2). */
struct member_key {
    uint8_t bytes[16];
};

#endif
