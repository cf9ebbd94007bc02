/* Before user code runs: the log on stderr, the working directory, the store, the limits, the job.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <trireme/dfs.h>

#include "common/parse.h"
#include "common/sys.h"
#include "mapreduce/mrtask/attempt.h"
#include "mapreduce/store_err.h"
#include "mapreduce/task_job.h"
#include "mapreduce/task_note.h"
#include "mapreduce/task_pipe.h"

/* ---- Environment ---- */

static const char *variable(const char *name)
{
    const char *value = getenv(name);
    return value && value[0] ? value : NULL;
}

int task_environment_read(struct task_environment *env, struct err *e)
{
    const char *data = variable("MRTASK_DATA");
    const char *sort = variable("MRTASK_SORT_BYTES");
    *env = (struct task_environment){.masters = variable("MRTASK_MASTERS"),
                                     .host = variable("MRTASK_HOST"),
                                     .rack = variable("MRTASK_RACK"),
                                     .address = variable("MRTASK_ADDRESS"),
                                     .tls_ca = variable("MRTASK_TLS_CA"),
                                     .tls_cert = variable("MRTASK_TLS_CERT"),
                                     .tls_key = variable("MRTASK_TLS_KEY")};
    if (!data || !env->masters || !env->host || !env->rack || !env->address) {
        return err_set(e, ERR_INVALID,
                       "mrtask is started by mrworker, which says where by MRTASK_"
                       "DATA, _MASTERS, _HOST, _RACK and _ADDRESS");
    }
    env->data = realpath(data, NULL);
    if (!env->data) {
        return err_errno(e, "MRTASK_DATA %s", data);
    }
    return sort ? parse_u64(sort, &env->sort_bytes, e) : 0;
}

/* ---- Directories ---- */

/* Not made durable: all of it goes with the attempt. */
static int make_directory_of(const char *path, struct err *e)
{
    char *copy = strdup(path);
    char *slash = copy ? strrchr(copy, '/') : NULL;
    int r = 0;
    if (slash) {
        *slash = '\0';
        r = sys_mkdir_scratch(copy, e);
    }
    free(copy);
    return r;
}

static const char *path_of(struct attempt *a, enum task_path which)
{
    struct buf path = BUF_INIT;
    task_path(which, a->env.data, a->assignment->job, a->assignment->attempt, &path);
    const char *copy = arena_strdup(&a->arena, path.data);
    buf_deinit(&path);
    return copy;
}

/* Everything that this process, the user's library and programs print is in one file. */
static int open_log(struct attempt *a, struct err *e)
{
    const char *path = path_of(a, TASK_PATH_LOG);
    int r = make_directory_of(path, e);
    if (r < 0) {
        return r;
    }
    int fd = sys_open(path, O_WRONLY | O_CREAT | O_APPEND, 0644, e);
    if (fd < 0) {
        return fd;
    }
    off_t end = lseek(fd, 0, SEEK_END);
    a->log_start = end > 0 ? (uint64_t)end : 0;
    if (dup2(fd, STDERR_FILENO) < 0 || dup2(fd, STDOUT_FILENO) < 0) {
        r = err_errno(e, "log %s", path);
    }
    sys_close(&fd);
    return r;
}

static int link_file(struct attempt *a, const struct job_file *file, struct err *e)
{
    const char *from = arena_printf(&a->arena, "%s/%s", path_of(a, TASK_PATH_FILES), file->name);
    const char *to = arena_printf(&a->arena, "%s/%s", a->work, file->name);
    if (symlink(from, to) < 0 && errno != EEXIST) {
        return err_errno(e, "link %s", to);
    }
    return 0;
}

static int make_work(struct attempt *a, struct err *e)
{
    const struct job_spec *spec = a->assignment->spec;
    a->work = path_of(a, TASK_PATH_WORK);
    a->temp = arena_printf(&a->arena, "%s/.tmp", a->work);
    int r = sys_mkdir_scratch(a->temp, e);
    for (size_t i = 0; i < spec->file_count && r == 0; i++) {
        r = link_file(a, &spec->files[i], e);
    }
    if (r == 0 && chdir(a->work) < 0) { /* a library finds its side files too */
        r = err_errno(e, "chdir %s", a->work);
    }
    return r;
}

/* ---- The store, limits, the job ---- */

static int connect_store(struct attempt *a, struct err *e)
{
    struct dfs_options options = {.masters = a->env.masters,
                                  .user = a->assignment->user,
                                  .host = a->env.host,
                                  .rack = a->env.rack,
                                  .tls_ca = a->env.tls_ca,
                                  .tls_cert = a->env.tls_cert,
                                  .tls_key = a->env.tls_key};
    struct dfs_err de = {0};
    return dfs_connect(&options, &a->dfs, &de) < 0 ? err_from_dfs(e, &de, "connect to the store")
                                                   : 0;
}

/* A reduce reads many files, and a library may need address space, beyond what we hold ourselves by
 * now (libraries, threads' stacks). Programs have a limit of their own, in the engine. */
static int set_limits(const struct attempt *a, struct err *e)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    const struct job_spec *spec = a->assignment->spec;
    if (spec->task_memory_bytes == 0 || !spec->library) {
        return 0;
    }
    struct buf statm = BUF_INIT;
    int r = sys_read_file("/proc/self/statm", 4096, &statm, e);
    if (r == 0) {
        rlim_t own = strtoull(statm.data, NULL, 10) * (rlim_t)sysconf(_SC_PAGESIZE);
        limit.rlim_cur = limit.rlim_max = own + spec->task_memory_bytes;
        r = setrlimit(RLIMIT_AS, &limit) < 0 ? err_errno(e, "limit the task's memory") : 0;
    }
    buf_deinit(&statm);
    return r;
}

static int open_library(struct attempt *a, struct err *e)
{
    const struct job_file *library = a->assignment->spec->library;
    if (!library) {
        return 0;
    }
    const char *path = arena_printf(&a->arena, "%s/%s", path_of(a, TASK_PATH_FILES), library->name);
    int r = job_library_open(path, &a->library, e);
    return r == ERR_INVALID || r == ERR_VERSION ? err_wrap(e, ERR_TASK, "library") : r;
}

static int make_job(struct attempt *a, struct err *e)
{
    struct task_job_options options = {.id = a->assignment->job,
                                       .spec = a->assignment->spec,
                                       .native = a->library.job,
                                       .reduces = a->assignment->reduces,
                                       .sort_bytes = a->env.sort_bytes};
    int r = task_job_init(&a->job, &options, e);
    if (r < 0) {
        return r;
    }
    struct attempt_name name = {0};
    const char *attempt = a->assignment->attempt;
    if (!attempt_name_parse(attempt, &name)) {
        return err_set(e, ERR_INVALID, "'%s' is no attempt's name", attempt);
    }
    const char *last = strrchr(attempt, '_'); /* attempt_7_1_m_000003_0 -> task_7_1_m_000003 */
    const char *first = strchr(attempt, '_');
    a->identity = (struct task_identity){
        .number = a->assignment->task,
        .attempt = name.number,
        .task_id = arena_printf(&a->arena, "task%.*s", (int)(last - first), first),
        .attempt_id = attempt,
        .work_directory = a->work,
        .temp_directory = a->temp,
        .output_directory = a->assignment->hidden_directory};
    return 0;
}

/* What may be left out, and the note of what user code has. */
static int make_skip(struct attempt *a, struct err *e)
{
    const struct assignment *from = a->assignment;
    uint32_t most = from->reduce ? from->spec->skip_groups : from->spec->skip_records;
    a->skip = (struct task_skip){
        .most = most, .ordinals = from->skip, .count = from->skip_count, .careful = from->careful};
    return most > 0 ? task_note_create(a->work, &a->skip.note, e) : 0;
}

int attempt_setup(struct attempt *a, struct err *e)
{
    if (!a->assignment->spec) {
        return err_set(e, ERR_INVALID, "an assignment without its job");
    }
    int r = open_log(a, e);
    r = r < 0 ? r : make_work(a, e);
    r = r < 0 ? r : make_skip(a, e);
    r = r < 0 ? r : connect_store(a, e);
    r = r < 0 ? r : set_limits(a, e);
    r = r < 0 ? r : open_library(a, e);
    return r < 0 ? r : make_job(a, e);
}
