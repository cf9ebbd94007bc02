/* A file has its durable bytes and its visible ones; a change made since the last sync is kept in
 * one list of all files and names, in order. A crash builds the durable state from that list.
 * Syncing a file moves its own changes into its durable bytes; syncing names moves theirs into the
 * durable directory. */
#include "tests/lib/fake_disk.h"

#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/rng.h"

enum {
    SECTOR_BYTES = 512,
    NAMES_MAX = 256, /* in the directory at one time */
    NAME_BYTES = 64,
};

struct inode {
    struct buf visible;
    struct buf durable;
};

struct name {
    char text[NAME_BYTES];
    struct inode *inode;
};

struct directory {
    struct name names[NAMES_MAX];
    size_t count;
};

enum change_kind { CHANGE_WRITE, CHANGE_TRUNCATE, CHANGE_LINK, CHANGE_RENAME, CHANGE_UNLINK };

struct change {
    enum change_kind kind;
    struct inode *inode;   /* WRITE, TRUNCATE, LINK */
    uint64_t offset;       /* WRITE; TRUNCATE: the new length */
    struct buf bytes;      /* WRITE */
    bool under_way;        /* WRITE: the disk stopped inside of it; only ever the last change */
    char from[NAME_BYTES]; /* LINK, RENAME, UNLINK */
    char to[NAME_BYTES];   /* RENAME */
};

struct fake_disk {
    struct disk disk;      /* first */
    struct inode **inodes; /* of all files ever made; freed at the end */
    size_t inode_count;
    struct directory visible;
    struct directory durable;
    struct change **changes; /* not yet durable, oldest first */
    size_t change_count;
    size_t change_capacity;
    uint64_t fail_in; /* changes until the fault; 0: none */
    int fail_code;
    bool fail_partly;
    uint64_t stop_in; /* likewise until the stop */
    bool stopped;
    uint64_t change_total;
    uint64_t sync_total;
    uint64_t open_count;
};

struct fake_file {
    struct disk_file file; /* first */
    struct fake_disk *disk;
    struct inode *inode;
};

static struct name *find(struct directory *dir, const char *text)
{
    for (size_t i = 0; i < dir->count; i++) {
        if (strcmp(dir->names[i].text, text) == 0) {
            return &dir->names[i];
        }
    }
    return NULL;
}

static void link_name(struct directory *dir, const char *text, struct inode *inode)
{
    struct name *name = find(dir, text);
    if (!name) {
        CHECK(dir->count < NAMES_MAX);
        name = &dir->names[dir->count++];
        (void)snprintf(name->text, sizeof(name->text), "%s", text);
    }
    name->inode = inode;
}

static void unlink_name(struct directory *dir, const char *text)
{
    struct name *name = find(dir, text);
    if (name) {
        *name = dir->names[--dir->count];
    }
}

static void rename_name(struct directory *dir, const char *from, const char *to)
{
    const struct name *name = find(dir, from);
    if (name) {
        struct inode *inode = name->inode;
        unlink_name(dir, from);
        link_name(dir, to, inode);
    }
}

static void put_bytes(struct buf *b, uint64_t offset, struct span data)
{
    if (b->length < offset + data.length) {
        buf_append_fill(b, 0, (size_t)offset + data.length - b->length);
    }
    memcpy(b->data + offset, data.data, data.length);
}

static void set_length(struct buf *b, uint64_t length)
{
    if (b->length < length) {
        buf_append_fill(b, 0, (size_t)length - b->length);
    } else if (b->length > length) {
        b->length = (size_t)length;
        b->data[length] = '\0';
    }
}

static void copy_buf(struct buf *to, const struct buf *from)
{
    buf_clear(to);
    buf_append(to, from->data, from->length);
}

/* Applies a write to the durable bytes; only in the sectors that rng picks when it is given. */
static void make_write_durable(const struct change *c, struct rng *sectors)
{
    uint64_t end = c->offset + c->bytes.length;
    for (uint64_t at = c->offset; at < end;) {
        uint64_t next = (at / SECTOR_BYTES + 1) * SECTOR_BYTES;
        next = next < end ? next : end;
        if (!sectors || rng_below(sectors, 2) == 0) {
            put_bytes(&c->inode->durable, at,
                      (struct span){c->bytes.data + (at - c->offset), (size_t)(next - at)});
        }
        at = next;
    }
}

static void make_durable(struct fake_disk *d, const struct change *c, struct rng *sectors)
{
    switch (c->kind) {
    case CHANGE_WRITE:
        make_write_durable(c, sectors);
        break;
    case CHANGE_TRUNCATE:
        set_length(&c->inode->durable, c->offset);
        break;
    case CHANGE_LINK:
        link_name(&d->durable, c->from, c->inode);
        break;
    case CHANGE_RENAME:
        rename_name(&d->durable, c->from, c->to);
        break;
    case CHANGE_UNLINK:
        unlink_name(&d->durable, c->from);
        break;
    }
}

static void change_free(struct change *c)
{
    buf_deinit(&c->bytes);
    free(c);
}

static void changes_clear(struct fake_disk *d)
{
    for (size_t i = 0; i < d->change_count; i++) {
        change_free(d->changes[i]);
    }
    d->change_count = 0;
}

static struct change *change_add(struct fake_disk *d, enum change_kind kind, struct inode *inode)
{
    if (d->change_count == d->change_capacity) {
        d->change_capacity = d->change_capacity ? 2 * d->change_capacity : 64;
        d->changes = xreallocarray(d->changes, d->change_capacity, sizeof(struct change *));
    }
    struct change *c = xcalloc(1, sizeof(*c));
    c->kind = kind;
    c->inode = inode;
    buf_init(&c->bytes);
    d->changes[d->change_count++] = c;
    return c;
}

/* Moves the changes of one inode, or those of names when inode is NULL, into the durable state. */
static void changes_sync(struct fake_disk *d, const struct inode *inode)
{
    size_t kept = 0;
    for (size_t i = 0; i < d->change_count; i++) {
        struct change *c = d->changes[i];
        bool of_names = c->kind >= CHANGE_LINK;
        if (inode ? !of_names && c->inode == inode : of_names) {
            make_durable(d, c, NULL);
            change_free(c);
        } else {
            d->changes[kept++] = c;
        }
    }
    d->change_count = kept;
}

/* Counts a change. 0: it may happen; else the error to return. */
static int count_change(struct fake_disk *d, struct err *e)
{
    if (d->stopped || (d->stop_in > 0 && --d->stop_in == 0)) {
        d->stopped = true;
        return err_set(e, ERR_IO, "fake disk: stopped");
    }
    d->change_total++;
    if (d->fail_in > 0 && --d->fail_in == 0) {
        return err_set(e, d->fail_code, "fake disk: injected fault");
    }
    return 0;
}

static struct fake_disk *fake_of(struct disk *d)
{
    return (struct fake_disk *)d;
}

static int fake_open(struct disk *disk, const char *name, enum disk_open how,
                     struct disk_file **ret_file, struct err *e)
{
    struct fake_disk *d = fake_of(disk);
    struct name *found = find(&d->visible, name);
    struct inode *inode = found ? found->inode : NULL;
    if (d->stopped) {
        return err_set(e, ERR_IO, "fake disk: stopped");
    }
    if (how == DISK_OPEN_EXISTING && !inode) {
        return err_set(e, ERR_NOT_FOUND, "open %s", name);
    }
    if (how == DISK_OPEN_CREATE) {
        if (inode) {
            return err_set(e, ERR_EXISTS, "open %s", name);
        }
        int r = count_change(d, e);
        if (r < 0) {
            return r;
        }
        d->inodes = xreallocarray(d->inodes, d->inode_count + 1, sizeof(struct inode *));
        inode = xcalloc(1, sizeof(*inode));
        buf_init(&inode->visible);
        buf_init(&inode->durable);
        d->inodes[d->inode_count++] = inode;
        link_name(&d->visible, name, inode);
        struct change *c = change_add(d, CHANGE_LINK, inode);
        (void)snprintf(c->from, sizeof(c->from), "%s", name);
    }
    struct fake_file *f = xcalloc(1, sizeof(*f));
    f->file.ops = disk->ops;
    f->disk = d;
    f->inode = inode;
    d->open_count++;
    *ret_file = &f->file;
    return 0;
}

static int fake_rename(struct disk *disk, const char *from, const char *to, struct err *e)
{
    struct fake_disk *d = fake_of(disk);
    if (!d->stopped && !find(&d->visible, from)) {
        return err_set(e, ERR_NOT_FOUND, "rename %s", from);
    }
    int r = count_change(d, e);
    if (r < 0) {
        return r;
    }
    rename_name(&d->visible, from, to);
    struct change *c = change_add(d, CHANGE_RENAME, NULL);
    (void)snprintf(c->from, sizeof(c->from), "%s", from);
    (void)snprintf(c->to, sizeof(c->to), "%s", to);
    return 0;
}

static int fake_unlink(struct disk *disk, const char *name, struct err *e)
{
    struct fake_disk *d = fake_of(disk);
    if (!d->stopped && !find(&d->visible, name)) {
        return err_set(e, ERR_NOT_FOUND, "unlink %s", name);
    }
    int r = count_change(d, e);
    if (r < 0) {
        return r;
    }
    unlink_name(&d->visible, name);
    struct change *c = change_add(d, CHANGE_UNLINK, NULL);
    (void)snprintf(c->from, sizeof(c->from), "%s", name);
    return 0;
}

static int fake_list(struct disk *disk, disk_visit_fn visit, void *arg, struct err *e)
{
    struct fake_disk *d = fake_of(disk);
    if (d->stopped) {
        return err_set(e, ERR_IO, "fake disk: stopped");
    }
    for (size_t i = 0; i < d->visible.count; i++) {
        visit(arg, d->visible.names[i].text);
    }
    return 0;
}

static int fake_sync_names(struct disk *disk, struct err *e)
{
    struct fake_disk *d = fake_of(disk);
    int r = count_change(d, e);
    if (r == 0) {
        changes_sync(d, NULL);
    }
    return r;
}

static void fake_free(struct disk *disk)
{
    (void)disk;
}

static struct fake_file *file_of(struct disk_file *f)
{
    return (struct fake_file *)f;
}

static int fake_read(struct disk_file *file, void *to, size_t length, uint64_t offset,
                     struct err *e)
{
    struct fake_file *f = file_of(file);
    if (f->disk->stopped) {
        return err_set(e, ERR_IO, "fake disk: stopped");
    }
    const struct buf *b = &f->inode->visible;
    if (offset >= b->length) {
        return 0;
    }
    size_t n = b->length - (size_t)offset < length ? b->length - (size_t)offset : length;
    memcpy(to, b->data + offset, n);
    return (int)n;
}

static void write_now(struct fake_file *f, struct span data, uint64_t offset)
{
    put_bytes(&f->inode->visible, offset, data);
    struct change *c = change_add(f->disk, CHANGE_WRITE, f->inode);
    c->offset = offset;
    buf_append(&c->bytes, data.data, data.length);
}

static int fake_write(struct disk_file *file, struct span data, uint64_t offset, struct err *e)
{
    struct fake_file *f = file_of(file);
    bool was_stopped = f->disk->stopped;
    int r = count_change(f->disk, e);
    if (r == 0) {
        write_now(f, data, offset);
    } else if (!was_stopped && !f->disk->stopped && f->disk->fail_partly) {
        write_now(f, (struct span){data.data, data.length / 2}, offset);
    } else if (!was_stopped && f->disk->stopped) {
        /* The power fails while this write is under way: a crash decides what of it is there. */
        struct change *c = change_add(f->disk, CHANGE_WRITE, f->inode);
        c->offset = offset;
        c->under_way = true;
        buf_append(&c->bytes, data.data, data.length);
    }
    return r;
}

static int fake_sync(struct disk_file *file, struct err *e)
{
    struct fake_file *f = file_of(file);
    int r = count_change(f->disk, e);
    if (r == 0) {
        changes_sync(f->disk, f->inode);
        f->disk->sync_total++;
    }
    return r;
}

static int fake_size(struct disk_file *file, uint64_t *ret_bytes, struct err *e)
{
    if (file_of(file)->disk->stopped) {
        return err_set(e, ERR_IO, "fake disk: stopped");
    }
    *ret_bytes = file_of(file)->inode->visible.length;
    return 0;
}

static int fake_truncate(struct disk_file *file, uint64_t bytes, struct err *e)
{
    struct fake_file *f = file_of(file);
    int r = count_change(f->disk, e);
    if (r == 0) {
        set_length(&f->inode->visible, bytes);
        change_add(f->disk, CHANGE_TRUNCATE, f->inode)->offset = bytes;
    }
    return r;
}

static int fake_preallocate(struct disk_file *file, uint64_t bytes, struct err *e)
{
    (void)bytes;
    return count_change(file_of(file)->disk, e);
}

static void fake_close(struct disk_file *file)
{
    struct fake_file *f = file_of(file);
    f->disk->open_count--;
    free(f);
}

static const struct disk_ops fake_ops = {
    .open = fake_open,
    .rename = fake_rename,
    .unlink = fake_unlink,
    .list = fake_list,
    .sync_names = fake_sync_names,
    .free = fake_free,
    .read = fake_read,
    .write = fake_write,
    .sync = fake_sync,
    .size = fake_size,
    .truncate = fake_truncate,
    .preallocate = fake_preallocate,
    .close = fake_close,
};

struct fake_disk *fake_disk_new(void)
{
    struct fake_disk *d = xcalloc(1, sizeof(*d));
    d->disk.ops = &fake_ops;
    return d;
}

void fake_disk_free(struct fake_disk *d)
{
    if (!d) {
        return;
    }
    changes_clear(d);
    free(d->changes);
    for (size_t i = 0; i < d->inode_count; i++) {
        buf_deinit(&d->inodes[i]->visible);
        buf_deinit(&d->inodes[i]->durable);
        free(d->inodes[i]);
    }
    free(d->inodes);
    free(d);
}

struct disk *fake_disk_as_disk(struct fake_disk *d)
{
    return &d->disk;
}

void fake_disk_fail_at(struct fake_disk *d, uint64_t n, int code, bool partly)
{
    d->fail_in = n;
    d->fail_code = code;
    d->fail_partly = partly;
}

void fake_disk_stop_at(struct fake_disk *d, uint64_t n)
{
    d->stop_in = n;
}

bool fake_disk_stopped(const struct fake_disk *d)
{
    return d->stopped;
}

void fake_disk_crash(struct fake_disk *d, enum fake_crash how, uint64_t seed)
{
    struct rng rng;
    rng_seed(&rng, seed);
    CHECK(d->open_count == 0);
    d->stopped = false;
    d->stop_in = 0;
    d->fail_in = 0;
    if (how == FAKE_CRASH_KILL) {
        struct change *last = d->change_count > 0 ? d->changes[d->change_count - 1] : NULL;
        if (last && last->under_way) {
            change_free(last);
            d->change_count--;
        }
        return;
    }
    size_t prefix = how == FAKE_CRASH_DROP ? 0 : rng_below(&rng, d->change_count + 1);
    for (size_t i = 0; i < d->change_count; i++) {
        const struct change *c = d->changes[i];
        bool whole = how != FAKE_CRASH_SUBSET && i < prefix;
        bool torn = how == FAKE_CRASH_TORN && i == prefix && c->kind == CHANGE_WRITE;
        bool maybe = how == FAKE_CRASH_SUBSET && rng_below(&rng, 2) == 0;
        if (whole) {
            make_durable(d, c, NULL);
        } else if (torn || maybe) {
            make_durable(d, c, &rng);
        }
    }
    changes_clear(d);
    d->visible = d->durable;
    for (size_t i = 0; i < d->inode_count; i++) {
        copy_buf(&d->inodes[i]->visible, &d->inodes[i]->durable);
    }
}

uint64_t fake_disk_changes(const struct fake_disk *d)
{
    return d->change_total;
}

uint64_t fake_disk_syncs(const struct fake_disk *d)
{
    return d->sync_total;
}

uint64_t fake_disk_files(const struct fake_disk *d)
{
    return d->visible.count;
}

uint64_t fake_disk_open_files(const struct fake_disk *d)
{
    return d->open_count;
}

static void sync_all(struct fake_disk *d)
{
    for (size_t i = 0; i < d->change_count; i++) {
        make_durable(d, d->changes[i], NULL);
    }
    changes_clear(d);
}

uint8_t *fake_disk_bytes(struct fake_disk *d, const char *name, size_t *ret_length)
{
    sync_all(d);
    struct name *found = find(&d->visible, name);
    if (!found) {
        return NULL;
    }
    *ret_length = found->inode->visible.length;
    return (uint8_t *)found->inode->visible.data;
}

void fake_disk_put(struct fake_disk *d, const char *name, struct span content)
{
    struct disk_file *f = NULL;
    enum disk_open how = find(&d->visible, name) ? DISK_OPEN_EXISTING : DISK_OPEN_CREATE;
    int r = fake_open(&d->disk, name, how, &f, NULL);
    CHECK(r == 0);
    set_length(&file_of(f)->inode->visible, 0);
    change_add(d, CHANGE_TRUNCATE, file_of(f)->inode)->offset = 0;
    write_now(file_of(f), content, 0);
    fake_close(f);
    sync_all(d);
}
