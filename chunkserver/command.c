/* See command.h. */
#include "chunkserver/command.h"

#include <inttypes.h>

#include "common/macros.h"

static void command_run(struct task *t)
{
    struct command *cmd = CONTAINER_OF(t, struct command, task);
    cmd->code = disk_has_failed(&cmd->disk->state)
                    ? err_set(&cmd->err, ERR_IO, "chunk %" PRIu64 " is on a disk that failed",
                              cmd->claim.id)
                    : cmd->run(cmd);
}

static void command_over(struct command *cmd)
{
    struct server *s = cmd->server;
    if (cmd->effect == COMMAND_CHANGED) {
        server_chunk_changed(s, cmd->disk, &cmd->record);
    } else if (cmd->effect == COMMAND_REMOVED) {
        server_chunk_removed(s, cmd->claim.id);
    }
    server_release(s, &cmd->claim);
    cmd->done(cmd);
}

static void command_done(struct task *t)
{
    command_over(CONTAINER_OF(t, struct command, task));
}

static void command_granted(struct claim *c)
{
    struct command *cmd = CONTAINER_OF(c, struct command, claim);
    const struct chunk *chunk = server_chunk(cmd->server, c->id);
    if (chunk == NULL) {
        command_over(cmd);
        return;
    }
    cmd->disk = server_chunk_disk(cmd->server, chunk);
    cmd->task.run = command_run;
    cmd->task.done = command_done;
    server_task(cmd->server, cmd->disk, &cmd->task, server_owner(cmd->server));
}

void command_start(struct command *cmd, struct server *s, chunk_id id)
{
    cmd->server = s;
    cmd->claim = (struct claim){.id = id, .granted = command_granted};
    if (cmd->ends_streams) {
        server_claim_ending_streams(s, &cmd->claim, ERR_FENCED, "a newer version was granted");
    } else {
        server_claim(s, &cmd->claim);
    }
}
