/* See upload.h. */
#include "mapreduce/mr/upload.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <trireme/dfs.h>

#include "common/alloc.h"
#include "common/crc32c.h"
#include "common/limits.h"
#include "common/macros.h"
#include "common/path.h"
#include "common/sys.h"
#include "mapreduce/master_store.h"
#include "mapreduce/store_err.h"

enum { COPY_BYTES = 1024 * 1024 };

void uploads_init(struct uploads *u)
{
    *u = (struct uploads){.arena = ARENA_INIT};
}

void uploads_deinit(struct uploads *u)
{
    arena_deinit(&u->arena);
    free(u->files);
    *u = (struct uploads){.arena = ARENA_INIT};
}

static const char *last_component(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static int look_here(const char *path, bool *ret_executable, struct err *e)
{
    struct stat st;
    if (stat(path, &st) < 0) {
        return err_errno(e, "file %s", path);
    }
    if (!S_ISREG(st.st_mode)) {
        return err_set(e, ERR_UNSUPPORTED, "file %s: not a regular file", path);
    }
    *ret_executable = (st.st_mode & 0111) != 0;
    return 0;
}

int uploads_add(struct uploads *u, const char *typed, bool library, struct err *e)
{
    const char *hash = strchr(typed, '#');
    const char *path =
        arena_strndup(&u->arena, typed, hash ? (size_t)(hash - typed) : strlen(typed));
    const char *name = arena_strdup(&u->arena, hash ? hash + 1 : last_component(path));
    bool in_store = path_has_scheme(path);
    bool executable = false;
    int r = in_store ? 0 : look_here(path, &executable, e);
    if (r < 0) {
        return r;
    }
    r = path_check_name(name, strlen(name), e);
    if (r < 0) {
        return err_wrap(e, r, "file %s", typed);
    }
    for (size_t i = 0; i < u->count; i++) {
        if (strcmp(u->files[i].name, name) == 0) {
            bool same = strcmp(u->files[i].path, path) == 0 && u->files[i].library == library;
            return same ? 0
                        : err_set(e, ERR_INVALID, "files %s and %s would both be called %s",
                                  u->files[i].path, path, name);
        }
    }
    u->files = xreallocarray(u->files, u->count + 1, sizeof(u->files[0]));
    u->files[u->count++] = (struct upload_file){.path = path,
                                                .name = name,
                                                .executable = executable,
                                                .in_store = in_store,
                                                .library = library};
    return 0;
}

/* ---- Commands ---- */

/* Length of the first word if it is a plain one, else 0. */
static size_t plain_word(const char *command)
{
    size_t length = strcspn(command, " \t");
    for (size_t i = 0; i < length; i++) {
        if (strchr("'\"\\$`|&;<>()*?[]{}~=!#\n", command[i])) {
            return 0;
        }
    }
    return length;
}

static struct upload_file *find_file(struct uploads *u, const char *word)
{
    const char *bare = strncmp(word, "./", 2) == 0 ? word + 2 : word;
    for (size_t i = 0; i < u->count; i++) {
        struct upload_file *file = &u->files[i];
        if (!file->library && (strcmp(file->path, word) == 0 || strcmp(file->name, bare) == 0 ||
                               strcmp(file->path, bare) == 0)) {
            return file;
        }
    }
    return NULL;
}

static bool is_file_here(const char *word)
{
    struct stat st;
    return word[0] != '/' && strchr(word, '/') && stat(word, &st) == 0 && S_ISREG(st.st_mode);
}

int uploads_localize(struct uploads *u, const char *command, const char **ret_command,
                     struct err *e)
{
    *ret_command = command;
    size_t length = command ? plain_word(command) : 0;
    if (length == 0) {
        return 0;
    }
    const char *word = arena_strndup(&u->arena, command, length);
    struct upload_file *file = find_file(u, word);
    if (!file && is_file_here(word)) {
        int r = uploads_add(u, word, false, e);
        if (r < 0) {
            return r;
        }
        file = find_file(u, word);
    }
    if (file) {
        file->executable = true;
        *ret_command = arena_printf(&u->arena, "./%s%s", file->name, command + length);
    }
    return 0;
}

/* ---- With the submission ---- */

static void keep(struct uploads *u, struct upload_file *file, const struct buf *bytes)
{
    file->small = true;
    file->file = (struct job_file){
        .store_path = "",
        .data = {arena_copy(&u->arena, bytes->data, bytes->length), bytes->length},
        .name = file->name,
        .executable = file->executable,
        .length = bytes->length,
        .crc32c = crc32c_extend(0, bytes->data, bytes->length)};
}

int uploads_read_small(struct uploads *u, struct err *e)
{
    size_t left = JOB_SMALL_BYTES_MAX;
    struct buf bytes = BUF_INIT;
    int r = 0;
    for (size_t i = 0; i < u->count && r == 0; i++) {
        struct upload_file *file = &u->files[i];
        buf_clear(&bytes);
        r = file->in_store ? ERR_TOO_LARGE : sys_read_file(file->path, left, &bytes, e);
        if (r == 0) {
            left -= bytes.length;
            keep(u, file, &bytes);
        } else if (r == ERR_TOO_LARGE) {
            r = 0;
        }
    }
    buf_deinit(&bytes);
    return r;
}

bool uploads_all_small(const struct uploads *u)
{
    for (size_t i = 0; i < u->count; i++) {
        if (!u->files[i].small) {
            return false;
        }
    }
    return true;
}

/* ---- Into the store ---- */

/* Where a file's bytes come from: a descriptor of this machine, or a file of the store. */
struct source {
    int fd;
    struct dfs_file *file; /* NULL: fd */
    uint64_t at;
};

static int source_open(struct source *s, struct upload_file *from, struct dfs *dfs, struct err *e)
{
    struct dfs_err de = {0};
    struct dfs_stat st;
    *s = (struct source){.fd = -1};
    if (!from->in_store) {
        s->fd = sys_open(from->path, O_RDONLY, 0, e);
        return MIN(s->fd, 0);
    }
    char *path = NULL;
    int r = dfs_resolve_path(dfs, from->path, &path, &de);
    r = r < 0 ? r : dfs_stat(dfs, path, &st, &de);
    r = r < 0 ? r : dfs_open(dfs, path, &s->file, &de);
    free(path);
    if (r < 0) {
        return err_from_dfs(e, &de, "file %s", from->path);
    }
    from->executable = from->executable || (st.mode & 0111) != 0;
    return 0;
}

static void source_close(struct source *s)
{
    sys_close(&s->fd);
    if (s->file) {
        (void)dfs_close(s->file, NULL); /* was only read */
    }
}

/* The next bytes; 0 at the end. */
static ssize_t source_read(struct source *s, const char *path, char *block, struct err *e)
{
    struct dfs_err de = {0};
    ssize_t n;
    if (s->file) {
        n = (ssize_t)dfs_pread(s->file, block, COPY_BYTES, s->at, &de);
        s->at += n > 0 ? (uint64_t)n : 0;
        return n < 0 ? err_from_dfs(e, &de, "read %s", path) : n;
    }
    do {
        n = read(s->fd, block, COPY_BYTES);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? err_errno(e, "read %s", path) : n;
}

static int copy_bytes(struct upload_file *file, struct source *from, struct dfs_file *to,
                      struct err *e)
{
    struct dfs_err de = {0};
    char *block = xmalloc(COPY_BYTES);
    ssize_t n;
    while ((n = source_read(from, file->path, block, e)) > 0) {
        file->file.crc32c = crc32c_extend(file->file.crc32c, block, (size_t)n);
        file->file.length += (uint64_t)n;
        if (dfs_write(to, block, (size_t)n, &de) < 0) {
            n = err_from_dfs(e, &de, "upload %s", file->path);
            break;
        }
    }
    free(block);
    return (int)n;
}

static int send_file(struct uploads *u, struct upload_file *file, struct dfs *dfs, struct err *e)
{
    struct dfs_err de = {0};
    struct dfs_file *to = NULL;
    struct source from;
    int r = source_open(&from, file, dfs, e);
    if (r < 0) {
        return r;
    }
    file->file =
        (struct job_file){.store_path = arena_printf(&u->arena, "%s/%s", u->directory, file->name),
                          .name = file->name,
                          .executable = file->executable};
    if (dfs_create(dfs, NULL, NULL, &to, &de) < 0) {
        r = err_from_dfs(e, &de, "upload %s", file->path);
    }
    r = r < 0 ? r : copy_bytes(file, &from, to, e);
    source_close(&from);
    if (r < 0) {
        dfs_abandon(to);
        return r;
    }
    r = dfs_close_link(to, file->file.store_path, 0, NULL, NULL, &de);
    return r < 0 ? err_from_dfs(e, &de, "upload %s", file->path) : 0;
}

int uploads_send(struct uploads *u, struct dfs *dfs, const char *submission, struct err *e)
{
    struct dfs_err de = {0};
    if (uploads_all_small(u)) {
        return 0;
    }
    char *directory = arena_printf(&u->arena, MR_UPLOADS_DIRECTORY "/%s", submission);
    if (dfs_mkdir(dfs, directory, 0, 0, NULL, &de) < 0) {
        return err_from_dfs(e, &de, "upload to %s", directory);
    }
    u->directory = directory;
    int r = 0;
    for (size_t i = 0; i < u->count && r == 0; i++) {
        r = u->files[i].small ? 0 : send_file(u, &u->files[i], dfs, e);
    }
    return r;
}

void uploads_remove(struct uploads *u, struct dfs *dfs)
{
    if (u->directory) {
        (void)dfs_delete(dfs, u->directory, DFS_RECURSIVE, NULL, NULL); /* else it only stays */
    }
}
