/* The same table as text: --help, the reference page, and the values in force. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/check.h"
#include "common/config.h"
#include "common/config_row.h"
#include "common/limits.h"
#include "common/sys.h"

enum { HELP_COLUMNS = 80, HELP_INDENT = 8 };

const char *config_env_name(const struct config_row *row, struct arena *arena)
{
    if (row->env != NULL) {
        return row->env;
    }
    char *name = arena_printf(arena, "TRIREME_%s", row->key);
    for (char *at = name; *at != 0; at++) {
        if (*at == '-') {
            *at = '_';
        } else if (*at >= 'a' && *at <= 'z') {
            *at = (char)(*at - 'a' + 'A');
        }
    }
    return name;
}

char *config_number_text(const struct config_row *row, int64_t number, char text[FORMAT_TEXT_BYTES])
{
    if (row->type == CONFIG_SIZE) {
        return format_size_exact((uint64_t)number, text);
    }
    if (row->type == CONFIG_DURATION) {
        return format_duration_exact((uint64_t)number, text);
    }
    (void)snprintf(text, FORMAT_TEXT_BYTES, "%lld", (long long)number);
    return text;
}

size_t config_target_size(const struct config_row *row)
{
    switch (row->type) {
    case CONFIG_STRING:
        return sizeof(const char *);
    case CONFIG_INT:
    case CONFIG_SIZE:
    case CONFIG_DURATION:
        return sizeof(int64_t);
    case CONFIG_BOOL:
        return sizeof(bool);
    case CONFIG_LIST:
    case CONFIG_REPEAT:
        return sizeof(struct config_list);
    case CONFIG_HEADING:
        return 0;
    }
    return 0;
}

const char *config_value_name(const struct config_row *row)
{
    static const char *const by_type[] = {
        [CONFIG_STRING] = "TEXT",   [CONFIG_INT] = "N",   [CONFIG_SIZE] = "SIZE",
        [CONFIG_DURATION] = "TIME", [CONFIG_BOOL] = "",   [CONFIG_LIST] = "A,B,...",
        [CONFIG_REPEAT] = "TEXT",   [CONFIG_HEADING] = ""};
    return row->value_name != NULL ? row->value_name : by_type[row->type];
}

/* Paragraphs of text (one a line), broken at spaces into lines of at most HELP_COLUMNS. */
static void append_wrapped(struct buf *out, const char *text, size_t indent)
{
    while (*text != 0) {
        size_t column = 0;
        size_t paragraph = strcspn(text, "\n");
        for (size_t at = 0; at < paragraph;) {
            size_t word = strcspn(text + at, " \n");
            if (column > indent && column + 1 + word > HELP_COLUMNS) {
                buf_append_byte(out, '\n');
                column = 0;
            }
            buf_append_fill(out, ' ', column == 0 ? indent : 1);
            buf_append(out, text + at, word);
            column += (column == 0 ? indent : 1) + word;
            at += word + strspn(text + at + word, " ");
        }
        buf_append_byte(out, '\n');
        text += paragraph + (text[paragraph] == '\n');
    }
}

/* "Required." "Default: 64M." "Between 1M and 1G." "One of a|b." */
void config_append_facts(struct buf *out, const struct config_row *row)
{
    char least[FORMAT_TEXT_BYTES], most[FORMAT_TEXT_BYTES];
    if ((row->flags & CONFIG_REQUIRED) != 0) {
        buf_append_str(out, " Required.");
    }
    if (row->choices != NULL) {
        buf_printf(out, " One of %s.", row->choices);
    }
    if ((row->min != 0 || row->max != 0) && row->max == INT64_MAX) {
        buf_printf(out, " At least %s.", config_number_text(row, row->min, least));
    } else if (row->min != 0 || row->max != 0) {
        buf_printf(out, " From %s to %s.", config_number_text(row, row->min, least),
                   config_number_text(row, row->max, most));
    }
    if (row->default_text != NULL && row->default_text[0] != 0 &&
        !(row->type == CONFIG_BOOL && strcmp(row->default_text, "false") == 0)) {
        buf_printf(out, " Default: %s.", row->default_text);
    }
}

static void print_option(struct buf *out, const struct config_row *row, struct arena *arena)
{
    struct buf text = BUF_INIT;
    const char *name = config_value_name(row);
    if (row->letter != 0) {
        buf_printf(out, "  -%c, --%s", row->letter, row->key);
    } else {
        buf_printf(out, "      --%s", row->key);
    }
    buf_printf(out, "%s%s\n", name[0] != 0 ? " " : "", name);
    buf_append_str(&text, row->help);
    config_append_facts(&text, row);
    if ((row->flags & CONFIG_FLAG_ONLY) == 0) {
        buf_printf(&text, " Environment: %s.", config_env_name(row, arena));
    }
    append_wrapped(out, text.data, HELP_INDENT + 2);
    buf_deinit(&text);
}

bool config_row_shown(const struct config_row *row)
{
    return (row->flags & CONFIG_HIDDEN) == 0;
}

bool config_has_file_rows(const struct config_program *p)
{
    for (size_t i = 0; i < p->row_count; i++) {
        if (p->rows[i].type != CONFIG_HEADING && (p->rows[i].flags & CONFIG_FLAG_ONLY) == 0) {
            return true;
        }
    }
    return false;
}

static void print_usage(const struct config_program *p, struct buf *out)
{
    buf_printf(out, "%s%s%s%s", p->name, p->row_count > 0 ? " [OPTION]..." : "",
               p->arguments != NULL ? " " : "", p->arguments != NULL ? p->arguments : "");
}

/* Whether a row of the program has taken the letter. */
bool config_has_letter(const struct config_program *p, char letter)
{
    for (size_t i = 0; i < p->row_count; i++) {
        if (p->rows[i].letter == letter) {
            return true;
        }
    }
    return false;
}

static void print_options(const struct config_program *p, struct buf *out)
{
    struct arena arena = ARENA_INIT;
    bool headed = p->row_count > 0 && p->rows[0].type == CONFIG_HEADING;
    if (!headed) {
        buf_append_str(out, "\nOptions:\n");
    }
    for (size_t i = 0; i < p->row_count; i++) {
        const struct config_row *row = &p->rows[i];
        if (row->type == CONFIG_HEADING) {
            buf_printf(out, "\n%s:\n", row->help);
        } else if (config_row_shown(row)) {
            print_option(out, row, &arena);
        }
    }
    if (config_has_file_rows(p)) {
        buf_append_str(out, "      --config FILE\n");
        append_wrapped(out,
                       "Configuration file. Default: /etc/trireme/trireme.conf, if it exists. "
                       "Environment: TRIREME_CONFIG.",
                       HELP_INDENT + 2);
    }
    buf_append_str(out, config_has_letter(p, 'h') ? "      --help\n" : "  -h, --help\n");
    append_wrapped(out, "Show this text and exit.", HELP_INDENT + 2);
    buf_append_str(out, "      --version\n");
    append_wrapped(out, "Show the version and exit.", HELP_INDENT + 2);
    arena_deinit(&arena);
}

void config_print_help(const struct config_program *p, struct buf *out)
{
    buf_printf(out, "%s - %s\n\nUsage: ", p->name, p->summary);
    print_usage(p, out);
    buf_append_byte(out, '\n');
    if (p->description != NULL) {
        buf_append_byte(out, '\n');
        append_wrapped(out, p->description, 0);
    }
    print_options(p, out);
    if (config_has_file_rows(p)) {
        struct buf text = BUF_INIT;
        buf_printf(
            &text,
            "Options are also read from section [%.*s] or [all] of the configuration file, "
            "as \"name = value\" without the dashes. A flag goes before the environment, that "
            "before the file.",
            (int)strcspn(p->name, " "), p->name);
        buf_append_byte(out, '\n');
        append_wrapped(out, text.data, 0);
        buf_deinit(&text);
    }
    if (p->footer != NULL) {
        buf_printf(out, "\n%s\n", p->footer);
    }
}

/* Text in a table's cell: a bar would end it. */
static void append_cell(struct buf *out, const char *text)
{
    for (; *text != 0; text++) {
        if (*text == '|') {
            buf_append_byte(out, '\\');
        }
        buf_append_byte(out, *text == '\n' ? ' ' : (uint8_t)*text);
    }
}

static void print_markdown_row(struct buf *out, const struct config_row *row, struct arena *arena)
{
    struct buf facts = BUF_INIT;
    bool flag_only = (row->flags & CONFIG_FLAG_ONLY) != 0;
    const char *name = config_value_name(row);
    buf_printf(out, "| `--%s%s%s`", row->key, name[0] != 0 ? " " : "", name);
    if (row->letter != 0) {
        buf_printf(out, ", `-%c`", row->letter);
    }
    buf_printf(out, " | %s%s%s | ", flag_only ? "" : "`",
               flag_only ? "" : config_env_name(row, arena), flag_only ? "" : "`");
    append_cell(out, row->help);
    config_append_facts(&facts, row);
    append_cell(out, facts.data);
    buf_append_str(out, " |\n");
    buf_deinit(&facts);
}

void config_print_markdown(const struct config_program *p, struct buf *out)
{
    static const char head[] = "\n| option | environment | meaning |\n|---|---|---|\n";
    struct arena arena = ARENA_INIT;
    bool in_table = false;
    buf_printf(out, "## %s\n\n%s.\n\n    ", p->name, p->summary);
    print_usage(p, out);
    buf_append_byte(out, '\n');
    if (p->description != NULL) {
        buf_printf(out, "\n%s\n", p->description);
    }
    for (size_t i = 0; i < p->row_count; i++) {
        const struct config_row *row = &p->rows[i];
        if (row->type == CONFIG_HEADING) {
            buf_printf(out, "\n### %s\n", row->help);
            in_table = false;
        } else if (config_row_shown(row)) {
            buf_append_str(out, in_table ? "" : head);
            in_table = true;
            print_markdown_row(out, row, &arena);
        }
    }
    if (p->footer != NULL) {
        buf_printf(out, "\n```text\n%s\n```\n", p->footer);
    }
    arena_deinit(&arena);
}

static void append_list(struct buf *out, const struct config_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        buf_printf(out, "%s%s", i > 0 ? "," : "", list->items[i]);
    }
}

/* False: it is not set. */
static bool append_value(struct buf *out, const struct config_row *row, const char *options)
{
    const void *target = options + row->offset;
    char text[FORMAT_TEXT_BYTES];
    switch (row->type) {
    case CONFIG_STRING: {
        const char *string = *(const char *const *)target;
        buf_append_str(out, string != NULL ? string : "");
        return string != NULL;
    }
    case CONFIG_INT:
    case CONFIG_SIZE:
    case CONFIG_DURATION:
        buf_append_str(out, config_number_text(row, *(const int64_t *)target, text));
        break;
    case CONFIG_BOOL:
        buf_append_str(out, *(const bool *)target ? "true" : "false");
        break;
    case CONFIG_LIST:
    case CONFIG_REPEAT:
        append_list(out, target);
        return ((const struct config_list *)target)->count > 0;
    case CONFIG_HEADING:
        break;
    }
    return true;
}

void config_json(const struct config *c, const struct config_program *p, const void *options,
                 struct buf *out)
{
    static const char *const sources[] = {"default", "file", "environment", "flag"};
    struct buf value = BUF_INIT;
    const char *separator = "";
    buf_append_byte(out, '{');
    for (size_t i = 0; i < p->row_count; i++) {
        if (p->rows[i].type == CONFIG_HEADING) {
            continue;
        }
        buf_printf(out, "%s\"%s\": {\"value\": ", separator, p->rows[i].key);
        buf_clear(&value);
        if (append_value(&value, &p->rows[i], options)) {
            buf_append_json(out, value.data);
        } else {
            buf_append_str(out, "null");
        }
        buf_printf(out, ", \"from\": \"%s\"}", sources[c->sources[i]]);
        separator = ", ";
    }
    buf_append_byte(out, '}');
    buf_deinit(&value);
}

const char *config_version(void)
{
    return TRIREME_VERSION; /* from the build */
}

/* A closed pipe behind --help is the reader's choice, and there is nobody to tell. */
static void print(int fd, const struct buf *text)
{
    int ignored = sys_write_full(fd, text->data, text->length, NULL);
    (void)ignored;
}

int config_start(struct config *c, const struct config_program *p, void *options, int argc,
                 char **argv)
{
    struct err e = ERR_INIT;
    struct buf text = BUF_INIT;
    const struct config_input input = {.argc = argc, .argv = argv};
    int exit_code = 0;
    int r = config_parse(c, p, options, &input, &e);
    if (r < 0) {
        buf_printf(&text, "%s: %s\nTry \"%s --help\".\n", p->name, err_message(&e), p->name);
        print(STDERR_FILENO, &text);
        exit_code = 2;
    } else if (c->wants_help) {
        config_print_help(p, &text);
        print(STDOUT_FILENO, &text);
    } else if (c->wants_markdown) {
        config_print_markdown(p, &text);
        print(STDOUT_FILENO, &text);
    } else if (c->wants_man) {
        config_print_man(p, &text);
        print(STDOUT_FILENO, &text);
    } else if (c->wants_version) {
        buf_printf(&text, "%s (Trireme) %s\n", p->name,
                   p->version != NULL ? p->version : config_version());
        print(STDOUT_FILENO, &text);
    } else {
        exit_code = -1;
    }
    buf_deinit(&text);
    if (exit_code >= 0) {
        config_deinit(c);
    }
    return exit_code;
}
