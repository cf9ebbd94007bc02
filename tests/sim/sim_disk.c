/* See sim_disk.h. Each write first saves the old contents of the sectors that it touches. The undo
 * records of a file, newest first, lead from what is visible back to what is durable; a crash walks
 * them as far as it likes, for the whole file or for each sector apart. A sync forgets them. */
#include "tests/sim/sim_disk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"

enum {
    SECTOR_BYTES = 512,
    NAMES_MAX = 128,
    NAME_BYTES = 32,
    CHANGES_MAX = 256, /* of names between two syncs of them */
};

struct undo {
    uint32_t sector;
    bool zero; /* it was beyond the end: bytes are not set */
    uint8_t bytes[SECTOR_BYTES];
};

struct inode {
    uint8_t *bytes; /* zero from length to capacity */
    size_t length;
    size_t capacity;
    size_t durable_length;
    struct undo *undos; /* oldest first */
    size_t undo_count;
    size_t undo_capacity;
    uint32_t open_count;
    bool marked; /* while looking for inodes that nothing names */
};

struct name {
    char text[NAME_BYTES];
    struct inode *inode;
};

struct directory {
    struct name names[NAMES_MAX];
    size_t count;
};

struct name_change {
    char from[NAME_BYTES]; /* "": a new file */
    char to[NAME_BYTES];   /* "": removed */
    struct inode *inode;   /* of a new file */
};

struct sim_disk {
    struct disk disk; /* first */
    struct inode *inodes[NAMES_MAX * 2];
    size_t inode_count;
    struct directory visible;
    struct directory durable;
    struct name_change changes[CHANGES_MAX];
    size_t change_count;
    struct sim_disk_faults faults;
    struct sim_disk_struck struck;
    uint64_t change_total;
    bool stopped;
};

struct sim_file {
    struct disk_file file; /* first */
    struct sim_disk *disk;
    struct inode *inode;
};

/* ---- names ---- */

static struct name *find(struct directory *dir, const char *text)
{
    for (size_t i = 0; i < dir->count; i++) {
        if (strcmp(dir->names[i].text, text) == 0) {
            return &dir->names[i];
        }
    }
    return NULL;
}

static void set_name(char to[NAME_BYTES], const char *text)
{
    CHECK(strlen(text) < NAME_BYTES);
    (void)snprintf(to, NAME_BYTES, "%s", text);
}

static void link_name(struct directory *dir, const char *text, struct inode *inode)
{
    struct name *name = find(dir, text);
    if (!name) {
        CHECK(dir->count < NAMES_MAX);
        name = &dir->names[dir->count++];
        set_name(name->text, text);
    }
    name->inode = inode;
}

static void change_name(struct directory *dir, const struct name_change *c)
{
    struct inode *inode = c->inode;
    if (c->from[0] != '\0') {
        struct name *name = find(dir, c->from);
        if (!name) {
            return; /* the change before it, which made the name, was lost */
        }
        inode = name->inode;
        *name = dir->names[--dir->count];
    }
    if (c->to[0] != '\0') {
        link_name(dir, c->to, inode);
    }
}

static void add_change(struct sim_disk *d, const char *from, const char *to, struct inode *inode)
{
    CHECK(d->change_count < CHANGES_MAX);
    struct name_change *c = &d->changes[d->change_count++];
    set_name(c->from, from);
    set_name(c->to, to);
    c->inode = inode;
    change_name(&d->visible, c);
}

static void inode_free(struct inode *inode)
{
    free(inode->bytes);
    free(inode->undos);
    free(inode);
}

static void mark(const struct directory *dir)
{
    for (size_t i = 0; i < dir->count; i++) {
        dir->names[i].inode->marked = true;
    }
}

/* Frees the inodes that no name and no open file has; no change is pending. */
static void collect(struct sim_disk *d)
{
    size_t kept = 0;
    mark(&d->visible);
    mark(&d->durable);
    for (size_t i = 0; i < d->inode_count; i++) {
        struct inode *inode = d->inodes[i];
        if (inode->marked || inode->open_count > 0) {
            inode->marked = false;
            d->inodes[kept++] = inode;
        } else {
            inode_free(inode);
        }
    }
    d->inode_count = kept;
}

/* ---- faults ---- */

static bool strikes(uint64_t *countdown)
{
    return *countdown > 0 && --*countdown == 0;
}

/* 0: a change may happen. */
static int count_change(struct sim_disk *d, struct err *e)
{
    d->change_total += !d->stopped;
    bool at = !d->stopped && d->faults.stop_at == d->change_total;
    if (strikes(&d->faults.stop_in) || at) {
        d->stopped = true;
        d->struck.stops++;
    }
    return d->stopped ? err_set(e, ERR_IO, "sim disk: stopped") : 0;
}

static int need_space(struct sim_disk *d, struct err *e)
{
    if (d->faults.full) {
        d->struck.full++;
        return err_set(e, ERR_NO_SPACE, "sim disk: full");
    }
    return 0;
}

/* ---- bytes ---- */

static void set_length(struct inode *inode, size_t length)
{
    if (length > inode->capacity) {
        size_t capacity = inode->capacity ? inode->capacity : 4096;
        while (capacity < length) {
            capacity *= 2;
        }
        inode->bytes = xrealloc(inode->bytes, capacity);
        memset(inode->bytes + inode->capacity, 0, capacity - inode->capacity);
        inode->capacity = capacity;
    }
    if (length < inode->length) {
        memset(inode->bytes + length, 0, inode->length - length);
    }
    inode->length = length;
}

static void save_sector(struct inode *inode, size_t sector)
{
    if (inode->undo_count == inode->undo_capacity) {
        inode->undo_capacity = inode->undo_capacity ? 2 * inode->undo_capacity : 16;
        inode->undos = xreallocarray(inode->undos, inode->undo_capacity, sizeof(struct undo));
    }
    struct undo *undo = &inode->undos[inode->undo_count++];
    size_t at = sector * SECTOR_BYTES;
    undo->sector = (uint32_t)sector;
    undo->zero = at >= inode->length;
    if (!undo->zero) {
        size_t there = inode->capacity - at;
        memset(undo->bytes, 0, SECTOR_BYTES);
        memcpy(undo->bytes, inode->bytes + at, there < SECTOR_BYTES ? there : SECTOR_BYTES);
    }
}

static void write_now(struct inode *inode, struct span data, uint64_t offset)
{
    size_t end = (size_t)offset + data.length;
    if (data.length == 0) {
        return;
    }
    for (size_t s = (size_t)offset / SECTOR_BYTES; s <= (end - 1) / SECTOR_BYTES; s++) {
        save_sector(inode, s);
    }
    if (end > inode->length) {
        set_length(inode, end);
    }
    memcpy(inode->bytes + offset, data.data, data.length);
}

static void revert(struct inode *inode, const struct undo *undo)
{
    size_t at = (size_t)undo->sector * SECTOR_BYTES;
    if (at >= inode->length) {
        return;
    }
    size_t n = inode->length - at < SECTOR_BYTES ? inode->length - at : SECTOR_BYTES;
    if (undo->zero) {
        memset(inode->bytes + at, 0, n);
    } else {
        memcpy(inode->bytes + at, undo->bytes, n);
    }
}

/* ---- crash ---- */

static void crash_file(struct inode *inode, enum sim_crash how, struct rng *rng)
{
    size_t n = inode->undo_count;
    size_t keep = how == SIM_CRASH_DROP ? 0 : rng_below(rng, n + 1);
    if (how == SIM_CRASH_SUBSET && n > 0) {
        size_t sectors = inode->length / SECTOR_BYTES + 1;
        bool *settled = xcalloc(sectors, 1);
        for (size_t i = n; i-- > 0;) {
            size_t s = inode->undos[i].sector;
            if (s < sectors && !settled[s]) {
                settled[s] = rng_below(rng, 2) == 0;
                if (!settled[s]) {
                    revert(inode, &inode->undos[i]);
                }
            }
        }
        free(settled);
    } else {
        for (size_t i = n; i-- > keep;) {
            if (how != SIM_CRASH_TORN || i > keep + 3 || rng_below(rng, 2) == 0) {
                revert(inode, &inode->undos[i]);
            }
        }
    }
    if (how == SIM_CRASH_DROP || rng_below(rng, 2) == 0) {
        set_length(inode, inode->durable_length);
    }
    inode->durable_length = inode->length;
    inode->undo_count = 0;
}

static void crash_names(struct sim_disk *d, enum sim_crash how, struct rng *rng)
{
    size_t keep = how == SIM_CRASH_DROP ? 0 : rng_below(rng, d->change_count + 1);
    for (size_t i = 0; i < d->change_count; i++) {
        if (how == SIM_CRASH_SUBSET ? rng_below(rng, 2) == 0 : i < keep) {
            change_name(&d->durable, &d->changes[i]);
        }
    }
    d->change_count = 0;
    d->visible = d->durable;
    collect(d);
}

void sim_disk_crash(struct sim_disk *d, enum sim_crash how, struct rng *rng)
{
    d->stopped = false;
    d->faults = (struct sim_disk_faults){.full = d->faults.full, .stop_at = d->faults.stop_at};
    for (size_t i = 0; i < d->inode_count; i++) {
        CHECK(d->inodes[i]->open_count == 0);
    }
    if (how == SIM_CRASH_KILL) {
        return;
    }
    for (size_t i = 0; i < d->inode_count; i++) {
        crash_file(d->inodes[i], how, rng);
    }
    crash_names(d, how, rng);
}

/* ---- struct disk ---- */

static struct sim_disk *disk_of(struct disk *d)
{
    return (struct sim_disk *)d;
}

static struct sim_file *file_of(struct disk_file *f)
{
    return (struct sim_file *)f;
}

static int sim_open(struct disk *disk, const char *name, enum disk_open how,
                    struct disk_file **ret_file, struct err *e)
{
    struct sim_disk *d = disk_of(disk);
    struct name *found = find(&d->visible, name);
    struct inode *inode = found ? found->inode : NULL;
    if (d->stopped) {
        return err_set(e, ERR_IO, "sim disk: stopped");
    }
    if (how == DISK_OPEN_EXISTING && !inode) {
        return err_set(e, ERR_NOT_FOUND, "open %s", name);
    }
    if (how == DISK_OPEN_CREATE) {
        if (inode) {
            return err_set(e, ERR_EXISTS, "open %s", name);
        }
        int r = need_space(d, e);
        r = r < 0 ? r : count_change(d, e);
        if (r < 0) {
            return r;
        }
        CHECK(d->inode_count < sizeof(d->inodes) / sizeof(d->inodes[0]));
        inode = xcalloc(1, sizeof(*inode));
        d->inodes[d->inode_count++] = inode;
        add_change(d, "", name, inode);
    }
    struct sim_file *f = xcalloc(1, sizeof(*f));
    f->file.ops = disk->ops;
    f->disk = d;
    f->inode = inode;
    inode->open_count++;
    *ret_file = &f->file;
    return 0;
}

static int sim_rename(struct disk *disk, const char *from, const char *to, struct err *e)
{
    struct sim_disk *d = disk_of(disk);
    if (!d->stopped && !find(&d->visible, from)) {
        return err_set(e, ERR_NOT_FOUND, "rename %s", from);
    }
    int r = count_change(d, e);
    if (r == 0) {
        add_change(d, from, to, NULL);
    }
    return r;
}

static int sim_unlink(struct disk *disk, const char *name, struct err *e)
{
    struct sim_disk *d = disk_of(disk);
    if (!d->stopped && !find(&d->visible, name)) {
        return err_set(e, ERR_NOT_FOUND, "unlink %s", name);
    }
    int r = count_change(d, e);
    if (r == 0) {
        add_change(d, name, "", NULL);
    }
    return r;
}

static int sim_list(struct disk *disk, disk_visit_fn visit, void *arg, struct err *e)
{
    struct sim_disk *d = disk_of(disk);
    if (d->stopped) {
        return err_set(e, ERR_IO, "sim disk: stopped");
    }
    for (size_t i = 0; i < d->visible.count; i++) {
        visit(arg, d->visible.names[i].text);
    }
    return 0;
}

static int sim_sync_names(struct disk *disk, struct err *e)
{
    struct sim_disk *d = disk_of(disk);
    int r = count_change(d, e);
    if (r == 0) {
        d->durable = d->visible;
        d->change_count = 0;
        collect(d);
    }
    return r;
}

static void sim_free(struct disk *disk)
{
    (void)disk;
}

static int sim_read(struct disk_file *file, void *to, size_t length, uint64_t offset, struct err *e)
{
    struct sim_file *f = file_of(file);
    const struct inode *inode = f->inode;
    if (f->disk->stopped) {
        return err_set(e, ERR_IO, "sim disk: stopped");
    }
    if (strikes(&f->disk->faults.read_error_in)) {
        f->disk->struck.read_errors++;
        return err_set(e, ERR_IO, "sim disk: injected read error");
    }
    if (offset >= inode->length) {
        return 0;
    }
    size_t n = inode->length - (size_t)offset < length ? inode->length - (size_t)offset : length;
    memcpy(to, inode->bytes + offset, n);
    return (int)n;
}

static int sim_write(struct disk_file *file, struct span data, uint64_t offset, struct err *e)
{
    struct sim_file *f = file_of(file);
    bool was_stopped = f->disk->stopped;
    int r = offset + data.length > f->inode->capacity ? need_space(f->disk, e) : 0;
    r = r < 0 ? r : count_change(f->disk, e);
    if (r == 0 && strikes(&f->disk->faults.write_error_in)) {
        f->disk->struck.write_errors++;
        data.length /= 2;
        write_now(f->inode, data, offset);
        return err_set(e, ERR_IO, "sim disk: injected write error");
    }
    if (r == 0 || (f->disk->stopped && !was_stopped)) {
        write_now(f->inode, data, offset); /* the crash decides what of the last one is there */
    }
    return r;
}

static int sim_sync(struct disk_file *file, struct err *e)
{
    struct sim_file *f = file_of(file);
    int r = count_change(f->disk, e);
    if (r == 0 && strikes(&f->disk->faults.sync_error_in)) {
        f->disk->struck.sync_errors++;
        return err_set(e, ERR_IO, "sim disk: injected sync error");
    }
    if (r == 0) {
        f->inode->undo_count = 0;
        f->inode->durable_length = f->inode->length;
    }
    return r;
}

static int sim_size(struct disk_file *file, uint64_t *ret_bytes, struct err *e)
{
    if (file_of(file)->disk->stopped) {
        return err_set(e, ERR_IO, "sim disk: stopped");
    }
    *ret_bytes = file_of(file)->inode->length;
    return 0;
}

/* Nobody whom we simulate shortens a file. */
static int sim_truncate(struct disk_file *file, uint64_t bytes, struct err *e)
{
    (void)file;
    (void)bytes;
    return err_set(e, ERR_UNSUPPORTED, "sim disk: truncate");
}

static int sim_preallocate(struct disk_file *file, uint64_t bytes, struct err *e)
{
    (void)bytes;
    int r = need_space(file_of(file)->disk, e);
    return r < 0 ? r : count_change(file_of(file)->disk, e);
}

static void sim_close(struct disk_file *file)
{
    struct sim_file *f = file_of(file);
    f->inode->open_count--;
    free(f);
}

static const struct disk_ops sim_ops = {
    .open = sim_open,
    .rename = sim_rename,
    .unlink = sim_unlink,
    .list = sim_list,
    .sync_names = sim_sync_names,
    .free = sim_free,
    .read = sim_read,
    .write = sim_write,
    .sync = sim_sync,
    .size = sim_size,
    .truncate = sim_truncate,
    .preallocate = sim_preallocate,
    .close = sim_close,
};

struct sim_disk *sim_disk_new(void)
{
    struct sim_disk *d = xcalloc(1, sizeof(*d));
    d->disk.ops = &sim_ops;
    return d;
}

void sim_disk_free(struct sim_disk *d)
{
    if (!d) {
        return;
    }
    for (size_t i = 0; i < d->inode_count; i++) {
        inode_free(d->inodes[i]);
    }
    free(d);
}

struct disk *sim_disk_as_disk(struct sim_disk *d)
{
    return &d->disk;
}

struct sim_disk_faults *sim_disk_faults(struct sim_disk *d)
{
    return &d->faults;
}

struct sim_disk_struck sim_disk_struck(const struct sim_disk *d)
{
    return d->struck;
}

bool sim_disk_stopped(const struct sim_disk *d)
{
    return d->stopped;
}

uint64_t sim_disk_changes(const struct sim_disk *d)
{
    return d->change_total;
}
