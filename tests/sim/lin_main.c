/* lin FILE...: are these histories linearizable (tests/lib/lin.h)? `-` is the standard input. One
 * line of figures each; exit status 1 if any is not, or is undecided. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/buf.h"
#include "tests/lib/lin.h"

static int read_history(const char *path, struct lin_history *h, struct err *e)
{
    char line[4096];
    FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "r");
    if (!f) {
        return err_errno(e, "open %s", path);
    }
    int r = 0;
    while (r == 0 && fgets(line, sizeof(line), f)) {
        r = lin_add_line(h, line, e);
    }
    if (f != stdin) {
        (void)fclose(f);
    }
    return r;
}

static int check_file(const char *path)
{
    static const char *const words[] = {"linearizable", "NOT LINEARIZABLE", "UNDECIDED"};
    struct err e = ERR_INIT;
    struct buf why = BUF_INIT;
    struct lin_summary sum = {0};
    struct lin_history *h = lin_new();
    enum lin_verdict verdict = LIN_UNDECIDED;
    if (read_history(path, h, &e) < 0) {
        buf_printf(&why, "%s\n", err_message(&e));
    } else {
        verdict = lin_check(h, 0, &why, &sum);
    }
    printf("%s: %s, %" PRIu64 " operations in %" PRIu64 " directories, %" PRIu64
           " overlapping, %" PRIu64 " unknown, %" PRIu64 " steps\n%s",
           path, words[verdict], sum.ops, sum.partitions, sum.overlapped, sum.unknowns, sum.steps,
           why.data);
    lin_free(h);
    buf_deinit(&why);
    return verdict != LIN_LEGAL;
}

int main(int argc, char **argv)
{
    int bad = 0;
    for (int i = 1; i < argc; i++) {
        bad += check_file(argv[i]);
    }
    return bad > 0 || argc < 2 ? 1 : 0;
}
