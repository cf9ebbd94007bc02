/* One thread polls the listening socket and at most LOCAL_CLIENT_COUNT_MAX connections. A request
 * is one packet, answered before the next is looked at: an index lookup, an open and a sendmsg. A
 * client that does not take its answer at once (its buffer is full of earlier ones) is cut off. */
#include "chunkserver/local_read.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "chunkserver/server.h"
#include "common/alloc.h"
#include "common/check.h"
#include "common/log.h"
#include "common/macros.h"
#include "common/metrics.h"
#include "common/sys.h"

static const char magic[4] = {'T', 'R', 'L', '1'};

struct local_read {
    struct server *server;
    char *path;
    int stop_fds[2];                                 /* a byte here ends the thread */
    struct pollfd polls[LOCAL_CLIENT_COUNT_MAX + 2]; /* stop, listener, clients */
    size_t poll_count;
    pthread_t thread;
    bool has_thread;
};

int local_request_decode(const void *data, size_t length, struct chunk_ref *ret)
{
    struct cursor c = cursor_of(data, length);
    struct span word = cursor_bytes(&c, sizeof(magic));
    struct chunk_ref ref;
    ref.id = cursor_u64le(&c);
    ref.version = cursor_u64le(&c);
    if (cursor_finish(&c) < 0 || memcmp(word.data, magic, sizeof(magic)) != 0 || ref.id == 0) {
        return ERR_INVALID;
    }
    *ret = ref;
    return 0;
}

void local_reply_encode(const struct local_reply *reply, struct buf *out)
{
    buf_append(out, magic, sizeof(magic));
    buf_append_u32le(out, (uint32_t)-reply->code);
    buf_append_u64le(out, reply->version);
    buf_append_u64le(out, reply->length);
    buf_append_u32le(out, reply->crc_count);
    for (uint32_t i = 0; i < reply->crc_count; i++) {
        buf_append_u32le(out, reply->crcs[i]);
    }
}

/* ---- Answers ---- */

static int check_sealed(const struct chunk_record *record, const struct chunk_ref *wanted)
{
    if (wanted->version != 0 && record->ref.version != wanted->version) {
        return ERR_STALE;
    }
    if (record->damaged) {
        return ERR_CORRUPT;
    }
    return record->state == CHUNK_SEALED && !record->inlined ? 0 : ERR_UNSUPPORTED;
}

/* Fills the reply; *ret_file is open if its code is 0. */
static void answer(struct local_read *l, const struct chunk_ref *wanted, struct buf *out,
                   struct chunk_file *ret_file)
{
    struct disk *disk = NULL;
    struct chunk_record record = {0};
    struct local_reply reply = {0};
    uint32_t *crcs = NULL;
    reply.code = disks_find(&l->server->disks, wanted->id, &disk, &record, NULL);
    if (reply.code == 0) {
        reply.code = check_sealed(&record, wanted);
    }
    if (reply.code == 0) {
        reply.version = record.ref.version;
        reply.length = record.length;
        reply.crc_count = block_count(record.length);
        crcs = xreallocarray(NULL, (size_t)reply.crc_count + 1, sizeof(*crcs));
        reply.code =
            chunk_index_get_all_crcs(disk->chunks.index, record.ref.id, record.length, crcs, NULL);
        reply.crcs = crcs;
    }
    if (reply.code == 0) {
        reply.code = chunk_file_open(&disk->chunks.dirs, record.ref.id, false, ret_file, NULL);
    }
    if (reply.code < 0) {
        reply.crc_count = 0;
    }
    local_reply_encode(&reply, out);
    free(crcs);
}

static int send_reply(int client, const struct buf *reply, int fd)
{
    struct iovec run = {reply->data, reply->length};
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct msghdr message = {.msg_iov = &run, .msg_iovlen = 1};
    if (fd >= 0) {
        memset(&control, 0, sizeof(control));
        message.msg_control = &control;
        message.msg_controllen = sizeof(control.bytes);
        struct cmsghdr *c = CMSG_FIRSTHDR(&message);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof(int));
    }
    ssize_t n = sendmsg(client, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    return n == (ssize_t)reply->length ? 0 : -1;
}

/* Returns -1 if the client is to be cut off. */
static int serve_one(struct local_read *l, int client)
{
    uint8_t packet[LOCAL_REQUEST_BYTES + 1]; /* one more shows a packet that is too long */
    struct chunk_ref wanted;
    ssize_t n = recv(client, packet, sizeof(packet), MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return 0;
    }
    if (n <= 0 || local_request_decode(packet, (size_t)n, &wanted) < 0) {
        return -1;
    }
    struct buf reply = BUF_INIT;
    struct chunk_file file = CHUNK_FILE_CLOSED;
    answer(l, &wanted, &reply, &file);
    int r = send_reply(client, &reply, file.fd);
    counter_add(l->server->counters.local_reads, file.fd >= 0 ? 1 : 0);
    chunk_file_close(&file);
    buf_deinit(&reply);
    return r;
}

/* ---- Thread ---- */

static void accept_one(struct local_read *l)
{
    int client = accept4(l->polls[1].fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (client < 0) {
        return;
    }
    struct ucred peer;
    socklen_t length = sizeof(peer);
    int bytes = LOCAL_SEND_BUFFER_BYTES; /* a reply of the largest chunk fits */
    bool full = l->poll_count == ARRAY_COUNT(l->polls);
    if (full || getsockopt(client, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0) {
        sys_close(&client); /* its reader goes on through Read */
        return;
    }
    (void)setsockopt(client, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
    log_debug("chunkserver", "local reader uid=%u pid=%d", (unsigned)peer.uid, (int)peer.pid);
    l->polls[l->poll_count++] = (struct pollfd){.fd = client, .events = POLLIN};
}

static void serve_clients(struct local_read *l)
{
    for (size_t i = 2; i < l->poll_count;) {
        if (l->polls[i].revents != 0 && serve_one(l, l->polls[i].fd) < 0) {
            sys_close(&l->polls[i].fd);
            l->polls[i] = l->polls[--l->poll_count];
        } else {
            i++;
        }
    }
}

static void *local_thread(void *arg)
{
    struct local_read *l = arg;
    while (l->polls[0].revents == 0) {
        if (poll(l->polls, l->poll_count, -1) < 0) {
            continue; /* interrupted */
        }
        serve_clients(l);
        if (l->polls[1].revents != 0) {
            accept_one(l);
        }
    }
    return NULL;
}

/* ---- Start ---- */

/* A path that sockaddr_un can hold, into the server's local_socket. */
static int choose_path(struct server *s, struct err *e)
{
    const char *given = s->options->local_socket;
    struct sockaddr_un address;
    struct buf path = BUF_INIT;
    if (given != NULL) {
        buf_append_str(&path, given);
    } else {
        const char *data = disks_first(&s->disks)->path;
        char *absolute = realpath(data, NULL);
        buf_printf(&path, "%s/local.sock", absolute != NULL ? absolute : data);
        free(absolute);
    }
    if (path.length >= sizeof(address.sun_path) && given != NULL) {
        int r = err_set(e, ERR_INVALID, "--local-socket: the path may have %zu bytes, not %zu",
                        sizeof(address.sun_path) - 1, path.length);
        buf_deinit(&path);
        return r;
    }
    if (path.length >= sizeof(address.sun_path)) {
        char key[2 * sizeof(s->disks.ident.key.bytes) + 1];
        const uint8_t *k = s->disks.ident.key.bytes;
        for (size_t i = 0; i < sizeof(s->disks.ident.key.bytes); i++) {
            (void)snprintf(key + 2 * i, 3, "%02x", k[i]);
        }
        log_warning("chunkserver", "the socket's path is too long, a short one is used: %s",
                    path.data);
        buf_clear(&path);
        buf_printf(&path, "/tmp/trireme-%.16s.sock", key);
    }
    s->local_socket = path;
    return 0;
}

static int bind_socket(const char *path, struct err *e)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return err_errno(e, "socket");
    }
    (void)unlink(path); /* of an earlier start; LOCK says that nobody else uses this directory */
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || chmod(path, 0660) < 0 ||
        listen(fd, LOCAL_CLIENT_COUNT_MAX) < 0) {
        int r = err_errno(e, "local socket %s", path);
        sys_close(&fd);
        return r;
    }
    return fd;
}

int local_read_start(struct server *s, struct local_read **ret, struct err *e)
{
    int r = choose_path(s, e);
    if (r < 0) {
        return r;
    }
    int fd = bind_socket(s->local_socket.data, e);
    if (fd < 0) {
        return fd;
    }
    struct local_read *l = xcalloc(1, sizeof(*l));
    l->server = s;
    l->path = xstrdup(s->local_socket.data);
    r = pipe2(l->stop_fds, O_CLOEXEC);
    CHECK(r == 0);
    l->polls[0] = (struct pollfd){.fd = l->stop_fds[0], .events = POLLIN};
    l->polls[1] = (struct pollfd){.fd = fd, .events = POLLIN};
    l->poll_count = 2;
    r = pthread_create(&l->thread, NULL, local_thread, l);
    CHECK(r == 0);
    (void)pthread_setname_np(l->thread, "local-read");
    l->has_thread = true;
    *ret = l;
    return 0;
}

void local_read_stop(struct local_read *l)
{
    if (l == NULL) {
        return;
    }
    sys_close(&l->stop_fds[1]); /* the thread sees the hang-up */
    (void)pthread_join(l->thread, NULL);
    for (size_t i = 0; i < l->poll_count; i++) {
        sys_close(&l->polls[i].fd);
    }
    (void)unlink(l->path);
    free(l->path);
    free(l);
}
