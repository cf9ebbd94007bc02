/* Values are taken from the strongest source to the weakest: flags, environment, file, defaults.
 * The first source that sets a row keeps it; the weaker ones are still parsed, so that a mistake in
 * the file is found also while a flag hides it.
 *
 * The file is read with inih. Its callback is not told line numbers, but it runs between two calls
 * of our line reader, which counts. */
#include "common/config.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <ini.h>

#include "common/alloc.h"
#include "common/check.h"
#include "common/config_row.h"
#include "common/limits.h"
#include "common/macros.h"
#include "common/parse.h"
#include "common/sys.h"

static const char default_file[] = "/etc/trireme/trireme.conf";

/* The file serves all programs of a host: other programs' sections are skipped, misspelt ones are
 * not. Below [all] a key of this program is taken, and one that only others know is skipped if it
 * is one of the keys made for sharing. */
static const char *const known_sections[] = {"all",      "fsmaster", "chunkserver", "mrmaster",
                                             "mrworker", "dfs",      "mr"};
static const char *const shared_keys[] = {"masters", "mrmaster",  "host",     "rack",
                                          "user",    "superuser", "insecure", "log-level",
                                          "http",    "tls-ca",    "tls-cert", "tls-key"};

struct parse {
    struct config *config;
    const struct config_program *program;
    char *options; /* the caller's struct */
    const char *(*getenv)(const char *name);
    const char *file; /* --config */
    struct err *e;
};

/* One value on its way to its row. */
struct value {
    const char *text;
    enum config_source source;
    const char *where; /* "--cache", "TRIREME_CACHE" or "trireme.conf:12: cache", for errors */
};

static bool takes_file(const struct config_row *row)
{
    return row->type != CONFIG_HEADING && (row->flags & CONFIG_FLAG_ONLY) == 0;
}

static bool uses_file(const struct config_program *p)
{
    for (size_t i = 0; i < p->row_count; i++) {
        if (takes_file(&p->rows[i])) {
            return true;
        }
    }
    return false;
}

static const struct config_row *row_by_key(const struct config_program *p, const char *key)
{
    for (size_t i = 0; i < p->row_count; i++) {
        if (p->rows[i].type != CONFIG_HEADING && strcmp(p->rows[i].key, key) == 0) {
            return &p->rows[i];
        }
    }
    return NULL;
}

/* As the file may call it. */
static const struct config_row *row_by_file_key(const struct config_program *p, const char *key)
{
    const struct config_row *row = row_by_key(p, key);
    for (size_t i = 0; row == NULL && i < p->row_count; i++) {
        const char *shared = p->rows[i].shared_key;
        row = shared != NULL && strcmp(shared, key) == 0 ? &p->rows[i] : NULL;
    }
    return row;
}

static const struct config_row *row_by_letter(const struct config_program *p, char letter)
{
    for (size_t i = 0; i < p->row_count; i++) {
        if (p->rows[i].letter == letter && letter != 0) {
            return &p->rows[i];
        }
    }
    return NULL;
}

static bool same_but_for_case(char a, char b)
{
    return tolower((unsigned char)a) == tolower((unsigned char)b);
}

/* "skipTrash" for "skip-trash": hyphens and case do not count. */
static bool is_key_of_hadoop(const char *key, const char *word)
{
    for (; *word != 0; word++, key++) {
        word += *word == '-';
        key += *key == '-';
        if (*key == 0 || !same_but_for_case(*key, *word)) {
            return false;
        }
    }
    return *key == 0;
}

/* The row that "-word" names where one dash is enough; NULL: these are letters. Only of flags for
 * one call: find -user X of Unix must not become "act as X". */
static const struct config_row *row_by_word(const struct config_program *p, const char *word)
{
    for (size_t i = 0; p->one_dash && word[1] != 0 && i < p->row_count; i++) {
        if ((p->rows[i].flags & CONFIG_FLAG_ONLY) && is_key_of_hadoop(p->rows[i].key, word)) {
            return &p->rows[i];
        }
    }
    return NULL;
}

static int parse_choice(const struct config_row *row, const char *text, struct err *e)
{
    size_t length = strlen(text);
    for (const char *choice = row->choices; choice != NULL;) {
        const char *bar = strchrnul(choice, '|');
        if ((size_t)(bar - choice) == length && memcmp(choice, text, length) == 0) {
            return 0;
        }
        choice = *bar != 0 ? bar + 1 : NULL;
    }
    return row->choices == NULL
               ? 0
               : err_set(e, ERR_INVALID, "\"%s\" is not one of %s", text, row->choices);
}

/* A number of any of the three types, within the row's bounds. */
static int parse_number(const struct config_row *row, const char *text, int64_t *ret, struct err *e)
{
    uint64_t magnitude = 0;
    int64_t value = 0;
    int r = 0;
    if (row->type == CONFIG_INT) {
        r = parse_i64(text, &value, e);
    } else {
        r = row->type == CONFIG_SIZE ? parse_size(text, &magnitude, e)
                                     : parse_duration(text, &magnitude, e);
        value = (int64_t)MIN(magnitude, (uint64_t)INT64_MAX);
    }
    bool bounded = row->min != 0 || row->max != 0;
    if (r == 0 && bounded && (value < row->min || value > row->max)) {
        char least[FORMAT_TEXT_BYTES], most[FORMAT_TEXT_BYTES];
        return err_set(e, ERR_INVALID, "%s is not within %s and %s", text,
                       config_number_text(row, row->min, least),
                       config_number_text(row, row->max, most));
    }
    *ret = value;
    return r;
}

static void list_add(struct config *c, struct config_list *list, const char *item, size_t length)
{
    const char **items = arena_alloc(&c->arena, (list->count + 1) * sizeof(*items));
    if (list->count > 0) {
        memcpy(items, list->items, list->count * sizeof(*items));
    }
    items[list->count] = arena_strndup(&c->arena, item, length);
    list->items = items;
    list->count++;
}

/* Items between commas; empty ones do not count. */
static void list_add_split(struct config *c, struct config_list *list, const char *text)
{
    while (*text != 0) {
        text += strspn(text, ", ");
        size_t length = strcspn(text, ",");
        size_t used = length;
        while (used > 0 && text[used - 1] == ' ') {
            used--;
        }
        if (used > 0) {
            list_add(c, list, text, used);
        }
        text += length;
    }
}

/* Checks the text; stores it if `store`. */
static int convert(struct parse *p, const struct config_row *row, const char *text, bool store,
                   struct err *e)
{
    void *target = p->options + row->offset;
    int64_t number = 0;
    bool flag = false;
    int r = 0;
    switch (row->type) {
    case CONFIG_STRING:
        r = parse_choice(row, text, e);
        if (r == 0 && store) {
            *(const char **)target = arena_strdup(&p->config->arena, text);
        }
        break;
    case CONFIG_INT:
    case CONFIG_SIZE:
    case CONFIG_DURATION:
        r = parse_number(row, text, &number, e);
        if (r == 0 && store) {
            *(int64_t *)target = number; /* the same bytes as uint64_t: never negative there */
        }
        break;
    case CONFIG_BOOL:
        r = parse_bool(text, &flag, e);
        if (r == 0 && store) {
            *(bool *)target = flag;
        }
        break;
    case CONFIG_LIST:
        if (store) {
            list_add_split(p->config, target, text);
        }
        break;
    case CONFIG_REPEAT:
        if (store) {
            list_add(p->config, target, text, strlen(text));
        }
        break;
    case CONFIG_HEADING:
        break;
    }
    return r;
}

static int set_row(struct parse *p, const struct config_row *row, const struct value *value)
{
    enum config_source *source = &p->config->sources[row - p->program->rows];
    bool wins = value->source >= *source;
    int r = convert(p, row, value->text, wins, p->e);
    if (r < 0) {
        return err_wrap(p->e, r, "%s", value->where);
    }
    if (wins) {
        *source = value->source;
        if (value->source != CONFIG_DEFAULT) {
            p->config->wheres[row - p->program->rows] =
                arena_strdup(&p->config->arena, value->where);
        }
    }
    return 0;
}

/* ---- flags ---- */

/* Adds the nearest flag to the message if one is near. dashes: "-" or "--", as the user typed. */
static int unknown_flag(const struct parse *p, const char *dashes, const char *name)
{
    const char *nearest = NULL;
    size_t least = 3; /* more than two edits away is another word */
    for (size_t i = 0; i < p->program->row_count; i++) {
        const struct config_row *row = &p->program->rows[i];
        size_t distance = text_distance(name, row->key);
        if (row->type != CONFIG_HEADING && (row->flags & CONFIG_HIDDEN) == 0 && distance < least) {
            nearest = row->key;
            least = distance;
        }
    }
    if (nearest != NULL) {
        return err_set(p->e, ERR_INVALID, "unknown option %s%.100s; did you mean --%s?", dashes,
                       name, nearest);
    }
    return err_set(p->e, ERR_INVALID, "unknown option %s%.100s", dashes, name);
}

static bool wants_text(const struct config *c)
{
    return c->wants_help || c->wants_version || c->wants_markdown || c->wants_man;
}

/* --help and its like; true if name is one that the program does not have itself. */
static bool take_standard_flag(struct parse *p, const char *name)
{
    struct config *c = p->config;
    c->wants_help |= strcmp(name, "help") == 0;
    c->wants_version |= strcmp(name, "version") == 0;
    c->wants_markdown |= strcmp(name, "help-markdown") == 0;
    c->wants_man |= strcmp(name, "help-man") == 0;
    return wants_text(c);
}

static int needs_value(const struct parse *p, const char *name)
{
    return err_set(p->e, ERR_INVALID, "option --%s needs a value", name);
}

/* text NULL: the value is the next word. */
static int take_value(struct parse *p, const struct config_input *in, int *at,
                      const struct config_row *row, const char *text)
{
    if (text == NULL) {
        *at += 1;
        text = *at < in->argc ? in->argv[*at] : NULL;
    }
    if (text == NULL) {
        return needs_value(p, row->key);
    }
    const char *where = arena_printf(&p->config->arena, "--%s", row->key);
    return set_row(p, row, &(struct value){text, CONFIG_FROM_FLAG, where});
}

/* argv[*at] is "--name", "--name=value" or "--no-name"; a value may be the next word. */
static int take_long_flag(struct parse *p, const struct config_input *in, int *at)
{
    const char *word = in->argv[*at] + 2;
    const char *equals = strchrnul(word, '=');
    const char *name = arena_strndup(&p->config->arena, word, (size_t)(equals - word));
    const char *text = *equals != 0 ? equals + 1 : NULL;
    const struct config_row *row = row_by_key(p->program, name);
    bool negated = row == NULL && text == NULL && strncmp(name, "no-", 3) == 0;
    if (negated) {
        row = row_by_key(p->program, name + 3);
        negated = row != NULL && row->type == CONFIG_BOOL;
        row = negated ? row : NULL;
    }
    bool is_file = row == NULL && strcmp(name, "config") == 0 && uses_file(p->program);
    if (row == NULL && !is_file) {
        return take_standard_flag(p, name) ? 0 : unknown_flag(p, "--", name);
    }
    if (is_file) {
        p->file = text != NULL ? text : *at + 1 < in->argc ? in->argv[++*at] : NULL;
        return p->file != NULL ? 0 : needs_value(p, name);
    }
    if (text == NULL && row->type == CONFIG_BOOL) {
        text = negated ? "false" : "true";
    }
    return take_value(p, in, at, row, text);
}

/* argv[*at] is "-x", "-xvalue" or several flags in one word, of which the last may take a value. */
static int take_short_flags(struct parse *p, const struct config_input *in, int *at)
{
    const char *letters = in->argv[*at] + 1;
    for (; *letters != 0; letters++) {
        const struct config_row *row = row_by_letter(p->program, *letters);
        char where[3] = {'-', *letters, 0};
        if (row == NULL && *letters == 'h') {
            p->config->wants_help = true;
            return 0;
        }
        if (row == NULL && letters == in->argv[*at] + 1 && letters[1] != 0) {
            return unknown_flag(p, "-", letters);
        }
        if (row == NULL) {
            return err_set(p->e, ERR_INVALID, "unknown option -%c", *letters);
        }
        if (row->type == CONFIG_BOOL) {
            int r = set_row(p, row, &(struct value){"true", CONFIG_FROM_FLAG, where});
            if (r < 0) {
                return r;
            }
            continue;
        }
        const char *text = letters + 1;
        if (*text == 0) {
            *at += 1;
            text = *at < in->argc ? in->argv[*at] : NULL;
        }
        if (text == NULL) {
            return err_set(p->e, ERR_INVALID, "option %s needs a value", where);
        }
        return set_row(p, row, &(struct value){text, CONFIG_FROM_FLAG, where});
    }
    return 0;
}

static int take_flags(struct parse *p, const struct config_input *in)
{
    struct config *c = p->config;
    bool flags_ended = false;
    int r = 0;
    for (int at = 1; r == 0 && at < in->argc; at++) {
        const char *word = in->argv[at];
        const struct config_row *row;
        if (flags_ended || word[0] != '-' || word[1] == 0) {
            c->arguments[c->argument_count++] = word;
            flags_ended |= p->program->stop_at_argument;
        } else if (strcmp(word, "--") == 0) {
            flags_ended = true;
        } else if (word[1] == '-') {
            r = take_long_flag(p, in, &at);
        } else if ((row = row_by_word(p->program, word + 1)) != NULL) {
            r = take_value(p, in, &at, row, row->type == CONFIG_BOOL ? "true" : NULL);
        } else {
            r = take_short_flags(p, in, &at);
        }
        if (wants_text(c)) {
            return 0;
        }
    }
    if (r == 0 && c->argument_count > 0 && p->program->arguments == NULL) {
        r = err_set(p->e, ERR_INVALID, "unexpected argument \"%.100s\"", c->arguments[0]);
    }
    return r;
}

/* ---- environment ---- */

static int take_environment(struct parse *p)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < p->program->row_count; i++) {
        const struct config_row *row = &p->program->rows[i];
        if (!takes_file(row)) {
            continue;
        }
        const char *name = config_env_name(row, &p->config->arena);
        const char *text = p->getenv(name);
        if (text != NULL) {
            r = set_row(p, row, &(struct value){text, CONFIG_FROM_ENV, name});
        }
    }
    return r;
}

/* ---- file ---- */

struct file_reader {
    struct parse *parse;
    const char *name; /* for errors */
    const char *at;   /* not yet read */
    size_t left;
    unsigned line; /* of the line that inih has in hand */
    bool *seen;    /* one per row: set by an earlier line */
    int result;    /* the first error */
};

/* What inih takes for fgets(). A line that does not fit would be cut silently, and a NUL would hide
 * the rest of one. */
static char *read_line(char *line, int line_bytes_max, void *context)
{
    struct file_reader *f = context;
    if (f->left == 0 || f->result < 0) {
        return NULL;
    }
    const char *newline = memchr(f->at, '\n', f->left);
    size_t length = newline != NULL ? (size_t)(newline - f->at) + 1 : f->left;
    f->line++;
    if (length >= (size_t)line_bytes_max || memchr(f->at, 0, length) != NULL) {
        f->result =
            err_set(f->parse->e, ERR_INVALID, "%s:%u: the line has a NUL or more than %d bytes",
                    f->name, f->line, line_bytes_max - 1);
        return NULL;
    }
    memcpy(line, f->at, length);
    line[length] = 0;
    f->at += length;
    f->left -= length;
    return line;
}

static bool one_of(const char *word, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(word, words[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* The section of a program is the first word of its name. */
static bool is_our_section(const struct config_program *p, const char *section)
{
    size_t length = strcspn(p->name, " ");
    return strlen(section) == length && strncmp(p->name, section, length) == 0;
}

static int take_file_row(struct file_reader *f, const struct config_row *row, const char *key,
                         const char *text)
{
    struct parse *p = f->parse;
    const char *where = arena_printf(&p->config->arena, "%s:%u: %s", f->name, f->line, key);
    bool *seen = &f->seen[row - p->program->rows];
    if (*seen && row->type != CONFIG_LIST && row->type != CONFIG_REPEAT) {
        return err_set(p->e, ERR_INVALID, "%s is set twice", where);
    }
    *seen = true;
    return set_row(p, row, &(struct value){text, CONFIG_FROM_FILE, where});
}

static int take_file_line(struct file_reader *f, const char *section, const char *key,
                          const char *text)
{
    struct parse *p = f->parse;
    bool ours = is_our_section(p->program, section);
    bool all = strcmp(section, "all") == 0;
    if (!ours && !one_of(section, known_sections, ARRAY_COUNT(known_sections))) {
        return err_set(p->e, ERR_INVALID, "%s:%u: unknown section [%.60s]", f->name, f->line,
                       section);
    }
    if (!ours && !all) {
        return 0;
    }
    const struct config_row *row = row_by_file_key(p->program, key);
    if (row != NULL && takes_file(row)) {
        return take_file_row(f, row, key, text);
    }
    if (all && one_of(key, shared_keys, ARRAY_COUNT(shared_keys))) {
        return 0;
    }
    return err_set(p->e, ERR_INVALID, "%s:%u: unknown key \"%.60s\" in section [%.60s]", f->name,
                   f->line, key, section);
}

/* inih's callback: non-zero is success. */
static int on_line(void *context, const char *section, const char *key, const char *text)
{
    struct file_reader *f = context;
    if (f->result == 0) {
        f->result = take_file_line(f, section, key, text);
    }
    return f->result == 0;
}

static int take_text(struct parse *p, const char *name, const char *text, size_t length)
{
    struct file_reader f = {.parse = p, .name = name, .at = text, .left = length};
    f.seen = arena_calloc(&p->config->arena, p->program->row_count + 1);
    ini_use_stack = false;
    ini_max_line = CONFIG_LINE_BYTES_MAX;
    ini_initial_alloc = CONFIG_LINE_BYTES_MAX;
    ini_allow_multiline = false;
    ini_stop_on_first_error = true;
    int bad_line = ini_parse_stream(read_line, &f, on_line, &f);
    if (f.result == 0 && bad_line != 0) {
        return err_set(p->e, ERR_INVALID, "%s:%d: neither a [section] nor key = value", name,
                       bad_line);
    }
    return f.result;
}

/* A file that was named must be there; the default one need not. */
static int take_file(struct parse *p, const struct config_input *in)
{
    struct buf text = BUF_INIT;
    const char *path = p->file != NULL ? p->file : p->getenv("TRIREME_CONFIG");
    bool named = path != NULL;
    if (!uses_file(p->program)) {
        return 0;
    }
    if (!named) {
        path = in->file != NULL ? in->file : default_file;
    }
    int r = sys_read_file(path, CONFIG_FILE_BYTES_MAX, &text, p->e);
    if (r == ERR_NOT_FOUND && !named) {
        r = 0;
    } else if (r == 0) {
        r = take_text(p, path, text.data, text.length);
    }
    buf_deinit(&text);
    return r;
}

/* ---- the whole ---- */

static void take_defaults(struct parse *p)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < p->program->row_count; i++) {
        const struct config_row *row = &p->program->rows[i];
        if (row->default_text != NULL && p->config->sources[i] == CONFIG_DEFAULT) {
            r = set_row(p, row, &(struct value){row->default_text, CONFIG_DEFAULT, row->key});
        }
    }
    CHECK(r == 0); /* a default that does not parse is our mistake */
}

static int check_required(const struct parse *p)
{
    for (size_t i = 0; i < p->program->row_count; i++) {
        const struct config_row *row = &p->program->rows[i];
        if ((row->flags & CONFIG_REQUIRED) != 0 && p->config->sources[i] == CONFIG_DEFAULT) {
            return err_set(p->e, ERR_INVALID, "option --%s is required", row->key);
        }
    }
    return 0;
}

static void clear_targets(const struct config_program *p, char *options)
{
    for (size_t i = 0; i < p->row_count; i++) {
        size_t size = config_target_size(&p->rows[i]);
        if (size > 0) {
            memset(options + p->rows[i].offset, 0, size);
        }
    }
}

static const char *process_getenv(const char *name)
{
    return getenv(name);
}

static struct parse parse_begin(struct config *c, const struct config_program *p, void *options,
                                struct err *e)
{
    *c = (struct config){.arena = ARENA_INIT};
    c->sources = arena_calloc(&c->arena, p->row_count * sizeof(*c->sources));
    c->wheres = arena_calloc(&c->arena, p->row_count * sizeof(*c->wheres));
    clear_targets(p, options);
    return (struct parse){
        .config = c, .program = p, .options = options, .getenv = process_getenv, .e = e};
}

int config_parse(struct config *c, const struct config_program *p, void *options,
                 const struct config_input *input, struct err *e)
{
    struct parse parse = parse_begin(c, p, options, e);
    size_t words = input->argc > 0 ? (size_t)input->argc : 1;
    c->arguments = arena_calloc(&c->arena, words * sizeof(*c->arguments));
    if (input->getenv != NULL) {
        parse.getenv = input->getenv;
    }
    int r = take_flags(&parse, input);
    if (r < 0 || wants_text(c)) {
        return r;
    }
    r = take_environment(&parse);
    if (r == 0) {
        r = take_file(&parse, input);
    }
    if (r < 0) {
        return r;
    }
    take_defaults(&parse);
    return check_required(&parse);
}

const char *config_where(struct config *c, const struct config_program *p, const char *key)
{
    const struct config_row *row = row_by_key(p, key);
    CHECK(row != NULL);
    const char *where = c->wheres[row - p->rows];
    return where != NULL ? where : arena_printf(&c->arena, "--%s", key);
}

int config_check_text(const struct config_program *p, const char *name, const char *text,
                      size_t length, struct err *e)
{
    struct config c;
    size_t options_size = 0;
    for (size_t i = 0; i < p->row_count; i++) {
        options_size = MAX(options_size, p->rows[i].offset + config_target_size(&p->rows[i]));
    }
    void *options = xcalloc(1, options_size + 1);
    struct parse parse = parse_begin(&c, p, options, e);
    int r = take_text(&parse, name, text, length);
    config_deinit(&c);
    free(options);
    return r;
}

void config_deinit(struct config *c)
{
    if (c == NULL) {
        return;
    }
    arena_deinit(&c->arena);
    *c = (struct config){.arena = ARENA_INIT};
}
