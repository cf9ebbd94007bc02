/* Parts of a key that decide: which reduce gets it, and in which order keys come (what Hadoop's
 * KeyFieldBasedPartitioner and KeyFieldBasedComparator do). Pure.
 *
 * Options are those of sort(1): -kF[.C][n][r][,F[.C][n][r]], fields and bytes counted from 1, and
 * -n, -r, -nr for those that have none of their own. Without an end a part goes to the key's end;
 * fields that a key does not have are empty. n: by the number that the part begins with, behind
 * blanks; none is 0. r: the other way round.
 *
 * Sorting. The engine sorts bytes and nothing else. A key that is to be sorted by fields is coded:
 * in front of it stands a sort key, made of its parts so that the bytes of two coded keys compare
 * as the parts do; equal parts then compare by the whole key. Before a user sees it, it is plain
 * again. docs/formats-mr.md has the form. */
#ifndef MAPREDUCE_ENGINE_KEYFIELDS_H
#define MAPREDUCE_ENGINE_KEYFIELDS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"
#include "trireme/mapreduce.h"

enum { KEYFIELDS_MAX = 16 };

struct keyfield {
    uint32_t first_field; /* from 1 */
    uint32_t first_byte;  /* of it, from 1 */
    uint32_t last_field;  /* 0: to the key's end */
    uint32_t last_byte;   /* of it; 0: its last */
    bool numeric;
    bool reverse;
};

struct keyfields {
    struct keyfield items[KEYFIELDS_MAX];
    uint32_t count;    /* at least 1 after parsing: the whole key if none was named */
    char separator[8]; /* between fields; at least one byte, NUL-terminated */
};

/* From "-k1,2 -k3nr"; "1,2 3nr" is the same. The caller sets the separator. ERR_INVALID says what
 * is wrong; `ret` is then as before. */
int keyfields_parse(struct keyfields *ret, const char *options, struct err *e) MUST_CHECK;

/* A number that is the same for keys with equal parts; part of our formats. */
uint64_t keyfields_hash(const struct keyfields *k, struct mr_span key);

/* Appends the coded key. */
void keyfields_code(const struct keyfields *k, struct mr_span key, struct buf *out);

/* The key again, within the coded one. ERR_CORRUPT: it is not coded so. */
int keyfields_plain(const struct keyfields *k, struct mr_span coded, struct mr_span *ret_key,
                    struct err *e) MUST_CHECK;

#endif
