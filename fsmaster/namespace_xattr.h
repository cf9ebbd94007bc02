/* Extended attributes inside the namespace core (namespace_xattr.c). Nobody but the namespace's .c
 * files includes this. */
#ifndef FSMASTER_NAMESPACE_XATTR_H
#define FSMASTER_NAMESPACE_XATTR_H

#include "fsmaster/namespace_internal.h"

int ns_apply_set_xattr(struct namespace *ns, const struct op_set_xattr *op,
                       struct op_result *result);
/* The inode goes, and they with it: at most XATTR_COUNT_MAX rows. */
int ns_xattrs_remove(struct namespace *ns, struct ns_node *node) MUST_CHECK;

#endif
