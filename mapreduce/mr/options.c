/* The table of `mr run`'s flags, and Hadoop Streaming's spellings of them. */
#include "mapreduce/mr/options.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/alloc.h"
#include "common/buf.h"
#include "common/limits.h"
#include "common/macros.h"
#include "common/parse.h"

enum { REDUCES_DEFAULT = 1 };

#define ROW(name, kind, member)                                                                    \
    .key = (name), .type = (kind), .offset = offsetof(struct run_options, member),                 \
    .flags = CONFIG_FLAG_ONLY

static const struct config_row rows[] = {
    /* table */
    {.type = CONFIG_HEADING, .key = "", .help = "The job"},
    {ROW("lib", CONFIG_STRING, library), .value_name = "JOB.so",
     .help = "Shared object with the job's functions (see <trireme/mapreduce.h>)."},
    {ROW("mapper", CONFIG_STRING, mapper), .value_name = "COMMAND",
     .help = "Program that reads lines of input and prints lines KEY TAB VALUE."},
    {ROW("reducer", CONFIG_STRING, reducer), .value_name = "COMMAND",
     .help = "Program that reads lines KEY TAB VALUE in the order of their keys and prints the "
             "output. NONE: the mapper's output is the job's."},
    {ROW("combiner", CONFIG_STRING, combiner), .value_name = "COMMAND",
     .help = "Program that shrinks each mapper's sorted output before it travels."},
    {ROW("file", CONFIG_REPEAT, files), .value_name = "PATH[#NAME]",
     .help = "File that the programs find in their directory. May be repeated."},
    {ROW("files", CONFIG_LIST, more_files), .value_name = "PATH[#NAME],...",
     .help = "The same for several at once, as Hadoop has it."},
    {ROW("cmdenv", CONFIG_REPEAT, cmdenv), .value_name = "NAME=VALUE",
     .help = "Environment variable for the programs. May be repeated."},
    {ROW("define", CONFIG_REPEAT, settings), .letter = 'D', .value_name = "NAME=VALUE",
     .help = "Setting of the job. May be repeated."},
    {ROW("name", CONFIG_STRING, name), .value_name = "NAME", .help = "Name of the job for people."},
    {.type = CONFIG_HEADING, .key = "", .help = "Input and output"},
    {ROW("input", CONFIG_REPEAT, inputs), .letter = 'i', .value_name = "PATH",
     .help = "File or directory of files to read. May be repeated."},
    {ROW("output", CONFIG_STRING, output), .letter = 'o', .value_name = "DIR",
     .help = "Directory for the output; it must not exist."},
    {ROW("format", CONFIG_STRING, format), .value_name = "lines|blocks|files|fixed:N",
     .help = "How input becomes records. Default: lines, or as the library says."},
    {ROW("output-format", CONFIG_STRING, output_format), .value_name = "text|raw",
     .choices = "text|raw",
     .help = "How output records are written: KEY TAB VALUE NEWLINE, or as they are."},
    {ROW("reduces", CONFIG_STRING, reduces), .letter = 'r', .value_name = "N",
     .help =
         "Number of reduce tasks, each of which makes one output file. 0: the mapper's output "
         "is the job's. Default: the setting mapreduce.job.reduces, else 1 with --local, and as "
         "many as fit the input and the workers on a cluster."},
    {ROW("partitioner", CONFIG_STRING, partitioner), .value_name = "NAME",
     .help = "Which reduce gets a key: hash (the default), total (ranges of keys, found by "
             "sampling: all output files together are in order) or KeyFieldBasedPartitioner. Names "
             "of Hadoop's classes are understood."},
    {ROW("key-fields", CONFIG_INT, key_fields), .min = 1, .max = UINT32_MAX,
     .help = "How many fields of a line that the mapper prints are the key. Default: 1."},
    {ROW("field-separator", CONFIG_STRING, field_separator), .value_name = "TEXT",
     .help = "What divides the fields of lines that the mapper prints, and of keys. Default: TAB."},
    {ROW("partition-by", CONFIG_STRING, partition_by), .value_name = "FIELDS",
     .help = "Parts of the key that decide which reduce gets it, as sort has them after -k: 1,2."},
    {ROW("sort-by", CONFIG_STRING, sort_by), .value_name = "FIELDS",
     .help = "Parts of the key by which a reducer's input is sorted, as sort has them after -k, "
             "with n for numbers and r for the reverse order: '1,1 2,2nr'. Keys that are equal in "
             "them are in the order of their bytes."},
    {ROW("map-only", CONFIG_BOOL, map_only),
     .help = "No reduces: what the mapper emits is the output. The same as -r 0."},
    {ROW("split-size", CONFIG_SIZE, split_bytes), .min = 1, .max = INT64_MAX,
     .help = "Bytes of input per map task. Default: what gives every slot a few tasks, at most the "
             "chunk size."},
    {ROW("output-replication", CONFIG_INT, output_replication), .min = 1, .max = 16,
     .help = "Copies of the output files. Default: the store's."},
    {.type = CONFIG_HEADING, .key = "", .help = "How it runs"},
    {ROW("local", CONFIG_BOOL, local),
     .help = "Run everything on this machine, on local files, without a cluster."},
    {ROW("parallel", CONFIG_INT, parallel), .letter = 'j', .min = 1, .max = 1024,
     .help = "With --local: tasks at a time. 1 runs them in this process, for a debugger. "
             "Default: one per processor."},
    {ROW("memory", CONFIG_SIZE, memory_bytes), .min = 1 << 20, .max = UINT32_MAX,
     .help = "Memory for one map task's output before it goes to disk. Default: 256M."},
    {ROW("task-memory", CONFIG_SIZE, task_memory_bytes), .min = 16 << 20, .max = INT64_MAX,
     .help = "Limit of a task's memory (address space): of each program, or of the library's code. "
             "Default: none."},
    {ROW("timeout", CONFIG_DURATION, timeout_ms), .min = 1000, .max = INT64_MAX,
     .help = "A task that does not move for so long is ended and counts as failed. Default: 10m."},
    {ROW("attempts", CONFIG_INT, attempts), .min = 1, .max = 100,
     .help = "The job fails when one task has failed so often. Default: 4."},
    {ROW("skip-bad-records", CONFIG_INT, skip_bad_records), .min = 0, .max = MR_SKIPS_MAX,
     .help = "Each task may leave out so many records (a reduce: keys with all their values) that "
             "have ended two of its attempts. They are counted. Default: 0."},
    {ROW("no-speculative", CONFIG_BOOL, no_speculative),
     .help = "No second copy of tasks that are much slower than the others."},
    {ROW("locality-blind", CONFIG_BOOL, locality_blind),
     .help = "Schedule as if nobody knew where the input is, to measure what knowing it brings."},
    {ROW("detach", CONFIG_BOOL, detach), .help = "Print the job's id and do not wait for its end."},
    {ROW("kill-on-interrupt", CONFIG_BOOL, kill_on_interrupt),
     .help = "Ctrl-C kills the job. Without this it goes on."},
    {ROW("json", CONFIG_BOOL, json), .help = "Print the job's last state on stdout as JSON."},
    {ROW("hadoop", CONFIG_BOOL, hadoop),
     .help = "Say how it goes in Hadoop's log lines, as `hadoop jar' does, for programs that read "
             "them."},
    {ROW("quiet", CONFIG_BOOL, quiet), .letter = 'q', .help = "No progress and no counters."},
    CLUSTER_ROWS(struct run_options),
    {.key = "master",
     .type = CONFIG_STRING,
     .offset = offsetof(struct run_options, cluster.master),
     .value_name = "HOST:PORT,...",
     .env = "DFS_MASTER",
     .shared_key = "masters",
     .help = "The store's file masters."},
};

static const struct config_program program = {
    .name = "mr run",
    .summary = "run a MapReduce job",
    .description =
        "Runs a job on the cluster and waits for its end: a shared object of C functions (--lib), "
        "or any programs that read lines and print lines (--mapper, --reducer). Hadoop Streaming's "
        "options are understood with one dash or two. Input and output are paths of the store, or, "
        "with --local, of this machine. The output directory appears when everything is done, or "
        "not at all.\nA COMMAND with characters that a shell treats specially runs under /bin/sh "
        "-c, where a pipe fails only if its last program does: bash -o pipefail -c 'A | B' fails "
        "if any does.\nOn a terminal a line shows how far it is; Ctrl-C leaves the job running.",
    .rows = rows,
    .row_count = ARRAY_COUNT(rows),
    .footer =
        "Examples:\n"
        "  mr run --lib wordcount.so -i /books -o /counts -r 4\n"
        "  mr run --mapper ./words.py --reducer 'uniq -c' --file words.py -i /books -o /counts\n"
        "  mr run -input /logs -output /errors -mapper 'grep ERROR' -numReduceTasks 0\n"
        "  mr run --local --lib wordcount.so -i books/ -o counts\n"
        "\n"
        "Exit status: 0 the output is there, 1 the job failed or was killed, 2 usage, 130 "
        "interrupted.\n",
};

/* Hadoop Streaming's options, so that its command lines work as they are. */
static const struct {
    const char *theirs;
    const char *ours;
} spellings[] = {
    {"-input", "--input"},
    {"-output", "--output"},
    {"-mapper", "--mapper"},
    {"-reducer", "--reducer"},
    {"-combiner", "--combiner"},
    {"-file", "--file"},
    {"-files", "--files"},
    {"-name", "--name"},
    {"-lib", "--lib"},
    {"--split", "--split-size"},
    {"-cmdenv", "--cmdenv"},
    {"-partitioner", "--partitioner"},
    {"-numReduceTasks", "--reduces"},
    {"--numReduceTasks", "--reduces"},
    {"-jobconf", "--define"},
};

/* What Hadoop Streaming has and we have in another way, or not. */
static const struct {
    const char *theirs;
    const char *instead;
} strangers[] = {
    {"-inputformat", "--format says how input becomes records"},
    {"-outputformat", "--output-format says how records are written"},
    {"-inputreader", "--format says how input becomes records"},
    {"-io", "programs get lines of text, no typed bytes"},
    {"-lazyOutput", "a part without records is an empty file"},
    {"-mapdebug", "mr logs has what a failed task said, mr replay runs it again"},
    {"-reducedebug", "mr logs has what a failed task said, mr replay runs it again"},
    {"-background", "--detach does not wait for the end"},
    {"-verbose", "mr status and mr logs say how a job goes"},
    {"-info", "mr run --help lists the options"},
    {"-cacheFile", "--file sends a file of this machine along"},
    {"-cacheArchive", "--file sends a file along, which the mapper can unpack"},
    {"-archives", "--file sends a file along, which the mapper can unpack"},
    {"-libjars", "there is no Java here"},
    {"-conf", "-D NAME=VALUE has settings, --config the configuration file"},
    {"-fs", "--master says where the store is"},
    {"-jt", "--mrmaster says where jobs run"},
};

/* "-inputs" would be -i with the value "nputs": a word that begins as one of the spellings and is
 * nearly it was meant to be it. NULL: it is none of these. */
static const char *near_spelling(const char *word)
{
    enum { ALIKE = 3, NEAR = 2 }; /* letters that agree, with the dash; edits */
    const char *nearest = NULL;
    size_t least = NEAR + 1;
    if (word[0] != '-' || word[strcspn(word, "=/.,:0123456789")] != '\0') {
        return NULL;
    }
    for (size_t i = 0; i < ARRAY_COUNT(spellings); i++) {
        const char *theirs = spellings[i].theirs;
        size_t distance = text_distance(word, theirs);
        if (distance < least && strncmp(word, theirs, ALIKE) == 0 && theirs[1] != '-') {
            least = distance;
            nearest = theirs;
        }
    }
    return nearest;
}

/* Words that config would take for letters with a value. True: it said so. */
static bool is_stranger(const char *word)
{
    const char *instead = NULL;
    for (size_t i = 0; i < ARRAY_COUNT(strangers) && !instead; i++) {
        instead = strcmp(word, strangers[i].theirs) == 0 ? strangers[i].instead : NULL;
    }
    const char *nearest = instead ? NULL : near_spelling(word);
    if (instead) {
        (void)fprintf(stderr, "mr run: there is no option %s: %s\n", word, instead);
    } else if (nearest) {
        (void)fprintf(stderr, "mr run: unknown option %s; did you mean %s?\n", word, nearest);
    }
    if (instead || nearest) {
        (void)fprintf(stderr, "Try \"mr run --help\".\n");
    }
    return instead || nearest;
}

static char *respell(char *argument)
{
    for (size_t i = 0; i < ARRAY_COUNT(spellings); i++) {
        if (strcmp(argument, spellings[i].theirs) == 0) {
            return (char *)spellings[i].ours; /* config does not write to arguments */
        }
    }
    return argument;
}

int run_command_parse(struct run_command *c, int argc, char **argv)
{
    *c = (struct run_command){0};
    c->argv = xcalloc((size_t)argc + 1, sizeof(*c->argv));
    for (int i = 0; i < argc; i++) {
        c->argv[i] = respell(argv[i]);
        if (c->argv[i] == argv[i] && is_stranger(argv[i])) {
            return 2;
        }
    }
    int code = config_start(&c->config, &program, &c->options, argc, c->argv);
    if (code < 0) {
        cluster_note_where(&c->options.cluster, &c->config, &program);
    }
    return code;
}

void run_command_deinit(struct run_command *c)
{
    config_deinit(&c->config);
    free(c->argv);
}

int run_command_paths(const struct run_command *c, struct err *e)
{
    static const char input[] = "--input PATH (-i), what to read";
    static const char output[] = "--output DIR (-o), the directory to make for what comes out";
    bool lacks_input = c->options.inputs.count == 0;
    bool lacks_output = !c->options.output;
    if (!lacks_input && !lacks_output) {
        return 0;
    }
    return err_set(e, ERR_INVALID, "a job needs %s%s%s", lacks_input ? input : "",
                   lacks_input && lacks_output ? ", and " : "", lacks_output ? output : "");
}

int run_command_library(const struct run_command *c, struct job_library *ret_library, struct err *e)
{
    int r = c->options.library ? job_library_open(c->options.library, ret_library, e) : 0;
    if (r == ERR_INVALID) {
        r = e->code = ERR_UNSUPPORTED; /* its words stay */
    }
    return r;
}

bool run_command_says_reduces(const struct run_command *c)
{
    const struct run_options *o = &c->options;
    bool says = o->reduces || o->map_only || (o->reducer && strcmp(o->reducer, "NONE") == 0);
    static const char setting[] = "mapreduce.job.reduces=";
    for (size_t i = 0; i < o->settings.count && !says; i++) {
        says = strncmp(o->settings.items[i], setting, strlen(setting)) == 0;
    }
    return says;
}

/* ---- The job ---- */

static int set_format(struct job *job, const char *format, struct err *e)
{
    static const char *const names[] = {"lines", "blocks", "fixed", "files"}; /* enum mr_input */
    job->input_format = JOB_FORMAT_DEFAULT;
    if (!format) {
        return 0;
    }
    size_t name = strcspn(format, ":");
    for (uint32_t i = 0; i < ARRAY_COUNT(names); i++) {
        if (strlen(names[i]) == name && memcmp(names[i], format, name) == 0) {
            job->input_format = i;
        }
    }
    if (job->input_format == MR_INPUT_FIXED && format[name] == ':') {
        uint64_t bytes = 0;
        int r = parse_size(format + name + 1, &bytes, e);
        if (r < 0 || bytes < 1 || bytes > MR_RECORD_BYTES_MAX) {
            return err_set(e, ERR_INVALID, "--format %s: bad record length", format);
        }
        job->record_bytes = (uint32_t)bytes;
    } else if (job->input_format == JOB_FORMAT_DEFAULT || format[name] != '\0') {
        return err_set(e, ERR_INVALID, "--format %s: lines, blocks, files or fixed:N", format);
    }
    return 0;
}

static int set_reduces(struct job *job, const struct run_options *o, struct err *e)
{
    uint64_t reduces = 0;
    int r = settings_get_u64(&job->settings, "mapreduce.job.reduces", REDUCES_DEFAULT, &reduces, e);
    if (r == 0 && o->reduces) {
        r = parse_u64(o->reduces, &reduces, e);
    }
    if (r < 0) {
        return err_wrap(e, r, "number of reduces");
    }
    bool none = o->reducer && strcmp(o->reducer, "NONE") == 0;
    if (o->map_only && o->reducer && !none) {
        return err_set(e, ERR_INVALID, "--map-only and --reducer exclude each other");
    }
    if (none || o->map_only) {
        reduces = 0;
        job->reduce_command = NULL;
    }
    job->reduces = (uint32_t)MIN(reduces, (uint64_t)UINT32_MAX);
    return 0;
}

static int set_pairs(struct settings *settings, const struct config_list *pairs, const char *flag,
                     struct err *e)
{
    for (size_t i = 0; i < pairs->count; i++) {
        int r = settings_set_pair(settings, pairs->items[i], e);
        if (r < 0) {
            return err_wrap(e, r, "%s", flag);
        }
    }
    return 0;
}

/* Flags that are settings under names of Hadoop's. They win over -D. */
static int set_fields(struct job *job, const struct run_options *o, struct err *e)
{
    char count[24] = "";
    (void)snprintf(count, sizeof(count), "%" PRId64, o->key_fields);
    const struct {
        const char *name;
        const char *value;
    } given[] = {
        {JOB_PARTITIONER_SETTING, o->partitioner},
        {JOB_KEY_FIELDS_SETTING, o->key_fields > 0 ? count : NULL},
        {JOB_FIELD_SEPARATOR_SETTING, o->field_separator},
        {JOB_KEY_SEPARATOR_SETTING, o->field_separator},
        {JOB_PARTITION_OPTIONS_SETTING, o->partition_by},
        {JOB_SORT_OPTIONS_SETTING, o->sort_by},
    };
    int r = 0;
    for (size_t i = 0; i < ARRAY_COUNT(given) && r == 0; i++) {
        r = given[i].value ? settings_set(&job->settings, given[i].name, given[i].value, e) : 0;
    }
    return r;
}

/* What only programs heed is not to be ignored in silence where functions of a library do the work.
 */
static int check_for_programs(const struct run_options *o, struct err *e)
{
    const struct {
        const char *flag;
        bool given;
    } of_mappers[] = {{"--key-fields", o->key_fields > 0},
                      {"--field-separator", o->field_separator != NULL},
                      {"--partition-by", o->partition_by != NULL},
                      {"--sort-by", o->sort_by != NULL}};
    if (!o->library) {
        return 0;
    }
    for (size_t i = 0; !o->mapper && i < ARRAY_COUNT(of_mappers); i++) {
        if (of_mappers[i].given) {
            return err_set(e, ERR_INVALID,
                           "%s is for programs' lines (--mapper): the map function of this job is "
                           "the library's",
                           of_mappers[i].flag);
        }
    }
    if (o->cmdenv.count > 0 && !o->mapper && !o->combiner && !o->reducer) {
        return err_set(e, ERR_INVALID,
                       "--cmdenv is for programs: a library's functions get settings, -D "
                       "NAME=VALUE, from mr_config()");
    }
    return 0;
}

/* mrmaster cannot ask the library. */
static int set_outputs(struct job *job, struct err *e)
{
    struct buf names = BUF_INIT;
    const char *const *outputs = job->native ? job->native->outputs : NULL;
    for (size_t i = 0; outputs && outputs[i]; i++) {
        buf_printf(&names, "%s%s", i > 0 ? " " : "", outputs[i]);
    }
    int r = names.length > 0 ? settings_set(&job->settings, JOB_OUTPUTS_SETTING, names.data, e) : 0;
    buf_deinit(&names);
    return r;
}

int run_command_job(const struct run_command *c, const struct mr_job *native, struct job *ret_job,
                    struct err *e)
{
    const struct run_options *o = &c->options;
    struct job *job = ret_job;
    job->name = o->name ? o->name : native ? native->name : o->mapper;
    job->native = native;
    job->map_command = o->mapper;
    job->combine_command = o->combiner;
    job->reduce_command = o->reducer;
    job->sort_bytes = o->memory_bytes;
    job->output_format = JOB_FORMAT_DEFAULT;
    if (o->output_format) {
        job->output_format = strcmp(o->output_format, "raw") == 0 ? MR_OUTPUT_RAW : MR_OUTPUT_TEXT;
    }
    int r = check_for_programs(o, e);
    r = r < 0 ? r : set_pairs(&job->settings, &o->settings, "-D", e);
    r = r < 0 ? r : set_outputs(job, e);
    r = r < 0 ? r : set_pairs(&job->environment, &o->cmdenv, "--cmdenv", e);
    r = r < 0 ? r : set_fields(job, o, e);
    r = r < 0 ? r : set_format(job, o->format, e);
    r = r < 0 ? r : set_reduces(job, o, e);
    return r < 0 ? r : job_resolve(job, e);
}

/* ---- What changes nothing ---- */

/* Whether the command line has the flag, and not as --no-FLAG. */
static bool is_given(const struct run_command *c, const char *key)
{
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        if (strcmp(rows[i].key, key) == 0 && c->config.sources[i] == CONFIG_FROM_FLAG) {
            const void *value = (const char *)&c->options + rows[i].offset;
            return rows[i].type != CONFIG_BOOL || *(const bool *)value;
        }
    }
    return false;
}

void run_command_unheeded(const struct run_command *c, struct buf *out)
{
    static const char *const of_cluster[] = {"output-replication",
                                             "task-memory",
                                             "timeout",
                                             "attempts",
                                             "skip-bad-records",
                                             "no-speculative",
                                             "locality-blind",
                                             "detach",
                                             "json",
                                             "mrmaster",
                                             "kill-on-interrupt",
                                             "master",
                                             "user",
                                             "tls-ca",
                                             "tls-cert",
                                             "tls-key"};
    const char *given[ARRAY_COUNT(of_cluster)];
    size_t count = 0;
    if (!c->options.local) {
        if (is_given(c, "parallel")) {
            buf_append_str(out, "--parallel changes nothing without --local: on a cluster the "
                                "workers' slots say how many tasks run at a time");
        }
        return;
    }
    for (size_t i = 0; i < ARRAY_COUNT(of_cluster); i++) {
        if (is_given(c, of_cluster[i])) {
            given[count++] = of_cluster[i];
        }
    }
    for (size_t i = 0; i < count; i++) {
        buf_printf(out, "%s--%s", i == 0 ? "" : i + 1 < count ? ", " : " and ", given[i]);
    }
    if (count > 0) {
        buf_printf(out, " change%s nothing with --local: only a cluster heeds %s",
                   count > 1 ? "" : "s", count > 1 ? "them" : "it");
    }
}
