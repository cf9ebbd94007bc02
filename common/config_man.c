/* The table of a program as a man page. Everything in it is ours, but text that begins with a dot
 * or has a backslash must not become a request of roff all the same. */
#include <ctype.h>
#include <string.h>

#include "common/config.h"
#include "common/config_row.h"
#include "common/macros.h"

/* Text as it stands; a newline ends a line of the source. */
static void append_roff(struct buf *out, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        bool first = i == 0 || text[i - 1] == '\n';
        switch (text[i]) {
        case '\\':
            buf_append_str(out, "\\e");
            break;
        case '-':
            buf_append_str(out, "\\-");
            break;
        case '\'':
            buf_append_str(out, "\\(aq");
            break;
        case '`':
            buf_append_str(out, "\\(ga");
            break;
        case '.':
            buf_append_str(out, first ? "\\&." : ".");
            break;
        default:
            buf_append_byte(out, (uint8_t)text[i]);
            break;
        }
    }
}

static void append_text(struct buf *out, const char *text)
{
    append_roff(out, text, strlen(text));
}

/* "dfs-put", and "DFS-PUT" for the heading. */
static void append_page_name(struct buf *out, const char *name, bool upper)
{
    for (; *name != 0; name++) {
        unsigned char letter = (unsigned char)*name;
        letter = letter == ' ' ? (unsigned char)'-' : letter;
        buf_append_byte(out, upper ? (uint8_t)toupper(letter) : letter);
    }
}

static void append_option(struct buf *out, const struct config_row *row, struct arena *arena)
{
    struct buf facts = BUF_INIT;
    const char *name = config_value_name(row);
    buf_append_str(out, ".TP\n");
    if (row->letter != 0) {
        buf_printf(out, "\\fB\\-%c\\fR, ", row->letter);
    }
    buf_append_str(out, "\\fB\\-\\-");
    append_text(out, row->key);
    buf_append_str(out, "\\fR");
    if (name[0] != 0) {
        buf_append_str(out, " \\fI");
        append_text(out, name);
        buf_append_str(out, "\\fR");
    }
    buf_append_byte(out, '\n');
    buf_append_str(&facts, row->help);
    config_append_facts(&facts, row);
    if ((row->flags & CONFIG_FLAG_ONLY) == 0) {
        buf_printf(&facts, " Environment: %s.", config_env_name(row, arena));
    }
    append_text(out, facts.data);
    buf_append_byte(out, '\n');
    buf_deinit(&facts);
}

static void append_options(const struct config_program *p, struct buf *out)
{
    struct arena arena = ARENA_INIT;
    buf_append_str(out, ".SH OPTIONS\n");
    for (size_t i = 0; i < p->row_count; i++) {
        const struct config_row *row = &p->rows[i];
        if (row->type == CONFIG_HEADING) {
            buf_append_str(out, ".SS ");
            append_text(out, row->help);
            buf_append_byte(out, '\n');
        } else if (config_row_shown(row)) {
            append_option(out, row, &arena);
        }
    }
    if (config_has_file_rows(p)) {
        buf_append_str(out, ".TP\n\\fB\\-\\-config\\fR \\fIFILE\\fR\nConfiguration file. Default: "
                            "/etc/trireme/trireme.conf, if it exists. Environment: "
                            "TRIREME_CONFIG.\n");
    }
    buf_printf(out, ".TP\n%s\\fB\\-\\-help\\fR\nShow this text and exit.\n",
               config_has_letter(p, 'h') ? "" : "\\fB\\-h\\fR, ");
    buf_append_str(out, ".TP\n\\fB\\-\\-version\\fR\nShow the version and exit.\n");
    arena_deinit(&arena);
}

/* A heading of the footer, without its colon. */
static void append_heading(struct buf *out, const char *text, size_t length)
{
    buf_append_str(out, ".SH ");
    for (size_t i = 0; i < length; i++) {
        buf_append_byte(out, (uint8_t)toupper((unsigned char)text[i]));
    }
    buf_append_str(out, "\n.nf\n");
}

/* The footer's paragraphs: a line that ends with a colon begins a section, the rest stands as it
 * is.
 */
static void append_footer(const char *footer, struct buf *out)
{
    bool inside = false;
    buf_append_str(out, ".PP\n");
    while (*footer != 0) {
        size_t length = strcspn(footer, "\n");
        if (length > 1 && footer[0] != ' ' && footer[length - 1] == ':') {
            buf_append_str(out, inside ? ".fi\n" : "");
            append_heading(out, footer, length - 1);
            inside = true;
        } else {
            size_t indent = inside ? MIN(strspn(footer, " "), length) : 0;
            append_roff(out, footer + indent, length - indent);
            buf_append_byte(out, '\n');
        }
        footer += length + (footer[length] == '\n');
    }
    buf_append_str(out, inside ? ".fi\n" : "");
}

void config_print_man(const struct config_program *p, struct buf *out)
{
    buf_append_str(out, ".TH ");
    append_page_name(out, p->name, true);
    buf_printf(out, " 1 \"\" \"Trireme %s\" \"Trireme\"\n.SH NAME\n", config_version());
    append_page_name(out, p->name, false);
    buf_append_str(out, " \\- ");
    append_text(out, p->summary);
    buf_append_str(out, "\n.SH SYNOPSIS\n\\fB");
    append_text(out, p->name);
    buf_append_str(out, "\\fR [\\fIOPTION\\fR]...");
    if (p->arguments != NULL) {
        buf_append_byte(out, ' ');
        append_text(out, p->arguments);
    }
    buf_append_byte(out, '\n');
    if (p->description != NULL) {
        buf_append_str(out, ".SH DESCRIPTION\n");
        for (const char *at = p->description; *at != 0;) {
            size_t length = strcspn(at, "\n");
            append_roff(out, at, length);
            buf_append_str(out, at[length] != 0 ? "\n.PP\n" : "\n");
            at += length + (at[length] == '\n');
        }
    }
    append_options(p, out);
    if (p->footer != NULL) {
        append_footer(p->footer, out);
    }
}
