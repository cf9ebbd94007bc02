/* dfs admin balance: evens out how full the chunkservers are, for as long as the command runs. */
#include <inttypes.h>
#include <stdio.h>

#include <trireme/dfs_admin.h>

#include "client/cli/admin.h"
#include "common/clock.h"
#include "common/parse.h"

enum {
    ASK_MS = 500,     /* well within the ten seconds after which nobody seems to ask */
    STUCK_COUNT = 10, /* so often in a row, then it is meant: a server may just come back */
};

static json_t *balance_json(const struct dfs_balance *b)
{
    return json_pack("{s:b, s:b, s:f, s:f, s:f, s:I, s:I, s:I}", "even", (int)b->even, "stuck",
                     (int)b->stuck, "least", b->least, "mean", b->mean, "most", b->most, "moving",
                     (json_int_t)b->moving, "moved_chunks", (json_int_t)b->moved_chunks,
                     "moved_bytes", (json_int_t)b->moved_bytes);
}

static void print_state(FILE *to, const struct dfs_balance *b)
{
    char size[FORMAT_TEXT_BYTES];
    (void)fprintf(to,
                  "chunkservers are %.1f %% to %.1f %% full, %.1f %% in the mean; %" PRIu64
                  " chunks moved (%s)",
                  100 * b->least, 100 * b->most, 100 * b->mean, b->moved_chunks,
                  format_bytes(b->moved_bytes, size));
}

static void show_progress(const struct cli *cli, const struct dfs_balance *b)
{
    if (cli->err_tty && !cli->options.quiet) {
        (void)fputs("\r\033[K", stderr);
        print_state(stderr, b);
        (void)fprintf(stderr, ", %" PRIu64 " under way%s", b->moving,
                      b->all_heard ? "" : "; waits for chunkservers to report");
    }
}

static void show_end(const struct cli *cli, const struct dfs_balance *b)
{
    if (cli->err_tty && !cli->options.quiet) {
        (void)fputs("\r\033[K", stderr);
    }
    if (cli->options.json) {
        cli_print_json(balance_json(b));
        return;
    }
    (void)printf("%s: ", b->even    ? "balanced"
                         : b->stuck ? "as even as racks, hosts and the size of chunks allow"
                                    : "ended");
    print_state(stdout, b);
    (void)fputc('\n', stdout);
}

int admin_balance(struct cli *cli)
{
    struct dfs_err e = {0};
    struct dfs_balance b = {0};
    double threshold = (double)cli->options.threshold / 100;
    int stuck = 0;
    cli_catch_signals();
    do {
        if (dfs_balance(cli->dfs, threshold, cli->options.rate_bytes, &b, &e) < 0) {
            cli_dfs_error(cli, NULL, &e);
            return cli->status;
        }
        stuck = b.stuck && b.moving == 0 ? stuck + 1 : 0;
        if ((b.even && b.all_heard && b.moving == 0) || stuck >= STUCK_COUNT) {
            break;
        }
        show_progress(cli, &b);
        clock_sleep_ms(ASK_MS);
    } while (!cli_interrupted());
    struct dfs_balance last;
    if (dfs_balance(cli->dfs, threshold, 0, &last, &e) < 0) { /* stop */
        cli_dfs_error(cli, NULL, &e);
    }
    show_end(cli, &b);
    cli->status = cli_interrupted() ? CLI_INTERRUPTED : cli->status;
    return cli->status;
}
