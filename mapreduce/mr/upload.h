/* The files of a job on their way into the store: which they are, and how commands name them. */
#ifndef MAPREDUCE_MR_UPLOAD_H
#define MAPREDUCE_MR_UPLOAD_H

#include <stdbool.h>
#include <stddef.h>

#include "common/arena.h"
#include "common/err.h"
#include "mapreduce/job_types.h"

struct dfs;

struct upload_file {
    const char *path;     /* here, or hdfs://... */
    const char *name;     /* in the task's directory */
    bool executable;      /* a command, or it is here */
    bool in_store;        /* it is copied from there when the job is submitted */
    bool library;         /* the job's shared object */
    bool small;           /* it goes with the submission itself */
    struct job_file file; /* filled in by uploads_read_small() and uploads_send() */
};

struct uploads {
    struct arena arena; /* owns all texts */
    struct upload_file *files;
    size_t count;
    char *directory; /* in the store, once it was made; NULL before */
};

void uploads_init(struct uploads *u);
void uploads_deinit(struct uploads *u); /* accepts zeroed; leaves the store alone */

/* "PATH", or "PATH#NAME" for another name in the task's directory; hdfs:///PATH is a file of the
 * store, which uploads_send() looks for. ERR_INVALID: two files of one
 * name, or a name with a slash. */
int uploads_add(struct uploads *u, const char *typed, bool library, struct err *e) MUST_CHECK;

/* A command as tasks can run it. If its first word is a file that is to be uploaded, under the path
 * or the name that was given with --file, or a relative path with a slash that exists here (then it
 * is added), the word becomes ./NAME and the file executable; every other command stays as it is.
 * Lives as long as the uploads. */
int uploads_localize(struct uploads *u, const char *command, const char **ret_command,
                     struct err *e) MUST_CHECK;

/* Reads the files of this machine that are small, as long as they are so together: they need no
 * files in the store. After uploads_localize(). */
int uploads_read_small(struct uploads *u, struct err *e) MUST_CHECK;
/* All were small: there is nothing to send. */
bool uploads_all_small(const struct uploads *u);

/* Copies the other files into a new directory of the store that belongs to the submission. */
int uploads_send(struct uploads *u, struct dfs *dfs, const char *submission,
                 struct err *e) MUST_CHECK;
/* Takes them back, when the submission did not come to be. */
void uploads_remove(struct uploads *u, struct dfs *dfs);

#endif
