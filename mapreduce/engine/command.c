/* Words, and the environment that Hadoop Streaming's scripts know; see command.h. */
#include "mapreduce/engine/command.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/buf.h"
#include "common/limits.h"

extern char **environ;

void child_command_deinit(struct child_command *c)
{
    for (char **arg = c->argv; arg && *arg; arg++) {
        free(*arg);
    }
    for (char **variable = c->envp; variable && *variable; variable++) {
        free(*variable);
    }
    free(c->argv);
    free(c->envp);
    *c = (struct child_command){NULL, NULL};
}

/* ---- Words ---- */

static bool needs_shell(const char *text)
{
    size_t first_word = strcspn(text, " \t");
    return strpbrk(text, "|&;<>()$`\\*?[]#~{}!\n") || memchr(text, '=', first_word);
}

static void push(struct child_command *c, size_t *count, char *word)
{
    c->argv = xreallocarray(c->argv, *count + 2, sizeof(*c->argv));
    c->argv[(*count)++] = word;
    c->argv[*count] = NULL;
}

/* One word from *at, without its quotes. */
static int take_word(const char **at, struct buf *word, struct err *e)
{
    char quote = '\0';
    for (; **at && (quote || (**at != ' ' && **at != '\t')); (*at)++) {
        if (**at == quote) {
            quote = '\0';
        } else if (!quote && (**at == '\'' || **at == '"')) {
            quote = **at;
        } else {
            buf_append_byte(word, (uint8_t) * *at);
        }
    }
    return quote ? err_set(e, ERR_INVALID, "missing %c", quote) : 0;
}

static int split_words(struct child_command *c, const char *text, struct err *e)
{
    size_t count = 0;
    for (const char *at = text; *(at += strspn(at, " \t"));) {
        struct buf word = BUF_INIT;
        int r = take_word(&at, &word, e);
        if (r == 0) {
            push(c, &count, xstrdup(word.data));
        }
        buf_deinit(&word);
        if (r < 0) {
            return err_wrap(e, r, "command '%s'", text);
        }
    }
    return count > 0 ? 0 : err_set(e, ERR_INVALID, "the command is empty");
}

/* A program among the job's files is meant before one of the same name in PATH. */
static void find_in_directory(struct child_command *c, const char *directory)
{
    struct stat st;
    char *path = xprintf("%s/%s", directory, c->argv[0]);
    if (c->argv[0][0] == '/' || stat(path, &st) < 0 || !S_ISREG(st.st_mode)) {
        free(path);
        return;
    }
    (void)chmod(path, (st.st_mode & 07777) | 0111); /* if that fails, starting it says why */
    free(c->argv[0]);
    c->argv[0] = path;
}

/* ---- Environment ---- */

static int set_setting(struct settings *env, const char *name, const char *value, struct err *e)
{
    if (strlen(value) > MR_ENVIRONMENT_VALUE_BYTES_MAX) {
        return 0;
    }
    char *plain = xstrdup(name);
    for (char *at = plain; *at; at++) {
        *at = isalnum((unsigned char)*at) ? *at : '_';
    }
    int r = settings_set(env, plain, value, e);
    free(plain);
    return r;
}

/* A task's name under today's name and the one that older scripts use. */
static int set_both(struct settings *env, const char *name, const char *old, const char *value,
                    struct err *e)
{
    int r = settings_set(env, name, value, e);
    return r < 0 ? r : settings_set(env, old, value, e);
}

static int set_number(struct settings *env, const char *name, const char *old, uint64_t value,
                      struct err *e)
{
    char text[24];
    (void)snprintf(text, sizeof(text), "%" PRIu64, value);
    return set_both(env, name, old, value == UINT64_MAX ? "" : text, e);
}

static const char *or_empty(const char *text)
{
    return text ? text : "";
}

/* Empty for a combiner of several splits: the records are of all of them. */
static int set_split(struct settings *env, const struct command_options *o, struct err *e)
{
    bool one = o->split_count == 1;
    const struct task_split *split = o->splits;
    int r = set_both(env, "mapreduce_map_input_file", "map_input_file",
                     one ? split->source->name : "", e);
    r = r < 0 ? r
              : set_number(env, "mapreduce_map_input_start", "map_input_start",
                           one ? split->start : UINT64_MAX, e);
    return r < 0 ? r
                 : set_number(env, "mapreduce_map_input_length", "map_input_length",
                              one ? split->length : UINT64_MAX, e);
}

static int set_task(struct settings *env, const struct command_options *o, struct err *e)
{
    const struct task_identity *id = o->identity;
    int r = set_both(env, "mapreduce_job_id", "mapred_job_id", or_empty(o->job->id), e);
    r = r < 0 ? r
              : set_both(env, "mapreduce_job_name", "mapred_job_name", or_empty(o->job->name), e);
    r = r < 0 ? r : set_both(env, "mapreduce_task_id", "mapred_tip_id", or_empty(id->task_id), e);
    r = r < 0 ? r
              : set_both(env, "mapreduce_task_attempt_id", "mapred_task_id",
                         or_empty(id->attempt_id), e);
    r = r < 0 ? r
              : set_both(env, "mapreduce_task_is_map", "mapred_task_is_map",
                         o->is_map ? "true" : "false", e);
    r = r < 0 ? r
              : set_number(env, "mapreduce_task_partition", "mapred_task_partition", id->number, e);
    r = r < 0 ? r
              : set_number(env, "mapreduce_job_reduces", "mapred_reduce_tasks", o->job->reduces, e);
    r = r < 0 ? r
              : set_both(env, "mapreduce_task_output_dir", "mapred_work_output_dir",
                         or_empty(id->output_directory), e);
    r = r < 0 ? r
              : set_both(env, "mapreduce_job_local_dir", "job_local_dir",
                         or_empty(id->work_directory), e);
    r = r < 0 || o->split_count == 0 ? r : set_split(env, o, e);
    return r < 0 || !id->temp_directory ? r : settings_set(env, "TMPDIR", id->temp_directory, e);
}

static int collect_environment(struct settings *env, const struct command_options *o, struct err *e)
{
    int r = 0;
    for (char **variable = environ; *variable && r == 0; variable++) {
        if (**variable != '=' && strchr(*variable, '=')) {
            r = settings_set_pair(env, *variable, e);
        }
    }
    for (size_t i = 0; i < o->job->settings.count && r == 0; i++) {
        const struct setting *row = &o->job->settings.rows[i];
        r = set_setting(env, row->name, row->value, e);
    }
    r = r < 0 ? r : set_task(env, o, e);
    if (r == 0 && o->identity->work_directory) { /* so that a shell finds the job's files too */
        const char *path = settings_get(env, "PATH");
        char *longer = xprintf("%s:%s", o->identity->work_directory,
                               path ? path : "/usr/local/bin:/usr/bin:/bin");
        r = settings_set(env, "PATH", longer, e);
        free(longer);
    }
    for (size_t i = 0; i < o->job->environment.count && r == 0; i++) {
        const struct setting *row = &o->job->environment.rows[i];
        r = settings_set(env, row->name, row->value, e);
    }
    return r;
}

static int make_environment(struct child_command *c, const struct command_options *o, struct err *e)
{
    struct settings env = SETTINGS_INIT;
    int r = collect_environment(&env, o, e);
    if (r == 0) {
        c->envp = xcalloc(env.count + 1, sizeof(*c->envp));
        for (size_t i = 0; i < env.count; i++) {
            c->envp[i] = xprintf("%s=%s", env.rows[i].name, env.rows[i].value);
        }
    }
    settings_deinit(&env);
    return r;
}

int child_command_init(struct child_command *c, const struct command_options *options,
                       struct err *e)
{
    *c = (struct child_command){NULL, NULL};
    int r = 0;
    if (needs_shell(options->text)) {
        size_t count = 0;
        push(c, &count, xstrdup("/bin/sh"));
        push(c, &count, xstrdup("-c"));
        push(c, &count, xstrdup(options->text));
    } else {
        r = split_words(c, options->text, e);
        if (r == 0 && options->identity->work_directory) {
            find_in_directory(c, options->identity->work_directory);
        }
    }
    r = r < 0 ? r : make_environment(c, options, e);
    if (r < 0) {
        child_command_deinit(c);
    }
    return r;
}
