/* Quotas inside the namespace core: what may come below a directory that has one. Nobody but the
 * namespace's .c files includes this. See namespace_quota.c for the rules. */
#ifndef FSMASTER_NAMESPACE_QUOTA_H
#define FSMASTER_NAMESPACE_QUOTA_H

#include "fsmaster/namespace_internal.h"

/* May what weighs `weight` come to where the walk leads, in the place of what is there if anything
 * is, with the parents that the walk lacks? `from`: the directory that it leaves for that, whose
 * own quotas and those above it count it already; NULL: it is new. 0, or ERR_QUOTA. Costs one
 * comparison if the walk has met no quota. */
int ns_quota_fits(struct namespace *ns, const struct ns_walk *walk, const struct ns_delta *weight,
                  struct ns_node *from) MUST_CHECK;

/* May a file that is there take so many bytes of space more (all its copies), or fewer? ERR_QUOTA.
 * ret_limited, unless NULL: a directory above it has a quota. */
int ns_quota_grows(struct namespace *ns, const struct ns_node *file, int64_t space,
                   bool *ret_limited) MUST_CHECK;

/* The file's open chunk is promised so many bytes of each copy from now on; 0: none any more. */
int ns_reserve(struct namespace *ns, struct ns_node *file, uint64_t bytes) MUST_CHECK;

int ns_apply_set_quota(struct namespace *ns, const struct op_set_quota *op,
                       struct op_result *result);

#endif
