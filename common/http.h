/* A small HTTP server for people and their tools: metrics, health, the web pages. Requests run on a
 * thread of the server, so handlers may only touch what is safe there. Not for chunk data: that
 * goes over RPC. Wraps libmicrohttpd. */
#ifndef COMMON_HTTP_H
#define COMMON_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"

struct http_request {
    const char *path; /* "/metrics" */
    void *connection; /* private; for http_query() */
};

struct http_reply {
    int status;               /* 200 unless the handler changes it */
    const char *content_type; /* UTF-8 text unless the handler changes it; static memory */
    struct buf body;          /* empty; the server sends and frees it */
};

typedef void (*http_handler_fn)(void *context, const struct http_request *request,
                                struct http_reply *reply);

struct http_route {
    const char *path;        /* exact; one that ends with "/" also matches everything below it */
    http_handler_fn handler; /* on the server's thread */
    void *context;
};

struct http_server;

/* Listens on "127.0.0.1:9090", ":9090" (loopback too), "[::1]:0"; port 0 takes a free one. routes
 * are copied, their strings and contexts borrowed. Unknown paths get 404, methods other than GET
 * and HEAD 405. ERR_INVALID: the address; ERR_BUSY: in use. */
int http_server_start(const char *address, const struct http_route *routes, size_t route_count,
                      struct http_server **ret_server, struct err *e) MUST_CHECK;
void http_server_stop(struct http_server *s); /* waits for running requests; accepts NULL */

uint16_t http_server_port(const struct http_server *s);

/* A value of the query string, NULL if it is absent. Valid during the request. */
const char *http_query(const struct http_request *request, const char *name);

#endif
