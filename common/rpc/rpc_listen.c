/* Addresses to listen on: what is allowed, and why binding failed. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/parse.h"
#include "common/rpc/rpc_server_internal.h"

static bool is_loopback(const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, host, &v4) == 1) {
        return (ntohl(v4.s_addr) >> 24) == 127;
    }
    if (inet_pton(AF_INET6, host, &v6) == 1) {
        return IN6_IS_ADDR_LOOPBACK(&v6);
    }
    return strcmp(host, "localhost") == 0;
}

int rpc_listen_check(const char *address, bool plain_text_anywhere, struct buf *ret_address,
                     struct err *e)
{
    char host[LIMIT_HOST_BYTES_MAX + 1];
    uint16_t port;
    int r = parse_address(address, host, sizeof(host), &port, e);
    if (r < 0) {
        return r;
    }
    if (!plain_text_anywhere && !is_loopback(host)) {
        return err_set(e, ERR_INVALID,
                       "listen on %s: not a loopback address, and plain text would let anyone read "
                       "and write: set up TLS (CA, certificate and key), or allow it with "
                       "--insecure",
                       address);
    }
    if (host[0] == '\0') {
        buf_printf(ret_address, "[::]:%u", port);
    } else if (strchr(host, ':') != NULL) {
        buf_printf(ret_address, "[%s]:%u", host, port);
    } else {
        buf_printf(ret_address, "%s:%u", host, port);
    }
    return 0;
}

/* Tries to bind as gRPC does. 0 or errno. */
static int try_bind(const struct addrinfo *info)
{
    int fd = socket(info->ai_family, info->ai_socktype | SOCK_CLOEXEC, info->ai_protocol);
    if (fd < 0) {
        return errno;
    }
    int one = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    int failed = bind(fd, info->ai_addr, info->ai_addrlen) < 0 || listen(fd, 1) < 0 ? errno : 0;
    (void)close(fd);
    return failed;
}

int rpc_listen_explain(const char *address, struct err *e)
{
    char host[LIMIT_HOST_BYTES_MAX + 1];
    char port_text[8];
    uint16_t port;
    int r = parse_address(address, host, sizeof(host), &port, e);
    if (r < 0) {
        return r;
    }
    (void)snprintf(port_text, sizeof(port_text), "%u", port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    int failed = getaddrinfo(host[0] ? host : NULL, port_text, &hints, &found);
    if (failed != 0) {
        return err_set(e, ERR_RESOLVE, "listen on %s: %s", address, gai_strerror(failed));
    }
    for (const struct addrinfo *info = found; info != NULL && failed == 0; info = info->ai_next) {
        failed = try_bind(info);
    }
    freeaddrinfo(found);
    if (failed != 0) {
        errno = failed;
        return err_errno(e, "listen on %s", address);
    }
    return err_set(e, ERR_IO, "listen on %s: refused by gRPC", address);
}
