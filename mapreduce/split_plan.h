/* Split planning: from files and the hosts of their chunks to the inputs of map tasks (OSDI'04
 * section 3.1). Pure.
 *
 * - A large file is cut at its extents' borders; an extent longer than the wanted size is cut
 * evenly, shorter neighbours are joined up to it. Splits are byte ranges: adjusting to whole
 * records is the reader's (mapreduce/engine), by the rule that a record belongs to the split in
 * which it begins.
 * - Files of less than half the wanted size are combined, whole, with others that have a host in
 * common, so that a thousand small files do not cost a thousand tasks.
 * - A file that is to stay whole, as a compressed one, is one split; only when there are more files
 * than splits wanted are small ones of these combined, too.
 * - Each split knows up to SPLIT_HOSTS_MAX hosts, those that hold most of its bytes first. */
#ifndef MAPREDUCE_SPLIT_PLAN_H
#define MAPREDUCE_SPLIT_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/arena.h"

enum {
    SPLIT_HOSTS_MAX = 3,
    SPLIT_FILES_MAX = 1000, /* files combined into one split */
};

struct plan_extent {
    uint64_t offset;
    uint64_t length;
    const char *const *hosts; /* labels; borrowed */
    const char *const *racks; /* of each host, same order */
    uint32_t host_count;
};

struct plan_file {
    const char *path; /* borrowed, like all that follows */
    uint64_t inode;
    uint64_t length;
    const struct plan_extent *extents; /* ascending, covering the file */
    size_t extent_count;
    bool whole; /* one split, neither cut nor combined: nobody can begin in its middle */
};

struct plan_options {
    uint64_t split_bytes; /* wanted size; > 0 */
    uint32_t splits_max;  /* with more, the size is raised; > 0 */
    uint64_t
        near_bytes;   /* a split of so many bytes is not joined with a neighbour on other hosts */
    bool whole_files; /* never cut a file: each is a split, or a part of a combined one */
};

/* A range of one file. */
struct plan_piece {
    uint32_t file; /* index into the files given */
    uint64_t offset;
    uint64_t length;
};

struct plan_split {
    struct plan_piece *pieces;
    uint32_t piece_count;
    uint64_t bytes;
    const char *hosts[SPLIT_HOSTS_MAX]; /* borrowed from the extents */
    const char *racks[SPLIT_HOSTS_MAX];
    uint32_t host_count;
};

struct plan {
    struct plan_split *splits; /* largest first, so that the longest tasks start first */
    uint32_t split_count;
    uint64_t bytes;
};

/* Empty files make no split, unless files stay whole: each is a record then. Everything in *ret is
 * the arena's or borrowed from `files`. */
void split_plan(const struct plan_file *files, size_t file_count,
                const struct plan_options *options, struct arena *arena, struct plan *ret);

#endif
