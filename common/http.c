/* libmicrohttpd runs one thread with poll or epoll; we give it a bound socket, so that a bad
 * address is reported by us with its reason, and copy each reply's body into its response. */
#include "common/http.h"

#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <microhttpd.h>

#include "common/alloc.h"
#include "common/limits.h"
#include "common/parse.h"
#include "common/sys.h"

struct http_server {
    struct MHD_Daemon *mhd;
    uint16_t port;
    size_t route_count;
    struct http_route routes[];
};

static bool matches(const struct http_route *route, const char *path)
{
    size_t length = strlen(route->path);
    bool prefix = length > 0 && route->path[length - 1] == '/';
    return prefix ? strncmp(path, route->path, length) == 0 : strcmp(path, route->path) == 0;
}

static const struct http_route *find_route(const struct http_server *s, const char *path)
{
    for (size_t i = 0; i < s->route_count; i++) {
        if (matches(&s->routes[i], path)) {
            return &s->routes[i];
        }
    }
    return NULL;
}

/* Takes the reply's body. */
static enum MHD_Result send_reply(struct MHD_Connection *connection, struct http_reply *reply)
{
    size_t length = 0;
    char *body = buf_detach(&reply->body, &length);
    struct MHD_Response *response =
        MHD_create_response_from_buffer(length, body, MHD_RESPMEM_MUST_FREE);
    if (response == NULL) {
        free(body);
        return MHD_NO;
    }
    enum MHD_Result r =
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, reply->content_type);
    if (r == MHD_YES) {
        r = MHD_queue_response(connection, (unsigned)reply->status, response);
    }
    MHD_destroy_response(response);
    return r;
}

/* The signature is libmicrohttpd's. It first calls with the headers alone, then, after any upload,
 * to be answered. */
/* NOLINTNEXTLINE(readability-function-size) */
static enum MHD_Result on_request(void *context, struct MHD_Connection *connection,
                                  const char *path, const char *method, const char *version,
                                  const char *upload, size_t *upload_length, void **request_context)
{
    static char seen;
    (void)version;
    (void)upload;
    if (*request_context == NULL) {
        *request_context = &seen;
        return MHD_YES;
    }
    if (*upload_length > 0) { /* a body that nobody wants */
        *upload_length = 0;
        return MHD_YES;
    }
    const struct http_server *s = context;
    const struct http_route *route = find_route(s, path);
    struct http_reply reply = {
        .status = MHD_HTTP_OK, .content_type = "text/plain; charset=utf-8", .body = BUF_INIT};
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0) {
        reply.status = MHD_HTTP_METHOD_NOT_ALLOWED;
        buf_append_str(&reply.body, "only GET and HEAD\n");
    } else if (route == NULL) {
        reply.status = MHD_HTTP_NOT_FOUND;
        buf_append_str(&reply.body, "no such page\n");
    } else {
        const struct http_request request = {.path = path, .connection = connection};
        route->handler(route->context, &request, &reply);
    }
    return send_reply(connection, &reply);
}

const char *http_query(const struct http_request *request, const char *name)
{
    return MHD_lookup_connection_value(request->connection, MHD_GET_ARGUMENT_KIND, name);
}

static int listen_on(const struct addrinfo *info, const char *address, struct err *e)
{
    int fd = socket(info->ai_family, info->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int on = 1;
    if (fd < 0) {
        return err_errno(e, "socket");
    }
    bool listening = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
                     bind(fd, info->ai_addr, info->ai_addrlen) == 0 && listen(fd, SOMAXCONN) == 0;
    if (!listening) {
        int reason = errno;
        int r = reason == EADDRINUSE
                    ? err_set(e, ERR_BUSY, "listen on %s: the address is in use", address)
                    : err_errno(e, "listen on %s", address);
        sys_close(&fd);
        return r;
    }
    return fd;
}

static int open_listener(const char *address, struct err *e)
{
    char host[LIMIT_HOST_BYTES_MAX + 1];
    char service[8];
    uint16_t port = 0;
    int r = parse_address(address, host, sizeof(host), &port, e);
    if (r < 0) {
        return r;
    }
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    (void)snprintf(service, sizeof(service), "%u", port);
    int failure = getaddrinfo(host[0] != 0 ? host : "127.0.0.1", service, &hints, &found);
    if (failure != 0) {
        return err_set(e, ERR_RESOLVE, "%s: %s", address, gai_strerror(failure));
    }
    int fd = listen_on(found, address, e);
    freeaddrinfo(found);
    return fd;
}

/* 0 if the system does not say. */
static uint16_t port_of(int fd)
{
    struct sockaddr_storage address = {0};
    socklen_t length = sizeof(address);
    char service[8] = "";
    uint64_t port = 0;
    bool known = getsockname(fd, (struct sockaddr *)&address, &length) == 0 &&
                 getnameinfo((struct sockaddr *)&address, length, NULL, 0, service, sizeof(service),
                             NI_NUMERICSERV) == 0 &&
                 parse_u64(service, &port, NULL) == 0;
    return known ? (uint16_t)port : 0;
}

int http_server_start(const char *address, const struct http_route *routes, size_t route_count,
                      struct http_server **ret_server, struct err *e)
{
    int fd = open_listener(address, e);
    if (fd < 0) {
        return fd;
    }
    struct http_server *s = xcalloc(1, sizeof(*s) + route_count * sizeof(*routes));
    s->route_count = route_count;
    for (size_t i = 0; i < route_count; i++) {
        s->routes[i] = routes[i];
    }
    s->port = port_of(fd);
    s->mhd =
        MHD_start_daemon(MHD_USE_AUTO | MHD_USE_INTERNAL_POLLING_THREAD, 0, NULL, NULL, on_request,
                         s, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
                         (unsigned)HTTP_CONNECTION_COUNT_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
                         (unsigned)HTTP_IDLE_SECONDS, MHD_OPTION_END);
    if (s->mhd == NULL) {
        sys_close(&fd);
        free(s);
        return err_set(e, ERR_UNAVAILABLE, "the HTTP server on %s cannot start", address);
    }
    *ret_server = s;
    return 0;
}

void http_server_stop(struct http_server *s)
{
    if (s == NULL) {
        return;
    }
    MHD_stop_daemon(s->mhd); /* closes the socket too */
    free(s);
}

uint16_t http_server_port(const struct http_server *s)
{
    return s->port;
}
