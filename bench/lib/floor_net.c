/* Floors of the network: one TCP stream, and the replication chain of DESIGN 4 "Append" without
 * anything around it. A hop forwards what it has received before it checks and writes it;
 * acknowledgements come back once, at the end. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/lib/data.h"
#include "bench/lib/floor.h"
#include "common/alloc.h"
#include "common/crc32c.h"
#include "common/limits.h"
#include "common/sys.h"

enum {
    HOPS = 3,
    BLOCKS = FLOOR_MESSAGE_BYTES / CHUNK_BLOCK_BYTES,
    SOURCE_MESSAGES = 64, /* the client's data, more than its caches hold */
};

struct message {
    uint8_t data[FLOOR_MESSAGE_BYTES];
    uint32_t crcs[BLOCKS];
};

/* Two ends of a TCP connection over loopback. */
static void connect_pair(int *ret_from, int *ret_to)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct sockaddr *a = (struct sockaddr *)&address;
    socklen_t length = sizeof(address);
    int one = 1;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *ret_from = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(listener, a, length) != 0 || listen(listener, 1) != 0 ||
        getsockname(listener, a, &length) != 0 || connect(*ret_from, a, length) != 0) {
        bench_fail("loopback connection: %s", strerror(errno));
    }
    *ret_to = accept(listener, NULL, NULL);
    if (*ret_to < 0 || setsockopt(*ret_from, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) != 0) {
        bench_fail("accept: %s", strerror(errno));
    }
    (void)close(listener);
}

static void send_all(int fd, const void *data, size_t length)
{
    struct err e = ERR_INIT;
    if (sys_write_full(fd, data, length, &e) < 0) {
        bench_fail("send: %s", err_message(&e));
    }
}

static void receive_all(int fd, void *data, size_t length)
{
    struct err e = ERR_INIT;
    if (sys_read_full(fd, data, length, &e) < 0) {
        bench_fail("receive: %s", err_message(&e));
    }
}

struct hop {
    int from;
    int to;   /* -1: the last one */
    int file; /* -1: receive and forget */
    uint64_t bytes;
    bool sync;
};

static void verify(const struct message *m)
{
    for (size_t i = 0; i < BLOCKS; i++) {
        if (crc32c(m->data + i * CHUNK_BLOCK_BYTES, CHUNK_BLOCK_BYTES) != m->crcs[i]) {
            bench_fail("wrong checksum");
        }
    }
}

static void *hop_run(void *arg)
{
    const struct hop *h = arg;
    struct message *m = xmalloc(sizeof(*m));
    uint8_t ack = 1;
    for (uint64_t at = 0; at < h->bytes; at += FLOOR_MESSAGE_BYTES) {
        receive_all(h->from, m, sizeof(*m));
        if (h->to >= 0) {
            send_all(h->to, m, sizeof(*m));
        }
        if (h->file >= 0) {
            verify(m);
            floor_pwrite(h->file, m->data, FLOOR_MESSAGE_BYTES, at);
        }
    }
    if (h->sync && fdatasync(h->file) != 0) {
        bench_fail("fdatasync: %s", strerror(errno));
    }
    if (h->to >= 0) {
        receive_all(h->to, &ack, 1);
    }
    send_all(h->from, &ack, 1);
    free(m);
    return NULL;
}

struct client {
    int to;
    const struct message *source;
    uint64_t bytes;
    bool crc;
};

static void *client_run(void *arg)
{
    const struct client *c = arg;
    struct message *m = xmalloc(sizeof(*m));
    uint8_t ack = 0;
    for (uint64_t i = 0; i < c->bytes / FLOOR_MESSAGE_BYTES; i++) {
        const struct message *from = &c->source[i % SOURCE_MESSAGES];
        for (size_t block = 0; block < BLOCKS && c->crc; block++) {
            m->crcs[block] = crc32c(from->data + block * CHUNK_BLOCK_BYTES, CHUNK_BLOCK_BYTES);
        }
        send_all(c->to, from->data, sizeof(from->data));
        send_all(c->to, m->crcs, sizeof(m->crcs));
    }
    receive_all(c->to, &ack, 1);
    free(m);
    return NULL;
}

static void run_chain(struct floor *f, size_t hop_count, bool write, bool sync,
                      struct bench_time *t)
{
    struct message *source = xmalloc(SOURCE_MESSAGES * sizeof(*source));
    struct hop hops[HOPS];
    struct bench_thread threads[HOPS + 1];
    int to = -1;
    bench_random(source, SOURCE_MESSAGES * sizeof(*source), 4, 0);
    if (write) {
        bench_warm_memory(hop_count * f->bytes);
    }
    for (size_t i = 0; i < hop_count; i++) { /* from the last one to the first */
        int from = -1;
        int next = -1;
        connect_pair(&next, &from);
        hops[i] = (struct hop){from, to, write ? floor_file(f) : -1, f->bytes, sync};
        threads[i] = (struct bench_thread){.work = hop_run, .arg = &hops[i]};
        to = next;
    }
    struct client client = {to, source, f->bytes, write};
    threads[hop_count] = (struct bench_thread){.work = client_run, .arg = &client};
    bench_start(t);
    bench_threads_run(threads, hop_count + 1);
    bench_stop(t);
    for (size_t i = 0; i < hop_count; i++) {
        (void)close(hops[i].from);
        if (hops[i].to >= 0) {
            (void)close(hops[i].to);
        }
        if (hops[i].file >= 0) {
            (void)close(hops[i].file);
        }
    }
    (void)close(to);
    free(source);
}

void floor_tcp(struct floor *f, struct bench_time *t)
{
    run_chain(f, 1, false, false, t);
}

void floor_chain(struct floor *f, struct bench_time *t)
{
    run_chain(f, HOPS, true, false, t);
}

void floor_chain_sync(struct floor *f, struct bench_time *t)
{
    run_chain(f, HOPS, true, true, t);
}
