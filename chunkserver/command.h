/* A command that changes one chunk outside of an append stream: fence, seal, delete. One way for
 * all: it claims the chunk, ending a stream that has it if the command says so; runs on a worker,
 * where it may block until its change is durable (not if the chunk is not here: then it has no
 * effect and no error); then the owner's table follows, the claim goes,
 * and `done` runs on the owner. */
#ifndef CHUNKSERVER_COMMAND_H
#define CHUNKSERVER_COMMAND_H

#include "chunkserver/server.h"

/* What the table must know afterwards. */
enum command_effect { COMMAND_NOTHING, COMMAND_CHANGED, COMMAND_REMOVED };

struct command {
    struct server *server;
    struct disk *disk; /* that has the chunk */
    struct claim claim;
    struct task task;
    bool ends_streams;                 /* a writer is stopped with ERR_FENCED */
    int (*run)(struct command *cmd);   /* on a worker; sets err if it fails */
    void (*done)(struct command *cmd); /* on the owner; may free the command */
    term_no term;                      /* goes into the index with the change; 0: none */
    int code;                          /* of run */
    struct err err;
    enum command_effect effect;
    struct chunk_record record; /* with COMMAND_CHANGED */
};

/* run and done are set. Owner. */
void command_start(struct command *cmd, struct server *s, chunk_id id);

#endif
