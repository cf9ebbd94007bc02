/* See job_files.h. */
#include "mapreduce/job_files.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <trireme/dfs.h>

#include "common/alloc.h"
#include "common/arena.h"
#include "common/buf.h"
#include "common/crc32c.h"
#include "common/sys.h"
#include "mapreduce/job_notes.h"
#include "mapreduce/store_err.h"

static int check_bytes(const struct job_file *f, uint64_t length, uint32_t crc, struct err *e)
{
    return length == f->length && crc == f->crc32c
               ? 0
               : err_set(e, ERR_CORRUPT, "%s is not the file that was submitted", f->name);
}

static int copy_bytes(struct dfs_file *file, const struct job_file *f, int fd, struct err *e)
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
    return r < 0 ? r : check_bytes(f, at, crc, e);
}

static int fetch_large(struct dfs *dfs, const struct job_file *f, int fd, struct err *e)
{
    struct dfs_err de = {0};
    struct dfs_file *file = NULL;
    if (dfs_open(dfs, f->store_path, &file, &de) < 0) {
        return err_from_dfs(e, &de, "fetch %s", f->store_path);
    }
    int r = copy_bytes(file, f, fd, e);
    (void)dfs_close(file, NULL); /* was only read */
    return r;
}

static int place_small(const struct job_file *f, int fd, struct err *e)
{
    uint32_t crc = crc32c_extend(0, f->data.data, f->data.length);
    int r = check_bytes(f, f->data.length, crc, e);
    return r < 0 ? r : sys_write_full(fd, f->data.data, f->data.length, e);
}

/* Makes one file under a temporary name, checks it, and gives it its name. */
static int fetch_file(struct dfs *dfs, const char *directory, const struct job_file *f,
                      struct err *e)
{
    struct buf path = BUF_INIT;
    struct buf temporary = BUF_INIT;
    bool plain = f->name[0] && !strchr(f->name, '/') && strcmp(f->name, ".") != 0 &&
                 strcmp(f->name, "..") != 0;
    if (!plain) { /* it would lie elsewhere */
        return err_set(e, ERR_INVALID, "'%.100s' is no name for a job's file", f->name);
    }
    buf_printf(&path, "%s/%s", directory, f->name);
    buf_printf(&temporary, "%s/%s.part", directory, f->name);
    int fd = sys_open(temporary.data, O_WRONLY | O_CREAT | O_TRUNC, f->executable ? 0755 : 0644, e);
    int r = fd < 0 ? fd : f->store_path[0] ? fetch_large(dfs, f, fd, e) : place_small(f, fd, e);
    sys_close(&fd);
    if (r == 0 && rename(temporary.data, path.data) < 0) {
        r = err_errno(e, "rename %s", temporary.data);
    }
    if (r < 0) {
        (void)unlink(temporary.data); /* nobody's to read */
    }
    buf_deinit(&path);
    buf_deinit(&temporary);
    return r;
}

/* As mrmaster and workers have it, without the bytes of small files. */
static bool is_bare(const struct job_spec *spec)
{
    bool bare = false;
    for (size_t i = 0; i < job_spec_file_count(spec); i++) {
        const struct job_file *f = job_spec_file(spec, i);
        bare = bare || (!f->store_path[0] && f->data.length < f->length);
    }
    return bare;
}

int job_files_fetch(struct dfs *dfs, const char *job, const struct job_spec *spec,
                    const char *directory, struct err *e)
{
    struct arena arena = ARENA_INIT;
    struct job_record record;
    int r = sys_mkdir_scratch(directory, e);
    if (r == 0 && is_bare(spec)) {
        r = job_notes_read_record(dfs, job, &arena, &record, e);
        spec = &record.spec;
    }
    for (size_t i = 0; r == 0 && i < job_spec_file_count(spec); i++) {
        r = fetch_file(dfs, directory, job_spec_file(spec, i), e);
    }
    arena_deinit(&arena);
    return r;
}
