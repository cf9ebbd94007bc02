/* Mutual TLS from PEM files. gRPC copies what it is given, so the files are read once. A server
 * asks for a certificate of the CA and ends the handshake without one. */
#include <stdlib.h>
#include <string.h>

#include <grpc/grpc_security.h>

#include "common/alloc.h"
#include "common/buf.h"
#include "common/rpc/rpc_internal.h"
#include "common/sys.h"

enum { PEM_BYTES_MAX = 1024 * 1024 };

struct rpc_tls {
    struct buf ca;   /* PEM texts, NUL-terminated by buf */
    struct buf cert; /* own certificate and its chain */
    struct buf key;  /* private; wiped when freed */
};

static int read_pem(const char *path, const char *what, struct buf *out, struct err *e)
{
    int r = sys_read_file(path, PEM_BYTES_MAX, out, e);
    if (r < 0) {
        return err_wrap(e, r, "TLS %s", what);
    }
    if (strstr(out->data, "-----BEGIN ") == NULL) {
        return err_set(e, ERR_INVALID, "TLS %s %s is not a PEM file", what, path);
    }
    return 0;
}

int rpc_tls_new(const char *ca_path, const char *cert_path, const char *key_path,
                struct rpc_tls **ret_tls, struct err *e)
{
    struct rpc_tls *tls = xcalloc(1, sizeof(*tls));
    buf_init(&tls->ca);
    buf_init(&tls->cert);
    buf_init(&tls->key);
    int r = read_pem(ca_path, "CA certificate", &tls->ca, e);
    if (r == 0) {
        r = read_pem(cert_path, "certificate", &tls->cert, e);
    }
    if (r == 0) {
        r = read_pem(key_path, "private key", &tls->key, e);
    }
    if (r < 0) {
        rpc_tls_free(tls);
        return r;
    }
    *ret_tls = tls;
    return 0;
}

void rpc_tls_free(struct rpc_tls *tls)
{
    if (tls == NULL) {
        return;
    }
    if (tls->key.capacity > 0) {
        explicit_bzero(tls->key.data, tls->key.capacity);
    }
    buf_deinit(&tls->ca);
    buf_deinit(&tls->cert);
    buf_deinit(&tls->key);
    free(tls);
}

grpc_channel_credentials *rpc_tls_channel(const struct rpc_tls *tls)
{
    if (tls == NULL) {
        return grpc_insecure_credentials_create();
    }
    grpc_ssl_pem_key_cert_pair pair = {tls->key.data, tls->cert.data};
    return grpc_ssl_credentials_create_ex(tls->ca.data, &pair, NULL, NULL);
}

grpc_server_credentials *rpc_tls_server(const struct rpc_tls *tls)
{
    if (tls == NULL) {
        return grpc_insecure_server_credentials_create();
    }
    grpc_ssl_pem_key_cert_pair pair = {tls->key.data, tls->cert.data};
    return grpc_ssl_server_credentials_create_ex(
        tls->ca.data, &pair, 1, GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY, NULL);
}
