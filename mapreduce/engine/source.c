/* Sources and sinks over local files and memory; see source.h. */
#include "mapreduce/engine/source.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/macros.h"
#include "common/sys.h"

int source_read_full(struct source *s, uint64_t offset, void *data, size_t length, struct err *e)
{
    size_t done = 0;
    while (done < length) {
        int64_t n = s->read(s, offset + done, (char *)data + done, length - done, e);
        if (n < 0) {
            return (int)n;
        }
        if (n == 0) {
            return err_set(e, ERR_EOF, "%s: ends at %" PRIu64 ", expected %zu bytes more", s->name,
                           offset + done, length - done);
        }
        done += (size_t)n;
    }
    return 0;
}

void source_free(struct source *s)
{
    if (s && s->free) {
        s->free(s);
    }
}

void sink_free(struct sink *s)
{
    if (s && s->free) {
        s->free(s);
    }
}

struct file_source {
    struct source base;
    char *name;
    int fd;
};

static int64_t file_source_read(struct source *s, uint64_t offset, void *data, size_t length,
                                struct err *e)
{
    struct file_source *f = CONTAINER_OF(s, struct file_source, base);
    for (;;) {
        ssize_t n = pread(f->fd, data, length, (off_t)offset);
        if (n >= 0) {
            return n;
        }
        if (errno != EINTR) {
            return err_errno(e, "read %s at %" PRIu64, f->name, offset);
        }
    }
}

static void file_source_free(struct source *s)
{
    struct file_source *f = CONTAINER_OF(s, struct file_source, base);
    sys_close(&f->fd);
    free(f->name);
    free(f);
}

struct source *source_take_fd(int fd, const char *name, uint64_t length)
{
    struct file_source *f = xcalloc(1, sizeof(*f));
    f->name = xstrdup(name);
    f->fd = fd;
    f->base.name = f->name;
    f->base.length = length;
    f->base.read = file_source_read;
    f->base.free = file_source_free;
    return &f->base;
}

int source_open_file(const char *path, struct source **ret_source, struct err *e)
{
    int fd = sys_open(path, O_RDONLY, 0, e);
    if (fd < 0) {
        return fd;
    }
    struct stat st;
    int r = 0;
    if (fstat(fd, &st) < 0) {
        r = err_errno(e, "stat %s", path);
    } else if (S_ISDIR(st.st_mode)) {
        r = err_set(e, ERR_IS_DIR, "%s: is a directory", path);
    } else if (!S_ISREG(st.st_mode)) {
        r = err_set(e, ERR_INVALID, "%s: not a regular file", path);
    }
    if (r < 0) {
        sys_close(&fd);
        return r;
    }
    *ret_source = source_take_fd(fd, path, (uint64_t)st.st_size);
    return 0;
}

struct memory_source {
    struct source base;
    char *name;
    const char *data;
};

static int64_t memory_source_read(struct source *s, uint64_t offset, void *data, size_t length,
                                  struct err *e)
{
    (void)e;
    struct memory_source *m = CONTAINER_OF(s, struct memory_source, base);
    if (offset >= s->length) {
        return 0;
    }
    size_t n = MIN(length, (size_t)(s->length - offset));
    memcpy(data, m->data + offset, n);
    return (int64_t)n;
}

static void memory_source_free(struct source *s)
{
    struct memory_source *m = CONTAINER_OF(s, struct memory_source, base);
    free(m->name);
    free(m);
}

struct source *source_of_memory(const void *data, size_t length, const char *name)
{
    struct memory_source *m = xcalloc(1, sizeof(*m));
    m->name = xstrdup(name);
    m->data = data;
    m->base.name = m->name;
    m->base.length = length;
    m->base.read = memory_source_read;
    m->base.free = memory_source_free;
    return &m->base;
}

struct file_sink {
    struct sink base;
    char *name;
    int fd;
};

static int file_sink_write(struct sink *s, const void *data, size_t length, struct err *e)
{
    struct file_sink *f = CONTAINER_OF(s, struct file_sink, base);
    int r = sys_write_full(f->fd, data, length, e);
    return r < 0 ? err_wrap(e, r, "%s", f->name) : 0;
}

static int file_sink_finish(struct sink *s, struct err *e)
{
    struct file_sink *f = CONTAINER_OF(s, struct file_sink, base);
    int fd = f->fd;
    f->fd = -1;
    return close(fd) < 0 ? err_errno(e, "close %s", f->name) : 0;
}

static void file_sink_free(struct sink *s)
{
    struct file_sink *f = CONTAINER_OF(s, struct file_sink, base);
    sys_close(&f->fd);
    free(f->name);
    free(f);
}

int sink_create_file(const char *path, struct sink **ret_sink, struct err *e)
{
    int fd = sys_open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666, e);
    if (fd < 0) {
        return fd;
    }
    struct file_sink *f = xcalloc(1, sizeof(*f));
    f->name = xstrdup(path);
    f->fd = fd;
    f->base.name = f->name;
    f->base.write = file_sink_write;
    f->base.finish = file_sink_finish;
    f->base.free = file_sink_free;
    *ret_sink = &f->base;
    return 0;
}

struct buf_sink {
    struct sink base;
    struct buf *out;
};

static int buf_sink_write(struct sink *s, const void *data, size_t length, struct err *e)
{
    (void)e;
    struct buf_sink *b = CONTAINER_OF(s, struct buf_sink, base);
    buf_append(b->out, data, length);
    return 0;
}

static int buf_sink_finish(struct sink *s, struct err *e)
{
    (void)s;
    (void)e;
    return 0;
}

static void buf_sink_free(struct sink *s)
{
    free(CONTAINER_OF(s, struct buf_sink, base));
}

struct sink *sink_of_buf(struct buf *out)
{
    struct buf_sink *b = xcalloc(1, sizeof(*b));
    b->out = out;
    b->base.name = "memory";
    b->base.write = buf_sink_write;
    b->base.finish = buf_sink_finish;
    b->base.free = buf_sink_free;
    return &b->base;
}
