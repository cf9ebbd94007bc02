/* Transcripts of the small cluster: tests/golden-raft/NAME.txt holds commands, after "> ", and what
 * they print: decisions (raft_trace) and messages, with the virtual time. A change of behaviour is
 * a change of these files, to be read like any other.
 *
 *     RAFT_GOLDEN_REWRITE=1 build/release/tests/test_raft_golden
 *
 * writes the answers anew. Commands: execute() below; # begins a comment. */
#include <dirent.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/macros.h"
#include "common/parse.h"
#include "tests/lib/raft_cluster.h"

enum { WORD_COUNT_MAX = 16, LINE_BYTES_MAX = 512, FILE_COUNT_MAX = 64 };

struct script {
    struct raft_cluster *c;
    struct buf out;
    char line[LINE_BYTES_MAX];
    char *words[WORD_COUNT_MAX];
    size_t word_count;
    size_t members;
};

/* ---- words ---- */

static void split(struct script *s, const char *line)
{
    char *rest = NULL;
    (void)snprintf(s->line, sizeof(s->line), "%s", line);
    s->word_count = 0;
    for (char *word = strtok_r(s->line, " ", &rest); word != NULL && word[0] != '#';
         word = strtok_r(NULL, " ", &rest)) {
        assert_true(s->word_count < WORD_COUNT_MAX);
        s->words[s->word_count++] = word;
    }
}

static const char *word(const struct script *s, size_t i)
{
    return i < s->word_count ? s->words[i] : "";
}

static uint64_t number(const struct script *s, size_t i)
{
    uint64_t value = 0;
    if (parse_u64(word(s, i), &value, NULL) < 0) {
        fail_msg("%s: word %zu should be a number", s->words[0], i);
    }
    return value;
}

/* The number after this word; `standard` if the word does not stand there. */
static uint32_t setting(const struct script *s, const char *name, uint32_t standard)
{
    for (size_t i = 1; i < s->word_count; i++) {
        if (strcmp(s->words[i], name) == 0) {
            return (uint32_t)number(s, i + 1);
        }
    }
    return standard;
}

static bool is(const struct script *s, const char *name)
{
    return strcmp(word(s, 0), name) == 0;
}

/* ---- commands ---- */

static void say_result(struct script *s, int code)
{
    buf_printf(&s->out, "%s\n", code == 0 ? "ok" : err_name(code));
}

/* cluster 3 learners 1 seed 7 delay 1 write 2 snapshot 10 piece 100 window 2 bytes 100 election 100
 */
static void new_cluster(struct script *s)
{
    struct cluster_options o = {
        .voters = number(s, 1),
        .learners = setting(s, "learners", 0),
        .seed = setting(s, "seed", 1),
        .delay_ms_min = setting(s, "delay", 1),
        .delay_ms_max = setting(s, "delay", 1),
        .write_ms = setting(s, "write", 1),
        .snapshot_every = setting(s, "snapshot", 0),
        .raft = {.heartbeat_ms = 50,
                 .election_ms = 300,
                 .piece_bytes = setting(s, "piece", 4096),
                 .inflight_count_max = setting(s, "window", 0),
                 .append_bytes_max = setting(s, "bytes", 0),
                 .disk_hung_ms = setting(s, "hung", 0)},
        .tell_messages = setting(s, "quiet", 0) == 0,
    };
    s->members = o.voters + o.learners;
    s->c = cluster_new(&o);
}

static void say_status(struct script *s)
{
    for (uint64_t id = 1; id <= s->members; id++) {
        const struct raft *r = cluster_raft(s->c, id);
        if (r == NULL) {
            buf_printf(&s->out, "%" PRIu64 " is down\n", id);
            continue;
        }
        struct raft_status st = raft_status(r);
        buf_printf(&s->out, "%" PRIu64 " %s term %" PRIu64 " leader %" PRIu64 " last %" PRIu64, id,
                   raft_role_name(st.role), st.term, st.leader, st.last);
        buf_printf(&s->out, " durable %" PRIu64 " commit %" PRIu64 " members of %" PRIu64 "%s\n",
                   st.durable, st.commit, st.config_index,
                   st.config_committed ? "" : ", not committed");
    }
}

static void say_log(struct script *s)
{
    for (uint64_t id = 1; id <= s->members; id++) {
        const struct raft *r = cluster_raft(s->c, id);
        term_no term = 0;
        buf_printf(&s->out, "%" PRIu64 ":", id);
        for (log_index i = 1; r != NULL && i <= raft_status(r).last; i++) {
            if (raft_term_at(r, i, &term) == 0) {
                buf_printf(&s->out, " %" PRIu64 "/%" PRIu64, i, term);
            }
        }
        buf_append_str(&s->out, "\n");
    }
}

static void say_peers(struct script *s)
{
    static const char *const states[] = {"", "probe", "replicate", "snapshot"};
    struct raft_peer peers[RAFT_MEMBER_COUNT_MAX];
    size_t count = raft_peers(cluster_raft(s->c, number(s, 1)), peers);
    for (size_t i = 0; i < count; i++) {
        buf_printf(&s->out, "%" PRIu64 " %s match %" PRIu64 " next %" PRIu64 "\n", peers[i].key,
                   states[peers[i].state], peers[i].match, peers[i].next);
    }
}

static enum raft_change change_of(const char *name)
{
    return strcmp(name, "add") == 0       ? RAFT_ADD_LEARNER
           : strcmp(name, "promote") == 0 ? RAFT_PROMOTE
                                          : RAFT_REMOVE;
}

static bool execute_work(struct script *s)
{
    log_index index = 0;
    if (is(s, "propose")) { /* propose MEMBER TEXT */
        int code = cluster_propose(s->c, number(s, 1), word(s, 2), &index);
        say_result(s, code);
    } else if (is(s, "one")) { /* one TEXT COUNT: until so many have applied it */
        index = cluster_one(s->c, word(s, 1), number(s, 2));
        buf_printf(&s->out, "applied at %" PRIu64 "\n", index);
    } else if (is(s, "change")) { /* change LEADER add|promote|remove MEMBER */
        say_result(s, cluster_change(s->c, number(s, 1), change_of(word(s, 2)), number(s, 3)));
    } else if (is(s, "transfer")) { /* transfer LEADER TO */
        say_result(s, cluster_transfer(s->c, number(s, 1), number(s, 2)));
    } else if (is(s, "read")) {
        say_result(s, cluster_read(s->c, number(s, 1)));
    } else if (is(s, "status")) {
        say_status(s);
    } else if (is(s, "logs")) {
        say_log(s);
    } else if (is(s, "peers")) { /* peers LEADER */
        say_peers(s);
    } else if (is(s, "reads")) {
        buf_printf(&s->out, "%" PRIu64 " done, %" PRIu64 " given up\n",
                   cluster_stats(s->c).reads_done, cluster_stats(s->c).reads_given_up);
    } else {
        return false;
    }
    return true;
}

static bool execute_fault(struct script *s)
{
    if (is(s, "disconnect")) {
        cluster_disconnect(s->c, number(s, 1));
    } else if (is(s, "connect")) {
        cluster_connect(s->c, number(s, 1));
    } else if (is(s, "cut")) { /* cut FROM TO: one way */
        cluster_cut(s->c, number(s, 1), number(s, 2));
    } else if (is(s, "heal")) {
        cluster_heal(s->c);
    } else if (is(s, "crash")) {
        cluster_crash(s->c, number(s, 1));
    } else if (is(s, "restart")) {
        cluster_restart(s->c, number(s, 1));
    } else if (is(s, "hang")) {
        cluster_hang_disk(s->c, number(s, 1), true);
    } else if (is(s, "unhang")) {
        cluster_hang_disk(s->c, number(s, 1), false);
    } else {
        return false;
    }
    return true;
}

static void execute(struct script *s, const char *line)
{
    split(s, line);
    buf_printf(&s->out, "> %s\n", line);
    if (s->word_count == 0) {
        return;
    }
    if (is(s, "cluster")) {
        new_cluster(s);
    } else if (is(s, "elect")) { /* until somebody leads, without telling how */
        buf_printf(&s->out, "leader %" PRIu64 "\n", cluster_await_leader(s->c, 5000));
        cluster_run(s->c, 100);
        cluster_transcript_clear(s->c);
    } else if (is(s, "run")) { /* run MS */
        cluster_run(s->c, number(s, 1));
    } else if (is(s, "lead")) { /* lead MS: until somebody does, and all know it */
        uint64_t leader = cluster_await_leader(s->c, number(s, 1));
        buf_printf(&s->out, "leader %" PRIu64 "\n", leader);
    } else if (!execute_work(s) && !execute_fault(s)) {
        fail_msg("no such command: %s", line);
    }
    cluster_settle(s->c);
    buf_append_str(&s->out, cluster_transcript(s->c));
    cluster_transcript_clear(s->c);
}

/* ---- files ---- */

static void read_file(const char *path, struct buf *out)
{
    char piece[4096];
    size_t length;
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    while ((length = fread(piece, 1, sizeof(piece), f)) > 0) {
        buf_append(out, piece, length);
    }
    assert_int_equal(fclose(f), 0);
}

static void write_file(const char *path, const struct buf *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text->data, 1, text->length, f), text->length);
    assert_int_equal(fclose(f), 0);
}

static void show_difference(const char *expected, const char *got)
{
    size_t line = 1;
    size_t at = 0;
    size_t begin = 0;
    for (; expected[at] != 0 && expected[at] == got[at]; at++) {
        if (expected[at] == '\n') {
            line++;
            begin = at + 1;
        }
    }
    print_error("line %zu\n- %.*s\n+ %.*s\n", line, (int)strcspn(expected + begin, "\n"),
                expected + begin, (int)strcspn(got + begin, "\n"), got + begin);
}

static void test_transcript(void **state)
{
    const char *path = *state;
    struct buf text = BUF_INIT;
    struct script s = {.out = BUF_INIT};
    read_file(path, &text);
    bool begun = false;
    char *copy = strdup(text.data);
    char *rest = NULL;
    for (char *line = strtok_r(copy, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        if (line[0] == '>') {
            execute(&s, line[1] == ' ' ? line + 2 : "");
            begun = true;
        } else if (!begun) {
            buf_printf(&s.out, "%s\n", line); /* what it is about */
        }
    }
    free(copy);
    cluster_free(s.c);
    if (getenv("RAFT_GOLDEN_REWRITE") != NULL) {
        write_file(path, &s.out);
    } else if (strcmp(text.data, s.out.data) != 0) {
        show_difference(text.data, s.out.data);
        fail_msg("%s", path);
    }
    buf_deinit(&text);
    buf_deinit(&s.out);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct CMUnitTest *)a)->name, ((const struct CMUnitTest *)b)->name);
}

int main(void)
{
    static struct CMUnitTest tests[FILE_COUNT_MAX];
    static char paths[FILE_COUNT_MAX][LINE_BYTES_MAX];
    size_t count = 0;
    DIR *directory = opendir(RAFT_GOLDEN_DIRECTORY);
    if (directory == NULL) {
        print_error("cannot read %s\n", RAFT_GOLDEN_DIRECTORY);
        return 1;
    }
    for (struct dirent *one = readdir(directory); one != NULL && count < FILE_COUNT_MAX;
         one = readdir(directory)) {
        if (strstr(one->d_name, ".txt") != NULL) {
            (void)snprintf(paths[count], LINE_BYTES_MAX, "%s/%s", RAFT_GOLDEN_DIRECTORY,
                           one->d_name);
            tests[count] = (struct CMUnitTest){strrchr(paths[count], '/') + 1, test_transcript,
                                               NULL, NULL, paths[count]};
            count++;
        }
    }
    (void)closedir(directory);
    qsort(tests, count, sizeof(tests[0]), by_name);
    return count > 0 ? _cmocka_run_group_tests("transcripts", tests, count, NULL, NULL) : 1;
}
