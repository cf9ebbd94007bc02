/* Paths of the store: what a user may type, brought to the one form in which they are stored and
 * sent. Pure.
 *
 * A store path is absolute, in UTF-8 without control characters, has no empty, "." or ".."
 * component and no slash at its end, except the root, which is "/". Components have at most
 * LIMIT_NAME_BYTES_MAX bytes, paths LIMIT_PATH_BYTES_MAX and LIMIT_DEPTH_MAX components. ".." is
 * refused rather than resolved: what it means next to a renamed directory would depend on who asks.
 */
#ifndef COMMON_PATH_H
#define COMMON_PATH_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buf.h"
#include "common/err.h"

/* The store path for what was typed: relative ones start at `base` (a store path such as
 * "/user/ada"), runs of slashes count as one, "." components and a slash at the end are dropped.
 * Appends to out, which is unchanged on failure. ERR_INVALID: a bad component, or "..";
 * ERR_TOO_LARGE: beyond a limit. */
int path_normalize(const char *typed, const char *base, struct buf *out, struct err *e) MUST_CHECK;

/* "hdfs://AUTHORITY/a/b", as Hadoop's programs write a path of the one store that there is ->
 * "/a/b"; anything else stays as typed. Borrowed from typed, or static. */
const char *path_without_scheme(const char *typed);

/* Whether it begins with hdfs://. */
bool path_has_scheme(const char *typed);

/* For bytes of a peer: 0 only for a store path exactly as stored. ERR_INVALID, ERR_TOO_LARGE. */
int path_check(const char *path, size_t length, struct err *e) MUST_CHECK;

/* For one component: not empty, not "." or "..", no slash, UTF-8 without control characters, within
 * the limit. */
int path_check_name(const char *name, size_t length, struct err *e) MUST_CHECK;

/* The next component of a store path at *at (start with the path itself); false at the end.
 *     const char *at = path; struct span name; while (path_next(&at, &name)) ... */
bool path_next(const char **at, struct span *ret_name);

/* "/a/b/c" -> parent "/a/b" (appended to parent) and name "c" (borrowed from path). ERR_INVALID for
 * "/". */
int path_split(const char *path, struct buf *parent, const char **ret_name) MUST_CHECK;

/* The last component; "" for the root. Borrowed from path. */
const char *path_name(const char *path);

/* Whether `path` is `ancestor` itself or lies under it; both store paths. */
bool path_is_under(const char *path, const char *ancestor);

/* Number of components; 0 for the root. */
size_t path_depth(const char *path);

#endif
