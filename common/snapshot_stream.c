/* Header: magic "TRSNAPSH", format u32, length of the whole header u32, index u64, term u64, count
 * of files u32, for each a varint length, the name and its bytes u64, then the CRC32C u32 of all
 * that. Behind it, for each file in that order: its bytes, CRC32C u32. */
#include "common/snapshot_stream.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/crc32c.h"
#include "common/limits.h"
#include "common/macros.h"
#include "common/sys.h"

enum {
    FIXED_BYTES = 8 + 4 + 4 + 8 + 8 + 4, /* before the list of files */
    CRC_BYTES = 4,
    STEP_BYTES = 64 * 1024, /* read at a time for a CRC that must be computed again */
};

static const char magic[8] = {'T', 'R', 'S', 'N', 'A', 'P', 'S', 'H'};

/* ---- Header ---------------------------------------------------------------------------------- */

void snapshot_header_deinit(struct snapshot_header *h)
{
    free(h->files);
    *h = (struct snapshot_header){0};
}

void snapshot_header_encode(const struct snapshot_header *h, struct buf *out)
{
    size_t start = out->length;
    buf_append(out, magic, sizeof(magic));
    buf_append_u32le(out, TRIREME_DISK_FORMAT);
    size_t length_at = out->length;
    buf_append_u32le(out, 0);
    buf_append_u64le(out, h->index);
    buf_append_u64le(out, h->term);
    buf_append_u32le(out, (uint32_t)h->file_count);
    for (size_t i = 0; i < h->file_count; i++) {
        size_t length = strlen(h->files[i].name);
        buf_append_varint(out, length);
        buf_append(out, h->files[i].name, length);
        buf_append_u64le(out, h->files[i].bytes);
    }
    uint32_t length = (uint32_t)(out->length - start + CRC_BYTES);
    for (int i = 0; i < 4; i++) {
        out->data[length_at + (size_t)i] = (char)(length >> (8 * i));
    }
    buf_append_u32le(out, crc32c(out->data + start, out->length - start));
}

static bool is_plain_name(const char *name, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        char c = name[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     c == '.' || c == '-' || c == '_';
        if (!plain) {
            return false;
        }
    }
    bool dots = name[0] == '.' && (length == 1 || (length == 2 && name[1] == '.'));
    return length > 0 && !dots;
}

static int take_files(struct cursor *c, uint32_t count, struct snapshot_header *h)
{
    h->files = xcalloc((size_t)count + 1, sizeof(*h->files));
    h->file_count = count;
    uint64_t total = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct snapshot_file *file = &h->files[i];
        uint64_t length = cursor_varint(c);
        struct span name = cursor_bytes(c, length < SNAPSHOT_NAME_BYTES ? (size_t)length : 0);
        file->bytes = cursor_u64le(c);
        if (c->failed || length >= SNAPSHOT_NAME_BYTES || !is_plain_name(name.data, name.length) ||
            file->bytes > SNAPSHOT_BYTES_MAX || (total += file->bytes) > SNAPSHOT_BYTES_MAX) {
            return ERR_CORRUPT;
        }
        memcpy(file->name, name.data, name.length);
        if (i > 0 && strcmp(h->files[i - 1].name, file->name) >= 0) {
            return ERR_CORRUPT; /* sorted, so that none is there twice */
        }
    }
    return cursor_finish(c);
}

int snapshot_header_decode(struct span bytes, struct snapshot_header *ret_header, struct err *e)
{
    struct cursor c = cursor_of(bytes.data, bytes.length);
    if (bytes.length < FIXED_BYTES) {
        return 0;
    }
    struct span begins = cursor_bytes(&c, sizeof(magic));
    uint32_t format = cursor_u32le(&c);
    uint32_t length = cursor_u32le(&c);
    if (memcmp(begins.data, magic, sizeof(magic)) != 0) {
        return err_set(e, ERR_CORRUPT, "not a snapshot");
    }
    if (format > TRIREME_DISK_FORMAT) {
        return err_set(e, ERR_VERSION, "snapshot of format %" PRIu32 ", this program knows %d",
                       format, TRIREME_DISK_FORMAT);
    }
    if (length > SNAPSHOT_HEADER_BYTES_MAX || length < FIXED_BYTES + CRC_BYTES) {
        return err_set(e, ERR_TOO_LARGE, "snapshot header of %" PRIu32 " bytes", length);
    }
    if (bytes.length < length) {
        return 0;
    }
    struct cursor tail = cursor_of((const char *)bytes.data + length - CRC_BYTES, CRC_BYTES);
    if (cursor_u32le(&tail) != crc32c(bytes.data, length - CRC_BYTES)) {
        return err_set(e, ERR_CORRUPT, "the snapshot's header is damaged");
    }
    struct snapshot_header h = {0};
    c = cursor_of(bytes.data, length - CRC_BYTES);
    (void)cursor_bytes(&c, sizeof(magic) + 8);
    h.index = cursor_u64le(&c);
    h.term = cursor_u64le(&c);
    uint32_t count = cursor_u32le(&c);
    /* Each file takes at least ten bytes, so the count is bounded by what came. */
    int r = count > length / 10 ? ERR_CORRUPT : take_files(&c, count, &h);
    if (r < 0) {
        snapshot_header_deinit(&h);
        return err_set(e, r, "the snapshot's header makes no sense");
    }
    *ret_header = h;
    return (int)length;
}

static uint64_t header_bytes(const struct snapshot_header *h)
{
    struct buf out = BUF_INIT;
    snapshot_header_encode(h, &out);
    uint64_t length = out.length;
    buf_deinit(&out);
    return length;
}

uint64_t snapshot_bytes(const struct snapshot_header *h)
{
    uint64_t bytes = header_bytes(h);
    for (size_t i = 0; i < h->file_count; i++) {
        bytes += h->files[i].bytes + CRC_BYTES;
    }
    return bytes;
}

/* ---- Source ---------------------------------------------------------------------------------- */

struct snapshot_source {
    char *directory;
    struct snapshot_header header;
    struct buf head;  /* encoded */
    uint64_t *starts; /* of each file in the whole; and the end */
    int fd;           /* of file `open`; -1: none */
    size_t open;
    uint64_t summed; /* bytes of that file that crc covers */
    uint32_t crc;
};

/* What belongs to a running database and not to its content. */
static bool is_left_out(const char *name)
{
    return strcmp(name, "LOCK") == 0 || strncmp(name, "LOG", 3) == 0 || name[0] == '.';
}

static int compare_files(const void *a, const void *b)
{
    return strcmp(((const struct snapshot_file *)a)->name, ((const struct snapshot_file *)b)->name);
}

static int add_file(struct snapshot_source *s, const char *name, struct err *e)
{
    struct snapshot_header *h = &s->header;
    struct stat st;
    char *path = xprintf("%s/%s", s->directory, name);
    int r = stat(path, &st) < 0 ? err_errno(e, "%s", path) : 0;
    free(path);
    if (r == 0 && (!S_ISREG(st.st_mode) || strlen(name) >= SNAPSHOT_NAME_BYTES ||
                   !is_plain_name(name, strlen(name)))) {
        r = err_set(e, ERR_INVALID, "%s is not a file of a checkpoint", name);
    }
    if (r == 0) {
        h->files = xreallocarray(h->files, h->file_count + 1, sizeof(*h->files));
        struct snapshot_file *file = &h->files[h->file_count++];
        *file = (struct snapshot_file){.bytes = (uint64_t)st.st_size};
        memcpy(file->name, name, strlen(name) + 1);
    }
    return r;
}

static int list_files(struct snapshot_source *s, struct err *e)
{
    DIR *stream = opendir(s->directory);
    if (!stream) {
        return err_errno(e, "open %s", s->directory);
    }
    int r = 0;
    const struct dirent *entry = NULL;
    while (r == 0 && (entry = readdir(stream)) != NULL) {
        if (!is_left_out(entry->d_name)) {
            r = add_file(s, entry->d_name, e);
        }
    }
    (void)closedir(stream);
    if (s->header.file_count > 1) {
        qsort(s->header.files, s->header.file_count, sizeof(s->header.files[0]), compare_files);
    }
    return r;
}

int snapshot_source_open(const char *directory, log_index index, term_no term,
                         struct snapshot_source **ret, struct err *e)
{
    struct snapshot_source *s = xcalloc(1, sizeof(*s));
    s->directory = xstrdup(directory);
    s->fd = -1;
    s->header.index = index;
    s->header.term = term;
    buf_init(&s->head);
    int r = list_files(s, e);
    if (r < 0) {
        snapshot_source_close(s);
        return r;
    }
    snapshot_header_encode(&s->header, &s->head);
    s->starts = xcalloc(s->header.file_count + 1, sizeof(*s->starts));
    s->starts[0] = s->head.length;
    for (size_t i = 0; i < s->header.file_count; i++) {
        s->starts[i + 1] = s->starts[i] + s->header.files[i].bytes + CRC_BYTES;
    }
    *ret = s;
    return 0;
}

void snapshot_source_close(struct snapshot_source *s)
{
    if (s) {
        sys_close(&s->fd);
        buf_deinit(&s->head);
        snapshot_header_deinit(&s->header);
        free(s->starts);
        free(s->directory);
        free(s);
    }
}

uint64_t snapshot_source_bytes(const struct snapshot_source *s)
{
    return s->starts[s->header.file_count];
}

static int open_file(struct snapshot_source *s, size_t file, struct err *e)
{
    if (s->fd >= 0 && s->open == file) {
        return 0;
    }
    sys_close(&s->fd);
    char *path = xprintf("%s/%s", s->directory, s->header.files[file].name);
    s->fd = sys_open(path, O_RDONLY, 0, e);
    free(path);
    s->open = file;
    s->summed = 0;
    s->crc = 0;
    return s->fd < 0 ? s->fd : 0;
}

/* The CRC of the open file, of which the first s->summed bytes were seen as they went. */
static int finish_crc(struct snapshot_source *s, struct err *e)
{
    uint64_t end = s->header.files[s->open].bytes;
    char step[STEP_BYTES];
    while (s->summed < end) {
        size_t length = (size_t)MIN(end - s->summed, (uint64_t)STEP_BYTES);
        int r = sys_pread_full(s->fd, step, length, s->summed, e);
        if (r < 0) {
            return r;
        }
        s->crc = crc32c_extend(s->crc, step, length);
        s->summed += length;
    }
    return 0;
}

/* Bytes of one file, or of its CRC: `at` is counted from the file's start. */
static int read_part(struct snapshot_source *s, uint64_t at, size_t length, struct buf *out,
                     struct err *e)
{
    uint64_t bytes = s->header.files[s->open].bytes;
    if (at >= bytes) {
        char crc[CRC_BYTES];
        int r = finish_crc(s, e);
        for (int i = 0; i < CRC_BYTES; i++) {
            crc[i] = (char)(s->crc >> (8 * i));
        }
        size_t skip = (size_t)(at - bytes);
        length = MIN(length, CRC_BYTES - skip);
        buf_append(out, crc + skip, length);
        return r < 0 ? r : (int)length;
    }
    length = (size_t)MIN((uint64_t)length, bytes - at);
    buf_reserve(out, length);
    int r = sys_pread_full(s->fd, out->data + out->length, length, at, e);
    if (r < 0) {
        return r;
    }
    if (at == s->summed) {
        s->crc = crc32c_extend(s->crc, out->data + out->length, length);
        s->summed += length;
    }
    out->length += length;
    out->data[out->length] = '\0';
    return (int)length;
}

int snapshot_source_read(struct snapshot_source *s, uint64_t offset, size_t length, struct buf *out,
                         struct err *e)
{
    size_t start = out->length;
    size_t file = 0;
    length = (size_t)MIN((uint64_t)length, snapshot_source_bytes(s) - offset);
    if (offset < s->head.length) {
        size_t part = MIN(length, s->head.length - (size_t)offset);
        buf_append(out, s->head.data + offset, part);
    }
    while (out->length - start < length) {
        uint64_t at = offset + (out->length - start);
        while (at >= s->starts[file + 1]) {
            file++;
        }
        int r = open_file(s, file, e);
        r = r < 0 ? r : read_part(s, at - s->starts[file], length - (out->length - start), out, e);
        if (r < 0) {
            return err_wrap(e, r, "read the snapshot at %" PRIu64, at);
        }
    }
    return (int)length;
}

/* ---- Sink ------------------------------------------------------------------------------------ */

struct snapshot_sink {
    char *directory;
    struct buf head; /* of the header, until it is whole */
    bool has_header;
    struct snapshot_header header;
    uint64_t received;
    size_t file;      /* that the next bytes are of */
    uint64_t written; /* of it */
    uint32_t crc;     /* of what was written */
    char tail[CRC_BYTES];
    size_t tail_length; /* of its CRC */
    bool begun;         /* the file is */
    int fd;             /* -1: none, or nothing is written */
};

int snapshot_sink_open(const char *directory, struct snapshot_sink **ret, struct err *e)
{
    int r = directory ? sys_remove_tree(directory, e) : 0;
    r = r == 0 && directory ? sys_mkdir_p(directory, e) : r;
    if (r < 0) {
        return r;
    }
    struct snapshot_sink *s = xcalloc(1, sizeof(*s));
    s->directory = directory ? xstrdup(directory) : NULL;
    s->fd = -1;
    buf_init(&s->head);
    *ret = s;
    return 0;
}

void snapshot_sink_close(struct snapshot_sink *s)
{
    if (s) {
        sys_close(&s->fd);
        buf_deinit(&s->head);
        snapshot_header_deinit(&s->header);
        free(s->directory);
        free(s);
    }
}

uint64_t snapshot_sink_received(const struct snapshot_sink *s)
{
    return s->received;
}

const struct snapshot_header *snapshot_sink_header(const struct snapshot_sink *s)
{
    return &s->header;
}

/* Takes bytes that are of the header; returns how many of data were. */
static int take_header(struct snapshot_sink *s, struct span data, struct err *e)
{
    size_t before = s->head.length;
    if (before + data.length > SNAPSHOT_HEADER_BYTES_MAX + 2 * (size_t)DATA_MESSAGE_BYTES_MAX) {
        return err_set(e, ERR_TOO_LARGE, "the snapshot's header does not end");
    }
    buf_append(&s->head, data.data, data.length);
    int r = snapshot_header_decode((struct span){s->head.data, s->head.length}, &s->header, e);
    if (r <= 0) {
        return r < 0 ? r : (int)data.length;
    }
    s->has_header = true;
    return (int)((size_t)r - before);
}

static int begin_file(struct snapshot_sink *s, struct err *e)
{
    s->written = 0;
    s->crc = 0;
    s->tail_length = 0;
    if (s->directory) {
        char *path = xprintf("%s/%s", s->directory, s->header.files[s->file].name);
        s->fd = sys_open(path, O_WRONLY | O_CREAT | O_EXCL, 0644, e);
        free(path);
    }
    s->begun = !s->directory || s->fd >= 0;
    return s->begun ? 0 : s->fd;
}

static int finish_file(struct snapshot_sink *s, struct err *e)
{
    struct cursor c = cursor_of(s->tail, sizeof(s->tail));
    int r = 0;
    if (cursor_u32le(&c) != s->crc) {
        return err_set(e, ERR_CORRUPT, "%s of the snapshot is damaged",
                       s->header.files[s->file].name);
    }
    if (s->directory && fsync(s->fd) < 0) {
        r = err_errno(e, "sync %s", s->header.files[s->file].name);
    }
    sys_close(&s->fd);
    s->begun = false;
    s->file++;
    return r;
}

/* Takes bytes of the present file, or of its CRC; returns how many. */
static int take_part(struct snapshot_sink *s, struct span data, struct err *e)
{
    int r = s->begun ? 0 : begin_file(s, e);
    if (r < 0) {
        return r;
    }
    uint64_t left = s->header.files[s->file].bytes - s->written;
    if (left > 0) {
        size_t length = (size_t)MIN((uint64_t)data.length, left);
        r = s->directory ? sys_write_full(s->fd, data.data, length, e) : 0;
        s->crc = crc32c_extend(s->crc, data.data, length);
        s->written += length;
        return r < 0 ? r : (int)length;
    }
    size_t length = MIN(data.length, CRC_BYTES - s->tail_length);
    memcpy(s->tail + s->tail_length, data.data, length);
    s->tail_length += length;
    r = s->tail_length == CRC_BYTES ? finish_file(s, e) : 0;
    return r < 0 ? r : (int)length;
}

int snapshot_sink_write(struct snapshot_sink *s, struct span data, struct err *e)
{
    size_t taken = 0;
    while (taken < data.length) {
        struct span rest = {(const char *)data.data + taken, data.length - taken};
        if (s->has_header && s->file == s->header.file_count) {
            return err_set(e, ERR_CORRUPT, "bytes behind the end of the snapshot");
        }
        int r = s->has_header ? take_part(s, rest, e) : take_header(s, rest, e);
        if (r < 0) {
            return r;
        }
        taken += (size_t)r;
    }
    s->received += data.length;
    return 0;
}

int snapshot_sink_finish(struct snapshot_sink *s, struct err *e)
{
    if (!s->has_header || s->file < s->header.file_count) {
        return err_set(e, ERR_CORRUPT, "the snapshot ends after %" PRIu64 " bytes", s->received);
    }
    return s->directory ? sys_fsync_dir(s->directory, e) : 0;
}
