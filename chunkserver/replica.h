/* One replica of a chunk on this server's disk: its file or inline bytes, its CRC vector and its
 * index record, changed together. Used by whoever has the chunk to itself (an append stream, a
 * fence, a copy); on workers, one thread at a time, and everything here may block.
 *
 * Changes are staged in memory and on the file; replica_save() then writes the index entry, so that
 * one index write covers many messages; or replica_put() adds it to a write of others. What neither
 * has covered does not count. */
#ifndef CHUNKSERVER_REPLICA_H
#define CHUNKSERVER_REPLICA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chunkserver/chunk_file.h"
#include "chunkserver/chunk_index.h"
#include "common/err.h"
#include "common/ids.h"

struct rpc_bytes;

/* One disk of this server, as workers see it. Immutable after start. */
struct chunk_disk {
    struct chunk_dirs dirs;
    struct chunk_index *index;
};

struct replica {
    struct chunk_record record; /* as staged */
    struct chunk_disk *disk;    /* borrowed */
    struct chunk_file file;     /* closed while inlined, or not yet needed */
    struct buf inlined;         /* the bytes while record.inlined */
    uint32_t *crcs;             /* one for each block; the last one as of record.length */
    uint32_t crc_capacity;      /* of crcs */
    uint32_t dirty_block;       /* first block whose CRC is not in the index */
    unsigned inline_saves;      /* times that the inline bytes were written */
    bool inline_dirty;          /* they changed since */
    bool inline_gone;           /* they moved to the file; the index still has them */
    bool is_copy;               /* the file has no chunk's name until replica_adopt_copy() */
    struct index_batch *batch;  /* scratch; NULL until it is needed */
};

/* Bytes to append, all beyond record.length and contiguous with it. */
struct replica_bytes {
    const struct rpc_bytes *data; /* borrowed */
    size_t skip;                  /* bytes of data to leave out */
    size_t length;                /* bytes to append */
    uint32_t seed;                /* CRC of the first block's bytes before them */
    const uint32_t *crcs;         /* expected, for each block touched */
};

/* A new, empty replica; nothing is on disk until the first save. */
void replica_init(struct replica *r, struct chunk_disk *disk, const struct chunk_record *record);

/* An existing one: record, CRCs, inline bytes; the file is opened for writing. ERR_NOT_FOUND. */
int replica_load(struct replica *r, struct chunk_disk *disk, chunk_id id, struct err *e) MUST_CHECK;
void replica_deinit(struct replica *r); /* accepts zeroed */

/* Checks the bytes against their CRCs, then stages them. ERR_CORRUPT: they differ, nothing changed.
 * ERR_NO_SPACE, ERR_IO: record.length is as before. */
int replica_append(struct replica *r, const struct replica_bytes *bytes, struct err *e) MUST_CHECK;

/* The file's part of making everything staged durable; the record says so from then on. Ends with
 * replica_save() and an index sync. Any error is fatal for the process. */
int replica_sync(struct replica *r, struct err *e) MUST_CHECK;

/* As replica_sync(), and the staged record is `state` at `version` afterwards. */
int replica_close_at(struct replica *r, enum chunk_state state, uint64_t version,
                     struct err *e) MUST_CHECK;

/* Shortens to `length` <= record.length; the last block is verified first. ERR_CORRUPT. */
int replica_cut(struct replica *r, uint64_t length, struct err *e) MUST_CHECK;

/* Reads everything and gives the length of the longest prefix whose blocks verify; one that cannot
 * be read does not. A block that was synced partly filled and then grew counts up to the synced
 * length if only that verifies. */
int replica_verify(struct replica *r, uint64_t *ret_length, struct err *e) MUST_CHECK;

/* Whether the chunk of this record is what readers may see of it. ERR_CORRUPT: it is damaged; any
 * other error: that cannot be told now. */
int replica_check(struct chunk_disk *disk, const struct chunk_record *record,
                  struct err *e) MUST_CHECK;

/* Only the first `length` bytes count from now on; the file keeps the others. length is what
 * replica_verify() gave. */
void replica_settle(struct replica *r, uint64_t length);

/* Keeps a second copy of a file that is longer than `length`, in the trash until due_wall_ms,
 * before it is cut: of a replica that was not clean, nobody knows what the rest is worth. */
int replica_set_aside(struct replica *r, uint64_t length, time_ms due_wall_ms,
                      struct err *e) MUST_CHECK;

/* For a copy of a chunk that may be here in an older or damaged form: called on an empty replica,
 * it lets the bytes gather aside. replica_adopt_copy() makes them durable and the chunk's, and the
 * staged record sealed (any error is fatal); replica_remove_copy() forgets them. */
void replica_make_copy(struct replica *r);
int replica_adopt_copy(struct replica *r, struct err *e) MUST_CHECK;
void replica_remove_copy(struct replica *r);

/* Whether so many more bytes stay in memory until the entry is written: appending them, syncing and
 * sealing do not touch the disk then. */
bool replica_stays_inlined(const struct replica *r, uint64_t length);

/* Adds record, changed CRCs and inline bytes to a batch. The caller writes it or ends the process.
 */
void replica_put(struct replica *r, struct index_batch *batch);

/* Writes the same to the index, unsynced. Any error is fatal for the process. */
int replica_save(struct replica *r, struct err *e) MUST_CHECK;

/* Adds to a batch that the chunk of this record is not in the index any more and its file, if it
 * has one, is in the trash. Once that is durable the caller moves the file (chunk_file_trash());
 * should it not come to that the next start does it. */
void replica_forget(const struct chunk_record *record, time_ms due_wall_ms,
                    struct index_batch *batch);

/* CRC of the last block as of record.length; 0 at a block boundary. */
uint32_t replica_tail_crc(const struct replica *r);

#endif
