/* See store_err.h. */
#include "mapreduce/store_err.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <trireme/dfs.h>

static_assert((int)DFS_ENOT_FOUND == (int)ERR_NOT_FOUND,
              "libdfs and common/err.h share their numbers");
static_assert((int)DFS_EPRECONDITION == (int)ERR_PRECONDITION,
              "libdfs and common/err.h share their numbers");
static_assert((int)DFS_EVERSION == (int)ERR_VERSION, "libdfs and common/err.h share their numbers");

int err_from_dfs(struct err *e, const struct dfs_err *de, const char *format, ...)
{
    char text[ERR_MSG_BYTES_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    int code = de->unknown ? ERR_UNKNOWN : de->code;
    if (code >= 0) {
        code = ERR_INTERNAL; /* a failure without a code is a bug of libdfs, but never success */
    }
    return err_set(e, code, "%s: %s", text, de->msg[0] ? de->msg : err_text(code));
}

bool store_is_away(int code)
{
    return code == ERR_UNAVAILABLE || code == ERR_TIMEOUT || code == ERR_UNKNOWN ||
           code == ERR_BUSY || code == ERR_FEW_SERVERS || code == ERR_NOT_LEADER;
}
