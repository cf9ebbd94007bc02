/* Writes benchmark data to stdout: generate zipf|tera|random MEGABYTES [SEED]. The same for the
 * same seed on every machine. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/lib/data.h"
#include "common/alloc.h"
#include "common/parse.h"
#include "common/sys.h"

enum { PIECE_BYTES = 1000 * 1000, VOCABULARY = 100000 };

static int usage(void)
{
    (void)fprintf(stderr, "usage: generate zipf|tera|random MEGABYTES [SEED] >FILE\n"
                          "  zipf: text, word frequencies fall as in natural language\n"
                          "  tera: records of 100 bytes, newline-ended, 10 bytes of random key\n"
                          "  random: bytes that do not compress\n");
    return 2;
}

int main(int argc, char **argv)
{
    uint64_t megabytes = 0;
    uint64_t seed = 1;
    struct err e = ERR_INIT;
    if (argc < 3 || argc > 4 || parse_u64(argv[2], &megabytes, &e) < 0 ||
        (argc == 4 && parse_u64(argv[3], &seed, &e) < 0)) {
        return usage();
    }
    bool zipf = strcmp(argv[1], "zipf") == 0;
    bool tera = strcmp(argv[1], "tera") == 0;
    if (!zipf && !tera && strcmp(argv[1], "random") != 0) {
        return usage();
    }
    struct bench_zipf *words = zipf ? bench_zipf_new(VOCABULARY) : NULL;
    char *piece = xmalloc(PIECE_BYTES);
    int r = 0;
    for (uint64_t i = 0; i < megabytes && r == 0; i++) {
        if (zipf) {
            bench_zipf_text(words, piece, PIECE_BYTES, seed + i);
        } else if (tera) {
            size_t records = PIECE_BYTES / BENCH_TERA_RECORD_BYTES;
            bench_tera(piece, i * records, records, seed);
        } else {
            bench_random(piece, PIECE_BYTES, seed, i * PIECE_BYTES);
        }
        r = sys_write_full(STDOUT_FILENO, piece, PIECE_BYTES, &e);
    }
    if (r < 0) {
        (void)fprintf(stderr, "generate: %s\n", err_message(&e));
    }
    bench_zipf_free(words);
    free(piece);
    return r < 0 ? 1 : 0;
}
