/* IDENTITY (docs/formats.md 1), in this order, one a line, nothing else:
 *
 *     format=1
 *     role=chunkserver
 *     cluster=<32 hex digits, empty until accepted>
 *     member=7
 *     key=<32 hex digits>
 *     crc=<8 hex digits: CRC32C of all bytes before this line>
 *
 * A crash at any point leaves no IDENTITY or a whole one, because it is only ever renamed into
 * place. A directory that has something in it but no IDENTITY is not ours, and is refused rather
 * than adopted. */
#include "common/ident.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/crc32c.h"
#include "common/limits.h"
#include "common/parse.h"
#include "common/rng.h"
#include "common/sys.h"

static const char lock_name[] = "LOCK";
static const char ident_name[] = "IDENTITY";

bool cluster_id_equal(struct cluster_id a, struct cluster_id b)
{
    return memcmp(a.bytes, b.bytes, sizeof(a.bytes)) == 0;
}

bool cluster_id_known(struct cluster_id id)
{
    return !cluster_id_equal(id, (struct cluster_id){{0}});
}

struct cluster_id cluster_id_random(void)
{
    struct cluster_id id = {{0}};
    while (!cluster_id_known(id)) {
        rng_entropy(id.bytes, sizeof(id.bytes));
    }
    return id;
}

char *cluster_id_format(struct cluster_id id, char text[CLUSTER_ID_TEXT_BYTES])
{
    return format_hex(id.bytes, sizeof(id.bytes), text);
}

int cluster_id_parse(const char *text, struct cluster_id *ret, struct err *e)
{
    return parse_hex(text, ret->bytes, sizeof(ret->bytes), e);
}

bool member_key_equal(struct member_key a, struct member_key b)
{
    return memcmp(a.bytes, b.bytes, sizeof(a.bytes)) == 0;
}

void ident_encode(const struct ident *id, struct buf *out)
{
    char cluster[CLUSTER_ID_TEXT_BYTES] = "";
    char key[2 * sizeof(id->key.bytes) + 1];
    size_t start = out->length;
    if (cluster_id_known(id->cluster)) {
        cluster_id_format(id->cluster, cluster);
    }
    buf_printf(out, "format=%d\nrole=%s\ncluster=%s\nmember=%" PRIu64 "\nkey=%s\n",
               TRIREME_DISK_FORMAT, id->role, cluster, id->member,
               format_hex(id->key.bytes, sizeof(id->key.bytes), key));
    buf_printf(out, "crc=%08x\n", crc32c(out->data + start, out->length - start));
}

/* The value of the line "name=value\n" at the cursor, copied to value. A missing or overlong line
 * fails the cursor. */
static void take_line(struct cursor *c, const char *name, char *value, size_t value_bytes_max)
{
    size_t name_length = strlen(name);
    const uint8_t *newline = c->left > 0 ? memchr(c->at, '\n', c->left) : NULL;
    size_t length = newline != NULL ? (size_t)(newline - c->at) : 0;
    value[0] = 0;
    if (c->failed || newline == NULL || length < name_length + 1 ||
        memcmp(c->at, name, name_length) != 0 || c->at[name_length] != '=' ||
        length - name_length - 1 >= value_bytes_max || memchr(c->at, 0, length) != NULL) {
        c->failed = true;
        return;
    }
    struct span line = cursor_bytes(c, length + 1);
    size_t value_length = length - name_length - 1;
    memcpy(value, (const char *)line.data + name_length + 1, value_length);
    value[value_length] = 0;
}

/* The lines between format and crc. */
static int decode_fields(struct cursor *c, struct ident *id)
{
    char cluster[CLUSTER_ID_TEXT_BYTES], member[24], key[2 * sizeof(id->key.bytes) + 1];
    take_line(c, "role", id->role, sizeof(id->role));
    take_line(c, "cluster", cluster, sizeof(cluster));
    take_line(c, "member", member, sizeof(member));
    take_line(c, "key", key, sizeof(key));
    bool good = !c->failed && id->role[0] != 0 && parse_u64(member, &id->member, NULL) == 0 &&
                parse_hex(key, id->key.bytes, sizeof(id->key.bytes), NULL) == 0 &&
                (cluster[0] == 0 || cluster_id_parse(cluster, &id->cluster, NULL) == 0);
    return good ? 0 : ERR_CORRUPT;
}

int ident_decode(const char *data, size_t length, struct ident *ret, struct err *e)
{
    struct cursor c = cursor_of(data, length);
    struct ident id = {{0}, {{0}}, 0, {{0}}};
    char format[24], crc[2 * sizeof(uint32_t) + 1], crc_expected[16];
    uint64_t version = 0;

    /* The format comes before anything else, the checksum included: a newer one may look different
     * below it. */
    take_line(&c, "format", format, sizeof(format));
    if (c.failed || parse_u64(format, &version, NULL) < 0) {
        return err_set(e, ERR_CORRUPT, "not an identity file");
    }
    if (version > TRIREME_DISK_FORMAT) {
        return err_set(e, ERR_VERSION,
                       "format %" PRIu64 " is newer than this program, which knows %d", version,
                       TRIREME_DISK_FORMAT);
    }
    int r = decode_fields(&c, &id);
    size_t covered = length - c.left;
    take_line(&c, "crc", crc, sizeof(crc));
    uint32_t sum = crc32c(data, covered);
    uint8_t sum_bytes[4] = {(uint8_t)(sum >> 24), (uint8_t)(sum >> 16), (uint8_t)(sum >> 8),
                            (uint8_t)sum};
    if (r < 0 || cursor_finish(&c) < 0 ||
        strcmp(crc, format_hex(sum_bytes, sizeof(sum_bytes), crc_expected)) != 0) {
        return err_set(e, ERR_CORRUPT, "damaged identity file");
    }
    *ret = id;
    return 0;
}

static char *path_in(const struct datadir *d, const char *name)
{
    return xprintf("%s/%s", d->path, name);
}

/* The lock ends with the process, however that ends. The pid in the file is only for people. */
static int lock(struct datadir *d, struct err *e)
{
    char *path = path_in(d, lock_name);
    char holder[24] = "";
    d->lock_fd = sys_open(path, O_RDWR | O_CREAT, 0644, e);
    int r = d->lock_fd < 0 ? d->lock_fd : 0;
    if (r == 0 && flock(d->lock_fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno == EWOULDBLOCK) {
            ssize_t n = pread(d->lock_fd, holder, sizeof(holder) - 1, 0);
            holder[n > 0 ? strspn(holder, "0123456789") : 0] = 0;
            r = err_set(e, ERR_BUSY, "in use by %s%s",
                        holder[0] != 0 ? "process " : "another process", holder);
        } else {
            r = err_errno(e, "lock %s", path);
        }
    }
    if (r == 0 &&
        (ftruncate(d->lock_fd, 0) < 0 || dprintf(d->lock_fd, "%d\n", (int)getpid()) < 0)) {
        r = err_errno(e, "write %s", path);
    }
    free(path);
    return r;
}

static int write_ident(const struct datadir *d, const struct ident *id, struct err *e)
{
    struct buf text = BUF_INIT;
    char *path = path_in(d, ident_name);
    ident_encode(id, &text);
    int r = sys_write_file_atomic(path, text.data, text.length, e);
    free(path);
    buf_deinit(&text);
    return r;
}

/* What a first start that was killed may have left is fine; anything else is somebody's data. */
static bool may_be_left_over(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strcmp(name, lock_name) == 0 ||
           strcmp(name, "lost+found") == 0 ||
           (strncmp(name, ident_name, strlen(ident_name)) == 0 &&
            strncmp(name + strlen(ident_name), ".tmp-", 5) == 0);
}

static int check_empty(const struct datadir *d, struct err *e)
{
    DIR *stream = opendir(d->path);
    if (stream == NULL) {
        return err_errno(e, "open directory");
    }
    int r = 0;
    const struct dirent *entry = NULL;
    while (r == 0 && (entry = readdir(stream)) != NULL) {
        if (!may_be_left_over(entry->d_name)) {
            r = err_set(e, ERR_INVALID,
                        "holds \"%s\" but no IDENTITY: not a Trireme data directory",
                        entry->d_name);
        }
    }
    (void)closedir(stream);
    return r;
}

static int create(struct datadir *d, const struct ident *as, struct err *e)
{
    struct ident id = *as;
    int r = check_empty(d, e);
    if (r < 0) {
        return r;
    }
    if (member_key_equal(id.key, (struct member_key){{0}})) {
        rng_entropy(id.key.bytes, sizeof(id.key.bytes));
    }
    r = write_ident(d, &id, e);
    if (r == 0) {
        d->ident = id;
    }
    return r;
}

int datadir_peek(const char *path, struct ident *ret, struct err *e)
{
    struct buf text = BUF_INIT;
    char *file = xprintf("%s/%s", path, ident_name);
    int r = sys_read_file(file, IDENT_FILE_BYTES_MAX, &text, e);
    if (r == ERR_TOO_LARGE) {
        r = err_set(e, ERR_CORRUPT, "damaged identity file");
    }
    if (r == 0) {
        r = ident_decode(text.data, text.length, ret, e);
    }
    free(file);
    buf_deinit(&text);
    return r;
}

/* Whether the directory is one of those that have the identity `with`; completes its own. */
static int check_joined(struct datadir *d, const struct ident *with, struct err *e)
{
    char ours[CLUSTER_ID_TEXT_BYTES];
    const struct ident *id = &d->ident;
    bool bound = cluster_id_known(id->cluster);
    bool same =
        member_key_equal(id->key, with->key) &&
        (!bound || (cluster_id_equal(id->cluster, with->cluster) && id->member == with->member));
    if (!same && bound) {
        return err_set(e, ERR_WRONG_CLUSTER,
                       "belongs to another %s: member %" PRIu64 " of cluster %s", id->role,
                       id->member, cluster_id_format(id->cluster, ours));
    }
    if (!same) {
        return err_set(e, ERR_WRONG_CLUSTER,
                       "belongs to another %s, which has not joined a "
                       "cluster yet",
                       id->role);
    }
    if (bound || !cluster_id_known(with->cluster)) {
        return 0;
    }
    int r = write_ident(d, with, e);
    if (r == 0) {
        d->ident = *with;
    }
    return r;
}

/* `as` has the role, and a key if the directory is a further one. */
static int load_or_create(struct datadir *d, const struct ident *as, struct err *e)
{
    struct err missing = ERR_INIT;
    int r = datadir_peek(d->path, &d->ident, &missing);
    if (r == ERR_NOT_FOUND) {
        return create(d, as, e);
    }
    if (r < 0) {
        return err_set(e, r, "%s", err_message(&missing));
    }
    if (strcmp(d->ident.role, as->role) != 0) {
        return err_set(e, ERR_INVALID, "belongs to a %s, not a %s", d->ident.role, as->role);
    }
    bool further = !member_key_equal(as->key, (struct member_key){{0}});
    return further ? check_joined(d, as, e) : 0;
}

static int open_as(struct datadir *d, const char *path, const struct ident *as, struct err *e)
{
    *d = (struct datadir){.path = xstrdup(path), .lock_fd = -1};
    int r = lock(d, e);
    if (r == 0) {
        r = load_or_create(d, as, e);
    }
    if (r < 0) {
        datadir_close(d);
        return err_wrap(e, r, "data directory %s", path);
    }
    return 0;
}

int datadir_open(struct datadir *d, const char *path, const char *role, struct err *e)
{
    CHECK(strlen(role) < IDENT_ROLE_BYTES_MAX);
    struct ident as = {{0}, {{0}}, 0, {{0}}};
    memcpy(as.role, role, strlen(role) + 1);
    *d = (struct datadir){.lock_fd = -1};
    int r = sys_mkdir_p(path, e);
    return r < 0 ? err_wrap(e, r, "data directory %s", path) : open_as(d, path, &as, e);
}

int datadir_join(struct datadir *d, const char *path, const struct ident *with, struct err *e)
{
    CHECK(!member_key_equal(with->key, (struct member_key){{0}}));
    return open_as(d, path, with, e);
}

void datadir_close(struct datadir *d)
{
    if (d == NULL || d->path == NULL) {
        return;
    }
    sys_close(&d->lock_fd);
    free(d->path);
    *d = (struct datadir){.lock_fd = -1};
}

int datadir_adopt(struct datadir *d, struct cluster_id cluster, uint64_t member, struct err *e)
{
    CHECK(cluster_id_known(cluster));
    char ours[CLUSTER_ID_TEXT_BYTES], theirs[CLUSTER_ID_TEXT_BYTES];
    if (!cluster_id_known(d->ident.cluster)) {
        struct ident bound = d->ident;
        bound.cluster = cluster;
        bound.member = member;
        int r = write_ident(d, &bound, e);
        if (r < 0) {
            return err_wrap(e, r, "data directory %s", d->path);
        }
        d->ident = bound;
        return 0;
    }
    if (!cluster_id_equal(d->ident.cluster, cluster)) {
        return err_set(e, ERR_WRONG_CLUSTER, "data directory %s belongs to cluster %s, not %s",
                       d->path, cluster_id_format(d->ident.cluster, ours),
                       cluster_id_format(cluster, theirs));
    }
    if (d->ident.member != member) {
        return err_set(e, ERR_WRONG_CLUSTER,
                       "data directory %s belongs to member %" PRIu64 ", not %" PRIu64, d->path,
                       d->ident.member, member);
    }
    return 0;
}
