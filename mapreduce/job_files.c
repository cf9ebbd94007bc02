/* See job_files.h. */
#include "mapreduce/job_files.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <trireme/dfs.h>

#include "common/alloc.h"
#include "common/buf.h"
#include "common/crc32c.h"
#include "common/sys.h"
#include "mapreduce/store_err.h"

/* Copies one file out of the store under a temporary name, checks it, and gives it its name. */
static int fetch_bytes(struct dfs_file *file, const struct job_file *f, int fd, struct err *e)
{
    enum { PIECE = 256 * 1024 };
    struct dfs_err de = {0};
    char *data = xmalloc(PIECE);
    uint64_t at = 0;
    uint32_t crc = 0;
    int r = 0;
    while (r == 0) {
        int64_t n = dfs_pread(file, data, PIECE, at, &de);
        if (n <= 0) {
            r = n < 0 ? err_from_dfs(e, &de, "fetch %s", f->store_path) : 0;
            break;
        }
        crc = crc32c_extend(crc, data, (size_t)n);
        at += (uint64_t)n;
        r = sys_write_full(fd, data, (size_t)n, e);
    }
    free(data);
    if (r == 0 && (at != f->length || crc != f->crc32c)) {
        r = err_set(e, ERR_CORRUPT, "%s is not the file that was submitted", f->store_path);
    }
    return r;
}

static int fetch_file(struct dfs *dfs, const char *directory, const struct job_file *f,
                      struct err *e)
{
    struct buf path = BUF_INIT;
    struct buf temporary = BUF_INIT;
    struct dfs_err de = {0};
    struct dfs_file *file = NULL;
    bool plain = f->name[0] && !strchr(f->name, '/') && strcmp(f->name, ".") != 0 &&
                 strcmp(f->name, "..") != 0;
    if (!plain) { /* it would lie elsewhere */
        return err_set(e, ERR_INVALID, "'%.100s' is no name for a job's file", f->name);
    }
    buf_printf(&path, "%s/%s", directory, f->name);
    buf_printf(&temporary, "%s/%s.part", directory, f->name);
    int fd = sys_open(temporary.data, O_WRONLY | O_CREAT | O_TRUNC, f->executable ? 0755 : 0644, e);
    int r = fd < 0 ? fd : 0;
    if (r == 0 && dfs_open(dfs, f->store_path, &file, &de) < 0) {
        r = err_from_dfs(e, &de, "fetch %s", f->store_path);
    }
    r = r < 0 ? r : fetch_bytes(file, f, fd, e);
    if (file) {
        (void)dfs_close(file, NULL); /* was only read */
    }
    sys_close(&fd);
    if (r == 0 && rename(temporary.data, path.data) < 0) {
        r = err_errno(e, "rename %s", temporary.data);
    }
    buf_deinit(&path);
    buf_deinit(&temporary);
    return r;
}

int job_files_fetch(struct dfs *dfs, const struct job_spec *spec, const char *directory,
                    struct err *e)
{
    int r = sys_mkdir_scratch(directory, e);
    if (r == 0 && spec->library) {
        r = fetch_file(dfs, directory, spec->library, e);
    }
    for (size_t i = 0; i < spec->file_count && r == 0; i++) {
        r = fetch_file(dfs, directory, &spec->files[i], e);
    }
    return r;
}
