/* Identity of a data directory: which cluster and member it belongs to, and the random key that
 * makes it one of a kind (DESIGN 2). Stands in the file IDENTITY, text of a few lines with a
 * checksum, and is written atomically. The file LOCK is held while a process uses the directory, so
 * that two never do. One thread.
 *
 * A fresh directory gets its key and role at once; cluster and member are set once, when the
 * cluster has accepted it. A daemon that has several directories has one identity, the same in
 * each. */
#ifndef COMMON_IDENT_H
#define COMMON_IDENT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/ids.h"

enum { IDENT_ROLE_BYTES_MAX = 32, IDENT_FILE_BYTES_MAX = 1024 };

/* 128 random bits drawn when a cluster is formed; all zero: not known yet. */
struct cluster_id {
    uint8_t bytes[16];
};

struct ident {
    char role[IDENT_ROLE_BYTES_MAX]; /* "fsmaster", ...: a directory serves one kind of daemon */
    struct cluster_id cluster;       /* zero until accepted */
    uint64_t member;                 /* id within the cluster; 0 until accepted */
    struct member_key key;           /* random, never changes, never shared */
};

struct datadir {
    char *path;         /* as given; owned */
    struct ident ident; /* as on disk */
    int lock_fd;        /* holds LOCK; -1 when closed */
};

/* Opens or creates a data directory for `role` and locks it. ERR_BUSY: another process uses it (e
 * names its pid); ERR_INVALID: it belongs to another role, or is neither empty nor ours;
 * ERR_VERSION: a newer format; ERR_CORRUPT: a damaged IDENTITY, which is never overwritten. */
int datadir_open(struct datadir *d, const char *path, const char *role, struct err *e) MUST_CHECK;

/* Opens a further directory of the daemon that has the identity `with`. One that is new gets that
 * identity, and so does one that has the key but was not told yet that a cluster has accepted it
 * (a crash between two of them). ERR_WRONG_CLUSTER: it belongs to another cluster or daemon; else
 * as datadir_open(), except that it must be there: ERR_NOT_FOUND. */
int datadir_join(struct datadir *d, const char *path, const struct ident *with,
                 struct err *e) MUST_CHECK;

/* What IDENTITY says; nothing is locked or made. ERR_NOT_FOUND: there is none, nor perhaps the
 * directory. */
int datadir_peek(const char *path, struct ident *ret, struct err *e) MUST_CHECK;

void datadir_close(struct datadir *d); /* accepts NULL, zeroed and closed */

/* Binds the directory to a cluster and member, durably, the first time; later calls only compare.
 * ERR_WRONG_CLUSTER: it belongs to another cluster or member. */
int datadir_adopt(struct datadir *d, struct cluster_id cluster, uint64_t member,
                  struct err *e) MUST_CHECK;

bool cluster_id_equal(struct cluster_id a, struct cluster_id b);
bool cluster_id_known(struct cluster_id id); /* not all zero */
struct cluster_id cluster_id_random(void);
enum { CLUSTER_ID_TEXT_BYTES = 33 };
char *cluster_id_format(struct cluster_id id, char text[CLUSTER_ID_TEXT_BYTES]);
/* 32 hexadecimal digits; ERR_INVALID. */
int cluster_id_parse(const char *text, struct cluster_id *ret, struct err *e) MUST_CHECK;
bool member_key_equal(struct member_key a, struct member_key b);

/* The file's bytes. ident_decode() is for untrusted bytes: ERR_CORRUPT, ERR_VERSION. */
void ident_encode(const struct ident *id, struct buf *out);
int ident_decode(const char *data, size_t length, struct ident *ret, struct err *e) MUST_CHECK;

#endif
