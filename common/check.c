/* Where a broken promise of our own code ends; see check.h. */
#include "common/check.h"

#include <stdio.h>
#include <stdlib.h>

static void fail_by_abort(const char *condition, const char *file, int line)
{
    (void)fprintf(stderr, "CHECK failed: %s at %s:%d\n", condition, file, line);
    abort();
}

check_fail_fn check_fail = fail_by_abort;
