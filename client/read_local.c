/* See read_local.h. */
#include "client/read_local.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/buf.h"
#include "common/check.h"
#include "common/crc32c.h"
#include "common/limits.h"
#include "common/macros.h"
#include "common/sys.h"

enum {
    SOCKET_MS =
        2 * 1000, /* a chunkserver of this host that takes longer is asked over the network */
    HEAD_BYTES = 4 + 4 + 8 + 8 + 4,
    BLOCKS_MAX = CHUNK_BYTES_MAX / CHUNK_BLOCK_BYTES,
    REPLY_BYTES_MAX = HEAD_BYTES + BLOCKS_MAX * 4,
};

static const char magic[4] = {'T', 'R', 'L', '1'};

void read_local_init(struct read_local *l)
{
    memset(l, 0, sizeof(*l));
    l->fd = -1;
}

static void drop(struct read_local *l)
{
    sys_close(&l->fd);
    free(l->crcs);
    l->crcs = NULL;
    l->chunk = 0;
    l->window_length = 0;
}

void read_local_deinit(struct read_local *l)
{
    drop(l);
    free(l->window);
    l->window = NULL;
}

/* ---- Asking --------------------------------------------------------------------------------- */

int read_local_reply_decode(const void *data, size_t length, struct read_local_reply *ret,
                            struct err *e)
{
    struct cursor c = cursor_of(data, length);
    struct span word = cursor_bytes(&c, sizeof(magic));
    uint32_t status = cursor_u32le(&c);
    *ret = (struct read_local_reply){.version = cursor_u64le(&c), .length = cursor_u64le(&c)};
    uint32_t count = cursor_u32le(&c);
    if (c.failed || memcmp(word.data, magic, sizeof(magic)) != 0 || status > INT32_MAX) {
        return err_set(e, ERR_CORRUPT, "malformed reply");
    }
    if (status != 0) {
        return err_set(e, -(int)status, "%s", err_text(-(int)status));
    }
    if (ret->length > CHUNK_BYTES_MAX ||
        count != (ret->length + CHUNK_BLOCK_BYTES - 1) / CHUNK_BLOCK_BYTES ||
        c.left != (size_t)count * 4) {
        return err_set(e, ERR_CORRUPT, "malformed reply");
    }
    ret->crcs = xreallocarray(NULL, (size_t)count + 1, sizeof(*ret->crcs));
    for (uint32_t i = 0; i < count; i++) {
        ret->crcs[i] = cursor_u32le(&c);
    }
    return 0;
}

static int connect_to(const char *path, int *ret_fd, struct err *e)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval patience = {.tv_sec = SOCKET_MS / 1000};
    if (strlen(path) >= sizeof(address.sun_path)) {
        return err_set(e, ERR_INVALID, "the socket's path is too long");
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return err_errno(e, "socket");
    }
    *ret_fd = fd;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) < 0 ||
        connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        return err_errno(e, "connect %s", path);
    }
    return 0;
}

/* One packet and, if there is one, the descriptor that came with it. */
static ssize_t receive(int socket_fd, void *data, size_t length, int *ret_fd)
{
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec iov = {data, length};
    struct msghdr message = {.msg_iov = &iov,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    ssize_t n;
    do {
        n = recvmsg(socket_fd, &message, MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    struct cmsghdr *c = n < 0 ? NULL : CMSG_FIRSTHDR(&message);
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
        c->cmsg_len == CMSG_LEN(sizeof(int))) {
        memcpy(ret_fd, CMSG_DATA(c), sizeof(int));
    }
    return n;
}

static int ask(struct read_local *l, int socket_fd, struct chunk_ref chunk,
               struct read_local_reply *reply, struct err *e)
{
    struct buf request = BUF_INIT;
    buf_append(&request, magic, sizeof(magic));
    buf_append_u64le(&request, chunk.id);
    buf_append_u64le(&request, chunk.version);
    ssize_t n = send(socket_fd, request.data, request.length, MSG_NOSIGNAL);
    buf_deinit(&request);
    if (n < 0) {
        return err_errno(e, "send");
    }
    void *data = xmalloc(REPLY_BYTES_MAX);
    n = receive(socket_fd, data, REPLY_BYTES_MAX, &l->fd);
    int r = n < 0 ? err_errno(e, "receive") : read_local_reply_decode(data, (size_t)n, reply, e);
    free(data);
    return r;
}

int read_local_open(struct read_local *l, const char *socket_path, struct chunk_ref chunk,
                    uint64_t length, struct err *e)
{
    struct read_local_reply reply = {0};
    struct stat st;
    int socket_fd = -1;
    drop(l);
    int r = connect_to(socket_path, &socket_fd, e);
    if (r == 0) {
        r = ask(l, socket_fd, chunk, &reply, e);
    }
    sys_close(&socket_fd);
    if (r == 0 && (l->fd < 0 || reply.length != length)) {
        r = err_set(e, ERR_STALE, "the local replica of chunk %" PRIu64 " is not the wanted one",
                    chunk.id);
    }
    if (r == 0 && (fstat(l->fd, &st) < 0 || (uint64_t)st.st_size < length)) {
        r = err_set(e, ERR_CORRUPT, "the local file of chunk %" PRIu64 " is too short", chunk.id);
    }
    l->crcs = reply.crcs;
    l->length = length;
    l->chunk = chunk.id;
    if (r < 0) {
        drop(l);
    }
    return r;
}

/* ---- Reading -------------------------------------------------------------------------------- */

/* Whole blocks (the chunk's last one may be short), read and verified. */
static int read_blocks(struct read_local *l, void *data, size_t length, uint64_t offset,
                       struct err *e)
{
    int r = sys_pread_full(l->fd, data, length, offset, e);
    if (r < 0) {
        return r;
    }
    for (size_t at = 0; at < length; at += CHUNK_BLOCK_BYTES) {
        size_t run = MIN(length - at, (size_t)CHUNK_BLOCK_BYTES);
        uint64_t block = (offset + at) / CHUNK_BLOCK_BYTES;
        if (crc32c((const char *)data + at, run) != l->crcs[block]) {
            return err_set(e, ERR_CORRUPT, "chunk %" PRIu64 ": block %" PRIu64 " is damaged",
                           l->chunk, block);
        }
    }
    return 0;
}

static int load_window(struct read_local *l, uint64_t offset, struct err *e)
{
    uint64_t start = offset - offset % CHUNK_BLOCK_BYTES;
    size_t length = (size_t)MIN(l->length - start, (uint64_t)READ_PIECE_BYTES);
    if (!l->window) {
        l->window = xmalloc(READ_PIECE_BYTES);
    }
    l->window_length = 0;
    int r = read_blocks(l, l->window, length, start, e);
    if (r == 0) {
        l->window_offset = start;
        l->window_length = length;
    }
    return r;
}

/* How many bytes from offset on are whole blocks, or end with the file: read without the window. */
static size_t whole_blocks(const struct read_local *l, uint64_t offset, size_t length)
{
    if (offset % CHUNK_BLOCK_BYTES != 0) {
        return 0;
    }
    size_t whole = MIN(length, (size_t)READ_PIECE_BYTES);
    return offset + whole < l->length ? whole - whole % CHUNK_BLOCK_BYTES : whole;
}

/* What the window has from offset on, which is in it. Returns how many bytes. */
static size_t window_copy(const struct read_local *l, uint64_t offset, char *to, size_t length)
{
    size_t skip = (size_t)(offset - l->window_offset);
    size_t run = MIN(length, (size_t)l->window_length - skip);
    memcpy(to, l->window + skip, run);
    return run;
}

int read_local_bytes(struct read_local *l, void *data, size_t length, uint64_t offset,
                     struct err *e)
{
    char *to = data;
    CHECK(offset + length <= l->length);
    while (length > 0) {
        bool hit = offset >= l->window_offset && offset < l->window_offset + l->window_length;
        size_t run = hit ? 0 : whole_blocks(l, offset, length);
        int r = 0;
        if (run > 0) {
            r = read_blocks(l, to, run, offset, e);
        } else if (!hit) {
            r = load_window(l, offset, e);
        }
        if (r < 0) {
            return r;
        }
        if (run == 0) {
            run = window_copy(l, offset, to, length);
        }
        to += run;
        offset += run;
        length -= run;
    }
    return 0;
}
