/* See task_pipe.h. */
#include "mapreduce/task_pipe.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "common/check.h"

void task_path(enum task_path which, const char *data, const char *job, const char *attempt,
               struct buf *out)
{
    const char *underscore = strrchr(job, '_');
    job = underscore ? underscore + 1 : job;
    switch (which) {
    case TASK_PATH_JOB:
        buf_printf(out, "%s/jobs/%s", data, job);
        break;
    case TASK_PATH_FILES:
        buf_printf(out, "%s/jobs/%s/files", data, job);
        break;
    case TASK_PATH_MAP_OUTPUT:
        buf_printf(out, "%s/jobs/%s/maps/%s", data, job, attempt);
        break;
    case TASK_PATH_WORK:
        buf_printf(out, "%s/jobs/%s/work/%s", data, job, attempt);
        break;
    case TASK_PATH_LOG:
        buf_printf(out, "%s/logs/%s/%s", data, job, attempt);
        break;
    }
}

void task_frame_append(enum task_frame_kind kind, struct span payload, struct buf *out)
{
    CHECK(payload.length < TASK_FRAME_BYTES_MAX);
    buf_append_u32le(out, (uint32_t)(payload.length + 1));
    buf_append_byte(out, (uint8_t)kind);
    buf_append(out, payload.data, payload.length);
}

int task_frame_write(int fd, enum task_frame_kind kind, struct span payload, struct err *e)
{
    struct buf frame = BUF_INIT;
    task_frame_append(kind, payload, &frame);
    size_t sent = 0;
    int r = 0;
    while (sent < frame.length && r == 0) {
        ssize_t n = send(fd, frame.data + sent, frame.length - sent, MSG_NOSIGNAL);
        if (n >= 0) {
            sent += (size_t)n;
        } else if (errno != EINTR) {
            r = err_errno(e, "write to the task's pipe");
        }
    }
    buf_deinit(&frame);
    return r;
}

bool task_frame_take(const struct buf *in, size_t *at, enum task_frame_kind *ret_kind,
                     struct span *ret_payload, int *ret_code)
{
    *ret_code = 0;
    struct cursor c = cursor_of(in->data + *at, in->length - *at);
    uint32_t length = cursor_u32le(&c);
    if (c.failed) {
        return false;
    }
    if (length == 0 || length > TASK_FRAME_BYTES_MAX) {
        *ret_code = ERR_CORRUPT;
        return false;
    }
    struct span frame = cursor_bytes(&c, length);
    if (c.failed) {
        return false;
    }
    const uint8_t *bytes = frame.data;
    if (bytes[0] < TASK_ASSIGN || bytes[0] > TASK_BEAT) {
        *ret_code = ERR_CORRUPT;
        return false;
    }
    *ret_kind = (enum task_frame_kind)bytes[0];
    *ret_payload = (struct span){bytes + 1, length - 1};
    *at += 4 + (size_t)length;
    return true;
}
