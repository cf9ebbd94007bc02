/* A line on the terminal for what takes longer than a second: how much of how much, how fast, how
 * long still. Prints nothing when stderr is no terminal. */
#ifndef CLIENT_CLI_PROGRESS_H
#define CLIENT_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    const char *verb;
    bool on;
    bool shown;     /* a line stands on the terminal */
    uint64_t total; /* bytes; 0: not known */
    uint64_t done;
    uint64_t files; /* finished */
    uint64_t began_ms;
    uint64_t next_ms; /* when to show it again */
};

void progress_begin(struct progress *p, const char *verb, bool on, uint64_t total);
void progress_add(struct progress *p, uint64_t bytes);
void progress_end(struct progress *p); /* takes the line away */
double progress_seconds(const struct progress *p);

/* The line's text without control characters, for tests. */
void progress_format(const struct progress *p, uint64_t now_ms, char text[160]);

#endif
