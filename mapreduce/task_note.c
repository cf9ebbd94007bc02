/* The file is written once before it is mapped, so that its block is there: a store into a page
 * that the disk has no room for would be a SIGBUS. See task_note.h. */
#include "mapreduce/task_note.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/alloc.h"
#include "common/sys.h"
#include "mapreduce/engine/skip_note.h"
#include "mapreduce/task_pipe.h"

#define NOTE_NAME ".record"

int task_note_create(const char *work, struct skip_note **ret_note, struct err *e)
{
    static const struct skip_note nothing;
    char *path = xprintf("%s/%s", work, NOTE_NAME);
    int fd = sys_open(path, O_RDWR | O_CREAT | O_TRUNC, 0644, e);
    int r = fd < 0 ? fd : 0;
    if (r == 0 && pwrite(fd, &nothing, sizeof(nothing), 0) != (ssize_t)sizeof(nothing)) {
        r = err_errno(e, "write %s", path);
    }
    if (r == 0) {
        void *note = mmap(NULL, sizeof(nothing), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (note == MAP_FAILED) {
            r = err_errno(e, "map %s", path);
        } else {
            *ret_note = note;
        }
    }
    sys_close(&fd);
    free(path);
    return r;
}

bool task_note_read(const char *data, const char *job, const char *attempt,
                    struct skip_note *ret_note)
{
    struct buf path = BUF_INIT;
    task_path(TASK_PATH_WORK, data, job, attempt, &path);
    buf_append_str(&path, "/" NOTE_NAME);
    int fd = open(path.data, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    ssize_t n = fd >= 0 ? pread(fd, ret_note, sizeof(*ret_note), 0) : -1;
    sys_close(&fd);
    buf_deinit(&path);
    return n == (ssize_t)sizeof(*ret_note) && ret_note->record > 0;
}
