/* A compressed file as the source of its text. One thread. Memory: a piece of the file and one of
 * the text (common/inflate.h), however large either is.
 *
 * Nobody can begin in the middle of a compressed file, so it is never cut: one split has all of it,
 * and reads follow each other from offset 0 of the text on. */
#ifndef MAPREDUCE_ENGINE_INFLATED_H
#define MAPREDUCE_ENGINE_INFLATED_H

#include "common/err.h"
#include "common/inflate.h"
#include "mapreduce/engine/source.h"
#include "trireme/mapreduce.h"

/* The setting (true when not given): whether input is decompressed by the ends of its names. */
#define INFLATED_SETTING "mapreduce.input.decompress"

/* What a file of this name is for a job that has the setting: INFLATE_NONE also if whole files are
 * its records, which it gets as they are. ERR_INVALID: compressed in a way that is not read. */
int inflated_kind(const char *path, enum mr_input input, enum inflate_kind *ret_kind,
                  struct err *e) MUST_CHECK;

/* Never NULL. Borrows `packed`, and its name and length. Errors of what it reads name the file and
 * the offset in it. */
struct source *inflated_new(struct source *packed, enum inflate_kind kind);

#endif
