/* See lin.h.
 *
 * The search. Calls and returns of a directory's operations stand in one list, in the order of
 * time. The first call in the list whose result fits the state is taken as the next to have
 * happened: it and its return leave the list, the state moves on, and the search begins again at
 * the front. When a return is met, its operation should have happened before; so the last choice is
 * taken back and the next call tried instead. The set of operations done and the state together
 * decide all that can follow; a pair that was met before is not tried again.
 *
 * An unknown operation has no return. Taken, it has its effect if the state allows it, and none
 * otherwise; never taken, it never happened. So the history is legal once every return is gone. */
#include "tests/lib/lin.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/hash.h"

enum { WORD_BITS = 64, FIELD_COUNT_MAX = 12, STEPS_DEFAULT = 50 * 1000 * 1000 };

enum kind { CREATE, DELETE, RENAME, STAT, LIST, SET };
enum outcome { OK, EXISTS, ABSENT, UNKNOWN };

struct op {
    enum kind kind;
    enum outcome outcome;
    uint64_t began;
    uint64_t ended;
    uint32_t name;   /* its number in the directory */
    uint32_t target; /* of a rename */
    uint32_t token;  /* made; or seen by stat */
    uint64_t listed; /* bit for each name */
    char *text;      /* the line */
};

struct partition {
    char *directory;
    struct op *ops;
    size_t count;
    char *names[LIN_NAME_COUNT_MAX];
    uint32_t name_count;
};

struct lin_history {
    struct partition *all;
    size_t count;
};

/* ---- reading ---- */

struct lin_history *lin_new(void)
{
    return xcalloc(1, sizeof(struct lin_history));
}

void lin_free(struct lin_history *h)
{
    for (size_t i = 0; h && i < h->count; i++) {
        struct partition *p = &h->all[i];
        for (size_t k = 0; k < p->count; k++) {
            free(p->ops[k].text);
        }
        for (uint32_t k = 0; k < p->name_count; k++) {
            free(p->names[k]);
        }
        free(p->directory);
        free(p->ops);
    }
    if (h) {
        free(h->all);
        free(h);
    }
}

/* The directory of "/d/rest" or "/d"; *ret_rest is "" for the latter. NULL: neither, or too many.
 */
static struct partition *partition_of(struct lin_history *h, const char *path,
                                      const char **ret_rest)
{
    const char *end = path[0] == '/' ? strchr(path + 1, '/') : NULL;
    size_t length = end ? (size_t)(end - path) : strlen(path);
    *ret_rest = end ? end + 1 : "";
    if (path[0] != '/' || length < 2) {
        return NULL;
    }
    for (size_t i = 0; i < h->count; i++) {
        if (strlen(h->all[i].directory) == length &&
            memcmp(h->all[i].directory, path, length) == 0) {
            return &h->all[i];
        }
    }
    if (h->count == LIN_PARTITION_COUNT_MAX) {
        return NULL;
    }
    h->all = xreallocarray(h->all, h->count + 1, sizeof(h->all[0]));
    h->all[h->count] = (struct partition){.directory = xstrndup(path, length)};
    return &h->all[h->count++];
}

/* LIN_NAME_COUNT_MAX: there are too many. */
static uint32_t name_of(struct partition *p, const char *name, size_t length)
{
    for (uint32_t i = 0; i < p->name_count; i++) {
        if (strlen(p->names[i]) == length && memcmp(p->names[i], name, length) == 0) {
            return i;
        }
    }
    if (p->name_count == LIN_NAME_COUNT_MAX || length == 0) {
        return LIN_NAME_COUNT_MAX;
    }
    p->names[p->name_count] = xstrndup(name, length);
    return p->name_count++;
}

static bool take_number(const char *text, uint64_t *ret_value)
{
    char *end = NULL;
    *ret_value = strtoull(text, &end, 10);
    return *text != '\0' && *end == '\0';
}

static bool take_list(struct partition *p, const char *text, uint64_t *ret_listed)
{
    *ret_listed = 0;
    while (strcmp(text, "-") != 0 && *text != '\0') {
        size_t length = strcspn(text, ",");
        uint32_t name = name_of(p, text, length);
        if (name == LIN_NAME_COUNT_MAX) {
            return false;
        }
        *ret_listed |= 1ULL << name;
        text += length + (text[length] == ',');
    }
    return true;
}

static const struct {
    const char *word;
    enum kind kind;
    size_t arguments;
} kinds[] = {
    {"create", CREATE, 2}, {"delete", DELETE, 1}, {"rename", RENAME, 2},
    {"stat", STAT, 1},     {"list", LIST, 1},     {"set", SET, 2},
};

/* What stands after `=`, for this kind. */
static bool take_outcome(struct partition *p, struct op *op, const char *text)
{
    uint64_t number = 0;
    if (strcmp(text, "unknown") == 0) {
        op->outcome = UNKNOWN;
    } else if (op->kind == LIST) {
        return take_list(p, text, &op->listed);
    } else if (strcmp(text, "absent") == 0) {
        op->outcome = ABSENT;
        return op->kind == DELETE || op->kind == RENAME || op->kind == STAT;
    } else if (strcmp(text, "exists") == 0) {
        op->outcome = EXISTS;
        return op->kind == CREATE || op->kind == RENAME;
    } else if (op->kind == STAT) {
        bool good = take_number(text, &number) && number > 0 && number <= UINT32_MAX;
        op->token = (uint32_t)number;
        return good;
    } else {
        return strcmp(text, "ok") == 0;
    }
    return true;
}

/* The second argument: another name in the same directory, or a token. */
static bool take_second(struct lin_history *h, const struct partition *p, struct op *op,
                        const char *text)
{
    uint64_t number = 0;
    const char *rest = NULL;
    size_t at = (size_t)(p - h->all);
    if (op->kind != RENAME) {
        bool good = take_number(text, &number) && number > 0 && number <= UINT32_MAX;
        op->token = (uint32_t)number;
        return good;
    }
    struct partition *other = partition_of(h, text, &rest);
    if (!other || other != &h->all[at]) {
        return false;
    }
    op->target = name_of(other, rest, strlen(rest));
    return op->target != LIN_NAME_COUNT_MAX;
}

static int split(char *line, char *fields[FIELD_COUNT_MAX])
{
    int count = 0;
    char *save = NULL;
    for (char *at = strtok_r(line, " \t\n", &save); at; at = strtok_r(NULL, " \t\n", &save)) {
        if (count == FIELD_COUNT_MAX) {
            return -1;
        }
        fields[count++] = at;
    }
    return count;
}

/* 0: added, or nothing to add. */
static int add_fields(struct lin_history *h, char **fields, size_t count, struct op *op)
{
    size_t k = 0;
    uint64_t client = 0;
    const char *rest = NULL;
    while (count > 3 && k < sizeof(kinds) / sizeof(kinds[0]) &&
           strcmp(fields[3], kinds[k].word) != 0) {
        k++;
    }
    if (count < 4 || k == sizeof(kinds) / sizeof(kinds[0]) || count != 6 + kinds[k].arguments ||
        strcmp(fields[count - 2], "=") != 0 || !take_number(fields[0], &client) ||
        !take_number(fields[1], &op->began)) {
        return ERR_INVALID;
    }
    if (strcmp(fields[count - 1], "failed") == 0) {
        return 0;
    }
    op->kind = kinds[k].kind;
    struct partition *p = partition_of(h, fields[4], &rest);
    if (!p) {
        return ERR_INVALID;
    }
    op->name = op->kind == LIST ? 0 : name_of(p, rest, strlen(rest));
    if (op->name == LIN_NAME_COUNT_MAX || p->count == LIN_OP_COUNT_MAX) {
        return ERR_TOO_LARGE;
    }
    size_t at = (size_t)(p - h->all);
    if ((kinds[k].arguments == 2 && !take_second(h, p, op, fields[5])) ||
        !take_outcome(&h->all[at], op, fields[count - 1])) {
        return ERR_INVALID;
    }
    if (op->outcome == UNKNOWN) {
        op->ended = UINT64_MAX;
    } else if (!take_number(fields[2], &op->ended) || op->ended < op->began) {
        return ERR_INVALID;
    }
    p = &h->all[at];
    p->ops = xreallocarray(p->ops, p->count + 1, sizeof(*op));
    p->ops[p->count++] = *op;
    op->text = NULL;
    return 0;
}

int lin_add_line(struct lin_history *h, const char *line, struct err *e)
{
    char *fields[FIELD_COUNT_MAX];
    char *copy = xstrdup(line);
    struct op op = {.text = xstrndup(line, strcspn(line, "\n"))};
    int count = split(copy, fields);
    int r = 0;
    if (count != 0 && line[0] != '#') {
        r = count < 0 ? ERR_INVALID : add_fields(h, fields, (size_t)count, &op);
    }
    if (r < 0) {
        err_set(e, r, "not an operation: %s", line);
    }
    free(op.text);
    free(copy);
    return r;
}

int lin_add_text(struct lin_history *h, const char *text, struct err *e)
{
    int r = 0;
    while (*text != '\0' && r == 0) {
        size_t length = strcspn(text, "\n");
        char *line = xstrndup(text, length);
        r = lin_add_line(h, line, e);
        free(line);
        text += length + (text[length] == '\n');
    }
    return r;
}

/* ---- the model: who stands under each name; 0: nobody ---- */

struct state {
    uint32_t tokens[LIN_NAME_COUNT_MAX];
};

static uint64_t names_in(const struct state *s, uint32_t name_count)
{
    uint64_t names = 0;
    for (uint32_t i = 0; i < name_count; i++) {
        names |= (uint64_t)(s->tokens[i] != 0) << i;
    }
    return names;
}

/* What the operation would say now. */
static enum outcome outcome_in(const struct state *s, const struct op *op)
{
    bool there = s->tokens[op->name] != 0;
    if (op->kind == CREATE) {
        return there ? EXISTS : OK;
    }
    if (op->kind == RENAME && there && op->target != op->name) {
        return s->tokens[op->target] != 0 ? EXISTS : OK;
    }
    return op->kind == LIST || op->kind == SET || there ? OK : ABSENT;
}

static void change(struct state *s, const struct op *op)
{
    uint32_t moved = s->tokens[op->name];
    if (op->kind == CREATE || op->kind == SET) {
        s->tokens[op->name] = op->token;
    } else if (op->kind == DELETE) {
        s->tokens[op->name] = 0;
    } else if (op->kind == RENAME) {
        s->tokens[op->name] = 0;
        s->tokens[op->target] = moved;
    }
}

/* True: it may have happened now; *s is the state after it. */
static bool happens(struct state *s, const struct op *op, uint32_t name_count)
{
    enum outcome outcome = outcome_in(s, op);
    if (op->outcome != UNKNOWN &&
        (op->outcome != outcome ||
         (op->kind == STAT && outcome == OK && s->tokens[op->name] != op->token) ||
         (op->kind == LIST && op->listed != names_in(s, name_count)))) {
        return false;
    }
    if (outcome == OK) {
        change(s, op);
    }
    return true;
}

/* ---- the search ---- */

struct entry { /* a call, or a return */
    struct entry *next;
    struct entry *prev;
    struct entry *match; /* a call's return; NULL for an unknown one, and for a return */
    uint32_t op;
    bool call;
    uint64_t at;
};

struct seen { /* one configuration, in a table with linear probing */
    uint64_t hash;
    uint32_t *words; /* done set, then tokens; NULL: free */
};

struct search {
    const struct partition *p;
    struct entry head; /* before the first */
    struct entry *entries;
    uint64_t *done; /* a bit for each op */
    size_t done_words;
    struct state state;
    struct entry **taken; /* calls, in the order chosen */
    struct state *before; /* state before each of them */
    size_t taken_count;
    size_t returns_left;
    struct seen *table;
    size_t table_count;
    size_t table_capacity;
    uint64_t steps;
    size_t furthest;   /* most operations explained */
    uint32_t stuck_op; /* whose return was met there */
};

static int compare_entries(const void *a, const void *b)
{
    const struct entry *x = a;
    const struct entry *y = b;
    if (x->at != y->at) {
        return x->at < y->at ? -1 : 1;
    }
    return (int)y->call - (int)x->call; /* at equal times they overlap: calls first */
}

/* Entries in the order of time, linked; a call knows its return. */
static void order(struct search *s)
{
    const struct partition *p = s->p;
    size_t count = 0;
    struct entry **calls = xcalloc(p->count + 1, sizeof(*calls));
    s->entries = xcalloc(2 * p->count + 1, sizeof(*s->entries));
    for (uint32_t i = 0; i < p->count; i++) {
        s->entries[count++] = (struct entry){.op = i, .call = true, .at = p->ops[i].began};
        if (p->ops[i].outcome != UNKNOWN) {
            s->entries[count++] = (struct entry){.op = i, .at = p->ops[i].ended};
            s->returns_left++;
        }
    }
    qsort(s->entries, count, sizeof(*s->entries), compare_entries);
    struct entry *last = &s->head;
    for (size_t i = 0; i < count; i++) {
        struct entry *e = &s->entries[i];
        e->prev = last;
        last->next = e;
        last = e;
        if (e->call) {
            calls[e->op] = e;
        } else {
            calls[e->op]->match = e;
        }
    }
    free(calls);
}

static void unlink_entry(struct entry *e)
{
    e->prev->next = e->next;
    if (e->next) {
        e->next->prev = e->prev;
    }
}

static void relink_entry(struct entry *e)
{
    e->prev->next = e;
    if (e->next) {
        e->next->prev = e;
    }
}

static void table_put(struct search *s, struct seen item)
{
    size_t at = (size_t)item.hash & (s->table_capacity - 1);
    while (s->table[at].words) {
        at = (at + 1) & (s->table_capacity - 1);
    }
    s->table[at] = item;
}

static void table_grow(struct search *s)
{
    struct seen *old = s->table;
    size_t capacity = s->table_capacity;
    s->table_capacity = capacity ? 2 * capacity : 1024;
    s->table = xcalloc(s->table_capacity, sizeof(*s->table));
    for (size_t i = 0; i < capacity; i++) {
        if (old[i].words) {
            table_put(s, old[i]);
        }
    }
    free(old);
}

/* Whether this configuration is new; it is remembered whole, so that nothing rests on a hash. */
static bool is_new(struct search *s, const uint64_t *done, const struct state *state)
{
    size_t done_bytes = s->done_words * sizeof(*done);
    size_t token_bytes = s->p->name_count * sizeof(state->tokens[0]);
    uint64_t hash = hash_bytes(done, done_bytes, hash_bytes(state->tokens, token_bytes, 1));
    if (2 * (s->table_count + 1) > s->table_capacity) {
        table_grow(s);
    }
    size_t at = (size_t)hash & (s->table_capacity - 1);
    for (; s->table[at].words; at = (at + 1) & (s->table_capacity - 1)) {
        const char *words = (const char *)s->table[at].words;
        if (s->table[at].hash == hash && memcmp(words, done, done_bytes) == 0 &&
            memcmp(words + done_bytes, state->tokens, token_bytes) == 0) {
            return false;
        }
    }
    char *words = xmalloc(done_bytes + token_bytes + 1);
    memcpy(words, done, done_bytes);
    memcpy(words + done_bytes, state->tokens, token_bytes);
    s->table[at] = (struct seen){hash, (uint32_t *)(void *)words};
    s->table_count++;
    return true;
}

/* Takes the call as the next that happened, if it can be and leads to something new. */
static bool take(struct search *s, struct entry *e)
{
    struct state next = s->state;
    uint64_t bit = 1ULL << e->op % WORD_BITS;
    if (!happens(&next, &s->p->ops[e->op], s->p->name_count)) {
        return false;
    }
    s->done[e->op / WORD_BITS] |= bit;
    if (!is_new(s, s->done, &next)) {
        s->done[e->op / WORD_BITS] &= ~bit;
        return false;
    }
    s->before[s->taken_count] = s->state;
    s->taken[s->taken_count++] = e;
    s->state = next;
    unlink_entry(e);
    if (e->match) {
        unlink_entry(e->match);
        s->returns_left--;
    }
    return true;
}

/* Takes the last choice back; the next one to try, or NULL if there is none to take back. */
static struct entry *take_back(struct search *s)
{
    if (s->taken_count == 0) {
        return NULL;
    }
    struct entry *e = s->taken[--s->taken_count];
    s->state = s->before[s->taken_count];
    s->done[e->op / WORD_BITS] &= ~(1ULL << e->op % WORD_BITS);
    if (e->match) {
        relink_entry(e->match);
        s->returns_left++;
    }
    relink_entry(e);
    return e->next;
}

static enum lin_verdict search(struct search *s, uint64_t steps_max)
{
    struct entry *e = s->head.next;
    while (s->returns_left > 0) {
        if (++s->steps > steps_max) {
            return LIN_UNDECIDED;
        }
        if (e && e->call) {
            e = take(s, e) ? s->head.next : e->next;
            continue;
        }
        if (e && s->taken_count >= s->furthest) {
            s->furthest = s->taken_count;
            s->stuck_op = e->op;
        }
        bool any = s->taken_count > 0;
        e = take_back(s);
        if (!any) {
            return LIN_ILLEGAL;
        }
    }
    return LIN_LEGAL;
}

static void search_free(struct search *s)
{
    for (size_t i = 0; i < s->table_capacity; i++) {
        free(s->table[i].words);
    }
    free(s->table);
    free(s->entries);
    free(s->done);
    free(s->taken);
    free(s->before);
}

static void explain(const struct search *s, enum lin_verdict verdict, struct buf *why)
{
    const struct partition *p = s->p;
    buf_printf(why, "%s: %s", p->directory,
               verdict == LIN_UNDECIDED ? "undecided" : "not linearizable");
    if (p->count > 0) {
        buf_printf(why, "; of %zu operations %zu are explained, but not this one: %s", p->count,
                   s->furthest, p->ops[s->stuck_op].text);
    }
    buf_printf(why, "\n");
}

static uint64_t count_overlapped(const struct partition *p)
{
    uint64_t count = 0;
    for (size_t i = 0; i < p->count; i++) {
        bool overlaps = false;
        for (size_t k = 0; k < p->count && !overlaps; k++) {
            overlaps =
                k != i && p->ops[k].began <= p->ops[i].ended && p->ops[i].began <= p->ops[k].ended;
        }
        count += overlaps;
    }
    return count;
}

static enum lin_verdict check_partition(const struct partition *p, uint64_t steps_max,
                                        struct buf *why, struct lin_summary *sum)
{
    struct search s = {.p = p, .done_words = p->count / WORD_BITS + 1};
    s.done = xcalloc(s.done_words, sizeof(*s.done));
    s.taken = xcalloc(p->count + 1, sizeof(*s.taken));
    s.before = xcalloc(p->count + 1, sizeof(*s.before));
    order(&s);
    enum lin_verdict verdict = search(&s, steps_max);
    sum->ops += p->count;
    sum->overlapped += count_overlapped(p);
    sum->steps += s.steps;
    for (size_t i = 0; i < p->count; i++) {
        sum->unknowns += p->ops[i].outcome == UNKNOWN;
    }
    if (verdict != LIN_LEGAL && why) {
        explain(&s, verdict, why);
    }
    search_free(&s);
    return verdict;
}

enum lin_verdict lin_check(const struct lin_history *h, uint64_t steps_max, struct buf *why,
                           struct lin_summary *ret_summary)
{
    struct lin_summary sum = {.partitions = h->count};
    enum lin_verdict worst = LIN_LEGAL;
    for (size_t i = 0; i < h->count; i++) {
        enum lin_verdict verdict =
            check_partition(&h->all[i], steps_max ? steps_max : STEPS_DEFAULT, why, &sum);
        if (verdict != LIN_LEGAL && worst != LIN_ILLEGAL) {
            worst = verdict;
        }
    }
    if (ret_summary) {
        *ret_summary = sum;
    }
    return worst;
}
