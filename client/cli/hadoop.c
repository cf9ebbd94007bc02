/* See hadoop.h. Unknown words are refused with what there is: a script that asks for something else
 * should end there and not somewhere later. */
#include "client/cli/hadoop.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cli/cli.h"
#include "common/alloc.h"
#include "common/macros.h"

/* What a translation ends in, beside the exit statuses of what was done at once. */
enum { UNKNOWN = -2, GO_ON = -1, USAGE = 2 };

/* Whose command lines ours are like; mrjob and others choose their own by this number. */
static const char like_version[] = "3.3.6";

enum hadoop_name hadoop_name_of(const char *program)
{
    const char *slash = strrchr(program, '/');
    const char *name = slash ? slash + 1 : program;
    return strcmp(name, "hadoop") == 0 ? HADOOP_HADOOP
           : strcmp(name, "hdfs") == 0 ? HADOOP_HDFS
                                       : HADOOP_NONE;
}

static int print_version(void)
{
    (void)printf("Hadoop %s\nThis is Trireme %s, whose commands take what Hadoop's do.\n",
                 like_version, config_version());
    return 0;
}

static int print_usage(enum hadoop_name name, FILE *to)
{
    if (name == HADOOP_HADOOP) {
        (void)fputs(
            "Usage: hadoop fs -COMMAND [OPTION]... [ARGUMENT]...   as dfs; `dfs help' lists\n"
            "       hadoop jar STREAMING.jar [OPTION]...           as mr run\n"
            "       hadoop version\n",
            to);
    } else {
        (void)fputs(
            "Usage: hdfs dfs -COMMAND [OPTION]... [ARGUMENT]...   as dfs; `dfs help' lists\n"
            "       hdfs dfsadmin -report\n"
            "       hdfs dfsadmin -setQuota N DIR... | -clrQuota DIR...\n"
            "       hdfs dfsadmin -setSpaceQuota SIZE DIR... | -clrSpaceQuota DIR...\n"
            "       hdfs dfsadmin -safemode get|wait|leave\n"
            "       hdfs balancer [-threshold PERCENT]\n"
            "       hdfs fsck PATH [-files [-blocks [-locations]]]\n"
            "       hdfs version\n",
            to);
    }
    return to == stdout ? 0 : USAGE;
}

/* ---- Words ---------------------------------------------------------------------------------- */

struct words {
    char **items; /* with room for all that can come */
    int count;
};

static void add(struct words *w, const char *word)
{
    w->items[w->count++] = (char *)word; /* only read */
}

static void add_rest(struct words *w, int argc, char **argv, int from)
{
    for (int i = from; i < argc; i++) {
        add(w, argv[i]);
    }
}

/* "-D dfs.replication=2": what means something here becomes a flag of put, the rest is for Hadoop's
 * own machinery. */
static void add_definition(struct words *flags, const char *definition)
{
    static const struct {
        const char *key;
        const char *flag;
    } known[] = {{"dfs.replication=", "--replication"},
                 {"dfs.blocksize=", "--chunk-size"},
                 {"dfs.block.size=", "--chunk-size"}};
    for (size_t i = 0; i < ARRAY_COUNT(known); i++) {
        size_t length = strlen(known[i].key);
        if (strncmp(definition, known[i].key, length) == 0) {
            add(flags, known[i].flag);
            add(flags, definition + length);
        }
    }
}

/* "hdfs://host:9000/" as a file master's address; NULL: it names none. */
static const char *authority_of(const char *uri)
{
    const char *at = strstr(uri, "://");
    at = at ? at + 3 : uri;
    size_t length = strcspn(at, "/");
    return length > 0 ? xstrndup(at, length) : NULL;
}

/* fs [-D key=value] [-fs URI] [-conf FILE] -COMMAND ...: Hadoop's generic options come first. */
static void add_fs(struct words *w, int argc, char **argv)
{
    struct words flags = {xcalloc((size_t)argc * 2 + 1, sizeof(char *)), 0};
    int at = 2;
    while (at + 1 < argc) {
        if (strcmp(argv[at], "-D") == 0) {
            add_definition(&flags, argv[at + 1]);
        } else if (strcmp(argv[at], "-fs") == 0) {
            const char *master = authority_of(argv[at + 1]);
            add(&flags, "--master");
            add(&flags, master ? master : "");
        } else if (strncmp(argv[at], "-D", 2) == 0 && strchr(argv[at], '=')) {
            add_definition(&flags, argv[at] + 2);
            at -= 1; /* one word */
        } else if (strcmp(argv[at], "-conf") != 0) {
            break;
        }
        at += 2;
    }
    bool puts = at < argc && cli_find(argv[at] + (argv[at][0] == '-')) == cli_find("put");
    if (at < argc) {
        add(w, argv[at]);
    }
    for (int i = 0; i < flags.count; i += 2) {
        if (puts || strcmp(flags.items[i], "--master") == 0) {
            add(w, flags.items[i]);
            add(w, flags.items[i + 1]);
        }
    }
    add_rest(w, argc, argv, at + 1);
    free(flags.items);
}

/* ---- jar ------------------------------------------------------------------------------------ */

/* Our mr lies beside us. */
static int run_streaming(int argc, char **argv)
{
    char self[4096];
    char *name = argc > 2 ? cli_base_name(argv[2]) : xstrdup("");
    bool streaming = strstr(name, "streaming") != NULL;
    free(name);
    if (!streaming) {
        (void)fputs(
            "hadoop jar: only Hadoop Streaming's jar means something here: its options run a "
            "job of any programs (mr run)\n",
            stderr);
        return 1;
    }
    ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
    self[MAX(length, 0)] = '\0';
    char *slash = strrchr(self, '/');
    char *program = xprintf("%.*s/mr", slash ? (int)(slash - self) : 0, self);
    struct words w = {xcalloc((size_t)argc + 3, sizeof(char *)), 0};
    add(&w, "mr");
    add(&w, "run");
    add(&w, "--hadoop");
    add_rest(&w, argc, argv, 3);
    (void)execv(program, w.items);
    (void)fprintf(stderr, "hadoop jar: %s: %s\n", program, strerror(errno));
    free(w.items);
    free(program);
    return 1;
}

/* ---- dfsadmin ------------------------------------------------------------------------------- */

/* "-setQuota 100 /a /b" as "admin --names 100 quota /a /b". False: none of these. */
static bool add_quota(struct words *w, int argc, char **argv)
{
    static const struct {
        const char *request, *flag;
        bool sets;
    } known[] = {{"-setQuota", "--names", true},
                 {"-clrQuota", "--names", false},
                 {"-setSpaceQuota", "--space", true},
                 {"-clrSpaceQuota", "--space", false}};
    for (size_t i = 0; i < ARRAY_COUNT(known); i++) {
        int least = known[i].sets ? 5 : 4;
        if (argc >= least && strcmp(argv[2], known[i].request) == 0) {
            add(w, "admin");
            add(w, known[i].flag);
            add(w, known[i].sets ? argv[3] : "none");
            add(w, "quota");
            add_rest(w, argc, argv, least - 1);
            return true;
        }
    }
    return false;
}

/* "-safemode get|wait|leave" is true once a file master has answered, "enter" cannot be had.
 * GO_ON with the words, or an exit status. */
static int add_safemode(struct words *w, const char *what)
{
    static const char *const answered[] = {"get", "wait", "leave"};
    for (size_t i = 0; i < ARRAY_COUNT(answered); i++) {
        if (strcmp(what, answered[i]) == 0) {
            add(w, "report");
            add(w, "--safemode");
            return GO_ON;
        }
    }
    if (strcmp(what, "enter") == 0) {
        (void)fputs("dfsadmin: there is no safe mode to enter: a file master takes changes as soon "
                    "as it leads. A chunkserver is taken out of service by `dfs admin maintenance "
                    "SERVER'\n",
                    stderr);
        return 1;
    }
    (void)fputs("Usage: hdfs dfsadmin -safemode get|wait|leave\n", stderr);
    return USAGE;
}

/* "hdfs dfsadmin ...". As add_safemode(), or UNKNOWN. */
static int add_dfsadmin(struct words *w, int argc, char **argv)
{
    const char *request = argc > 2 ? argv[2] : "";
    if (strcmp(request, "-report") == 0) {
        add(w, "report");
        add(w, "--hadoop");
        add_rest(w, argc, argv, 3);
        return GO_ON;
    }
    if (add_quota(w, argc, argv)) {
        return GO_ON;
    }
    if (strcmp(request, "-refreshNodes") == 0) {
        (void)fputs("dfsadmin: no file says which chunkservers are to leave: `dfs admin "
                    "decommission SERVER', `dfs admin maintenance SERVER' and `dfs admin "
                    "recommission SERVER' do\n",
                    stderr);
        return 1;
    }
    if (strcmp(request, "-safemode") == 0) {
        return add_safemode(w, argc > 3 ? argv[3] : "");
    }
    return UNKNOWN;
}

/* What only hdfs has. As add_dfsadmin(). */
static int add_hdfs(struct words *w, int argc, char **argv)
{
    if (strcmp(argv[1], "dfsadmin") == 0) {
        return add_dfsadmin(w, argc, argv);
    }
    if (strcmp(argv[1], "balancer") == 0) {
        add(w, "admin");
        add(w, "balance");
        add_rest(w, argc, argv, 2);
        return GO_ON;
    }
    if (strcmp(argv[1], "fsck") == 0) {
        add(w, "fsck");
        add(w, "--hadoop");
        add_rest(w, argc, argv, 2);
        return GO_ON;
    }
    return UNKNOWN;
}

/* ---- Both programs -------------------------------------------------------------------------- */

static struct words line; /* the process's command line, for as long as it lives */

int hadoop_translate(enum hadoop_name name, int *argc, char ***argv)
{
    char **in = *argv;
    const char *word = *argc > 1 ? in[1] : "";
    bool is_hdfs = name == HADOOP_HDFS;
    int status = GO_ON;
    line = (struct words){xcalloc((size_t)*argc * 3 + 4, sizeof(char *)), 0};
    add(&line, "dfs");
    if (strcmp(word, "dfs") == 0 || (!is_hdfs && strcmp(word, "fs") == 0)) {
        add_fs(&line, *argc, in);
    } else if (strcmp(word, "version") == 0 || strcmp(word, "-version") == 0) {
        status = print_version();
    } else if (!is_hdfs && strcmp(word, "jar") == 0) {
        status = run_streaming(*argc, in);
    } else if (word[0] == '\0' || strcmp(word, "help") == 0 || strcmp(word, "--help") == 0) {
        status = print_usage(name, word[0] ? stdout : stderr);
    } else {
        status = is_hdfs ? add_hdfs(&line, *argc, in) : UNKNOWN;
    }
    if (status == UNKNOWN) {
        (void)fprintf(stderr, "%s: `%s' is not something that Trireme has under this name\n",
                      is_hdfs ? "hdfs" : "hadoop", word);
        status = print_usage(name, stderr);
    }
    *argc = line.count;
    *argv = line.items;
    return status;
}
